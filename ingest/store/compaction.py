"""Compaction in the database: find series that wait, and merge chunks of one, a transaction at a time.

A transaction deletes small chunks and writes the rows that hold the same points, sorted; so a reader's snapshot has one or the
other, a crash in the middle leaves everything as it was, and to start again is always safe. It locks no row that a writer
wants: batches only ever add chunks. `series` is not touched.

synchronous_commit is off: if the machine dies the merge is undone as a whole, and no acknowledged point hangs on it.

Errors: DatabaseUnavailable, Contention as everywhere; StaleMerge when somebody deleted chunks in between.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Self, TypeVar
from uuid import UUID

import asyncpg
import numpy as np

from ingest.charts.parts import Float64s, Int64s
from ingest.compaction.plan import SMALL_PACK_POINTS, Merge, Piece, merges
from ingest.store import retention, thinning
from ingest.store.attempts import settle_attempts
from ingest.store.connect import close_connection
from ingest.store.errors import DATABASE_ERRORS, Contention, translated
from ingest.store.liveness import look_for_silence
from ingest.store.packs import PACK_COLUMNS, PackedPoints, element_column, pack_rows
from ingest.store.pgcopy import HEADER, TRAILER
from ingest_schema.sql import load_queries

__all__ = ["Compaction", "Merged", "StaleMerge", "WaitingSeries"]

_SQL: Final = load_queries("compaction")
_RETENTION: Final = load_queries("retention")
T = TypeVar("T")

LOCK: Final = 0x696E_6763_6D70
"""Number of the advisory lock: "ingcmp". Whoever holds it compacts this database."""
LOOK_ROWS: Final = 20_000
"""Rows of the index that one look goes over: about 10 ms."""
PLAN_MAX_CHUNKS: Final = 100_000
"""Chunks of one series that one plan covers; what is beyond comes with the next."""
CONNECT_TIMEOUT: Final = 10.0
STATEMENT_TIMEOUT: Final = 60.0
"""Seconds."""


class StaleMerge(Contention):
    """Chunks of the plan are gone: a run was deleted meanwhile. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class WaitingSeries:
    """A series with chunks that wait; counts may be too low for the last one of a look."""

    run_id: UUID
    key: str
    chunks: int
    points: int
    is_over: bool


@dataclass(frozen=True, slots=True)
class Merged:
    """What one transaction did."""

    chunks: int
    points: int
    rows: int


