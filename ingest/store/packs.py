"""Rows of `packed_chunks`: up to PACK_POINTS sorted points of one metric and writer, packed for disk, as PostgreSQL takes them.

Pure numpy: points in, binary COPY out; and what readers get, back into points. The layout has to stay one that plain SQL
unpacks cheaply, because the view `metrics` does (migration 0001):

    steps    that rise evenly (the i-th is lo_step + i * step_gap) are not stored; others are an int8[]
    times    within 32 s of a straight line from lo_time_ms to hi_time_ms are an int2[] of residuals; others an int8[]
    values   float8[], the one column that PostgreSQL may compress
    blocks   the summaries of each BLOCK_POINTS points, BLOCK one after the other; NULL in a row of one block

Integer division rounds towards zero in SQL and down in numpy; here nothing that is divided is negative.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import numpy as np
import numpy.typing as npt

from ingest.charts.parts import Bools, Float64s, Int64s, Parts, unite

__all__ = [
    "BLOCK_POINTS",
    "PACK_COLUMNS",
    "PACK_POINTS",
    "PackedPoints",
    "blocks_as_parts",
    "element_column",
    "pack_rows",
]

PACK_POINTS: Final = 986
"""Points of a full row. PostgreSQL stores arrays out of line in pieces of 1,996 bytes, four to a page: 986 values (8
bytes each, 24 of header) fill four pieces and 986 residuals one, with 80 bytes to spare. 1,024 took 12% more disk."""

BLOCK_POINTS: Final = 128
"""Points of a block. Costs 0.75 bytes a point; a chart of a million points in 2,000 buckets reads blocks only."""

BLOCK: Final = np.dtype([
    ("lo_step", "<i8"), ("hi_step", "<i8"), ("lo_time_ms", "<i8"), ("hi_time_ms", "<i8"),
    ("first_value", "<f8"), ("last_value", "<f8"), ("min_value", "<f8"), ("max_value", "<f8"), ("sum_value", "<f8"),
    ("min_step", "<i8"), ("max_step", "<i8"), ("n", "<u2"), ("non_finite", "<u2"), ("ends_known", "<u4"),
])  # fmt: skip
"""A block's summary: 96 bytes. min +inf and max -inf where no value is finite."""

MAX_STEP_SPAN: Final = 2**62
"""Beyond, products with a step's index would overflow int8 in SQL."""
MAX_TIME_SPAN_MS: Final = 2**50
"""36,000 years; times PACK_POINTS it stays below 2**63."""

_SCALARS: Final = (
    ("lo_step", "q"), ("hi_step", "q"), ("lo_time_ms", "q"), ("hi_time_ms", "q"),
    ("first_value", "d"), ("last_value", "d"), ("sum_value", "d"), ("n", "i"), ("non_finite", "i"),
)  # fmt: skip
_EXTREMES: Final = (("min_value", "d"), ("max_value", "d"), ("min_step", "q"), ("max_step", "q"))
PACK_COLUMNS: Final = (
    "run_id", "writer_id", "seq", "part", "key", "time_ordered",
    *(name for name, _ in (*_SCALARS, *_EXTREMES)),
    "step_gap", "blocks", "steps", "times_ms", "time_residuals", "values", "stands_for",
)  # fmt: skip
"""The columns of `pack_rows`, in order."""

_NULL: Final = b"\xff\xff\xff\xff"
_INT2_OID, _INT8_OID, _FLOAT8_OID = 21, 20, 701
_ELEMENT: Final = {
    _INT2_OID: np.dtype([("length", ">i4"), ("element", ">i2")]),
    _INT8_OID: np.dtype([("length", ">i4"), ("element", ">i8")]),
    _FLOAT8_OID: np.dtype([("length", ">i4"), ("element", ">f8")]),
}


