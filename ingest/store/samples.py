"""Some points of a long series, evenly chosen, without reading the others: for curves that are thinned, as MLflow's interface asks for them.

A chunk, or a block of a compacted one, gives its first point: a block's stands in its summary, that of any other is looked up by its
place. So 2,000 points of a million cost 8,000 summaries, and no array of values is opened whole. Which points are chosen follows from
how many came before each chunk, in the order of their lowest steps.
"""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

import numpy as np
import numpy.typing as npt

from ingest.store.history import packed_columns, plain_columns
from ingest.store.packs import BLOCK, BLOCK_POINTS
from ingest.store.points import Float64s, Int64s
from ingest.store.timeline import Columns, in_order
from ingest_schema.sql import load_queries

__all__ = ["read_sample"]

_SQL: Final = load_queries("timeline")
_TID: Final = np.dtype([("block", ">u4"), ("place", ">u2")])
_UNIT: Final = np.dtype([
    ("step", "i8"), ("time_ms", "i8"), ("value", "f8"), ("n", "i8"), ("is_known", "?"), ("is_packed", "?"),
    ("tid", _TID), ("place", "i4"),
])  # fmt: skip
"""A chunk or a block: its first point, if that is known, else where it stands; `place` counts from 1 within its row."""

Units = npt.NDArray[np.void]


async def read_sample(
    connection: Any, run_id: UUID, key: str, low: int, high: int, *, number: int
) -> Columns | None:
    """About `number` points with steps from low to high, the first and the last among them, in the order of `Columns`.

    Args:
        connection: In a transaction that sees one state throughout: rows are found again by their places.

    Returns:
        None if there are fewer chunks and blocks than that, so that their first points would not do.
    """
    plain = await connection.fetchrow(_SQL["plain_units"], run_id, key, low, high)
    packed = await connection.fetchrow(_SQL["packed_units"], run_id, key, low, high)
    units = np.concatenate([_plain_units(plain), _packed_units(packed)])
    if len(units) < number:
        return None
    units = units[np.argsort(units["step"], kind="stable")]
    before = np.cumsum(units["n"]) - units["n"]
    wanted = np.linspace(0, int(units["n"].sum()) - 1, number)
    chosen = units[np.unique(np.searchsorted(before, wanted, side="right") - 1)]
    known = chosen[chosen["is_known"]]
    rows = await _look_up(connection, run_id, chosen)
    rows += await connection.fetch(_SQL["latest_point"], run_id, key)
    pieces = [
        (known["step"], known["time_ms"], known["value"]),
        (
            np.array([row["step"] for row in rows], np.int64),
            np.array([row["time_ms"] for row in rows], np.int64),
            np.array([row["value"] for row in rows], np.float64),
        ),
        *[await _end(connection, run_id, key, end, low=low, high=high) for end in (low, high)],
    ]
    steps, times_ms, values = (np.concatenate(column) for column in zip(*pieces, strict=True))
    return _within(steps, times_ms, values, low, high)


def _plain_units(row: Any) -> Units:
    """Chunks as they came in: their first points are looked up."""
    tids = np.frombuffer(row["tids"] or b"", _TID)
    units = np.zeros(len(tids), _UNIT)
    units["tid"], units["place"] = tids, 1
    units["n"] = np.frombuffer(row["n"] or b"", ">i4")
    units["step"] = np.frombuffer(row["lo_step"] or b"", ">i8")
    return units


def _packed_units(row: Any) -> Units:
    """The blocks of compacted chunks; a chunk without blocks is one."""
    tids = np.frombuffer(row["tids"] or b"", _TID)
    sizes = np.frombuffer(row["sizes"] or b"", ">i4").astype(np.int64) // BLOCK.itemsize
    blocks = np.frombuffer(row["blocks"] or b"", BLOCK)
    of_row = np.repeat(np.arange(len(tids)), np.maximum(sizes, 1))
    units = np.zeros(len(of_row), _UNIT)
    units["is_packed"] = True
    units["tid"] = tids[of_row]
    units["n"] = np.frombuffer(row["n"] or b"", ">i4")[of_row]
    units["step"] = np.frombuffer(row["lo_step"] or b"", ">i8")[of_row]
    begin = np.cumsum(np.maximum(sizes, 1)) - np.maximum(sizes, 1)
    units["place"] = (np.arange(len(of_row)) - begin[of_row]) * BLOCK_POINTS + 1
    with_block = np.flatnonzero(sizes[of_row] > 0)
    for name, of_block in (
        ("n", "n"),
        ("step", "lo_step"),
        ("time_ms", "lo_time_ms"),
        ("value", "first_value"),
    ):
        units[name][with_block] = blocks[of_block]
    units["is_known"][with_block] = blocks["ends_known"] != 0
    return units


async def _look_up(connection: Any, run_id: UUID, chosen: Units) -> list[Any]:
    rows: list[Any] = []
    for query, is_packed in (("plain_at", False), ("packed_at", True)):
        mine = chosen[~chosen["is_known"] & (chosen["is_packed"] == is_packed)]
        if len(mine):
            tids = list(zip(mine["tid"]["block"].tolist(), mine["tid"]["place"].tolist(), strict=True))
            rows += await connection.fetch(_SQL[query], run_id, tids, mine["place"].tolist())
    return rows


async def _end(
    connection: Any, run_id: UUID, key: str, end: int, *, low: int, high: int
) -> tuple[Int64s, Int64s, Float64s]:
    """The first and the last points, within the range, of the chunk at one of its ends: a piece's own first point may lie outside."""
    pieces = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))]
    for row in await connection.fetch(_SQL["chunks_before"], run_id, key, end):
        steps, times_ms, values = packed_columns(row) if row["is_packed"] else plain_columns(row)
        inside = steps[(steps >= low) & (steps <= high)]
        if len(inside):
            ends = (steps == inside.min()) | (steps == inside.max())
            pieces.append((steps[ends], times_ms[ends], values[ends]))
    steps, times_ms, values = (np.concatenate(column) for column in zip(*pieces, strict=True))
    return steps, times_ms, values


def _within(steps: Int64s, times_ms: Int64s, values: Float64s, low: int, high: int) -> Columns:
    """Those with steps from low to high, in order, each once."""
    inside = (steps >= low) & (steps <= high)
    steps, times_ms, values = in_order(steps[inside], times_ms[inside], values[inside])
    bits = values.view(np.int64)
    is_new = np.ones(len(steps), dtype=np.bool_)
    is_new[1:] = (steps[1:] != steps[:-1]) | (times_ms[1:] != times_ms[:-1]) | (bits[1:] != bits[:-1])
    return Columns(steps[is_new], times_ms[is_new], values[is_new], None)
