"""Which points of a series a bucket keeps when a run is thinned. Pure.

Points of one writer, in order of (step, time, arrival), fall into buckets of equally many. Of each bucket stay, exactly as logged:

    the first and the last point, and of several at the last step and time the greatest, which is MLflow's latest
    the least and the greatest finite value, at the first step that has it
    the first NaN, the first +Inf, the first -Inf

So no extreme and no kind of non-finite value is lost at any zoom, and what `series` says of the ends and extremes of a metric stays
true of the points that are left. Where a resume superseded what follows a step, a bucket ends: the part that counts keeps
extremes of its own.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from ingest.charts.parts import Bools, Float64s, Int64s

__all__ = ["KEPT_MOST", "kept"]

KEPT_MOST: Final = 8
"""Points that a bucket keeps; smaller buckets gain nothing."""


def kept(
    steps: Int64s, times_ms: Int64s, values: Float64s, *, bucket_points: int, until: int | None = None
) -> Bools:
    """Which points stay.

    Args:
        steps, times_ms, values: Sorted by (step, time, arrival); not empty.
        bucket_points: Points of a bucket.
        until: Points after this step are superseded.
    """
    bucket = np.arange(len(steps)) // bucket_points
    if until is not None:
        bucket = 2 * bucket + (steps > until)
    starts = np.concatenate(([0], np.flatnonzero(np.diff(bucket)) + 1))
    ends = np.append(starts[1:], len(steps)) - 1
    group = np.repeat(np.arange(len(starts)), ends - starts + 1)
    stays = np.zeros(len(steps), dtype=np.bool_)
    stays[starts] = True
    stays[ends] = True
    at_end = (steps == steps[ends][group]) & (times_ms == times_ms[ends][group])
    _keep_greatest(stays, np.where(np.isnan(values), 0.0, values), at_end, starts, group)
    is_finite = np.isfinite(values)
    _keep_greatest(stays, values, is_finite, starts, group)
    _keep_greatest(stays, -values, is_finite, starts, group)
    for is_kind in (np.isnan(values), values == np.inf, values == -np.inf):
        _keep_first(stays, is_kind, group)
    return stays


def _keep_greatest(
    stays: Bools, values: Float64s, among: Bools, starts: npt.NDArray[np.intp], group: npt.NDArray[np.intp]
) -> None:
    """Of each group the first of the greatest values among these."""
    found = np.where(among, values, -np.inf)
    greatest = np.maximum.reduceat(found, starts)
    _keep_first(stays, among & (found == greatest[group]), group)


def _keep_first(stays: Bools, among: Bools, group: npt.NDArray[np.intp]) -> None:
    places = np.flatnonzero(among)
    _, firsts = np.unique(group[places], return_index=True)
    stays[places[firsts]] = True
