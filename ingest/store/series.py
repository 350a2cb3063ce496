"""Keeps `series` true at every commit: merges the summaries of a group's chunks into one row for each metric of a run.

The merge of chunks that belong to one series happens in numpy, the merge with what is stored in one SQL statement that
takes its rows in key order (no deadlock) and updates them in place (fillfactor leaves room, so updates are HOT).

Source of the numbers: docs/decisions.md, "Series are merged through a temporary table".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ingest.store.pgcopy import HEADER, TRAILER, column_block, keyed_rows
from ingest.store.points import PointTable
from ingest.store.summaries import Summaries
from ingest_schema.sql import load_queries

__all__ = ["SeriesRows", "merge_into_series", "series_rows"]

_SQL: Final = load_queries("write")
_MERGE_VALUES: Final = _SQL["merge_series_stage"].replace(
    "FROM series_stage", "FROM " + _SQL["series_values"]
)

STAGE_MIN_ROWS: Final = 300
"""From here on the detour through the temporary table is the faster one (320,000 rows/s against 175,000 at 10,000)."""

_COLUMNS: Final = (
    ("n", ">i8"), ("non_finite", ">i8"),
    ("first_step", ">i8"), ("first_time_ms", ">i8"), ("first_value", ">f8"),
    ("last_step", ">i8"), ("last_time_ms", ">i8"), ("last_value", ">f8"),
    ("min_value", ">f8"), ("max_value", ">f8"), ("min_step", ">i8"), ("max_step", ">i8"), ("sum_value", ">f8"),
)  # fmt: skip
_NULLABLE: Final = frozenset({"min_value", "max_value", "min_step", "max_step"})


@dataclass(frozen=True, slots=True)
class SeriesRows:
    """One entry for each series of the group; columns as in `series`, extremes without meaning where not has_finite."""

    batch_of: npt.NDArray[np.intp]
    keys: list[bytes]
    has_finite: npt.NDArray[np.bool_]
    columns: dict[str, npt.NDArray[Any]]


def series_rows(table: PointTable, summaries: Summaries) -> SeriesRows:
    """The chunks' summaries merged by series: by (run, key)."""
    columns: dict[str, npt.NDArray[Any]] = {
        "n": table.counts,
        "non_finite": summaries.non_finite,
        "first_step": summaries.lo_step,
        "first_time_ms": summaries.first_time_ms,
        "first_value": summaries.first_value,
        "last_step": summaries.hi_step,
        "last_time_ms": summaries.latest_time_ms,
        "last_value": summaries.latest_value,
        "min_value": summaries.min_value,
        "max_value": summaries.max_value,
        "min_step": summaries.min_step,
        "max_step": summaries.max_step,
        "sum_value": summaries.sum_value,
    }
    series_of = _number_series(table)
    if series_of is None:
        return SeriesRows(table.batch_of, list(table.keys), summaries.has_finite, columns)
    return _merged(table, summaries.has_finite, columns, series_of)


def _number_series(table: PointTable) -> npt.NDArray[np.intp] | None:
    """The series of each chunk, numbered in order of appearance; None if each chunk has one of its own."""
    run_ids = [batch.run_id.bytes for batch in table.batches]
    if not table.is_cut and len(set(run_ids)) == len(run_ids):
        return None  # the keys of one batch differ
    numbers: dict[bytes, int] = {}
    owners = [run_ids[i] for i in table.batch_of.tolist()]
    ids = [
        numbers.setdefault(owner + key, len(numbers)) for owner, key in zip(owners, table.keys, strict=True)
    ]
    return None if len(numbers) == len(ids) else np.array(ids)


