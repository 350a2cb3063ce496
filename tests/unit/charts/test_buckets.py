"""Borders cover the range, whatever int64 it spans, and move into gaps only where that saves opening a chunk."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.charts.buckets import even_borders

INT64 = st.integers(-(2**63), 2**63 - 1)
RANGES = st.tuples(INT64, INT64).map(sorted)


def ints(*numbers):
    return np.array(numbers, dtype=np.int64)


@given(RANGES, st.integers(1, 50))
def test_even_borders_cover_the_range_without_gap_or_overflow(ends, count):
    low, high = ends
    borders = even_borders(low, high, count)
    starts = borders.starts.tolist()

    assert starts[0] == low
    assert starts == sorted(set(starts))
    assert len(starts) == min(count, high - low + 1)
    widths = [end - start for start, end in pairwise([*starts, high + 1])]
    assert max(widths) - min(widths) <= 1
    assert borders.bucket_of(ints(low, high)).tolist() == [0, len(starts) - 1]


@given(RANGES, st.integers(1, 20), st.lists(RANGES, min_size=1, max_size=20))
def test_moved_borders_still_cover_the_range_and_cut_no_more_parts(ends, count, parts):
    low, high = ends
    even = even_borders(low, high, count)
    lows, highs = ints(*(p[0] for p in parts)), ints(*(p[1] for p in parts))
    moved = even.moved(lows, highs)

    starts = moved.starts.tolist()
    assert starts[0] == low
    assert starts == sorted(set(starts))
    assert all(low <= start <= high for start in starts)
    assert moved.crossed_by(lows, highs).sum() <= even.crossed_by(lows, highs).sum()
    # Each moved border is within half a width of some even one, so a bucket is at most twice as wide as asked for.
    assert all(min(abs(int(s) - int(e)) for e in even.starts) <= even.width // 2 for s in starts)


def test_a_border_moves_into_the_gap_between_two_chunks():
    borders = even_borders(0, 99, 2).moved(ints(0, 46), ints(45, 99))
    assert borders.starts.tolist() == [0, 46]
    assert not borders.crossed_by(ints(0, 46), ints(45, 99)).any()


def test_a_border_stays_where_the_next_gap_is_too_far():
    borders = even_borders(0, 99, 10).moved(ints(0, 98), ints(97, 99))
    assert borders.starts.tolist() == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]


def test_parts_beyond_the_range_are_opened():
    borders = even_borders(10, 20, 1)
    assert borders.crossed_by(ints(5, 10, 15), ints(12, 20, 25)).tolist() == [True, False, True]


@pytest.mark.parametrize(("low", "high", "count"), [(1, 0, 5), (0, 10, 0)])
def test_an_empty_range_or_no_bucket_is_refused(low, high, count):
    with pytest.raises(ValueError, match="buckets"):
        even_borders(low, high, count)
