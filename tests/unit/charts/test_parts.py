"""However points are cut into parts, and parts united into buckets, a bucket is what its points make it."""

import math
from collections import defaultdict
from fractions import Fraction

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from ingest.charts.buckets import even_borders
from ingest.charts.parts import Parts, unite, with_ties

INT64 = st.integers(-(2**63), 2**63 - 1)
STEPS = st.one_of(st.integers(-5, 5), st.integers(0, 40), INT64, st.sampled_from([-(2**63), 2**63 - 1]))
TIMES = st.one_of(st.integers(0, 3), INT64)
VALUES = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, math.nan, math.inf, -math.inf, 1e308, -1e308]),
    st.floats(width=64),
    st.floats(-10, 10),
)
POINTS = st.lists(st.tuples(STEPS, TIMES, VALUES), min_size=1, max_size=60)


def columns(points):
    steps, times, values = zip(*points, strict=True)
    return np.array(steps, np.int64), np.array(times, np.int64), np.array(values, np.float64)


def model(points):
    """What a bucket of these points, given in order of arrival, has to say."""
    ordered = sorted(range(len(points)), key=lambda i: (points[i][0], points[i][1], i))
    finite = [(value, step) for step, _, value in points if math.isfinite(value)]
    exact = [Fraction(value) for value, _ in finite]
    magnitude = float(min(sum(map(abs, exact)), Fraction(1.7e308)))
    low, high = min(finite, default=None), min(((-value, step) for value, step in finite), default=None)
    return {
        "lo_step": min(p[0] for p in points),
        "hi_step": max(p[0] for p in points),
        "lo_time_ms": min(p[1] for p in points),
        "hi_time_ms": max(p[1] for p in points),
        "first_value": points[ordered[0]][2],
        "last_value": points[ordered[-1]][2],
        "min_value": math.inf if low is None else low[0],
        "max_value": -math.inf if high is None else -high[0],
        "min_step": None if low is None else low[1],
        "max_step": None if high is None else high[1],
        "sum_value": (float(sum(exact)) if magnitude < 1e307 else 0.0, magnitude),
        "n": len(points),
        "non_finite": len(points) - len(finite),
    }


def assert_says(parts, index, expected):
    for name, value in expected.items():
        found = getattr(parts, name)[index]
        if value is None:
            continue
        if name == "sum_value":
            exact, magnitude = value
            assert magnitude >= 1e307 or abs(found - exact) <= 1e-12 * magnitude, (found, exact, magnitude)
        else:
            assert found == value or (math.isnan(found) and math.isnan(value)), (name, found, value)


def chunked(points, cuts):
    """The points as chunks in order of arrival: each with the summary a chunk has, and not with its ends' times."""
    steps, times, values = columns(points)
    chunk_of = np.searchsorted(np.array(sorted(cuts)), np.arange(len(points)), side="right")
    all_points = Parts.of_points(steps, times, values)
    chunks = unite(all_points, chunk_of)
    unknown = np.zeros(len(chunks), dtype=np.bool_)
    nothing = np.full(len(chunks), -1)
    hidden = {"ends_known": unknown, "first_time_ms": nothing, "last_time_ms": nothing}
    names = Parts.__dataclass_fields__
    return all_points, chunk_of, Parts(**{name: hidden.get(name, getattr(chunks, name)) for name in names})


@given(POINTS, st.lists(st.integers(0, 9), min_size=60, max_size=60))
def test_a_bucket_of_points_says_what_the_points_say(points, groups):
    group_of = np.array(groups[: len(points)])
    united = unite(Parts.of_points(*columns(points)), group_of)

    by_group = defaultdict(list)
    for point, group in zip(points, group_of.tolist(), strict=True):
        by_group[group].append(point)
    assert len(united) == len(by_group)
    for index, group in enumerate(sorted(by_group)):
        assert_says(united, index, model(by_group[group]))


@given(POINTS, st.sets(st.integers(1, 59), max_size=12), st.integers(1, 12))
@example(
    [(0, 1, 1.0), (0, 0, 0.0), (0, 0, 0.0), (1, 0, 0.0)], {1}, 2
)  # a whole chunk ties with an opened one
def test_chunks_and_opened_chunks_make_the_same_buckets_as_points(points, cuts, bucket_count):
    """The heart of every chart: whole chunks, opened ones where a border cuts or ends tie, and nothing is lost."""
    all_points, chunk_of, chunks = chunked(points, cuts)
    borders = even_borders(int(chunks.lo_step.min()), int(chunks.hi_step.max()), bucket_count)
    borders = borders.moved(chunks.lo_step, chunks.hi_step)

    opened = borders.crossed_by(chunks.lo_step, chunks.hi_step)
    opened = with_ties(chunks, opened, borders.bucket_of(chunks.lo_step))
    parts = Parts.joined([chunks.take(~opened), all_points.take(opened[chunk_of])])
    buckets = unite(parts, borders.bucket_of(parts.lo_step))

    expected = defaultdict(list)
    for point, bucket in zip(points, borders.bucket_of(all_points.lo_step).tolist(), strict=True):
        expected[bucket].append(point)
    assert len(buckets) == len(expected)
    for index, bucket in enumerate(sorted(expected)):
        assert_says(buckets, index, model(expected[bucket]))
    assert buckets.point_count == len(points)


@given(POINTS, st.sets(st.integers(1, 59), max_size=6))
def test_uniting_in_two_rounds_is_uniting_in_one(points, cuts):
    """A long series is united page by page."""
    all_points, chunk_of, _ = chunked(points, cuts)
    once = unite(all_points, np.zeros(len(points), np.intp))
    halves = unite(all_points, chunk_of)
    twice = unite(halves, np.zeros(len(halves), np.intp))

    assert_says(twice, 0, model(points))
    assert once.first_arrival == twice.first_arrival
    assert once.last_arrival == twice.last_arrival
    assert twice.ends_known.all()


def test_no_part_makes_no_bucket():
    assert len(unite(Parts.none(), np.empty(0, np.intp))) == 0


def test_many_groups_are_united_like_few():
    """Beyond 65,536 groups the numbers no longer fit the radix sort."""
    steps = np.arange(70_000)[::-1].copy()
    united = unite(Parts.of_points(steps, steps, steps.astype(float)), steps)
    assert united.lo_step.tolist() == list(range(70_000))
