"""Parts: sets of points of one metric, each known by what a chart needs of it, and the rule that unites them.

A part is a chunk, a block of a chunk, a single point, or a bucket of a chart: all have the same summary, and the union of
parts has the summary that its points have. So a chart unites whole chunks where it can, and opens the others.

Pure numpy; a column for each field, one entry for each part; no Python object for a part. Steps and times are any int64 and
are only compared, never subtracted.

Order: first and last are by (step, time, arrival), whatever the axis of the chart: what a metric was when its training
entered and left the bucket. min, max, their steps and sum are over finite values; min_step is the lowest step that has
the least value. Without a finite value min is +inf, max is -inf, and their steps mean nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["Bools", "Float64s", "Indices", "Int64s", "Parts", "as_indices", "distinct", "unite", "with_ties"]

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]
N = TypeVar("N", bound=np.generic)

RADIX_MAX = 2**16
"""numpy sorts integers of 16 bits by radix: in linear time, so bucket numbers are sorted as such where they fit."""


@dataclass(frozen=True, slots=True)
class Parts:
    """m parts as columns.

    first_time_ms, last_time_ms: of the first and the last point, where `ends_known`; a chunk as it came in does not
    keep them, and they matter only where two parts begin or end at one step. first_arrival, last_arrival: settle what
    step and time leave open; the greater came later.
    """

    lo_step: Int64s
    hi_step: Int64s
    lo_time_ms: Int64s
    hi_time_ms: Int64s
    first_time_ms: Int64s
    last_time_ms: Int64s
    ends_known: Bools
    first_arrival: Int64s
    last_arrival: Int64s
    first_value: Float64s
    last_value: Float64s
    min_value: Float64s
    max_value: Float64s
    min_step: Int64s
    max_step: Int64s
    sum_value: Float64s
    n: Int64s
    non_finite: Int64s

    def __len__(self) -> int:
        return len(self.n)

    def take(self, chosen: Indices | Bools) -> Parts:
        """The parts at these positions, or where a mask is true."""
        chosen = as_indices(chosen)
        taken: dict[
            int, npt.NDArray[Any]
        ] = {}  # points stand as several columns at once: copy each array once
        for name in _FIELDS:
            column = getattr(self, name)
            if id(column) not in taken:
                taken[id(column)] = column[chosen]
        return Parts(*(taken[id(getattr(self, name))] for name in _FIELDS))

    @property
    def point_count(self) -> int:
        return int(self.n.sum())

    @classmethod
    def joined(cls, several: Sequence[Parts]) -> Parts:
        """One after the other."""
        if len(several) == 1:
            return several[0]
        return cls(*(np.concatenate([getattr(parts, name) for parts in several]) for name in _FIELDS))

    @classmethod
    def of_points(
        cls, steps: Int64s, times_ms: Int64s, values: Float64s, arrivals: Int64s | None = None
    ) -> Parts:
        """Each point as a part. Without `arrivals` they arrived in the order given."""
        finite = np.isfinite(values)
        is_finite = bool(finite.all())
        low = values if is_finite else np.where(finite, values, np.inf)
        high = values if is_finite else np.where(finite, values, -np.inf)
        arrivals = np.arange(len(steps)) if arrivals is None else arrivals
        return cls(
            lo_step=steps,
            hi_step=steps,
            lo_time_ms=times_ms,
            hi_time_ms=times_ms,
            first_time_ms=times_ms,
            last_time_ms=times_ms,
            ends_known=np.ones(len(steps), dtype=np.bool_),
            first_arrival=arrivals,
            last_arrival=arrivals,
            first_value=values,
            last_value=values,
            min_value=low,
            max_value=high,
            min_step=steps,
            max_step=steps,
            sum_value=values if is_finite else np.where(finite, values, 0.0),
            n=np.ones(len(steps), dtype=np.int64),
            non_finite=(~finite).astype(np.int64),
        )

    @classmethod
    def none(cls) -> Parts:
        """No part at all."""
        empty = np.empty(0, dtype=np.int64)
        return cls.of_points(empty, empty, np.empty(0, dtype=np.float64))


_FIELDS = tuple(field.name for field in fields(Parts))


@dataclass(frozen=True, slots=True)
class _Groups:
    """Parts sorted by group: where each of the groups that have a part begins, and how many parts it has."""

    order: Indices | None
    starts: Indices
    counts: Indices

    @classmethod
    def of(cls, group_of: npt.NDArray[np.integer[Any]]) -> _Groups:
        order = None
        if len(group_of) and (group_of[1:] < group_of[:-1]).any():
            small = group_of.astype(np.uint16) if group_of.max() < RADIX_MAX else group_of
            order = np.argsort(small, kind="stable")
            group_of = group_of[order]
        starts = (
            np.flatnonzero(np.concatenate(([True], group_of[1:] != group_of[:-1])))
            if len(group_of)
            else _NO_INDEX
        )
        return cls(order, starts, np.diff(np.append(starts, len(group_of))))

    def spread(self, column: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The group's entry for each of its parts."""
        return np.repeat(column, self.counts)


_NO_INDEX = np.empty(0, dtype=np.intp)


def as_indices(chosen: Indices | Bools) -> Indices:
    """Positions, whether they come as such or as a mask: many columns are read faster by them (776 and 82 µs for half of 100,000)."""
    return np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen  # type: ignore[return-value]


def distinct(ordered: npt.NDArray[N]) -> npt.NDArray[N]:
    """Each of the numbers once; they are in order. `np.unique` would hash: 2 ms for the borders of a chart, seconds for a million."""
    is_new = np.ones(len(ordered), dtype=np.bool_)
    is_new[1:] = ordered[1:] != ordered[:-1]
    return ordered[is_new]


