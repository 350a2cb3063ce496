"""One metric over another: points of one metric placed at the value that the other had at the same step and rank.

Pure. Where the other metric has several values at a step, its last by (time, arrival) counts. A point without a partner,
or whose partner is NaN or infinite, has no place on the axis; how many these are is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ingest.charts.parts import Float64s, Int64s, Parts, unite

__all__ = ["Placed", "float_buckets", "join"]


@dataclass(frozen=True, slots=True)
class Placed:
    """Points in order of x. unplaced: how many have no place."""

    x_low: Float64s
    x_high: Float64s
    parts: Parts
    unplaced: int

    @classmethod
    def joined(cls, several: Sequence[Placed]) -> Placed:
        """All of them, in order of x."""
        if not several:
            return cls(np.empty(0), np.empty(0), Parts.none(), 0)
        x = np.concatenate([one.x_low for one in several])
        parts = Parts.joined([one.parts for one in several])
        order = np.lexsort((parts.first_arrival, parts.first_time_ms, parts.lo_step, x))
        return cls(x[order], x[order], parts.take(order), sum(one.unplaced for one in several))


def join(parts: Parts, other_steps: Int64s, other_times_ms: Int64s, other_values: Float64s) -> Placed:
    """The points of `parts` at the values of the other metric.

    Args:
        other_steps, other_times_ms, other_values: The other metric's points in order of arrival.
    """
    order = np.lexsort((other_times_ms, other_steps))
    steps, values = other_steps[order], other_values[order]
    is_last = np.append(steps[1:] != steps[:-1], True) if len(steps) else np.empty(0, dtype=np.bool_)
    steps, values = steps[is_last], values[is_last]
    if not len(steps):
        return Placed(np.empty(0), np.empty(0), Parts.none(), len(parts))
    at = np.minimum(np.searchsorted(steps, parts.lo_step), len(steps) - 1)
    has_place = (steps[at] == parts.lo_step) & np.isfinite(values[at])
    x = values[at][has_place]
    return Placed(x, x, parts.take(has_place), int((~has_place).sum()))


def float_buckets(placed: Placed, low: float, high: float, count: int) -> Placed:
    """At most `count` buckets of equal width over low … high; points beyond are left out."""
    inside = (placed.x_low >= low) & (placed.x_low <= high)
    x, parts = placed.x_low[inside], placed.parts.take(inside)
    borders = np.linspace(low, high, count + 1)[:-1]
    bucket = np.maximum(np.searchsorted(borders, x, side="right") - 1, 0)
    starts = (
        np.flatnonzero(np.append(True, bucket[1:] != bucket[:-1])) if len(x) else np.empty(0, dtype=np.intp)
    )
    ends = np.append(starts[1:], len(x)) - 1 if len(x) else starts
    return Placed(x[starts], x[ends], unite(parts, bucket), placed.unplaced)
