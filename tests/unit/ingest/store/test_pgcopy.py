"""The rows that COPY gets, read back by a decoder written from the manual. A real PostgreSQL reads them in test_commit."""

from __future__ import annotations

import struct
import uuid
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.store.pgcopy import CHUNK_COLUMNS, HEADER, TRAILER, chunk_rows, decode_array, decode_rows
from ingest.store.points import PointTable
from ingest.store.summaries import summarize
from ingest_schema.wire import Batch

INTS = {"seq", "lo_step", "hi_step", "lo_time_ms", "hi_time_ms", "min_step", "max_step"}


def read(data: bytes) -> list[dict[str, Any]]:
    rows = []
    for columns in decode_rows(data):
        row: dict[str, Any] = {}
        for name, column in zip(CHUNK_COLUMNS, columns, strict=True):
            if column is None:
                row[name] = None
            elif name in {"steps", "times_ms"}:
                row[name] = decode_array(column, ">i8").tolist()
            elif name == "values":
                row[name] = decode_array(column, ">f8").tobytes()
            elif name in INTS:
                (row[name],) = struct.unpack(">q", column)
            elif name in {"n", "non_finite"}:
                (row[name],) = struct.unpack(">i", column)
            else:
                row[name] = bytes(column)
        rows.append(row)
    return rows


def rows_of(batches: list[Batch], **more: Any) -> list[dict[str, Any]]:
    table = PointTable.of(batches)
    return read(HEADER + b"".join(chunk_rows(table, summarize(table), **more)) + TRAILER)


int64s = st.integers(-(2**63), 2**63 - 1)
keys = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=8)
points = st.lists(
    st.tuples(keys | st.sampled_from(["x", "𝛼" * 250]), int64s, int64s, st.floats(width=64)),
    min_size=1,
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(st.lists(points, min_size=1, max_size=3), st.sampled_from([1, 4_000, 10**9]), st.booleans())
def test_rows_hold_the_points_bit_for_bit(groups, slice_bytes, accelerated):
    batches = [Batch.of_points(uuid.uuid4(), uuid.uuid4(), i + 1, group) for i, group in enumerate(groups)]

    rows = {
        (row["run_id"], row["writer_id"], row["seq"], row["key"]): row
        for row in rows_of(batches, slice_bytes=slice_bytes, accelerated=accelerated)
    }

    for batch in batches:
        by_key: dict[str, list[tuple[str, int, int, float]]] = {}
        for point in batch.points():
            by_key.setdefault(point[0], []).append(point)
        for key, mine in by_key.items():
            row = rows.pop((batch.run_id.bytes, batch.writer_id.bytes, batch.seq, key.encode()))
            assert row["n"] == len(mine)
            assert row["steps"] == [p[1] for p in mine]
            assert row["times_ms"] == [p[2] for p in mine]
            assert row["values"] == np.array([p[3] for p in mine]).tobytes()
    assert not rows


@settings(max_examples=200, deadline=None)
@given(st.lists(points, min_size=1, max_size=3), st.sampled_from([1, 4_000, 10**9]))
def test_both_ways_of_weaving_give_the_same_bytes(groups, slice_bytes):
    table = PointTable.of(
        [Batch.of_points(uuid.uuid4(), uuid.uuid4(), i + 1, group) for i, group in enumerate(groups)]
    )
    summaries = summarize(table)
    in_c, in_numpy = (
        [*chunk_rows(table, summaries, slice_bytes=slice_bytes, accelerated=way)] for way in (True, False)
    )
    assert in_c == in_numpy


def test_weaving_never_reads_beyond_its_columns():
    """The caller's lengths are not believed: what does not fit is an error before the first byte."""
    weave = pytest.importorskip("ingest.store._weave").weave
    heads, one = bytes(58 * 2), np.ones(2, np.int64)
    good: list[Any] = [heads, [b"a", b"b"], [b"", b""], one, np.arange(2), one, one, one, 0, 2]
    assert len(weave(*good)) == 2 * (58 + 1 + 3 * 36)
    for place, bad in [
        (0, heads[:-1]), (1, [b"a"]), (1, [b"a", "b"]), (2, [b""]), (3, one[:1]), (3, one * 3), (3, -one),
        (3, np.array([1, 2**62])), (4, np.arange(2) + 1), (4, np.arange(2) - 1), (4, one * -(2**63)),
        (5, one[:1]), (6, one[:1]), (7, one[:1]), (8, -1), (8, 3), (9, 3),
    ]:  # fmt: skip
        with pytest.raises((ValueError, TypeError)):
            weave(*good[:place], bad, *good[place + 1 :])


def test_without_a_finite_value_the_extremes_are_null():
    row = rows_of([Batch.of_points(uuid.uuid4(), uuid.uuid4(), 1, [("a", 0, 0, float("nan"))])])[0]
    assert [row[name] for name in ("min_value", "max_value", "min_step", "max_step")] == [None] * 4
    assert row["non_finite"] == 1


def test_something_else_is_no_copy():
    with pytest.raises(ValueError, match="no binary COPY"):
        list(decode_rows(b"hello"))
