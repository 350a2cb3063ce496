"""Where the service's PostgreSQL is: the user's, named by a URL, or the bundled one in the data directory.

`own_database` is for the service, which runs the bundled server and migrates it; `reach_database` for a command beside
it, which uses the server that a service runs just now, or starts it for as long as the command takes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from ingest.migrations import label, migrate
from ingest.postgres import BundledPostgres, running_database_url
from ingest.service.database import EDIT_CONNECTIONS
from ingest.settings import Settings, mask_url
from ingest.store import housekeeping
from ingest.store.connect import wait_until_usable

logger = logging.getLogger(__name__)

SPARE_CONNECTIONS = 24
"""Of the bundled server beyond those that the workers can open: psql, Grafana, commands beside the service, superusers."""
ROUNDS_CONNECTIONS = 3
"""Of one worker: what listens for news, compacts, seals."""


@dataclass(frozen=True, slots=True)
class OwnedDatabase:
    """The database of a running service."""

    url: str = field(repr=False)
    failure: asyncio.Future[None]
    """Gets an exception once a bundled server can't be kept running; never done for a user's own."""


@asynccontextmanager
async def own_database(settings: Settings) -> AsyncIterator[OwnedDatabase]:
    """The service's database, usable, and for the bundled one with its schema brought to this release.

    Raises:
        PostgresError: The bundled server can't run, or another service has the data directory.
        StoreError: The user's database can't be used within `database_wait` seconds.
    """
    if settings.database_url is not None:
        logger.info("using the database %s", mask_url(settings.database_url))
        await wait_until_usable(settings.database_url, timeout=settings.database_wait)
        yield OwnedDatabase(settings.database_url, asyncio.get_running_loop().create_future())
        return
    async with _bundled(settings) as postgres:
        await _migrate_bundled(postgres.url)
        yield OwnedDatabase(postgres.url, postgres.failure)


@asynccontextmanager
async def reach_database(settings: Settings) -> AsyncIterator[str]:
    """A URL for a command, good until the block ends. The user's database is not migrated; the bundled one is.

    Raises:
        PostgresError, StoreError: As `own_database`.
    """
    if settings.database_url is not None:
        await wait_until_usable(settings.database_url, timeout=0)
        yield settings.database_url
    elif (running := running_database_url(settings.data_dir)) is not None:
        yield running
    else:
        async with _bundled(settings) as postgres:
            await _migrate_bundled(postgres.url)
            yield postgres.url


def _bundled(settings: Settings) -> BundledPostgres:
    return BundledPostgres(
        settings.data_dir,
        user=settings.postgres_user,
        connections=settings.workers * _most_connections(settings) + SPARE_CONNECTIONS,
        options=settings.postgres_options,
    )


def _most_connections(settings: Settings) -> int:
    """Of one worker, with all its pools (`ingest.services.open_services`) at work."""
    reads = 2 * settings.reader_connections + settings.chart_pool_size + settings.sql_connections
    return (
        settings.writer_connections + EDIT_CONNECTIONS + reads + housekeeping.CONNECTIONS + ROUNDS_CONNECTIONS
    )


async def _migrate_bundled(url: str) -> None:
    report = await migrate(url)
    for migration in report.applied:
        logger.info("applied migration %s", label(migration))