def _merged(
    table: PointTable,
    has_finite: npt.NDArray[np.bool_],
    columns: dict[str, npt.NDArray[Any]],
    series_of: npt.NDArray[np.intp],
) -> SeriesRows:
    arrival = np.arange(len(series_of))
    order = np.argsort(series_of, kind="stable")
    starts = np.flatnonzero(np.diff(series_of[order], prepend=-1))
    ends = np.append(starts[1:], len(order)) - 1

    def ends_by(*keys: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
        """Chunks sorted by (series, then keys from last to first)."""
        return np.lexsort((*keys, series_of))

    c = columns
    first = ends_by(arrival, c["first_time_ms"], c["first_step"])[starts]
    as_number = np.where(np.isnan(c["last_value"]), 0.0, c["last_value"])
    last = ends_by(-arrival, as_number, c["last_time_ms"], c["last_step"])[ends]
    # Chunks without a finite value sort behind all others on both sides.
    low = ends_by(c["min_step"], np.where(has_finite, c["min_value"], np.inf), ~has_finite)[starts]
    high = ends_by(c["max_step"], np.where(has_finite, -c["max_value"], np.inf), ~has_finite)[starts]
    with np.errstate(over="ignore"):
        merged = {name: np.add.reduceat(c[name][order], starts) for name in ("n", "non_finite", "sum_value")}
    for chosen, prefix in ((first, "first_"), (last, "last_"), (low, "min_"), (high, "max_")):
        merged |= {name: column[chosen] for name, column in c.items() if name.startswith(prefix)}
    return SeriesRows(
        batch_of=table.batch_of[first],
        keys=[table.keys[i] for i in first.tolist()],
        has_finite=np.logical_or.reduceat(has_finite[order], starts),
        columns=merged,
    )


async def merge_into_series(connection: Any, table: PointTable, rows: SeriesRows) -> None:
    """Merge the rows into `series`, inside the caller's transaction."""
    if len(rows.keys) < STAGE_MIN_ROWS:
        await connection.execute(_MERGE_VALUES, *_as_arguments(table, rows))
        return
    source = bytearray(HEADER) + _stage_rows(table, rows) + TRAILER
    await connection.copy_to_table(
        "series_stage",
        source=source,
        format="binary",
        columns=["run_id", "key", *(name for name, _ in _COLUMNS)],
    )
    await connection.execute(_SQL["merge_series_stage"])


def _as_arguments(table: PointTable, rows: SeriesRows) -> list[list[Any]]:
    arguments: list[list[Any]] = [
        [table.batches[i].run_id for i in rows.batch_of.tolist()],
        [key.decode() for key in rows.keys],
    ]
    for name, _ in _COLUMNS:
        column = rows.columns[name].tolist()
        if name in _NULLABLE and not rows.has_finite.all():
            column = [x if known else None for x, known in zip(column, rows.has_finite.tolist(), strict=True)]
        arguments.append(column)
    return arguments


def _stage_rows(table: PointTable, rows: SeriesRows) -> bytes:
    if not rows.has_finite.all():
        known, unknown = np.flatnonzero(rows.has_finite), np.flatnonzero(~rows.has_finite)
        return _rows_of(table, rows, known, nulls=False) + _rows_of(table, rows, unknown, nulls=True)
    return _rows_of(table, rows, np.arange(len(rows.keys)), nulls=False)


def _rows_of(table: PointTable, rows: SeriesRows, chosen: npt.NDArray[np.intp], *, nulls: bool) -> bytes:
    """Rows of the stage for the chosen series, which all have extremes or all have none."""
    head_of_batch = np.frombuffer(
        b"".join(struct.pack(">Hi16s", 2 + len(_COLUMNS), 16, batch.run_id.bytes) for batch in table.batches),
        "V22",
    )
    keys = [rows.keys[i] for i in chosen.tolist()]
    heads = np.empty(len(keys), dtype=[("batch", "V22"), ("key_length", ">i4")])
    heads["batch"] = head_of_batch[rows.batch_of[chosen]]
    heads["key_length"] = np.fromiter(map(len, keys), np.int64, len(keys))
    layout = [(name, "V0" if nulls and name in _NULLABLE else kind) for name, kind in _COLUMNS]
    tails = column_block(layout, len(keys))
    for name, kind in layout:
        if kind == "V0":
            tails["length_of_" + name] = -1
        else:
            tails[name] = rows.columns[name][chosen]
    return keyed_rows(heads, keys, tails)
