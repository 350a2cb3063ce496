"""Charts of stored series: which chunks answer from their summaries, and which are opened.

For each series, inside one snapshot:

    1. the summaries of all chunks in the range
    2. borders at even distances, moved into gaps between chunks where one is near
    3. of packed chunks that still lie across a border: their blocks, and borders moved into gaps between those
    4. of whatever still lies across a border, or is not wholly in the range, or has a tie at its end: the points

A range with no more points than buckets comes as points. Opening goes slice by slice, so memory is bounded by the buckets
and one slice, however long the series. Long numpy work runs in a thread, so that the event loop goes on taking batches.

A pool of its own: readers of charts never take a connection from writers or from other reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, ParamSpec, Self
from uuid import UUID

import numpy as np
import numpy.typing as npt

from ingest.charts.attempts import Writer, of_key, voices
from ingest.charts.buckets import Borders, even_borders
from ingest.charts.parts import Indices, Int64s, Parts, distinct, unite, with_ties
from ingest.store.chunks import Chunks, OpenedPoints, Span, TooManyChunks, Wanted, fetch_chunks
from ingest.store.connections import open_reader_pool, snapshot
from ingest.store.packs import BLOCK_POINTS, PACK_POINTS
from ingest_schema.sql import load_queries

__all__ = ["Axis", "Chart", "ChartQuestion", "Charts", "SeriesFacts", "TooManyChunks", "TooManyPoints"]

_SQL: Final = load_queries("charts")

Axis = Literal["step", "time"]
P = ParamSpec("P")

SLICE_POINTS: Final = 250_000
"""Points opened at a time: about 20 MB."""
SERIES_AT_A_TIME: Final = 16
"""Series whose summaries are fetched in one statement."""
MAX_LOOSE_POINTS: Final = 5_000_000
"""Points of one series that `points` gives as such; a chart has no such bound."""
_THREAD_POINTS: Final = 20_000
"""From here on numpy works in a thread: a millisecond or so."""


class TooManyPoints(Exception):
    """More points would have to be read at once than one answer may take."""

    def __init__(self, found: int, limit: int) -> None:
        super().__init__(f"{found:,} points would have to be read, over the limit of {limit:,}")
        self.found = found
        self.limit = limit


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartQuestion:
    """What to draw of one series.

    low, high: the range on the axis (steps, or ms since the Unix epoch), inclusive; None: all there is.
    buckets: at most so many. attempt, ranks: see `ingest.charts.attempts`.
    """

    run_id: UUID
    key: str
    axis: Axis = "step"
    low: int | None = None
    high: int | None = None
    buckets: int = 1_000
    attempt: int | None = None
    ranks: tuple[int, ...] | None = None

    @property
    def span(self) -> Span:
        names = ("low_step", "high_step") if self.axis == "step" else ("low_time_ms", "high_time_ms")
        bounds = {
            name: bound for name, bound in zip(names, (self.low, self.high), strict=True) if bound is not None
        }
        return Span(**bounds)


@dataclass(frozen=True, slots=True)
class SeriesFacts:
    """What all points of a series amount to, superseded ones included. Changes with every point that arrives."""

    n: int
    non_finite: int
    first_step: int
    last_step: int
    last_time_ms: int
    last_value: float
    sum_value: float
    start_time_ms: int
    writers: tuple[Writer, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """The answer: buckets, or the points themselves, in order of the axis.

    low, high: the range that was covered. parts: of points when `is_raw`.
    """

    question: ChartQuestion
    facts: SeriesFacts
    is_raw: bool
    low: int | None
    high: int | None
    parts: Parts

    @property
    def point_count(self) -> int:
        return self.parts.point_count


class Charts:
    """The reads, over a pool. `open` makes one."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, *, connections: int, timeout: float) -> AsyncIterator[Self]:
        """Charts for as long as the block; connections are made when first needed.

        Args:
            timeout: Seconds that one statement may take.
        """
        pool = await open_reader_pool(url, size=connections, timeout=timeout)
        try:
            yield cls(pool)
        finally:
            pool.terminate()

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[ChartReader]:
        """Several questions to one state of the database."""
        async with snapshot(self._pool) as connection:
            yield ChartReader(connection)


