"""How the whole database is doing: what lies in it, who writes to it, how far compaction and sealing are.

These are facts of the database, the same whichever service process is asked. Sums over all writers cost a quarter
of a second where there are 100,000 runs, so answers are kept for a while, the longer the dearer they were, and of those who ask meanwhile only one makes
the database work.

Bytes of an experiment or run are not measured, which would mean reading its rows; callers estimate them from points.

Errors: DatabaseUnavailable, ContentRefused. Units: seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar
from uuid import UUID

from ingest_schema.sql import load_queries

__all__ = ["Activity", "Operations", "Volume"]

_SQL: Final = load_queries("operations")
T = TypeVar("T")

ACTIVITY_SECONDS: Final = 1.0
"""How long writers, runs and connections are kept at least. Measured with 100,000 runs of two writers they take 0.24 s."""
VOLUME_SECONDS: Final = 10.0
"""How long sizes and the largest are kept at least; they take 0.5 s there."""
REST: Final = 20
"""An answer is kept for that many times as long as it took: watching costs at most a twentieth of one connection."""
LARGEST: Final = 20


class Reader(Protocol):
    """What runs the queries."""

    async def fetch(self, query: str, *arguments: object) -> list[Any]: ...


@dataclass(frozen=True, slots=True)
class Activity:
    """What moves. measured_at: seconds since the Unix epoch. Rows as the queries give them."""

    measured_at: float
    writers: dict[str, Any]
    runs: list[dict[str, Any]]
    connections: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Volume:
    """What lies there."""

    measured_at: float
    database_bytes: int
    tables: list[dict[str, Any]]
    runs: list[dict[str, Any]]
    experiments: list[dict[str, Any]]


class Operations:
    """Both, kept for a while."""

    def __init__(
        self, reader: Reader, *, silent_after: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """silent_after: Seconds after which a writer that says nothing does not count as alive."""
        self._reader = reader
        self._silent_after = silent_after
        self._activity = _Kept(self._read_activity, ACTIVITY_SECONDS, clock)
        self._volume = _Kept(self._read_volume, VOLUME_SECONDS, clock)

    async def activity(self) -> Activity:
        return await self._activity.get()

    async def volume(self) -> Volume:
        return await self._volume.get()

    async def _read_activity(self) -> Activity:
        writers = await self._rows("writers", self._silent_after)
        return Activity(time.time(), writers[0], await self._rows("runs"), await self._rows("sessions"))

    async def _read_volume(self) -> Volume:
        database = await self._rows("database_bytes")
        return Volume(
            time.time(),
            database[0]["bytes"],
            await self._rows("tables"),
            await self._rows("largest_runs", LARGEST),
            await self._rows("largest_experiments", LARGEST),
        )

    async def _rows(self, query: str, *arguments: object) -> list[dict[str, Any]]:
        rows = await self._reader.fetch(_SQL[query], *arguments)
        return [{k: v.hex if isinstance(v, UUID) else v for k, v in dict(row).items()} for row in rows]


class _Kept(Generic[T]):
    """A value that is read anew when it is older than `seconds` and REST times what it took, by one asker at a time."""

    def __init__(self, read: Callable[[], Awaitable[T]], seconds: float, clock: Callable[[], float]) -> None:
        self._read = read
        self._seconds = seconds
        self._clock = clock
        self._lock = asyncio.Lock()
        self._kept: tuple[T, float] | None = None
        """The value, and until when it is good."""

    async def get(self) -> T:
        async with self._lock:
            if self._kept is None or self._kept[1] <= self._clock():
                started = self._clock()
                value = await self._read()
                now = self._clock()
                self._kept = (value, now + max(self._seconds, REST * (now - started)))
            return self._kept[0]
