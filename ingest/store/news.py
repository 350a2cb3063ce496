"""What is new: where runs and metrics stand, as the live stream asks every second. One connection of its own.

Why polling and not LISTEN/NOTIFY: a NOTIFY in a transaction takes a lock at COMMIT that all committers of the whole server
share, so it would put every batch of every process in one line (docs/decisions.md has the measurement); and polling by run
reads one row a writer by primary key.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Self
from uuid import UUID

from ingest.store.connections import open_reader_pool
from ingest.store.errors import DATABASE_ERRORS, translated
from ingest_schema.sql import load_queries

__all__ = ["News", "RunState", "SeriesState"]

_SQL: Final = load_queries("stream")
TIMEOUT: Final = 10.0
"""Seconds for one question."""


@dataclass(frozen=True, slots=True)
class RunState:
    """Where a run stands. version grows with each of its stored batches."""

    run_id: UUID
    status: str
    end_time_ms: int | None
    version: int
    points: int
    heartbeat_ms: int


@dataclass(frozen=True, slots=True)
class SeriesState:
    """Where a metric stands: its number of points and its latest one."""

    run_id: UUID
    key: str
    n: int
    last_step: int
    last_time_ms: int
    last_value: float


class News:
    """The questions, over a pool of one connection."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator[Self]:
        pool = await open_reader_pool(url, size=1, timeout=TIMEOUT)
        try:
            yield cls(pool)
        finally:
            pool.terminate()

    async def runs(self, run_ids: Sequence[UUID]) -> list[RunState]:
        """Those of the runs that exist."""
        return [RunState(**row) for row in await self._fetch("versions", list(run_ids))]

    async def series(self, run_ids: Sequence[UUID], keys: Sequence[str], *, limit: int) -> list[SeriesState]:
        """Those metrics of those runs that exist, at most `limit`."""
        if not run_ids or not keys:
            return []
        return [SeriesState(**row) for row in await self._fetch("latest", list(run_ids), list(keys), limit)]

    async def _fetch(self, name: str, *arguments: object) -> list[Any]:
        try:
            rows: list[Any] = await self._pool.fetch(_SQL[name], *arguments)
        except DATABASE_ERRORS as error:
            raise translated(error) from error
        return rows
