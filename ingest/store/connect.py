"""Single connections to PostgreSQL, outside the pools: for migrations, tokens on the command line, checks at start.

Every connection of ours names itself and sets `search_path = ingest`, so that no statement needs to name the schema.

Errors: DatabaseUnavailable when trying again may help, DatabaseRefused when it will not.
Units: seconds.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg

from ingest.store.errors import DatabaseUnavailable, StoreError
from ingest_schema.sql import load_queries

if TYPE_CHECKING:
    from asyncpg import Connection

logger = logging.getLogger(__name__)

SCHEMA = "ingest"
OLDEST_SERVER = 140_000
"""PostgreSQL 14, as server_version_num says it."""


class DatabaseRefused(StoreError):
    """The server answered and does not let us in, or is not one we can use."""


@asynccontextmanager
async def connect(url: str, *, purpose: str, timeout: float = 10.0) -> AsyncIterator[Connection]:
    """A connection for one task, closed afterwards.

    Args:
        url: Where to.
        purpose: What for, shown in pg_stat_activity as `ingest <purpose>`.
        timeout: For the connection, not for the statements.

    Raises:
        DatabaseUnavailable, DatabaseRefused: see there.
    """
    connection = await open_connection(url, purpose=purpose, timeout=timeout)
    try:
        yield connection
    finally:
        await close_connection(connection)


async def open_connection(url: str, *, purpose: str, timeout: float = 10.0) -> Connection:
    """Like `connect`, for a connection that outlives the block; give it to `close_connection`."""
    try:
        return await asyncpg.connect(
            url,
            timeout=timeout,
            server_settings={"application_name": f"ingest {purpose}", "search_path": SCHEMA},
        )
    except (
        OSError,
        TimeoutError,
        asyncpg.CannotConnectNowError,
        asyncpg.TooManyConnectionsError,
        asyncpg.ConnectionDoesNotExistError,
        asyncpg.ConnectionFailureError,
    ) as error:
        raise DatabaseUnavailable(f"PostgreSQL can't be reached: {error or type(error).__name__}") from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        raise DatabaseRefused(f"PostgreSQL refuses the connection: {error}") from error


async def close_connection(connection: Connection) -> None:
    """Close politely, or at once if the server does not answer."""
    try:
        await connection.close(timeout=5)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        connection.terminate()


async def wait_until_usable(url: str, *, timeout: float) -> None:
    """Return once the database accepts us and is one we can use; try again while it is unavailable.

    Raises:
        DatabaseUnavailable: Not within `timeout`.
        DatabaseRefused: Wrong password, no such database, older than PostgreSQL 14, or not UTF-8.
    """
    started = time.monotonic()
    delay = 0.2
    while True:
        try:
            async with connect(url, purpose="start") as connection:
                await _check_server(connection)
                return
        except DatabaseUnavailable as error:
            waited = time.monotonic() - started
            if waited + delay > timeout:
                raise DatabaseUnavailable(f"{error} (tried for {waited:.0f} seconds)") from error
            logger.warning("%s; trying again for %.0f more seconds", error, timeout - waited)
        await asyncio.sleep(delay * random.uniform(0.7, 1.3))
        delay = min(delay * 1.7, 5.0)


async def _check_server(connection: Connection) -> None:
    version, encoding = await connection.fetchrow(load_queries("migrations")["server_facts"])
    if version < OLDEST_SERVER:
        raise DatabaseRefused(f"PostgreSQL {version // 10_000} is too old; 14 or later is needed")
    if encoding != "UTF8":
        raise DatabaseRefused(f"the database's encoding is {encoding}; create it with ENCODING 'UTF8'")
