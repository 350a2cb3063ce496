"""Which checkpoints stay."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from ingest_client._checkpoints import Entry, kept


def entries(*metrics: float | None) -> list[Entry]:
    return [Entry(step, f"c/step-{step}.pth", metric, 0) for step, metric in enumerate(metrics)]


def steps(found: list[Entry]) -> list[int]:
    return [entry.step for entry in found]


def test_without_a_rule_all_stay():
    assert steps(kept(entries(1, 2, 3), mode="min", keep_last=None, keep_best=None)) == [0, 1, 2]


def test_the_last_and_the_best_by_either_mode():
    logged = entries(3.0, 1.0, 5.0, 1.0, math.nan, None)
    assert steps(kept(logged, mode="min", keep_last=1, keep_best=1)) == [3, 5]  # of two equals the later one
    assert steps(kept(logged, mode="max", keep_last=1, keep_best=2)) == [0, 2, 5]


@given(
    st.lists(st.none() | st.floats(), min_size=1, max_size=12),
    st.none() | st.integers(1, 4),
    st.none() | st.integers(1, 4),
    st.sampled_from(["min", "max"]),
)
def test_the_newest_stays_and_no_more_than_asked_for(metrics, last, best, mode):
    logged = entries(*metrics)
    found = kept(logged, mode=mode, keep_last=last, keep_best=best)
    assert logged[-1] in found
    assert steps(found) == sorted(steps(found))
    if last is not None:
        assert set(steps(logged)[-last:]) <= set(steps(found))
    if last is not None or best is not None:
        assert len(found) <= (last or 0) + (best or 0) + 1
