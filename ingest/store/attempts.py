"""Latest values after a resume: `series` stops counting superseded points.

A batch merges its points into `series` without asking whether a later attempt has superseded them; that question would cost
every batch, and its answer may change afterwards. So upkeep asks it: a few seconds after a resume, and again when late
points of an old attempt come in, the rows of that run's series are made anew from the chunks. Charts need none of this.

A metric none of whose points counts any more has no row until the new attempt logs it.

Runs under the lock of compaction, so that no chunk moves meanwhile. Batches wait for the rows of a few series, for
milliseconds; their locks come in the same order (runs, then series by key).
"""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

import numpy as np

from ingest.charts.attempts import Voice, Writer, of_key, voices
from ingest.charts.parts import Parts, unite
from ingest.store.chunks import Chunks, OpenedPoints, Span, TooManyChunks, Wanted, fetch_chunks
from ingest_schema.sql import load_queries

__all__ = ["settle_attempts"]

_SQL: Final = load_queries("attempts")
_WRITERS: Final = load_queries("charts")["run_writers"]

MAX_RUNS: Final = 20
"""Runs that one round settles."""
KEYS_AT_A_TIME: Final = 16
SLICE_CHUNKS: Final = 256
"""Chunks opened at a time."""


async def settle_attempts(connection: Any) -> int:
    """Settle some resumed runs; returns how many. The caller holds the lock of compaction and is in no transaction."""
    due = await connection.fetch(_SQL["due"], MAX_RUNS)
    for row in due:
        await _settle(connection, row["run_id"])
        # What came in meanwhile makes the numbers differ, and the run due again.
        await connection.execute(_SQL["settled"], row["run_id"], row["attempt"], row["points"])
    return len(due)


async def _settle(connection: Any, run_id: UUID) -> None:
    rows = await connection.fetch(_WRITERS, [run_id])
    heard = voices(Writer(**{name: value for name, value in row.items() if name != "run_id"}) for row in rows)
    untils = [voice.until for voice in heard if voice.until is not None]
    after = ""
    while untils:
        found = await connection.fetch(_SQL["keys"], run_id, after, min(untils), KEYS_AT_A_TIME)
        if not found:
            return
        after = found[-1]["key"]
        async with connection.transaction():
            await connection.execute(_SQL["lock_run"], run_id)
            await _set_series(connection, run_id, [row["key"] for row in found], heard)


async def _set_series(connection: Any, run_id: UUID, keys: list[str], heard: list[Voice]) -> None:
    locked = [row["key"] for row in await connection.fetch(_SQL["lock_series"], run_id, keys)]
    chunks = await fetch_chunks(
        connection, [Wanted(run_id, key, of_key(heard, key), Span()) for key in locked]
    )
    for key, some in zip(locked, chunks, strict=True):
        if isinstance(some, TooManyChunks):
            continue  # it waits for compaction; a later resume or late points bring it up again
        row = await _summary(connection, some)
        if row is None:
            await connection.execute(_SQL["drop_series"], run_id, key)
        else:
            await connection.execute(_SQL["set_series"], run_id, key, *row)


async def _summary(connection: Any, chunks: Chunks) -> list[Any] | None:
    """The columns of `series` after its key; None if no point counts."""
    cut = chunks.is_cut
    whole = chunks.take(~cut)
    parts, last = await _opened(connection, chunks.take(cut))
    known = Parts.joined([whole.summaries, parts])
    if not len(known):
        return None
    # A chunk does not say when its first and last points were logged: those at the ends are opened, too.
    at_end = (whole.summaries.hi_step == known.hi_step.max()) | (
        whole.summaries.lo_step == known.lo_step.min()
    )
    end_parts, end_last = await _opened(connection, whole.take(at_end))
    everything = Parts.joined([whole.take(~at_end).summaries, end_parts, parts])
    total = unite(everything, np.zeros(len(everything), dtype=np.intp))
    last_step, last_time_ms, _, last_value = max(one for one in (last, end_last) if one is not None)
    has_finite = total.non_finite[0] < total.n[0]
    extremes = [total.min_value, total.max_value, total.min_step, total.max_step]
    return [
        int(total.n[0]),
        int(total.non_finite[0]),
        int(total.lo_step[0]),
        int(total.first_time_ms[0]),
        float(total.first_value[0]),
        last_step,
        last_time_ms,
        last_value,
        *(column[0].item() if has_finite else None for column in extremes),
        float(total.sum_value[0]),
    ]


_Last = tuple[int, int, float, float]
"""A point as MLflow orders them: step, time, value with NaN as 0; and its value."""


async def _opened(connection: Any, chunks: Chunks) -> tuple[Parts, _Last | None]:
    """The chunks' points that count, as one part for each slice; and the latest of them."""
    pieces, last = [Parts.none()], None
    for begin in range(0, len(chunks), SLICE_CHUNKS):
        some = chunks.take(np.arange(begin, min(begin + SLICE_CHUNKS, len(chunks))))
        points = await some.points(connection)
        if len(points):
            pieces.append(unite(points.as_parts(some), np.zeros(len(points), dtype=np.intp)))
            last = max(x for x in (last, _last(points)) if x is not None)
    return Parts.joined(pieces), last


def _last(points: OpenedPoints) -> _Last:
    as_number = np.where(np.isnan(points.values), 0.0, points.values)
    i = np.lexsort((as_number, points.times_ms, points.steps))[-1]
    return int(points.steps[i]), int(points.times_ms[i]), float(as_number[i]), float(points.values[i])
