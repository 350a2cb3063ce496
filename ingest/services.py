"""What the handlers work with: everything of one serving process that has a life, opened and closed in one place."""

from __future__ import annotations

import logging
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from ingest.artifacts.library import Artifacts
from ingest.artifacts.opening import open_artifacts
from ingest.auth import Authenticator
from ingest.chart_process import ChartProcess
from ingest.live.hub import Hub
from ingest.migrations import SchemaState, check_schema
from ingest.service.database import Database
from ingest.settings import Settings
from ingest.store.connect import connect
from ingest.store.housekeeping import Housekeeping
from ingest.store.operations import Operations
from ingest.store.reader import ReaderAccess, find_reader
from ingest.store.reads import Reads
from ingest.store.user_sql import UserSql
from ingest.write.intake import Intake

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Lifecycle:
    """Where the process stands; the one thing here that changes."""

    is_draining: bool = False
    """Whether a signal to stop has come: no new batch is accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The parts, by what they do."""

    settings: Settings
    database_url: str = field(repr=False)
    schema: SchemaState
    housekeeping: Housekeeping
    authenticator: Authenticator
    reader_access: ReaderAccess
    intake: Intake
    database: Database
    """For the service functions (`ingest.service`)."""
    reads: Reads
    charts: ChartProcess
    hub: Hub
    artifacts: Artifacts
    operations: Operations
    user_sql: UserSql | None
    """None without a reader role; reader_access says why."""
    lifecycle: Lifecycle

    async def drain(self) -> None:
        """Refuse what is new; commit accepted batches, finish files on their way in. The caller brings the time-out."""
        self.lifecycle.is_draining = True
        self.hub.close()
        await self.intake.drain()
        await self.artifacts.drain()

    def free_disk_bytes(self) -> int | None:
        """Room left where this machine keeps data; None when the directory does not exist."""
        try:
            return shutil.disk_usage(self.settings.data_dir).free
        except OSError:
            return None


class NoToken(Exception):
    """The service would be reachable from elsewhere, and nobody could be told apart."""


async def check_database(settings: Settings, database_url: str) -> None:
    """Whether a service may start on this database: its schema fits, and it has a token if tokens are needed.

    Raises:
        SchemaMismatch, MigrationError: The schema is not this release's.
        NoToken: Tokens are needed and the database has none.
        StoreError: The database can't be used.
    """
    async with connect(database_url, purpose="start") as connection:
        await check_schema(connection)
        reader_access = await find_reader(connection, database_url, settings.reader_database_url)
    if reader_access.problem is not None:
        logger.warning("SQL over HTTP is off: %s", reader_access.problem)
    async with Housekeeping.open(database_url) as housekeeping:
        if settings.needs_token and not await housekeeping.has_valid_token():
            raise NoToken(
                f"listening on {settings.host} needs a token, and the database has none; create one first: "
                "ingest token create NAME --role admin"
            )


@asynccontextmanager
async def open_services(settings: Settings, database_url: str) -> AsyncIterator[Services]:
    """Open everything; close it in reverse order.

    Raises:
        SchemaMismatch, MigrationError: The schema is not this release's.
        StoreError: The database can't be used.
    """
    async with connect(database_url, purpose="start") as connection:
        schema = await check_schema(connection)
        reader_access = await find_reader(connection, database_url, settings.reader_database_url)
    async with AsyncExitStack() as stack:
        housekeeping = await stack.enter_async_context(Housekeeping.open(database_url))
        database = await stack.enter_async_context(
            Database.open(database_url, readers=settings.reader_connections, timeout=settings.read_timeout)
        )
        yield Services(
            settings=settings,
            database_url=database_url,
            schema=schema,
            housekeeping=housekeeping,
            authenticator=Authenticator(
                housekeeping.find_token,
                find_session=housekeeping.find_session,
                required=settings.needs_token,
            ),
            reader_access=reader_access,
            intake=await stack.enter_async_context(Intake.open(settings, database_url)),
            database=database,
            operations=Operations(database, silent_after=settings.lost_after),
            reads=await stack.enter_async_context(
                Reads.open(
                    database_url, connections=settings.reader_connections, timeout=settings.read_timeout
                )
            ),
            charts=await stack.enter_async_context(ChartProcess.open(settings, database_url)),
            hub=await stack.enter_async_context(Hub.open(database_url)),
            artifacts=await stack.enter_async_context(
                open_artifacts(
                    settings.artifact_location,
                    settings.artifact_options,
                    mode=settings.artifact_mode,
                    transfers_num=settings.artifact_transfers,
                    upload_ttl=settings.artifact_upload_ttl,
                )
            ),
            user_sql=None
            if reader_access.url is None
            else UserSql(reader_access.url, connections=settings.sql_connections),
            lifecycle=Lifecycle(),
        )
