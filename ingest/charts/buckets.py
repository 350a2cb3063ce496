"""Buckets of a chart: where their borders are, which parts lie across one, and what is to be opened.

A chart of `count` buckets over low … high begins with borders at equal distances. Where a chunk lies across a border and a
gap between chunks is near, the border moves into the gap: the bucket is then a little wider or narrower than its
neighbours, exactly what it says, and the chunk need not be opened. So a chart never samples and seldom decodes: ten million
points come down to two thousand buckets from summaries alone.

Borders are integers on the axis, steps or milliseconds. A range may span all of int64, so widths are Python integers and
distances unsigned.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ingest.charts.parts import Bools, Indices, Int64s, distinct
from ingest_schema.limits import INT64_MAX

__all__ = ["Borders", "even_borders"]


@dataclass(frozen=True, slots=True)
class Borders:
    """Bucket i holds starts[i] <= x < starts[i + 1]; the last one ends with `high`, inclusive.

    width: the even distance, before any border moved.
    """

    starts: Int64s
    high: int
    width: int

    @property
    def low(self) -> int:
        return int(self.starts[0])

    def bucket_of(self, x: Int64s) -> Indices:
        """The bucket of each x, which must lie within the range."""
        return np.searchsorted(self.starts, x, side="right") - 1

    def crossed_by(self, low: Int64s, high: Int64s) -> Bools:
        """Which of the parts low … high lie in more than one bucket, or partly outside the range."""
        crossed: Bools = (self.bucket_of(low) != self.bucket_of(high)) | (low < self.low) | (high > self.high)
        return crossed

    def moved(self, low: Int64s, high: Int64s) -> Borders:
        """With each border that would cut a part moved into a gap between parts, if one is within half a width.

        Args:
            low, high: Both ends of each part on the axis, in any order.
        """
        if len(low) < 2 or len(self.starts) < 2:
            return self
        order = slice(None) if bool((low[1:] >= low[:-1]).all()) else np.argsort(low, kind="stable")
        low, reach = low[order], np.maximum.accumulate(high[order])
        is_gap = reach[:-1] < low[1:]
        # A border lies in gap k, and cuts nothing, if after[k] < border <= before[k].
        after, before = reach[:-1][is_gap], low[1:][is_gap]
        if not len(after):
            return self
        borders = self.starts[1:]
        gap = np.searchsorted(before, borders, side="left")
        right = after[np.minimum(gap, len(after) - 1)]
        cuts = (gap == len(after)) | (right >= borders)
        rightward = right + 1  # no overflow: a gap's left end is below its right end
        leftward = before[np.maximum(gap - 1, 0)]
        too_far = np.uint64(2**64 - 1)
        to_right = np.where(
            (gap < len(after)) & (rightward <= self.high), _distance(rightward, borders), too_far
        )
        to_left = np.where((gap > 0) & (leftward > self.low), _distance(borders, leftward), too_far)
        nearest = np.minimum(to_right, to_left)
        moves = cuts & (nearest <= np.uint64(self.width // 2))
        target = np.where(to_right <= to_left, rightward, leftward)
        starts = np.concatenate((self.starts[:1], np.where(moves, target, borders)))
        return Borders(distinct(np.sort(starts)), self.high, self.width)


def even_borders(low: int, high: int, count: int) -> Borders:
    """`count` buckets of equal width over low … high, both inclusive; fewer if the range has fewer integers.

    Raises:
        ValueError: high is below low, or count below 1.
    """
    span = high - low + 1
    if span < 1 or count < 1:
        raise ValueError(f"no {count} buckets over {low} … {high}")
    count = min(count, span)
    if span <= INT64_MAX // count:
        starts = low + span * np.arange(count, dtype=np.int64) // count
    else:
        starts = np.array([low + span * i // count for i in range(count)], dtype=np.int64)
    return Borders(starts, high, -(-span // count))


def _distance(greater: Int64s, less: Int64s) -> npt.NDArray[np.uint64]:
    """The difference where that is not negative, without overflow; elsewhere something huge or meaningless."""
    return greater.view(np.uint64) - less.view(np.uint64)
