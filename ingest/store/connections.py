"""Connections to PostgreSQL: one for each lane of writers, a pool for our reads, and snapshots over such a pool.

Every connection sees the schema `ingest` first and has time-outs of its own, so that neither a reader nor a forgotten
transaction can hurt the write path. TLS, failover hosts and so on are what the URL says (libpq's names).

Not for pgbouncer in transaction mode: lanes own a temporary table and use prepared statements.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg

from ingest.store.errors import DATABASE_ERRORS, translated
from ingest_schema.sql import load_queries

__all__ = [
    "ACQUIRE_TIMEOUT",
    "connect_exporter",
    "connect_writer",
    "open_editor_pool",
    "open_reader_pool",
    "snapshot",
]

CONNECT_TIMEOUT: Final = 10.0
"""Seconds to wait for one connection."""
ACQUIRE_TIMEOUT: Final = 10.0
"""Seconds to wait for a free connection of a pool: beyond, the caller does better to come again."""
COMMIT_TIMEOUT: Final = 60.0
"""Seconds that one commit group may take; a group is a fraction of a second of work."""
EXPORT_TIMEOUT: Final = 3600.0
"""Of one statement of an export."""


def _milliseconds(seconds: float) -> str:
    return str(max(1, int(seconds * 1000)))


async def connect_writer(url: str) -> Any:
    """A connection for one lane.

    Raises:
        asyncpg.PostgresError, OSError, TimeoutError: The database can't be reached.
    """
    connection = await asyncpg.connect(
        url,
        timeout=CONNECT_TIMEOUT,
        command_timeout=COMMIT_TIMEOUT,
        server_settings={
            "application_name": "ingest writer",
            "search_path": "ingest",
            "synchronous_commit": "on",  # acknowledged means on disk, whatever the database's default is
            "statement_timeout": _milliseconds(COMMIT_TIMEOUT),
            "idle_in_transaction_session_timeout": _milliseconds(COMMIT_TIMEOUT),
            "jit": "off",  # compiling the merge takes longer than running it
            "DateStyle": "ISO",
        },
    )
    try:
        await connection.execute(load_queries("write")["create_series_stage"])
    except BaseException:
        connection.terminate()
        raise
    return connection


async def connect_exporter(url: str) -> Any:
    """A connection that reads for as long as an export takes, in one snapshot; no statement may take over an hour.

    Raises:
        asyncpg.PostgresError, OSError, TimeoutError: The database can't be reached.
    """
    return await asyncpg.connect(
        url,
        timeout=CONNECT_TIMEOUT,
        command_timeout=EXPORT_TIMEOUT,
        server_settings={
            "application_name": "ingest export",
            "search_path": "ingest",
            "statement_timeout": _milliseconds(EXPORT_TIMEOUT),
            "jit": "off",
            "DateStyle": "ISO",
        },
    )


async def open_editor_pool(url: str, *, size: int) -> Any:
    """A pool for small edits: a run is made, renamed, deleted. Connections are made when first needed."""
    return await asyncpg.create_pool(
        url,
        min_size=0,
        max_size=size,
        timeout=CONNECT_TIMEOUT,
        command_timeout=COMMIT_TIMEOUT,
        max_inactive_connection_lifetime=300,
        server_settings={
            "application_name": "ingest editor",
            "search_path": "ingest",
            "synchronous_commit": "on",  # as connect_writer has it
            "statement_timeout": _milliseconds(COMMIT_TIMEOUT),
            "idle_in_transaction_session_timeout": _milliseconds(COMMIT_TIMEOUT),
            "jit": "off",
            "DateStyle": "ISO",
        },
    )


async def open_reader_pool(url: str, *, size: int, timeout: float) -> Any:
    """A pool for our own reads; connections are made when first needed.

    Args:
        timeout: Seconds that one statement may take.
    """
    return await asyncpg.create_pool(
        url,
        min_size=0,
        max_size=size,
        timeout=CONNECT_TIMEOUT,
        command_timeout=timeout + 5,
        max_inactive_connection_lifetime=300,
        server_settings={
            "application_name": "ingest reader",
            "search_path": "ingest",
            "default_transaction_read_only": "on",
            "statement_timeout": _milliseconds(timeout),
            "idle_in_transaction_session_timeout": _milliseconds(timeout + 30),
            "jit": "off",
        },
    )


@asynccontextmanager
async def snapshot(pool: Any) -> AsyncIterator[Any]:
    """A connection of a reader pool, in a transaction that sees one state of the database throughout.

    Raises:
        StoreError: Whatever the database raises in the block, translated.
    """
    try:
        async with (
            pool.acquire(timeout=ACQUIRE_TIMEOUT) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield connection
    except DATABASE_ERRORS as error:
        raise translated(error) from error
