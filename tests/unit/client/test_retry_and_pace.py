"""The two clocks of the sender, turned by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_client._pace import FIRST_LINGER, MAX_STRETCH, Pace
from ingest_client._retry import Backoff, RetryClock

dice = st.floats(0, 1, exclude_max=True)


@given(st.lists(dice, min_size=1, max_size=200))
def test_no_wait_is_longer_than_the_ceiling(rolls):
    clock = RetryClock(Backoff(first=0.25, ceiling=30))
    for roll in rolls:
        assert 0 < clock.failed(100.0, roll) - 100.0 <= 30


@given(dice, st.floats(0, 100))
def test_the_server_is_obeyed(roll, seconds):
    assert RetryClock().failed(0.0, roll, retry_after=seconds) >= seconds


@given(dice)
def test_a_server_that_asks_for_days_is_asked_again_before(roll):
    assert RetryClock().failed(0.0, roll, retry_after=1e9) <= 150


def test_many_clients_do_not_come_back_at_once():
    waits = {RetryClock().failed(0.0, roll / 10) for roll in range(10)}
    assert len(waits) == 10


def test_success_starts_over():
    clock = RetryClock()
    for _ in range(10):
        clock.failed(0.0, 0.5)
    clock.succeeded()
    assert clock.not_before == 0.0
    assert clock.failed(0.0, 0.99) < 0.3


def test_the_first_batch_goes_at_once():
    pace = Pace(max_age=1.0)
    assert not pace.is_due(0.0, 10)
    assert pace.is_due(FIRST_LINGER, 10)


def test_later_batches_wait_for_their_age():
    pace = Pace(max_age=1.0)
    pace.sent(0.0, points=10, keys=2)
    assert not pace.is_due(0.5, 10)
    assert not pace.is_due(1.4, 10)
    assert pace.is_due(1.5, 10)


def test_a_full_batch_does_not_wait():
    pace = Pace(max_age=1.0)
    pace.sent(0.0, points=10, keys=2)
    assert pace.is_due(0.01, 1_000_000)


@given(st.integers(32, 100_000), st.integers(1, 100), st.floats(0.05, 100))
def test_wide_runs_wait_longer_but_not_for_ever(keys, points_per_key, seconds):
    pace = Pace(max_age=1.0)
    pace.sent(0.0, points=keys, keys=keys)
    pace.sent(seconds, points=keys * points_per_key, keys=keys)
    assert pace.max_age <= pace.linger <= MAX_STRETCH * pace.max_age


def test_a_wide_run_with_long_chunks_does_not_wait_longer():
    pace = Pace(max_age=1.0)
    pace.sent(0.0, points=100, keys=100)
    pace.sent(1.0, points=100 * 500, keys=100)
    assert pace.linger == pytest.approx(1.0)
