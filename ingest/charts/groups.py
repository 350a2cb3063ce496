"""Mean, standard deviation, least, greatest and number of values over a group of runs, by step.

Pure; over all points, never a sample. Points come slice by slice, so memory is bounded by the buckets. The rules are those
of `pandas.DataFrame.groupby`: NaN is left out, infinities are not, the deviation is that of a sample (ddof = 1).

Means are sums over counts; squared deviations are united by the rule of Chan, Golub and LeVeque (1979), which does not cancel.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ingest.charts.buckets import Borders
from ingest.charts.parts import Float64s, Int64s

__all__ = ["GroupTotals"]


@dataclass(slots=True)
class GroupTotals:
    """Running totals for each bucket of steps. With buckets of one step each: for each step."""

    borders: Borders
    count: Int64s = field(init=False)
    total: Float64s = field(init=False)
    squares: Float64s = field(init=False)
    least: Float64s = field(init=False)
    greatest: Float64s = field(init=False)
    low_step: Int64s = field(init=False)
    high_step: Int64s = field(init=False)

    def __post_init__(self) -> None:
        size = len(self.borders.starts)
        self.count = np.zeros(size, dtype=np.int64)
        self.total, self.squares = np.zeros(size), np.zeros(size)
        self.least, self.greatest = np.full(size, np.inf), np.full(size, -np.inf)
        self.low_step = np.full(size, np.iinfo(np.int64).max)
        self.high_step = np.full(size, np.iinfo(np.int64).min)

    def add(self, steps: Int64s, values: Float64s) -> None:
        """Points, all within the borders."""
        known = ~np.isnan(values)
        if not known.all():
            steps, values = steps[known], values[known]
        if not len(values):
            return
        bucket = self.borders.bucket_of(steps)
        if (bucket[1:] < bucket[:-1]).any():
            order = np.argsort(bucket, kind="stable")
            bucket, steps, values = bucket[order], steps[order], values[order]
        starts = np.flatnonzero(np.append(True, bucket[1:] != bucket[:-1]))
        at, n = bucket[starts], np.diff(np.append(starts, len(bucket)))
        with np.errstate(over="ignore", invalid="ignore"):  # infinities make NaN, as in pandas
            total = np.add.reduceat(values, starts)
            squares = np.add.reduceat((values - np.repeat(total / n, n)) ** 2, starts)
            before = self.count[at]
            shift = total / n - self.total[at] / np.maximum(before, 1)
            between = np.where(before > 0, shift**2 * (before * n / (before + n)), 0.0)
            self.squares[at] += squares + between
            self.total[at] += total
        self.count[at] += n
        self.least[at] = np.minimum(self.least[at], np.minimum.reduceat(values, starts))
        self.greatest[at] = np.maximum(self.greatest[at], np.maximum.reduceat(values, starts))
        self.low_step[at] = np.minimum(self.low_step[at], np.minimum.reduceat(steps, starts))
        self.high_step[at] = np.maximum(self.high_step[at], np.maximum.reduceat(steps, starts))

    def columns(self) -> dict[str, Int64s | Float64s]:
        """The buckets that have a value, in order. std of a single value is NaN."""
        seen = self.count > 0
        n = self.count[seen]
        with np.errstate(invalid="ignore", divide="ignore"):
            std = np.sqrt(np.where(n > 1, self.squares[seen] / np.maximum(n - 1, 1), np.nan))
        return {
            "first_step": self.low_step[seen],
            "last_step": self.high_step[seen],
            "count": n,
            "mean": self.total[seen] / n,
            "std": std,
            "min": self.least[seen],
            "max": self.greatest[seen],
        }