def unite(parts: Parts, group_of: npt.NDArray[np.integer[Any]]) -> Parts:
    """One part for each group that has any, in the order of the groups' numbers.

    Args:
        group_of: For each part the number of its group, from 0.
    """
    if not len(parts):
        return parts
    groups = _Groups.of(group_of)
    p = parts if groups.order is None else parts.take(groups.order)
    starts = groups.starts
    lo_step, hi_step = np.minimum.reduceat(p.lo_step, starts), np.maximum.reduceat(p.hi_step, starts)
    first = _pick(groups, p.lo_step == groups.spread(lo_step), (p.first_time_ms, p.first_arrival), last=False)
    last = _pick(groups, p.hi_step == groups.spread(hi_step), (p.last_time_ms, p.last_arrival), last=True)
    min_value, max_value = np.minimum.reduceat(p.min_value, starts), np.maximum.reduceat(p.max_value, starts)
    with np.errstate(over="ignore", invalid="ignore"):  # a sum beyond float64 is infinite, as IEEE 754 has it
        sum_value = np.add.reduceat(p.sum_value, starts)
    return Parts(
        lo_step=lo_step,
        hi_step=hi_step,
        lo_time_ms=np.minimum.reduceat(p.lo_time_ms, starts),
        hi_time_ms=np.maximum.reduceat(p.hi_time_ms, starts),
        first_time_ms=p.first_time_ms[first],
        last_time_ms=p.last_time_ms[last],
        ends_known=p.ends_known[first] & p.ends_known[last],
        first_arrival=p.first_arrival[first],
        last_arrival=p.last_arrival[last],
        first_value=p.first_value[first],
        last_value=p.last_value[last],
        min_value=min_value,
        max_value=max_value,
        min_step=_lowest_step(groups, p.min_value == groups.spread(min_value), p.min_step),
        max_step=_lowest_step(groups, p.max_value == groups.spread(max_value), p.max_step),
        sum_value=sum_value,
        n=np.add.reduceat(p.n, starts),
        non_finite=np.add.reduceat(p.non_finite, starts),
    )


def with_ties(parts: Parts, opened: Bools, group_of: npt.NDArray[np.integer[Any]]) -> Bools:
    """Which parts have to be opened before `unite`: those given, and those that tie with others at their ends.

    That is where several parts of a group begin (or end) at one step, and of one of them it is not known at which time. The
    points of an opened part may stand at any step of its range.

    Args:
        opened: Parts that are opened anyway. group_of: as for `unite`; of opened parts without meaning.
    """
    doubtful = ~opened & ~parts.ends_known
    if not doubtful.any() or (_rises(parts.lo_step) and (parts.lo_step[1:] > parts.hi_step[:-1]).all()):
        return opened
    found = opened.copy()
    whole = np.flatnonzero(~opened)
    found[whole[_tied(parts.take(whole), group_of[whole])]] = True
    if opened.any():
        low, high = parts.lo_step[opened], parts.hi_step[opened]
        found |= doubtful & (_within(parts.lo_step, low, high) | _within(parts.hi_step, low, high))
    return found


def _tied(parts: Parts, group_of: npt.NDArray[np.integer[Any]]) -> Bools:
    """Parts of unknown ends that share their group's first or last step with another one."""
    groups = _Groups.of(group_of)
    p = parts if groups.order is None else parts.take(groups.order)
    found = np.zeros(len(parts), dtype=np.bool_)
    for column, end in ((p.lo_step, np.minimum), (p.hi_step, np.maximum)):
        is_end = column == groups.spread(end.reduceat(column, groups.starts))
        sharing = np.add.reduceat(is_end.astype(np.intp), groups.starts)
        found |= is_end & (groups.spread(sharing) > 1) & ~p.ends_known
    if groups.order is None:
        return found
    in_place = np.zeros(len(parts), dtype=np.bool_)
    in_place[groups.order] = found
    return in_place


def _within(x: Int64s, low: Int64s, high: Int64s) -> Bools:
    """Which x lie within one of the ranges low … high."""
    order = np.argsort(low, kind="stable")
    reach = np.maximum.accumulate(high[order])
    last = np.searchsorted(low[order], x, side="right") - 1
    within: Bools = (last >= 0) & (reach[np.maximum(last, 0)] >= x)
    return within


def _rises(column: Int64s) -> bool:
    return bool((column[1:] > column[:-1]).all())


def _pick(groups: _Groups, is_candidate: Bools, keys: tuple[Int64s, ...], *, last: bool) -> Indices:
    """For each group the candidate that is least (or greatest) by `keys`."""
    candidates = np.flatnonzero(is_candidate)
    if len(candidates) == len(groups.starts):  # each group has at least one, so nobody has a rival
        return candidates
    group = groups.spread(np.arange(len(groups.starts)))[candidates]
    order = np.lexsort((*(key[candidates] for key in reversed(keys)), group))
    ends = np.flatnonzero(
        np.concatenate(([True], group[1:] != group[:-1]))
    )  # lexsort keeps the groups where they are
    if last:
        ends = np.append(ends[1:], len(group)) - 1
    return candidates[order[ends]]


def _lowest_step(groups: _Groups, is_candidate: Bools, steps: Int64s) -> Int64s:
    candidates = np.flatnonzero(is_candidate)
    if len(candidates) == len(groups.starts):
        return steps[candidates]
    return np.minimum.reduceat(steps[candidates], np.searchsorted(candidates, groups.starts))
