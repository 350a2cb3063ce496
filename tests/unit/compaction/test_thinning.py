"""What a bucket keeps, against a model that looks at one bucket after the other."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ingest.compaction.thinning import KEPT_MOST, kept

VALUES = st.sampled_from([0.0, -0.0, 1.0, -1.5, 2.5, math.nan, math.inf, -math.inf])
POINTS = st.lists(st.tuples(st.integers(-3, 6), st.integers(0, 2), VALUES), min_size=1, max_size=60)


def columns(points):
    ordered = sorted(points, key=lambda p: p[:2])  # stable: arrival
    return (
        np.array([p[0] for p in ordered], dtype=np.int64),
        np.array([p[1] for p in ordered], dtype=np.int64),
        np.array([p[2] for p in ordered]),
        ordered,
    )


def model(ordered, bucket_points, until):
    """Indices that stay."""
    buckets: dict[tuple[int, bool], list[int]] = {}
    for i, (step, _, _) in enumerate(ordered):
        buckets.setdefault((i // bucket_points, until is not None and step > until), []).append(i)
    stays = set()
    for members in buckets.values():
        first, last = members[0], members[-1]
        stays |= {first, last}
        ends = [i for i in members if ordered[i][:2] == ordered[last][:2]]
        stays.add(max(ends, key=lambda i: (0.0 if math.isnan(ordered[i][2]) else ordered[i][2], -i)))
        finite = [i for i in members if math.isfinite(ordered[i][2])]
        if finite:
            stays.add(min(finite, key=lambda i: (ordered[i][2], i)))
            stays.add(max(finite, key=lambda i: (ordered[i][2], -i)))
        for is_kind in (math.isnan, lambda v: v == math.inf, lambda v: v == -math.inf):
            if some := [i for i in members if is_kind(ordered[i][2])]:
                stays.add(some[0])
    return stays


@given(POINTS, st.integers(1, 20), st.none() | st.integers(-4, 7))
def test_a_bucket_keeps_what_it_should_and_no_more(points, bucket_points, until):
    steps, times_ms, values, ordered = columns(points)
    stays = kept(steps, times_ms, values, bucket_points=bucket_points, until=until)
    assert set(np.flatnonzero(stays).tolist()) == model(ordered, bucket_points, until)


@given(POINTS, st.integers(1, 20))
def test_thinning_is_bounded(points, bucket_points):
    steps, times_ms, values, _ = columns(points)
    buckets = -(-len(steps) // bucket_points)
    assert kept(steps, times_ms, values, bucket_points=bucket_points).sum() <= buckets * KEPT_MOST
