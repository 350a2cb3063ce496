"""Points of one series in the order (time, step, value), page by page, whatever the order in which they came.

Chunks say from when to when their points are, so a page opens those only that it needs: for a series logged in order,
what the page holds and a chunk more. Arrays come in PostgreSQL's binary form and are sorted by numpy.

A page begins after a point, not at a number: points that arrive meanwhile shift nothing. Points that are equal in
everything are told apart by how many of them were given.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import numpy as np

from ingest.charts.parts import distinct
from ingest.store.history import packed_columns, plain_columns
from ingest.store.pgcopy import decode_array
from ingest.store.points import Float64s, Int64s
from ingest_schema.limits import INT64_MAX, INT64_MIN
from ingest_schema.sql import load_queries

__all__ = ["Columns", "Place", "in_order", "read_all", "read_at_steps", "read_page", "read_steps"]

_SQL: Final = load_queries("timeline")
_PREFETCH: Final = 64
"""Chunks that one round trip fetches: up to 1.6 MB."""


@dataclass(frozen=True, slots=True)
class Place:
    """After a point: its time, step and value, and how many points equal to it came before."""

    time_ms: int
    step: int
    value: float
    equal_num: int = 1


@dataclass(frozen=True, slots=True)
class Columns:
    """Points in order. after: where the next page begins; None after the last."""

    steps: Int64s
    times_ms: Int64s
    values: Float64s
    after: Place | None

    def __len__(self) -> int:
        return len(self.steps)


async def read_page(connection: Any, run_id: UUID, key: str, *, limit: int, after: Place | None) -> Columns:
    """At most `limit` points; none for a series that is not there.

    Args:
        connection: In a transaction that sees one state throughout, for the page to be of one state.
    """
    since_ms = INT64_MIN if after is None else after.time_ms
    # One more than the page, to know whether there is another.
    bound = await connection.fetchval(_SQL["bound"], run_id, key, since_ms, limit + 1)
    until_ms = INT64_MAX if bound is None else bound
    steps, times_ms, values = in_order(*await _window(connection, run_id, key, since_ms, until_ms))
    begin = 0 if after is None else _index_after(steps, times_ms, values, after)
    # Points beyond the bound may have neighbours in chunks that were not opened.
    known = int(np.searchsorted(times_ms, until_ms, side="right"))
    end = min(begin + limit, known)
    place = _place_of(steps, times_ms, values, end) if end < known else None
    return Columns(steps[begin:end], times_ms[begin:end], values[begin:end], place)


async def read_all(connection: Any, run_id: UUID, key: str, *, page: int = 100_000) -> AsyncIterator[Columns]:
    """All points in order, in pages of at most `page` points, so that memory is bounded."""
    after: Place | None = None
    while True:
        columns = await read_page(connection, run_id, key, limit=page, after=after)
        if len(columns):
            yield columns
        after = columns.after
        if after is None:
            return


async def read_steps(connection: Any, run_id: UUID, key: str, low: int, high: int) -> Int64s:
    """The different steps of a series from low to high, in order."""
    pieces: list[Int64s] = []
    for row in await connection.fetch(_SQL["steps"], run_id, key, low, high):
        even = row["steps"] is None
        pieces.append(
            row["lo_step"] + np.arange(row["n"], dtype=np.int64) * row["step_gap"]
            if even
            else decode_array(row["steps"], ">i8")
        )
    steps = np.concatenate([np.empty(0, np.int64), *pieces])
    if not (steps[1:] > steps[:-1]).all():
        steps = distinct(np.sort(steps))
    return steps[(steps >= low) & (steps <= high)]


async def read_at_steps(connection: Any, run_id: UUID, key: str, steps: Int64s, *, limit: int) -> Columns:
    """All points at these steps, which are different and in order; of more than `limit` the first.

    Args:
        connection: In a transaction, for the cursor.
    """
    kept = Columns(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float64), None)
    if not len(steps):
        return kept
    cursor = connection.cursor(
        _SQL["chunks_by_step"], run_id, key, int(steps[0]), int(steps[-1]), prefetch=_PREFETCH
    )
    pieces, held = [kept], 0
    async for row in cursor:
        found, times_ms, values = packed_columns(row) if row["is_packed"] else plain_columns(row)
        place = np.minimum(np.searchsorted(steps, found), len(steps) - 1)
        chosen = np.flatnonzero(steps[place] == found)
        pieces.append(Columns(found[chosen], times_ms[chosen], values[chosen], None))
        held += len(chosen)
        if held > 2 * limit:
            pieces, held = [_first(pieces, limit)], limit
    return _first(pieces, limit)


def _first(pieces: list[Columns], limit: int) -> Columns:
    """The first `limit` of the points."""
    steps = np.concatenate([piece.steps for piece in pieces])
    times_ms = np.concatenate([piece.times_ms for piece in pieces])
    values = np.concatenate([piece.values for piece in pieces])
    steps, times_ms, values = in_order(steps, times_ms, values)
    return Columns(steps[:limit], times_ms[:limit], values[:limit], None)


def in_order(steps: Int64s, times_ms: Int64s, values: Float64s) -> tuple[Int64s, Int64s, Float64s]:
    """The points by (time, step, value), NaN last. Those that are in order, as most series are, stay where they are."""
    rises = times_ms[1:] > times_ms[:-1]
    if not rises.all():
        rises |= (times_ms[1:] == times_ms[:-1]) & (steps[1:] > steps[:-1])
    if rises.all():
        return steps, times_ms, values
    order = np.lexsort((values, np.isnan(values), steps, times_ms))
    return steps[order], times_ms[order], values[order]


async def _window(
    connection: Any, run_id: UUID, key: str, since_ms: int, until_ms: int
) -> tuple[Int64s, Int64s, Float64s]:
    arguments = (run_id, key, since_ms, until_ms)
    pieces = [plain_columns(row) for row in await connection.fetch(_SQL["plain"], *arguments)]
    pieces += [packed_columns(row) for row in await connection.fetch(_SQL["packed"], *arguments)]
    pieces.sort(key=lambda columns: int(columns[1][0]))  # by their first times: then little is left to sort
    if not pieces:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float64)
    steps, times_ms, values = (np.concatenate(column) for column in zip(*pieces, strict=True))
    return steps, times_ms, values


def _index_after(steps: Int64s, times_ms: Int64s, values: Float64s, after: Place) -> int:
    """Where the points after that place begin."""
    first, end = _equal_range(steps, times_ms, values, after)
    return min(first + after.equal_num, end)


def _equal_range(steps: Int64s, times_ms: Int64s, values: Float64s, at: Place) -> tuple[int, int]:
    """From where to where the points equal to this one stand, or would stand."""
    low, high = _range(times_ms, at.time_ms, 0, len(times_ms))
    low, high = _range(steps, at.step, low, high)
    return _range(values, at.value, low, high)  # searchsorted has NaN last, as the order here


def _range(column: Any, value: float, low: int, high: int) -> tuple[int, int]:
    part = column[low:high]
    return low + int(np.searchsorted(part, value, "left")), low + int(np.searchsorted(part, value, "right"))


def _place_of(steps: Int64s, times_ms: Int64s, values: Float64s, end: int) -> Place:
    """After the points before `end`, of which there is one at least."""
    last = Place(int(times_ms[end - 1]), int(steps[end - 1]), float(values[end - 1]))
    first, _ = _equal_range(steps, times_ms, values, last)
    return Place(last.time_ms, last.step, last.value, end - first)