class ChartReader:
    """Reads within one snapshot."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def facts(self, series: Sequence[tuple[UUID, str]]) -> list[SeriesFacts | None]:
        """For each (run_id, key) what its points amount to; None: there is no such series."""
        run_ids = list({run_id for run_id, _ in series})
        rows = await self._connection.fetch(
            _SQL["series_facts"], [r for r, _ in series], [k for _, k in series]
        )
        starts = dict(await self._connection.fetch(_SQL["run_facts"], run_ids))
        writers: dict[UUID, list[Writer]] = {}
        for row in await self._connection.fetch(_SQL["run_writers"], run_ids):
            writers.setdefault(row["run_id"], []).append(
                Writer(**{k: v for k, v in row.items() if k != "run_id"})
            )
        found: list[SeriesFacts | None] = [None] * len(series)
        for row in rows:
            run_id = series[row["i"] - 1][0]
            columns = {name: value for name, value in row.items() if name != "i"}
            found[row["i"] - 1] = SeriesFacts(
                **columns, start_time_ms=starts.get(run_id, 0), writers=tuple(writers.get(run_id, ()))
            )
        return found

    async def charts(self, questions: Sequence[tuple[ChartQuestion, SeriesFacts]]) -> AsyncIterator[Chart]:
        """The answers, in order."""
        for begin in range(0, len(questions), SERIES_AT_A_TIME):
            group = questions[begin : begin + SERIES_AT_A_TIME]
            found = await fetch_chunks(self._connection, [_wanted(*one) for one in group])
            for (question, facts), chunks in zip(group, found, strict=True):
                if isinstance(chunks, TooManyChunks):
                    yield await self._piecewise(question, facts)
                else:
                    yield await self._chart(question, facts, chunks)

    async def points(
        self, question: ChartQuestion, facts: SeriesFacts, *, limit: int = MAX_LOOSE_POINTS
    ) -> AsyncIterator[OpenedPoints]:
        """All points of the question's range that count, slice by slice, in no particular order.

        Raises:
            TooManyPoints: More than `limit` would have to be read.
        """
        (chunks,) = await fetch_chunks(self._connection, [_wanted(question, facts)])
        if isinstance(chunks, TooManyChunks):
            raise TooManyPoints(facts.n, limit)
        if chunks.summaries.point_count > limit:
            raise TooManyPoints(chunks.summaries.point_count, limit)
        async for _, opened in self._slices(chunks, np.arange(len(chunks)), with_times=True):
            yield opened

    async def loose_parts(
        self, question: ChartQuestion, facts: SeriesFacts, *, limit: int = MAX_LOOSE_POINTS
    ) -> AsyncIterator[Parts]:
        """Like `points`, as parts in order of (step, time, arrival) within a slice."""
        (chunks,) = await fetch_chunks(self._connection, [_wanted(question, facts)])
        if isinstance(chunks, TooManyChunks) or chunks.summaries.point_count > limit:
            found = facts.n if isinstance(chunks, TooManyChunks) else chunks.summaries.point_count
            raise TooManyPoints(found, limit)
        async for _, opened in self._slices(chunks, np.arange(len(chunks)), with_times=True):
            yield await _in_thread(len(opened), _sorted, opened.as_parts(chunks), question.axis)

    async def _chart(self, question: ChartQuestion, facts: SeriesFacts, chunks: Chunks) -> Chart:
        s = chunks.summaries
        cut_points = int(s.n[chunks.is_cut].sum())
        at_most, at_least = s.point_count, s.point_count - cut_points
        low, high = _range(question, chunks)
        if at_most <= question.buckets:
            return Chart(question, facts, True, low, high, await self._raw(chunks, question.axis))
        if low is None or high is None:
            return Chart(question, facts, True, low, high, Parts.none())
        borders = even_borders(low, high, question.buckets)
        buckets = await self._buckets(chunks, borders, question.axis)
        if at_least <= question.buckets and buckets.point_count <= question.buckets:
            return Chart(question, facts, True, low, high, await self._raw(chunks, question.axis))
        return Chart(question, facts, False, low, high, buckets)

    async def _raw(self, chunks: Chunks, axis: Axis) -> Parts:
        pieces = [
            opened.as_parts(chunks)
            async for _, opened in self._slices(chunks, np.arange(len(chunks)), with_times=True)
        ]
        parts = Parts.joined(pieces or [Parts.none()])
        return await _in_thread(len(parts), _sorted, parts, axis)

    async def _buckets(self, chunks: Chunks, even: Borders, axis: Axis) -> Parts:
        s, is_cut = chunks.summaries, chunks.is_cut
        borders = even.moved(*_ends(s, axis))
        crossing = borders.crossed_by(*_ends(s, axis)) | is_cut
        # Blocks of a cut chunk know nothing of where it is cut.
        to_split = np.flatnonzero(crossing & chunks.is_packed & (s.n > BLOCK_POINTS) & ~is_cut)
        units, owner = s, np.arange(len(s))
        block = np.full(len(s), -1)
        if len(to_split):
            blocks, block_owner = await chunks.take(to_split).blocks(self._connection)
            kept = np.ones(len(s), dtype=np.bool_)
            kept[to_split[block_owner]] = False
            units = Parts.joined([s.take(kept), blocks])
            owner = np.concatenate((np.flatnonzero(kept), to_split[block_owner]))
            block = np.concatenate((block[kept], blocks.first_arrival % _PLACE // BLOCK_POINTS))
            borders = even.moved(*_ends(units, axis))
            crossing = borders.crossed_by(*_ends(units, axis)) | is_cut[owner]
        crossing = with_ties(units, crossing, borders.bucket_of(_ends(units, axis)[0]))
        opened_units = _Units(owner[crossing], block[crossing])
        buckets = _united(units.take(~crossing), borders, axis)
        with_times = axis == "time" or not _is_disjoint(units)
        to_open = np.zeros(len(chunks), dtype=np.bool_)
        to_open[opened_units.owner] = True
        async for _, opened in self._slices(chunks, np.flatnonzero(to_open), with_times=with_times):
            inside = opened_units.contain(opened, len(chunks))
            points = opened.take(inside) if not inside.all() else opened
            found = await _in_thread(len(points), _united, points.as_parts(chunks), borders, axis)
            buckets = _united(Parts.joined([buckets, found]), borders, axis)
        return buckets

    async def _slices(
        self, chunks: Chunks, chosen: Indices, *, with_times: bool
    ) -> AsyncIterator[tuple[Indices, OpenedPoints]]:
        """The points of the chosen chunks, about SLICE_POINTS at a time; owners are indices into `chunks`."""
        slice_of = np.cumsum(chunks.summaries.n[chosen]) // SLICE_POINTS
        for slice_number in distinct(slice_of):
            mine = chosen[slice_of == slice_number]
            opened = await chunks.take(mine).points(self._connection, with_times=with_times)
            yield mine, replace(opened, owner=mine[opened.owner])

    async def _piecewise(self, question: ChartQuestion, facts: SeriesFacts) -> Chart:
        """A chart of so many chunks that not even their summaries are read at once: half the range, then the other.

        Only a series that waits for compaction has so many. Borders between halves do not move.
        """
        low, high = question.low, question.high
        if low is None or high is None:
            if question.axis == "time":
                raise TooManyPoints(facts.n, MAX_LOOSE_POINTS)
            low = facts.first_step if low is None else low
            high = facts.last_step if high is None else high
        if high <= low or question.buckets < 2:
            raise TooManyPoints(facts.n, MAX_LOOSE_POINTS)
        middle = (low + high) // 2
        halves = [
            replace(question, low=low, high=middle, buckets=question.buckets // 2),
            replace(question, low=middle + 1, high=high, buckets=question.buckets - question.buckets // 2),
        ]
        found = [chart async for chart in self.charts([(half, facts) for half in halves])]
        return Chart(question, facts, False, low, high, Parts.joined([chart.parts for chart in found]))


_PLACE: Final = 1 << 20
_MAX_BLOCKS: Final = PACK_POINTS // BLOCK_POINTS + 1


@dataclass(frozen=True, slots=True)
class _Units:
    """Chunks to be opened wholly (block -1) or block by block."""

    owner: Indices
    block: Int64s

    def contain(self, opened: OpenedPoints, chunk_count: int) -> npt.NDArray[np.bool_]:
        """Which of the points are in one of these."""
        wholly = np.zeros(chunk_count, dtype=np.bool_)
        wholly[self.owner[self.block < 0]] = True
        inside = wholly[opened.owner]
        if inside.all():
            return inside
        in_blocks = np.zeros((chunk_count, _MAX_BLOCKS), dtype=np.bool_)
        in_blocks[self.owner[self.block >= 0], self.block[self.block >= 0]] = True
        return inside | in_blocks[opened.owner, np.minimum(opened.block, _MAX_BLOCKS - 1)]


def _wanted(question: ChartQuestion, facts: SeriesFacts) -> Wanted:
    heard = voices(facts.writers, attempt=question.attempt, ranks=question.ranks)
    return Wanted(question.run_id, question.key, of_key(heard, question.key), question.span)


def _ends(parts: Parts, axis: Axis) -> tuple[Int64s, Int64s]:
    return (parts.lo_step, parts.hi_step) if axis == "step" else (parts.lo_time_ms, parts.hi_time_ms)


def _range(question: ChartQuestion, chunks: Chunks) -> tuple[int | None, int | None]:
    """The range to be drawn: what was asked for, and where nothing was, what there is."""
    low, high = question.low, question.high
    if not len(chunks):
        return low, high
    lows, highs = _ends(chunks.summaries, question.axis)
    if question.axis == "step":
        highs = np.minimum(highs, chunks.until)
    low = int(lows.min()) if low is None else low
    high = int(highs.max()) if high is None else high
    return low, max(low, high)


def _united(parts: Parts, borders: Borders, axis: Axis) -> Parts:
    return unite(parts, borders.bucket_of(_ends(parts, axis)[0]))


def _sorted(parts: Parts, axis: Axis) -> Parts:
    keys = (parts.first_arrival, parts.first_time_ms, parts.lo_step)
    return parts.take(np.lexsort((*keys, parts.lo_time_ms) if axis == "time" else keys))


def _is_disjoint(parts: Parts) -> bool:
    """Whether no two parts have a step in common, so that times decide nothing between them."""
    order = np.argsort(parts.lo_step, kind="stable")
    reach = np.maximum.accumulate(parts.hi_step[order])
    return bool((parts.lo_step[order][1:] > reach[:-1]).all())


async def _in_thread(
    point_count: int, work: Callable[P, Parts], *arguments: P.args, **names: P.kwargs
) -> Parts:
    if point_count < _THREAD_POINTS:
        return work(*arguments, **names)
    return await asyncio.to_thread(work, *arguments, **names)
