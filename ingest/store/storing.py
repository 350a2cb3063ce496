"""Points into the database: chunks by COPY, their series by one merge. For batches (`commit`) and for imports.

Two steps, since the first needs no database: what it costs is spent before the transaction begins.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from ingest.store.pgcopy import CHUNK_COLUMNS, HEADER, TRAILER, chunk_rows
from ingest.store.points import PointTable
from ingest.store.series import SeriesRows, merge_into_series, series_rows
from ingest.store.summaries import Summaries, summarize
from ingest_schema.wire import Batch

__all__ = ["PreparedPoints", "prepare_points", "store_points"]


@dataclass(frozen=True, slots=True)
class PreparedPoints:
    """The points of some batches, summed up and ready for COPY."""

    table: PointTable
    summaries: Summaries
    series: SeriesRows


def prepare_points(batches: Sequence[Batch]) -> PreparedPoints | None:
    """Sum the batches' points up; None if there are none."""
    table = PointTable.of(batches)
    if not table.chunk_count:
        return None
    summaries = summarize(table)
    return PreparedPoints(table, summaries, series_rows(table, summaries))


async def store_points(connection: Any, prepared: PreparedPoints) -> None:
    """Store them, inside the caller's transaction; the connection is a writer's (`connections.connect_writer`)."""
    await connection.copy_to_table(
        "metric_chunks", source=_copy_source(prepared), format="binary", columns=list(CHUNK_COLUMNS)
    )
    await merge_into_series(connection, prepared.table, prepared.series)


async def _copy_source(prepared: PreparedPoints) -> AsyncIterator[bytes]:
    yield HEADER
    for piece in chunk_rows(prepared.table, prepared.summaries):
        yield piece
    yield TRAILER