def pack_rows(
    run_id: UUID,
    writer_id: UUID,
    key: str,
    *,
    seq: int,
    steps: Int64s,
    times_ms: Int64s,
    values: Float64s,
    first_part: int = 0,
    stands_for: int | None = None,
) -> Iterator[bytes]:
    """The rows of these points, each as one tuple of a binary COPY without header and trailer.

    Args:
        seq: The last batch that brought one of them.
        steps, times_ms, values: Sorted by (step, time, arrival); not empty.
        first_part: Number of the first row.
        stands_for: How many points these were before they were thinned.
    """
    point_count = len(steps)
    row_count = -(-point_count // PACK_POINTS)
    borders = [point_count * i // row_count for i in range(row_count + 1)]
    sizes = np.diff(borders)
    row_of = np.repeat(np.arange(row_count), sizes)
    place = np.arange(point_count) - np.repeat(borders[:-1], sizes)
    points = Parts.of_points(steps, times_ms, values)
    rows = unite(points, row_of)
    block_of = row_of * (PACK_POINTS // BLOCK_POINTS + 1) + place // BLOCK_POINTS
    blocks = unite(points, block_of)
    blocks_end = np.searchsorted(blocks.first_arrival, borders[1:]).tolist()
    packed_blocks = _as_blocks(blocks)
    identity = struct.pack(">Hi16si16siq", len(PACK_COLUMNS), 16, run_id.bytes, 16, writer_id.bytes, 8, seq)
    key_bytes = key.encode()
    block_begin = 0
    for i, block_end in enumerate(blocks_end):
        span = slice(borders[i], borders[i + 1])
        own_blocks = packed_blocks[block_begin:block_end]
        block_begin = block_end
        yield b"".join((
            identity,
            struct.pack(">iii", 4, first_part + i, len(key_bytes)),
            key_bytes,
            *_summary(rows, i),
            *_packed_columns(steps[span], times_ms[span], values[span]).in_order(
                own_blocks.tobytes() if len(own_blocks) > 1 else None
            ),
            _NULL if stands_for is None else struct.pack(">ii", 4, _share(stands_for, i, row_count)),
        ))  # fmt: skip


def _share(total: int, i: int, row_count: int) -> int:
    """The i-th row's part of a number that is shared out."""
    return total * (i + 1) // row_count - total * i // row_count


def _summary(rows: Parts, i: int) -> Iterator[bytes]:
    is_ordered = rows.first_time_ms[i] == rows.lo_time_ms[i] and rows.last_time_ms[i] == rows.hi_time_ms[i]
    yield struct.pack(">i?", 1, is_ordered)
    for name, kind in _SCALARS:
        yield struct.pack(">i" + kind, struct.calcsize(">" + kind), getattr(rows, name)[i].item())
    has_finite = rows.non_finite[i] < rows.n[i]
    for name, kind in _EXTREMES:
        yield struct.pack(">i" + kind, 8, getattr(rows, name)[i].item()) if has_finite else _NULL


@dataclass(frozen=True, slots=True)
class _Packed:
    step_gap: int | None
    steps: bytes | None
    times_ms: bytes | None
    time_residuals: bytes | None
    values: bytes

    def in_order(self, blocks: bytes | None) -> Iterator[bytes]:
        yield _NULL if self.step_gap is None else struct.pack(">iq", 8, self.step_gap)
        for column in (blocks, self.steps, self.times_ms, self.time_residuals, self.values):
            yield _NULL if column is None else struct.pack(">i", len(column)) + column


def _packed_columns(steps: Int64s, times_ms: Int64s, values: Float64s) -> _Packed:
    step_gap = _even_gap(steps)
    residuals = _time_residuals(times_ms)
    return _Packed(
        step_gap=step_gap,
        steps=_array(steps, _INT8_OID) if step_gap is None else None,
        times_ms=_array(times_ms, _INT8_OID) if residuals is None else None,
        time_residuals=None if residuals is None else _array(residuals, _INT2_OID),
        values=_array(values, _FLOAT8_OID),
    )


def _even_gap(steps: Int64s) -> int | None:
    """The distance between sorted steps if it is always the same; 0 for a single step."""
    low, high, gaps = int(steps[0]), int(steps[-1]), len(steps) - 1
    if high - low >= MAX_STEP_SPAN:
        return None
    if gaps == 0 or high == low:
        return 0
    gap, rest = divmod(high - low, gaps)
    return gap if rest == 0 and bool((np.diff(steps) == gap).all()) else None


def _time_residuals(times_ms: Int64s) -> npt.NDArray[np.int16] | None:
    low, high = int(times_ms.min()), int(times_ms.max())
    if high - low > MAX_TIME_SPAN_MS:
        return None
    residuals = times_ms - _time_line(low, high, len(times_ms))
    return residuals.astype(np.int16) if residuals.min() >= -(2**15) and residuals.max() < 2**15 else None


def _time_line(low: int, high: int, n: int) -> Int64s:
    return low + np.arange(n) * (high - low) // max(n - 1, 1)


def _array(column: npt.NDArray[Any], oid: int) -> bytes:
    elements = np.empty(len(column), dtype=_ELEMENT[oid])
    elements["length"] = _ELEMENT[oid]["element"].itemsize
    elements["element"] = column
    return struct.pack(">iiiii", 1, 0, oid, len(column), 1) + elements.tobytes()


def _as_blocks(parts: Parts) -> npt.NDArray[np.void]:
    blocks = np.empty(len(parts), dtype=BLOCK)
    for name in BLOCK.names or ():
        blocks[name] = getattr(parts, name)
    blocks["ends_known"] = (parts.first_time_ms == parts.lo_time_ms) & (
        parts.last_time_ms == parts.hi_time_ms
    )
    return blocks


# --- reading ------------------------------------------------------------------------------------------------------------


def element_column(elements: bytes, kind: str) -> npt.NDArray[Any]:
    """The elements of arrays as array_send gives them, without the arrays' headers of 20 bytes, one after the other.

    Args:
        kind: i2, i8 or f8.
    """
    column = np.frombuffer(elements, dtype=[("length", ">i4"), ("element", ">" + kind)])["element"]
    return column.astype("<" + kind)


def blocks_as_parts(blocks: bytes, arrival_of_row: Int64s, blocks_in_row: Int64s) -> Parts:
    """Blocks of several rows, one after the other, as parts.

    Args:
        arrival_of_row: For each row the arrival of its first point; a block's follows from its place.
        blocks_in_row: How many blocks each row has.
    """
    found = np.frombuffer(blocks, dtype=BLOCK)
    row_begin = np.cumsum(blocks_in_row) - blocks_in_row
    place = np.arange(len(found)) - np.repeat(row_begin, blocks_in_row)
    arrival = np.repeat(arrival_of_row, blocks_in_row) + place * BLOCK_POINTS
    n = found["n"].astype(np.int64)
    columns: dict[str, npt.NDArray[Any]] = {
        name: np.ascontiguousarray(found[name])
        for name in BLOCK.names or ()
        if name not in {"n", "non_finite", "ends_known"}
    }
    return Parts(
        **columns,
        first_time_ms=columns["lo_time_ms"],
        last_time_ms=columns["hi_time_ms"],
        ends_known=found["ends_known"] != 0,
        first_arrival=arrival,
        last_arrival=arrival + n - 1,
        n=n,
        non_finite=found["non_finite"].astype(np.int64),
    )


@dataclass(frozen=True, slots=True)
class PackedPoints:
    """The points of m rows of packed_chunks, as a query gives them: a column for each field, an entry for each row.

    steps, times_ms, time_residuals, values: elements of the rows' arrays one after the other (see `element_column`),
    without those that are NULL.
    """

    lo_step: Int64s
    step_gap: Int64s
    has_steps: Bools
    lo_time_ms: Int64s
    hi_time_ms: Int64s
    has_times: Bools
    n: Int64s
    steps: bytes
    times_ms: bytes
    time_residuals: bytes | None
    """None: the caller needs no times, and gets lo_time_ms for all points of a row."""
    values: bytes

    @classmethod
    def of_row(cls, row: Any) -> PackedPoints:
        """From what `take_packs` and `take_rows` answer."""
        return cls(
            lo_step=np.frombuffer(row["lo_step"], ">i8").astype(np.int64),
            step_gap=np.frombuffer(row["step_gap"], ">i8").astype(np.int64),
            has_steps=np.frombuffer(row["has_steps"], "?"),
            lo_time_ms=np.frombuffer(row["lo_time_ms"], ">i8").astype(np.int64),
            hi_time_ms=np.frombuffer(row["hi_time_ms"], ">i8").astype(np.int64),
            has_times=np.frombuffer(row["has_times"], "?"),
            n=np.frombuffer(row["n"], ">i4").astype(np.int64),
            steps=row["steps"],
            times_ms=row["times_ms"],
            time_residuals=row["time_residuals"],
            values=row["values"],
        )

    def unpacked(self) -> tuple[Int64s, Int64s, Float64s]:
        """steps, times_ms and values of all points, row after row."""
        place = np.arange(int(self.n.sum())) - np.repeat(np.cumsum(self.n) - self.n, self.n)
        steps = np.repeat(self.lo_step, self.n) + place * np.repeat(self.step_gap, self.n)
        if self.has_steps.any():
            steps[np.repeat(self.has_steps, self.n)] = element_column(self.steps, "i8")
        times_ms = np.repeat(self.lo_time_ms, self.n)
        if self.time_residuals is not None:
            with np.errstate(
                over="ignore"
            ):  # of rows that have all their times, which replace what overflowed
                line = np.repeat(self.hi_time_ms - self.lo_time_ms, self.n) * place
                times_ms += line // np.repeat(np.maximum(self.n - 1, 1), self.n)
            is_straight = ~np.repeat(self.has_times, self.n)
            times_ms[is_straight] += element_column(self.time_residuals, "i2")
            times_ms[~is_straight] = element_column(self.times_ms, "i8")
        return steps, times_ms, element_column(self.values, "f8")
