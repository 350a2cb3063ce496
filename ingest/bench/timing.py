"""Durations into figures: percentiles, and what reading the clock costs. Pure but for `clock_overhead_ns`.

Percentiles are nearest-rank, so each reported figure is one that was seen.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Durations = npt.NDArray[np.int64]
"""Nanoseconds."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What n durations amount to; nanoseconds."""

    n: int
    median_ns: int
    p99_ns: int
    p999_ns: int
    max_ns: int

    def as_json(self) -> dict[str, int]:
        return asdict(self)


def summarize(durations: Iterable[int] | Durations, *, overhead_ns: int = 0) -> Summary:
    """Median, p99, p99.9 and maximum.

    Args:
        durations: Nanoseconds, in any order.
        overhead_ns: What reading the clock adds to each; taken off, never below zero.
    """
    column = np.sort(
        np.asarray(durations if isinstance(durations, np.ndarray) else list(durations), dtype=np.int64)
    )
    if not len(column):
        return Summary(0, 0, 0, 0, 0)
    column = np.maximum(column - overhead_ns, 0)

    def at(fraction: float) -> int:
        return int(column[max(0, math.ceil(fraction * len(column)) - 1)])

    return Summary(len(column), at(0.5), at(0.99), at(0.999), int(column[-1]))


def clock_overhead_ns(samples: int = 20_001) -> int:
    """What two neighbouring calls of perf_counter_ns are apart: the median, so a switch of tasks does not count."""
    clock = time.perf_counter_ns
    gaps = [0] * samples
    for i in range(samples):
        begin = clock()
        gaps[i] = clock() - begin
    return sorted(gaps)[samples // 2]


def spread(values: list[float]) -> dict[str, Any]:
    """Median, extremes and quartiles of a few repeated measurements."""
    column = np.asarray(values, dtype=np.float64)
    low, quarter, median, three_quarters, high = (
        float(x) for x in np.percentile(column, [0, 25, 50, 75, 100])
    )
    return {
        "n": len(values),
        "median": median,
        "min": low,
        "p25": quarter,
        "p75": three_quarters,
        "max": high,
    }


def median_interval(values: list[float]) -> tuple[float, float]:
    """Within which the median of what the values were drawn from lies with 95% certainty: by ranks, whatever its distribution."""
    ordered = sorted(values)
    reach = math.ceil(0.98 * math.sqrt(len(ordered)))
    middle = len(ordered) // 2
    return ordered[max(0, middle - reach)], ordered[min(len(ordered) - 1, middle + reach)]


def duration_text(ns: float) -> str:
    """A duration for people: 812 ns, 1.42 µs, 38.1 ms, 2.05 s."""
    for limit, unit, factor in ((1e3, "ns", 1.0), (1e6, "µs", 1e3), (1e9, "ms", 1e6)):
        if ns < limit:
            return f"{ns / factor:.3g} {unit}" if factor > 1 else f"{ns:.0f} {unit}"
    return f"{ns / 1e9:.3g} s"
