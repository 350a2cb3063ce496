from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.bench.timing import Summary, clock_overhead_ns, duration_text, median_interval, spread, summarize


def test_percentiles_are_figures_that_were_seen() -> None:
    summary = summarize(range(1, 1001))

    assert summary == Summary(n=1000, median_ns=500, p99_ns=990, p999_ns=999, max_ns=1000)


def test_the_clocks_own_cost_is_taken_off_and_never_below_zero() -> None:
    assert summarize([40, 50, 90], overhead_ns=45) == Summary(3, 5, 45, 45, 45)


def test_nothing_measured_is_zero() -> None:
    assert summarize([]) == Summary(0, 0, 0, 0, 0)


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=300))
def test_percentiles_rise_and_stay_among_the_durations(durations: list[int]) -> None:
    summary = summarize(durations)

    ordered = [summary.median_ns, summary.p99_ns, summary.p999_ns, summary.max_ns]
    assert ordered == sorted(ordered)
    assert set(ordered) <= set(durations)


def test_spread_gives_quartiles_around_the_median() -> None:
    assert spread([3.0, 1.0, 2.0]) == {"n": 3, "median": 2.0, "min": 1.0, "p25": 1.5, "p75": 2.5, "max": 3.0}


def test_the_interval_holds_the_true_median_as_often_as_it_says() -> None:
    draw = random.Random(7)
    intervals = [median_interval([draw.expovariate(1.0) for _ in range(40)]) for _ in range(2_000)]
    assert 0.94 < sum(low <= math.log(2) <= high for low, high in intervals) / 2_000 < 0.99


def test_reading_the_clock_costs_less_than_a_microsecond_or_so() -> None:
    assert 0 < clock_overhead_ns(samples=1001) < 100_000


@pytest.mark.parametrize(
    ("ns", "text"),
    [(812, "812 ns"), (1_420, "1.42 µs"), (38_100_000, "38.1 ms"), (2_050_000_000, "2.05 s")],
)
def test_durations_are_shown_in_the_unit_a_person_would_choose(ns: int, text: str) -> None:
    assert duration_text(ns) == text
