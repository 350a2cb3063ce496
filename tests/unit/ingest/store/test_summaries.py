"""Summaries of chunks and series beside a model that looks at one point after the other."""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.store.points import PointTable
from ingest.store.series import series_rows
from ingest.store.summaries import summarize
from ingest_schema.wire import Batch

RUNS = (uuid.UUID(int=1), uuid.UUID(int=2))
Point = tuple[str, int, int, float]

ints = st.sampled_from([-(2**63), -1, 0, 1, 2, 2**63 - 1]) | st.integers(-5, 5)
floats = st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0, 1.5]) | st.integers(-4, 4).map(float)
points = st.lists(st.tuples(st.sampled_from(["a", "b", "cé"]), ints, ints, floats), min_size=1, max_size=40)
groups = st.lists(st.tuples(st.sampled_from(RUNS), points), min_size=1, max_size=4)


def same(a: Any, b: Any) -> bool:
    return bool(a == b) or (math.isnan(a) and math.isnan(b))


def latest_key(point: Point) -> tuple[int, int, float]:
    return point[1], point[2], 0.0 if math.isnan(point[3]) else point[3]


def check(found: dict[str, Any], mine: Sequence[Point]) -> None:
    """`mine` are the points in order of arrival."""
    finite = [p for p in mine if math.isfinite(p[3])]
    first = min(mine, key=lambda p: p[1:3])  # of equals the first to arrive, as min() has it
    latest = max(mine, key=latest_key)  # of equals the first to arrive, as max() has it
    assert found["n"] == len(mine)
    assert found["non_finite"] == len(mine) - len(finite)
    assert (found["first_step"], found["first_time_ms"]) == first[1:3]
    assert same(found["first_value"], first[3])
    assert (found["last_step"], found["last_time_ms"]) == latest[1:3]
    assert same(found["last_value"], latest[3])
    assert found["has_finite"] == bool(finite)
    assert math.isclose(found["sum_value"], math.fsum(p[3] for p in finite), abs_tol=1e-9)
    if finite:
        least, greatest = min(p[3] for p in finite), max(p[3] for p in finite)
        assert (found["min_value"], found["max_value"]) == (least, greatest)
        assert found["min_step"] == min(p[1] for p in finite if p[3] == least)
        assert found["max_step"] == min(p[1] for p in finite if p[3] == greatest)


def batches_of(group: Sequence[tuple[uuid.UUID, Sequence[Point]]]) -> list[Batch]:
    return [Batch.of_points(run, uuid.uuid4(), 1, pts) for run, pts in group]


@settings(max_examples=300, deadline=None)
@given(groups, st.sampled_from([3, 1024]))
def test_series_of_a_group_are_what_a_loop_over_its_points_finds(group, max_chunk_points):
    table = PointTable.of(batches_of(group), max_chunk_points=max_chunk_points)
    rows = series_rows(table, summarize(table))

    model: dict[tuple[uuid.UUID, bytes], list[Point]] = {}
    for run, pts in group:
        for point in pts:
            model.setdefault((run, point[0].encode()), []).append(point)
    owners = [(table.batches[i].run_id, key) for i, key in zip(rows.batch_of, rows.keys, strict=True)]
    assert sorted(owners) == sorted(model)
    for i, owner in enumerate(owners):
        found = {name: column[i] for name, column in rows.columns.items()}
        check({**found, "has_finite": rows.has_finite[i]}, model[owner])


@settings(max_examples=200, deadline=None)
@given(points)
def test_first_and_last_of_a_chunk_go_by_step_time_and_arrival(pts):
    table = PointTable.of([Batch.of_points(RUNS[0], RUNS[1], 1, pts)])
    summaries = summarize(table)

    for i, key in enumerate(table.keys):
        mine = [p for p in pts if p[0].encode() == key]
        in_order = sorted(mine, key=lambda p: p[1:3])
        assert same(summaries.first_value[i], in_order[0][3])
        assert same(summaries.last_value[i], in_order[-1][3])
        assert (summaries.lo_step[i], summaries.hi_step[i]) == (in_order[0][1], in_order[-1][1])
        times = [p[2] for p in mine]
        assert (summaries.lo_time_ms[i], summaries.hi_time_ms[i]) == (min(times), max(times))


def test_a_metric_with_many_points_is_cut_into_chunks_that_hold_all_of_them():
    batch = Batch.of_points(
        RUNS[0], RUNS[1], 1, [("a", i, i, float(i)) for i in range(10)] + [("b", 0, 0, 1.0)]
    )
    table = PointTable.of([batch], max_chunk_points=4)

    assert table.keys == [b"a", b"a", b"a", b"b"]
    assert table.counts.tolist() == [4, 4, 2, 1]
    assert table.starts.tolist() == [0, 4, 8, 10]
    assert np.array_equal(table.steps, [*range(10), 0])
