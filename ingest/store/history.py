"""Raw points of one series in pages, exactly as they were logged, in the order of (step, time, value).

The order is one of the points themselves and not of the rows that hold them, because compaction may move points to other
rows between two pages: none is lost or doubled by that. A page token is the last point of its page and how many points equal
to it were read. Values are ordered by their bits, so that NaN has a place too.

Chunks come in the order of their lowest step; once the page is full and a chunk begins beyond it, the rest is not read. So
a page of a series that was logged in order reads its own chunks, and one of a shuffled series reads them all, holding never
more than about a page. Arrays come in PostgreSQL's binary form and are decoded by numpy; no Python object is made for a point.

Nothing here hides the points of an earlier attempt: that is what charts do.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import numpy as np
import numpy.typing as npt

from ingest.store.pages import decode_token, encode_token
from ingest.store.pgcopy import decode_array
from ingest.store.points import Float64s, Int64s
from ingest_schema.limits import INT64_MIN
from ingest_schema.sql import load_queries

__all__ = ["PointPage", "packed_columns", "plain_columns", "read_points"]

_SQL: Final = load_queries("read")
_PREFETCH: Final = 64
"""Chunks that one round trip fetches: up to 1.6 MB."""
_SPARE: Final = 50_000
"""Points beyond the page that are held before they are sorted and cut."""


@dataclass(frozen=True, slots=True)
class PointPage:
    """Columns of equal length, in this machine's byte order, and where the next page begins."""

    steps: Int64s
    times_ms: Int64s
    values: Float64s
    next_page_token: str | None


@dataclass(frozen=True, slots=True)
class _Columns:
    """Points as columns; bits are the values as int64."""

    steps: Int64s
    times_ms: Int64s
    bits: Int64s

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, chosen: Any) -> _Columns:
        return _Columns(self.steps[chosen], self.times_ms[chosen], self.bits[chosen])

    @classmethod
    def joined(cls, pieces: list[_Columns]) -> _Columns:
        return cls(
            np.concatenate([piece.steps for piece in pieces]),
            np.concatenate([piece.times_ms for piece in pieces]),
            np.concatenate([piece.bits for piece in pieces]),
        )


@dataclass(frozen=True, slots=True)
class _Position:
    """The last point read, and how many points equal to it were read. The default is before every point."""

    step: int = INT64_MIN
    time_ms: int = INT64_MIN
    bits: int = INT64_MIN
    read_num: int = 0

    def from_here(self, points: _Columns) -> _Columns:
        """Those of the points that are this one or come after it."""
        if self == _Position():
            return points
        is_later = (points.steps > self.step) | (
            (points.steps == self.step)
            & (
                (points.times_ms > self.time_ms)
                | ((points.times_ms == self.time_ms) & (points.bits >= self.bits))
            )
        )
        return points[is_later]

    def after(self, page: _Columns) -> _Position:
        """The position behind the page, which is sorted and begins here."""
        last = page[-1:]
        step, time_ms, bits = int(last.steps[0]), int(last.times_ms[0]), int(last.bits[0])
        equal = (page.steps == step) & (page.times_ms == time_ms) & (page.bits == bits)
        before_num = self.read_num if (step, time_ms, bits) == (self.step, self.time_ms, self.bits) else 0
        return _Position(step, time_ms, bits, int(equal.sum()) + before_num)


async def read_points(
    connection: Any, run_id: UUID, key: str, *, limit: int, page_token: str | None
) -> PointPage:
    """At most `limit` points from where the token says; from the beginning without one.

    Args:
        connection: In a transaction, for the cursor.

    Raises:
        BadPageToken: It is no token of a page of points.
    """
    start = _Position(*decode_token("points", page_token, [int] * 4)) if page_token else _Position()
    wanted_num = start.read_num + limit + 1  # one more, to know whether there is a next page
    kept: list[_Columns] = []
    kept_num = 0
    beyond: int | None = None  # with enough points in hand, no chunk that begins beyond this step can matter
    cursor = connection.cursor(_SQL["chunks_from_step"], run_id, key, start.step, prefetch=_PREFETCH)
    async for row in cursor:
        if beyond is not None and row["lo_step"] > beyond:
            break
        points = start.from_here(_decode(row))
        if len(points):
            kept.append(points)
            kept_num += len(points)
        if kept_num >= wanted_num and (beyond is None or kept_num > wanted_num + _SPARE):
            kept = [await _least(kept, wanted_num)]
            kept_num = len(kept[0])
            beyond = int(kept[0].steps[-1])
    found = await _least(kept, wanted_num) if kept else _decode_nothing()
    page = found[start.read_num : start.read_num + limit]
    next_token = None
    if len(found) == wanted_num:
        after = start.after(page)
        next_token = encode_token("points", after.step, after.time_ms, after.bits, after.read_num)
    return PointPage(page.steps, page.times_ms, page.bits.view(np.float64), next_token)


async def _least(pieces: list[_Columns], wanted_num: int) -> _Columns:
    """The first `wanted_num` of the points in order; in a thread where that takes long."""
    if sum(map(len, pieces)) < _SPARE // 2:
        return _sorted(pieces, wanted_num)
    return await asyncio.to_thread(_sorted, pieces, wanted_num)


def _sorted(pieces: list[_Columns], wanted_num: int) -> _Columns:
    points = _Columns.joined(pieces)
    if not (points.steps[1:] > points.steps[:-1]).all():
        points = points[np.lexsort((points.bits, points.times_ms, points.steps))]
    return points[:wanted_num]


def plain_columns(row: Any) -> tuple[Int64s, Int64s, Float64s]:
    """Steps, times and values of a chunk as it was logged; the row has its arrays by array_send()."""
    return (
        decode_array(row["steps"], ">i8"),
        decode_array(row["times_ms"], ">i8"),
        decode_array(row["values"], ">f8"),
    )


def packed_columns(row: Any) -> tuple[Int64s, Int64s, Float64s]:
    """The columns of a compacted chunk; what its step_gap and time_residuals mean is said in the migration."""
    index = np.arange(row["n"], dtype=np.int64)
    if row["steps"] is not None:
        steps: Int64s = decode_array(row["steps"], ">i8")
    else:
        steps = row["lo_step"] + index * row["step_gap"]
    if row["times_ms"] is not None:
        times_ms: Int64s = decode_array(row["times_ms"], ">i8")
    else:
        span_ms = row["hi_time_ms"] - row["lo_time_ms"]
        residuals: npt.NDArray[np.int16] = decode_array(row["time_residuals"], ">i2")
        times_ms = row["lo_time_ms"] + index * span_ms // max(row["n"] - 1, 1) + residuals
    return steps, times_ms, decode_array(row["values"], ">f8")


def _decode(row: Any) -> _Columns:
    steps, times_ms, values = packed_columns(row) if row["is_packed"] else plain_columns(row)
    return _Columns(steps, times_ms, values.view(np.int64))


def _decode_nothing() -> _Columns:
    nothing = np.empty(0, dtype=np.int64)
    return _Columns(nothing, nothing, nothing)
