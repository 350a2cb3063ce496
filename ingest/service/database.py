"""The connections of the service functions: a pool that edits, a pool that reads.

Edits are small transactions of a known shape; one that loses against another is tried again here, so that callers see
an answer or a database that is away. Reads have a pool and a time-out of their own.

Errors: DatabaseUnavailable, Contention, ContentRefused (`ingest.store.errors`). Units: seconds.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Self, TypeVar

from ingest.store.connections import ACQUIRE_TIMEOUT, open_editor_pool, open_reader_pool, snapshot
from ingest.store.errors import DATABASE_ERRORS, Contention, translated

__all__ = ["Database"]

T = TypeVar("T")

EDIT_CONNECTIONS: Final = 4
TRIES: Final = 5


class Database:
    """Both pools. `open` makes one."""

    def __init__(self, editors: Any, readers: Any) -> None:
        self._editors = editors
        self._readers = readers

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, *, readers: int, timeout: float) -> AsyncIterator[Self]:
        """Pools for as long as the block; connections are made when first needed.

        Args:
            readers: Connections that read. timeout: Seconds that one read may take.
        """
        editors = await open_editor_pool(url, size=EDIT_CONNECTIONS)
        try:
            reading = await open_reader_pool(url, size=readers, timeout=timeout)
            try:
                yield cls(editors, reading)
            finally:
                reading.terminate()
        finally:
            editors.terminate()

    async def edit(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """Run `work` in one transaction and return what it returned, after COMMIT.

        Args:
            work: Takes a connection. Called again if the transaction lost against another one.
        """
        for attempt in range(1, TRIES + 1):
            try:
                async with (
                    self._editors.acquire(timeout=ACQUIRE_TIMEOUT) as connection,
                    connection.transaction(),
                ):
                    return await work(connection)
            except DATABASE_ERRORS as error:
                known = translated(error)
                if not isinstance(known, Contention) or attempt == TRIES:
                    raise known from error
                await asyncio.sleep(random.uniform(0, 0.01 * 2**attempt))
        raise AssertionError("unreachable")

    async def fetch(self, query: str, *arguments: object) -> list[Any]:
        try:
            async with self._readers.acquire(timeout=ACQUIRE_TIMEOUT) as connection:
                rows: list[Any] = await connection.fetch(query, *arguments)
                return rows
        except DATABASE_ERRORS as error:
            raise translated(error) from error

    async def fetchrow(self, query: str, *arguments: object) -> Any:
        rows = await self.fetch(query, *arguments)
        return rows[0] if rows else None

    def snapshot(self) -> AbstractAsyncContextManager[Any]:
        """A connection in a read-only transaction that sees one state of the database throughout."""
        return snapshot(self._readers)
