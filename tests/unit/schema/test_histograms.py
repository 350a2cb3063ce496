"""Quantiles of buckets are those of numpy's straight lines, also where buckets are empty."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_schema.histograms import QUANTILES, moments, quantiles_of_buckets

WIDTHS = st.lists(st.tuples(st.floats(0.01, 1e6), st.integers(0, 1_000)), min_size=1, max_size=30)


@given(least=st.floats(-1e6, 1e6), buckets=WIDTHS)
def test_quantiles_are_those_of_straight_lines(least: float, buckets: list[tuple[float, int]]) -> None:
    widths, counts = zip(*buckets, strict=True)
    limits = (least + np.cumsum(widths)).tolist()
    found = quantiles_of_buckets(least, limits[-1], limits, counts)
    if not sum(counts):
        assert found == {}
        return
    below = np.concatenate([[0.0], np.cumsum(counts)]) / sum(counts)
    expected = np.interp(list(QUANTILES.values())[1:-1], below, [least, *limits])
    assert list(found) == list(QUANTILES)
    assert list(found.values())[1:-1] == pytest.approx(expected, rel=1e-9, abs=1e-6)
    assert (found["min"], found["max"]) == (least, limits[-1])


def test_open_buckets_at_the_ends_are_cut_to_the_values() -> None:
    """TensorBoard's first and last buckets reach to the ends of the numbers."""
    limits = [-math.inf, 5.0, 1.8e308]
    found = quantiles_of_buckets(0.0, 10.0, limits, [0, 5, 5])
    assert found == {
        "min": 0.0, "p05": 0.5, "p25": 2.5, "p50": 5.0, "p75": 7.5, "p95": 9.5, "max": 10.0
    }  # fmt: skip


def test_moments_of_values_of_which_only_sums_are_known() -> None:
    values = np.array([1.0, 2.0, 4.0])
    found = moments(3, float(values.sum()), float((values**2).sum()))
    assert found == pytest.approx({"mean": values.mean(), "std": values.std()})
    assert (
        moments(2, 0.2, 0.02 - 1e-18)["std"] == 0.0
    )  # rounding must not make it a root of less than nothing
    assert moments(0, 0.0, 0.0) == {}
