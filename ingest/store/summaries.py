"""What the points of each chunk amount to: the summary columns of `metric_chunks` and the input of `series`.

Pure numpy, no loop over points. Two orders meet here and differ only among points of equal step and time:

    first, last   of a chunk: by (step, time, arrival), so that a chart draws what was logged last
    latest        of a series: by (step, time, value with NaN as 0), as MLflow defines a run's metric; the earlier of equals

min, max, their steps and sum are over finite values; min_step is the lowest step that has the least value. A chunk
without a finite value has `has_finite` False, and its min, max and their steps mean nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ingest.charts.parts import distinct
from ingest.store.points import Float64s, Int64s, PointTable

__all__ = ["Summaries", "summarize"]


@dataclass(frozen=True, slots=True)
class Summaries:
    """One entry for each chunk of a PointTable, in its order."""

    lo_step: Int64s
    hi_step: Int64s
    lo_time_ms: Int64s
    hi_time_ms: Int64s
    first_time_ms: Int64s
    first_value: Float64s
    last_value: Float64s
    latest_time_ms: Int64s
    latest_value: Float64s
    has_finite: npt.NDArray[np.bool_]
    min_value: Float64s
    min_step: Int64s
    max_value: Float64s
    max_step: Int64s
    sum_value: Float64s
    non_finite: Int64s


def summarize(table: PointTable) -> Summaries:
    """The summary of each chunk. `table` has at least one chunk, and no chunk is empty."""
    steps, times_ms, values, starts = table.steps, table.times_ms, table.values, table.starts
    ends = starts + table.counts - 1
    first, last, latest = _ends(table, starts, ends)
    finite = np.isfinite(values)
    if finite.all():
        has_finite = np.ones(len(starts), dtype=np.bool_)
        non_finite = np.zeros(len(starts), dtype=np.int64)
        low = high = summed = values
    else:
        finite_count = np.add.reduceat(finite.astype(np.int64), starts)
        has_finite = finite_count > 0
        non_finite = table.counts - finite_count
        low, high = np.where(finite, values, np.inf), np.where(finite, values, -np.inf)
        summed = np.where(finite, values, 0.0)
    min_value, max_value = np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts)
    with np.errstate(over="ignore"):  # a sum beyond float64 is infinite, as IEEE 754 has it
        sum_value = np.add.reduceat(summed, starts)
    return Summaries(
        lo_step=steps[first],
        hi_step=steps[last],
        lo_time_ms=np.minimum.reduceat(times_ms, starts),
        hi_time_ms=np.maximum.reduceat(times_ms, starts),
        first_time_ms=times_ms[first],
        first_value=values[first],
        last_value=values[last],
        latest_time_ms=times_ms[latest],
        latest_value=values[latest],
        has_finite=has_finite,
        min_value=min_value,
        min_step=_lowest_step_of(low, min_value, table),
        max_value=max_value,
        max_step=_lowest_step_of(high, max_value, table),
        sum_value=sum_value,
        non_finite=non_finite,
    )


def _ends(table: PointTable, starts: Int64s, ends: Int64s) -> tuple[Int64s, Int64s, Int64s]:
    """Indices of each chunk's first, last and latest point."""
    if table.chunk_count == table.point_count:
        return starts, starts, starts
    rises = table.steps[1:] > table.steps[:-1]
    rises[starts[1:] - 1] = True  # from one chunk to the next anything goes
    if rises.all():  # the usual case: a loop that counts its steps
        return starts, ends, ends
    first, last, latest = starts.copy(), ends.copy(), ends.copy()
    falls = np.flatnonzero(~rises)
    unordered = distinct(np.searchsorted(starts, falls, side="right") - 1)
    counts = table.counts[unordered]
    group = np.repeat(np.arange(len(unordered)), counts)
    group_ends = np.cumsum(counts)
    group_starts = group_ends - counts
    points = np.arange(group_ends[-1]) - group_starts[group] + starts[unordered][group]
    steps, times_ms, values = table.steps[points], table.times_ms[points], table.values[points]
    order = np.lexsort((points, times_ms, steps, group))
    first[unordered], last[unordered] = points[order[group_starts]], points[order[group_ends - 1]]
    as_number = np.where(np.isnan(values), 0.0, values)
    order = np.lexsort((-points, as_number, times_ms, steps, group))
    latest[unordered] = points[order[group_ends - 1]]
    return first, last, latest


def _lowest_step_of(values: Float64s, extreme: Float64s, table: PointTable) -> Int64s:
    """For each chunk the lowest step whose value is the chunk's extreme."""
    hits = np.flatnonzero(values == np.repeat(extreme, table.counts))
    steps = table.steps[hits]
    if len(hits) == table.chunk_count:  # every extreme occurs, so one each means no ties
        return steps
    return np.minimum.reduceat(steps, np.searchsorted(hits, table.starts))