class Compaction:
    """A connection that holds the lock. `open` makes one."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, *, purpose: str = "upkeep") -> AsyncIterator[Self | None]:
        """The right to compact for as long as the block; None if somebody else has it.

        Args:
            purpose: Shown in pg_stat_activity.
        """
        try:
            connection = await asyncpg.connect(
                url,
                timeout=CONNECT_TIMEOUT,
                command_timeout=STATEMENT_TIMEOUT,
                server_settings={
                    "application_name": f"ingest compaction ({purpose})",
                    "search_path": "ingest",
                    "synchronous_commit": "off",
                    "idle_in_transaction_session_timeout": str(int(STATEMENT_TIMEOUT * 1000)),
                    "jit": "off",
                },
            )
        except DATABASE_ERRORS as error:
            raise translated(error) from error
        try:
            try:
                is_ours = await connection.fetchval(_SQL["take_turn"], LOCK)
            except DATABASE_ERRORS as error:
                raise translated(error) from error
            yield cls(connection) if is_ours else None
        except BaseException:
            connection.terminate()  # gives up the lock soon; a dead server must not hold up the end
            raise
        await close_connection(connection)  # the lock is free when this returns

    async def waiting(self, after: tuple[UUID, str]) -> tuple[list[WaitingSeries], tuple[UUID, str] | None]:
        """Some series that have chunks waiting, and where the next look begins; None after the last."""
        rows = await self._fetch("waiting", *after, LOOK_ROWS)
        found = [WaitingSeries(**row) for row in rows]
        is_end = sum(one.chunks for one in found) < LOOK_ROWS
        if is_end:
            return found, None
        if len(found) > 1:
            found.pop()  # counted in part only
        return found, (found[-1].run_id, found[-1].key)

    async def compact(self, series: WaitingSeries) -> AsyncIterator[Merged]:
        """Compact one series; after each transaction what it did."""
        where = series.run_id, series.key
        chunks = await self._fetch("chunks_of_series", *where, PLAN_MAX_CHUNKS)
        packs = await self._fetch("small_packs", *where, SMALL_PACK_POINTS)
        plan = merges([_piece(row) for row in chunks], [_piece(row) for row in packs], is_over=series.is_over)
        for merge in plan:
            try:
                async with self._connection.transaction():
                    merged = await self._merge(series, merge)
            except DATABASE_ERRORS as error:
                raise translated(error) from error
            yield merged

    async def look_for_silence(self, lost_after: float) -> tuple[list[UUID], list[UUID]]:
        """See `ingest.store.liveness`: who holds the lock does this, too."""
        try:
            return await look_for_silence(self._connection, lost_after)
        except DATABASE_ERRORS as error:
            raise translated(error) from error

    async def settle_attempts(self) -> int:
        """See `ingest.store.attempts`: who holds the lock does this, too."""
        try:
            return await settle_attempts(self._connection)
        except DATABASE_ERRORS as error:
            raise translated(error) from error

    # What rules of retention need is done by who holds the lock, too; see `ingest.store.retention` and `.thinning`.

    async def due_to_delete(self, experiment_id: int | None) -> AsyncIterator[retention.DueByRule]:
        async for run in _translating(retention.due_to_delete(self._connection, experiment_id)):
            yield run

    async def due_to_thin(self, experiment_id: int | None) -> AsyncIterator[retention.DueByRule]:
        async for run in _translating(retention.due_to_thin(self._connection, experiment_id)):
            yield run

    async def delete_run(self, run_id: UUID) -> bool:
        try:
            return await retention.delete_run(self._connection, run_id)
        except DATABASE_ERRORS as error:
            raise translated(error) from error

    async def thin_run(self, run_id: UUID, thin_to: int) -> AsyncIterator[thinning.Thinned]:
        async for thinned in _translating(thinning.thin_run(self._connection, run_id, thin_to)):
            yield thinned

    async def mark_thinned(self, run_id: UUID, begun_at: dt.datetime) -> None:
        await self._fetch_retention("mark_thinned", run_id, begun_at)

    async def now(self) -> dt.datetime:
        """By the database's clock."""
        (row,) = await self._fetch_retention("now")
        found: dt.datetime = row[0]
        return found

    async def _fetch_retention(self, query: str, *arguments: object) -> list[Any]:
        try:
            rows: list[Any] = await self._connection.fetch(_RETENTION[query], *arguments)
        except DATABASE_ERRORS as error:
            raise translated(error) from error
        return rows

    async def sizes(self) -> tuple[int, int]:
        """Bytes on disk of metric_chunks and of packed_chunks."""
        (row,) = await self._fetch("sizes")
        return row["plain_bytes"], row["packed_bytes"]

    async def vacuum(self) -> None:
        """Make the space of compacted chunks free again at once, rather than when autovacuum comes by."""
        try:
            await self._connection.execute(_SQL["vacuum"], timeout=3600)
        except DATABASE_ERRORS as error:
            raise translated(error) from error

    async def _merge(self, series: WaitingSeries, merge: Merge) -> Merged:
        columns = [await self._take_packs(series, merge)] if merge.packs else []
        columns.append(await self._take_chunks(series, merge))
        # In a thread: some ten milliseconds, for which the loop should not keep batches waiting.
        rows = await asyncio.to_thread(_packed, series, merge, columns)
        await self._connection.copy_to_table(
            "packed_chunks",
            source=bytearray().join((HEADER, *rows, TRAILER)),  # bytes would be a path to asyncpg
            format="binary",
            columns=list(PACK_COLUMNS),
        )
        return Merged(chunks=len(merge.packs) + len(merge.chunks), points=merge.n, rows=len(rows))

    async def _take_chunks(self, series: WaitingSeries, merge: Merge) -> tuple[Int64s, Int64s, Float64s]:
        row = await self._take("take_chunks", series, merge.writer_id, merge.chunks)
        n = np.frombuffer(row["n"], ">i4")
        tids = np.frombuffer(row["tids"], dtype=[("block", ">u4"), ("place", ">u2")])
        chunk_order = np.lexsort((tids["place"], tids["block"], np.frombuffer(row["seqs"], ">i8")))
        columns = (
            element_column(row["steps"], "i8"),
            element_column(row["times_ms"], "i8"),
            element_column(row["values"], "f8"),
        )
        if (chunk_order[1:] > chunk_order[:-1]).all():
            return columns
        rank = np.empty(len(n), dtype=np.int64)
        rank[chunk_order] = np.arange(len(n))
        order = np.argsort(np.repeat(rank, n), kind="stable")
        steps, times_ms, values = columns
        return steps[order], times_ms[order], values[order]

    async def _take_packs(self, series: WaitingSeries, merge: Merge) -> tuple[Int64s, Int64s, Float64s]:
        row = await self._take("take_packs", series, merge.writer_id, merge.packs)
        return PackedPoints.of_row(row).unpacked()

    async def _take(
        self, query: str, series: WaitingSeries, writer_id: UUID, pieces: tuple[Piece, ...]
    ) -> Any:
        row = await self._connection.fetchrow(
            _SQL[query], series.run_id, series.key, [piece.tid for piece in pieces], writer_id
        )
        found = 0 if row["n"] is None else int(np.frombuffer(row["n"], ">i4").sum())
        if row["chunks"] != len(pieces) or found != sum(piece.n for piece in pieces):
            raise StaleMerge(
                f"{len(pieces)} chunks of {series.key!r} were to be merged, {row['chunks']} were there"
            )
        return row

    async def _fetch(self, query: str, *arguments: object) -> list[Any]:
        try:
            rows: list[Any] = await self._connection.fetch(_SQL[query], *arguments)
        except DATABASE_ERRORS as error:
            raise translated(error) from error
        return rows


async def _translating(source: AsyncIterator[T]) -> AsyncIterator[T]:
    try:
        async for one in source:
            yield one
    except DATABASE_ERRORS as error:
        raise translated(error) from error


def _packed(
    series: WaitingSeries, merge: Merge, columns: list[tuple[Int64s, Int64s, Float64s]]
) -> list[bytes]:
    """The rows for these points, which are in order of arrival."""
    steps, times_ms, values = (np.concatenate(several) for several in zip(*columns, strict=True))
    order = np.lexsort((times_ms, steps))  # stable: points of equal step and time stay in order of arrival
    return list(
        pack_rows(
            series.run_id,
            merge.writer_id,
            series.key,
            seq=merge.seq,
            steps=steps[order],
            times_ms=times_ms[order],
            values=values[order],
        )
    )


def _piece(row: Any) -> Piece:
    return Piece(row["writer_id"], row["seq"], tuple(row["ctid"]), row["n"])
