"""Thinning in the database: packed rows of a run at rest are replaced by rows with fewer points, a window a transaction.

As in a merge of compaction, readers see the rows before or those after, and a crash leaves a run that is thinned in part: rows
that were done say how many points they stand for, and are passed over from then on. So thinning goes on where it stood,
late points of a thinned run are thinned by themselves, and no point is thinned twice.

`series` is not touched: it goes on saying what was logged.

Runs under the lock of compaction, on its connection. Errors: those of the driver; `StaleMerge` as in compaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import numpy as np

from ingest.charts.attempts import Writer, of_key, voices
from ingest.compaction.thinning import KEPT_MOST, kept
from ingest.store.errors import Contention
from ingest.store.packs import PACK_COLUMNS, PackedPoints, pack_rows
from ingest.store.pgcopy import HEADER, TRAILER
from ingest_schema.sql import load_queries

__all__ = ["Thinned", "thin_run"]

_SQL: Final = load_queries("retention")
_WRITERS: Final = load_queries("charts")["run_writers"]

WINDOW_ROWS: Final = 100
"""Packed rows of one transaction: about 100,000 points, as a merge has."""
KEYS_AT_A_TIME: Final = 1_000
GAIN: Final = 0.8
"""A window that would keep more of its points than this is left as it is."""


@dataclass(frozen=True, slots=True)
class Thinned:
    """What one transaction did; after: how many points are left of those before."""

    before: int
    after: int


class NotAtRest(Exception):
    """The run runs again. What was thinned is thinned; the rest stays."""


async def thin_run(connection: Any, run_id: UUID, thin_to: int) -> AsyncIterator[Thinned]:
    """Thin a run whose points are all packed; after each transaction what it did.

    Args:
        connection: In no transaction; holds the lock of compaction.
        thin_to: Buckets of each metric.

    Raises:
        NotAtRest: See there.
    """
    rows = await connection.fetch(_WRITERS, [run_id])
    heard = voices(Writer(**{name: value for name, value in row.items() if name != "run_id"}) for row in rows)
    after = ""
    while found := await connection.fetch(
        _SQL["large_series"], run_id, after, thin_to * KEPT_MOST, KEYS_AT_A_TIME
    ):
        for row in found:
            bucket_points = -(-row["n"] // thin_to)
            for voice in of_key(heard, row["key"]):
                series = _Series(run_id, row["key"], voice.writer_id, voice.until, bucket_points)
                async for thinned in _thin_series(connection, series):
                    yield thinned
        after = found[-1]["key"]


@dataclass(frozen=True, slots=True)
class _Series:
    """The points of one metric and writer."""

    run_id: UUID
    key: str
    writer_id: UUID
    until: int | None
    bucket_points: int

    @property
    def place(self) -> tuple[UUID, str, UUID]:
        return self.run_id, self.key, self.writer_id


async def _thin_series(connection: Any, series: _Series) -> AsyncIterator[Thinned]:
    seq, part = 0, 0
    while found := await connection.fetch(_SQL["rows_to_thin"], *series.place, seq, part, WINDOW_ROWS):
        rows = _window(found)
        seq, part = rows[-1]["seq"], rows[-1]["part"] + 1
        async with connection.transaction():
            if not await connection.fetchval(_SQL["still_rests"], series.run_id):
                raise NotAtRest(f"run {series.run_id.hex} runs again")
            thinned = await _thin_window(connection, series, rows)
        if thinned is not None:
            yield thinned


def _window(rows: Sequence[Any]) -> Sequence[Any]:
    """As many of the first as make a window: several seqs, each to its end, or a piece of a single one.

    So what is left can be numbered within the last seq, and arrival can still be told from (seq, part).
    """
    whole = [row for row in rows if row["seq"] != rows[-1]["seq"]]
    return whole if whole and len(rows) == WINDOW_ROWS else rows


async def _thin_window(connection: Any, series: _Series, rows: Sequence[Any]) -> Thinned | None:
    """Replace these rows; None if that would gain nothing."""
    transaction = connection.transaction()  # a savepoint, to give the rows back
    await transaction.start()
    row = await connection.fetchrow(
        _SQL["take_rows"], series.run_id, series.key, [tuple(one["ctid"]) for one in rows], series.writer_id
    )
    before = sum(one["n"] for one in rows)
    if row["chunks"] != len(rows):
        await transaction.rollback()
        raise Contention(f"{len(rows)} rows of {series.key!r} were to be thinned, {row['chunks']} were there")
    found = await asyncio.to_thread(_rows_left, series, row, before, rows)
    if found is None:
        await transaction.rollback()
        return None
    await transaction.commit()
    after, packed = found
    await connection.copy_to_table(
        "packed_chunks",
        source=bytearray().join((HEADER, *packed, TRAILER)),
        format="binary",
        columns=list(PACK_COLUMNS),
    )
    return Thinned(before, after)


def _rows_left(series: _Series, row: Any, before: int, rows: Sequence[Any]) -> tuple[int, list[bytes]] | None:
    """How many points stay, and their rows."""
    steps, times_ms, values = PackedPoints.of_row(row).unpacked()
    order = np.lexsort((times_ms, steps))  # stable: arrival settles the rest
    steps, times_ms, values = steps[order], times_ms[order], values[order]
    stays = kept(steps, times_ms, values, bucket_points=series.bucket_points, until=series.until)
    after = int(stays.sum())
    if after > GAIN * before:
        return None
    packed = pack_rows(
        series.run_id,
        series.writer_id,
        series.key,
        seq=rows[-1]["seq"],
        first_part=rows[0]["part"] if rows[0]["seq"] == rows[-1]["seq"] else 0,
        stands_for=before,
        steps=steps[stays],
        times_ms=times_ms[stays],
        values=values[stays],
    )
    return after, list(packed)
