"""Chunks of a series as numpy sees them: their summaries, and the points or blocks of those that have to be opened.

Everything here runs in one REPEATABLE READ transaction of the caller's: compaction may replace the chunks at any moment, and
a chunk is found again by its ctid, which only one snapshot vouches for.

What comes back from PostgreSQL is a few byte strings, however many chunks there are (see queries/charts.sql).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final
from uuid import UUID

import numpy as np
import numpy.typing as npt

from ingest.charts.attempts import Voice
from ingest.charts.parts import Bools, Float64s, Indices, Int64s, Parts, as_indices
from ingest.store.packs import BLOCK, BLOCK_POINTS, PackedPoints, blocks_as_parts, element_column
from ingest_schema.limits import INT64_MAX, INT64_MIN
from ingest_schema.sql import load_queries

__all__ = ["Chunks", "Span", "TooManyChunks", "Wanted", "fetch_chunks"]

_SQL: Final = load_queries("charts")

MAX_CHUNKS: Final = 250_000
"""Chunks of one series that one answer looks at: 30 MB of summaries. A series that was compacted has as many at 250
million points."""

_PACKED: Final = 2
_PLACES: Final = 1 << 20
"""Arrival numbers leave room for so many points in a chunk."""
_INT64: Final = (
    "seqs", "lo_step", "hi_step", "lo_time_ms", "hi_time_ms", "min_step", "max_step",
)  # fmt: skip
_FLOAT64: Final = ("first_value", "last_value", "min_value", "max_value", "sum_value")
_INT32: Final = ("writers", "parts", "n", "non_finite")


class TooManyChunks(Exception):
    """More than MAX_CHUNKS chunks of one series lie in the range."""


@dataclass(frozen=True, slots=True)
class Span:
    """Bounds on steps and on times, inclusive."""

    low_step: int = INT64_MIN
    high_step: int = INT64_MAX
    low_time_ms: int = INT64_MIN
    high_time_ms: int = INT64_MAX


@dataclass(frozen=True, slots=True)
class Wanted:
    """One series, the writers whose points count, and bounds."""

    run_id: UUID
    key: str
    voices: Sequence[Voice]
    span: Span


@dataclass(frozen=True, slots=True)
class Chunks:
    """m chunks of one series: summaries, and where to find them again.

    until: for each chunk the last step that counts. is_cut: some of its points may not count.
    """

    run_id: UUID
    summaries: Parts
    is_packed: Bools
    tids: Int64s
    until: Int64s
    span: Span

    def __len__(self) -> int:
        return len(self.tids)

    @property
    def is_cut(self) -> Bools:
        """Chunks of which not all points lie within the span and count."""
        s, span = self.summaries, self.span
        cut: Bools = (
            (s.hi_step > self.until)
            | (s.lo_step < span.low_step)
            | (s.hi_step > span.high_step)
            | (s.lo_time_ms < span.low_time_ms)
            | (s.hi_time_ms > span.high_time_ms)
        )
        return cut

    def take(self, chosen: Indices | Bools) -> Chunks:
        return Chunks(
            self.run_id,
            self.summaries.take(chosen),
            self.is_packed[chosen],
            self.tids[chosen],
            self.until[chosen],
            self.span,
        )

    async def points(self, connection: Any, *, with_times: bool = True) -> OpenedPoints:
        """The points that count and lie within the span, chunk by chunk in no particular order.

        Args:
            with_times: False: the times of packed chunks are not read, and lo_time_ms stands for them.
        """
        pieces = [
            await self._open_plain(connection, np.flatnonzero(~self.is_packed)),
            await self._open_packed(connection, np.flatnonzero(self.is_packed), with_times=with_times),
        ]
        opened = OpenedPoints.joined([piece for piece in pieces if len(piece)] or [_NO_POINTS])
        if not self.is_cut.any():
            return opened
        steps, times_ms, span = opened.steps, opened.times_ms, self.span
        counts = (steps <= self.until[opened.owner]) & (steps >= span.low_step) & (steps <= span.high_step)
        if with_times:
            counts &= (times_ms >= span.low_time_ms) & (times_ms <= span.high_time_ms)
        return opened.take(counts)

    async def _open_plain(self, connection: Any, chosen: Indices) -> OpenedPoints:
        if not len(chosen):
            return _NO_POINTS
        row = await connection.fetchrow(_SQL["chunk_points"], self.run_id, _as_tids(self.tids[chosen]))
        chunk = self._find(chosen, row["tids"])
        return _opened(
            chunk,
            np.frombuffer(row["n"], ">i4").astype(np.int64),
            element_column(row["steps"], "i8"),
            element_column(row["times_ms"], "i8"),
            element_column(row["values"], "f8"),
        )

    async def _open_packed(self, connection: Any, chosen: Indices, *, with_times: bool) -> OpenedPoints:
        if not len(chosen):
            return _NO_POINTS
        row = await connection.fetchrow(
            _SQL["packed_points"], self.run_id, _as_tids(self.tids[chosen]), with_times
        )
        chunk = self._find(chosen, row["tids"])
        n = np.frombuffer(row["n"], ">i4").astype(np.int64)
        packed = PackedPoints(
            lo_step=_int64s(row["lo_step"]),
            step_gap=_int64s(row["step_gap"]),
            has_steps=_bools(row["has_steps"]),
            lo_time_ms=_int64s(row["lo_time_ms"]),
            hi_time_ms=_int64s(row["hi_time_ms"]),
            has_times=_bools(row["has_times"]),
            n=n,
            steps=row["steps"],
            times_ms=row["times_ms"],
            time_residuals=row["time_residuals"],
            values=row["values"],
        )
        return _opened(chunk, n, *packed.unpacked())

    async def blocks(self, connection: Any) -> tuple[Parts, Indices]:
        """The blocks of those of these packed chunks that have any, and for each block its chunk."""
        row = await connection.fetchrow(_SQL["packed_blocks"], self.run_id, _as_tids(self.tids))
        if row["tids"] is None:
            return Parts.none(), np.empty(0, dtype=np.intp)
        chunk = self._find(np.arange(len(self)), row["tids"])
        sizes = np.frombuffer(row["sizes"], ">i4").astype(np.int64) // BLOCK.itemsize
        parts = blocks_as_parts(row["blocks"], self.summaries.first_arrival[chunk], sizes)
        return parts, np.repeat(chunk, sizes)

    def _find(self, chosen: Indices, tids: bytes) -> Indices:
        """Which chunks these are, in the order in which PostgreSQL gave them."""
        order = np.argsort(self.tids[chosen])
        found = _tid_numbers(tids)
        if len(found) != len(chosen):
            raise RuntimeError(f"{len(chosen)} chunks were asked for, {len(found)} were there")
        ordered: Indices = chosen[order[np.searchsorted(self.tids[chosen], found, sorter=order)]]
        return ordered


@dataclass(frozen=True, slots=True)
class OpenedPoints:
    """Points of some chunks: owner is the index of a point's chunk, place its number within the chunk as stored."""

    owner: Indices
    place: Int64s
    steps: Int64s
    times_ms: Int64s
    values: Float64s

    def __len__(self) -> int:
        return len(self.steps)

    @classmethod
    def joined(cls, several: Sequence[OpenedPoints]) -> OpenedPoints:
        """One after the other."""
        if len(several) == 1:
            return several[0]
        return cls(*(np.concatenate([getattr(one, f.name) for one in several]) for f in fields(cls)))

    def take(self, chosen: Indices | Bools) -> OpenedPoints:
        chosen = as_indices(chosen)
        return OpenedPoints(
            self.owner[chosen], self.place[chosen], self.steps[chosen], self.times_ms[chosen], self.values[chosen]
        )  # fmt: skip

    @property
    def block(self) -> Int64s:
        """The number of each point's block within its chunk."""
        return self.place // BLOCK_POINTS

    def as_parts(self, chunks: Chunks) -> Parts:
        arrivals = chunks.summaries.first_arrival[self.owner] + self.place
        return Parts.of_points(self.steps, self.times_ms, self.values, arrivals)


async def fetch_chunks(connection: Any, wanted: Sequence[Wanted]) -> list[Chunks | TooManyChunks]:
    """The chunks of each of these series that may have points in its span.

    Args:
        connection: In a REPEATABLE READ transaction.
    """
    voice_ids: list[UUID] = []
    borders = [0]
    for one in wanted:
        voice_ids += [voice.writer_id for voice in one.voices]
        borders.append(len(voice_ids))
    rows = await connection.fetch(
        _SQL["chunk_summaries"],
        [one.run_id for one in wanted],
        [one.key for one in wanted],
        [border + 1 for border in borders[:-1]],
        borders[1:],
        voice_ids,
        [one.span.low_step for one in wanted],
        [one.span.high_step for one in wanted],
        [one.span.low_time_ms for one in wanted],
        [one.span.high_time_ms for one in wanted],
        MAX_CHUNKS + 1,
    )
    found: dict[int, Mapping[str, Any]] = {row["i"] - 1: row for row in rows}
    return [
        TooManyChunks() if i in found and found[i]["chunk_count"] > MAX_CHUNKS else _chunks(one, found.get(i))
        for i, one in enumerate(wanted)
    ]


def _chunks(wanted: Wanted, row: Mapping[str, Any] | None) -> Chunks:
    if row is None:
        nothing = np.empty(0, dtype=np.int64)
        return Chunks(wanted.run_id, Parts.none(), nothing.astype(np.bool_), nothing, nothing, wanted.span)
    c: dict[str, npt.NDArray[Any]] = {
        name: np.frombuffer(row[name], ">i8").astype(np.int64) for name in _INT64
    }
    c |= {name: np.frombuffer(row[name], ">f8").astype(np.float64) for name in _FLOAT64}
    c |= {name: np.frombuffer(row[name], ">i4").astype(np.int64) for name in _INT32}
    tids = _tid_numbers(row["tids"])
    first_arrival = _arrivals(c["writers"], c["seqs"], c["parts"], tids)
    ordered = _bools(row["time_ordered"])
    summaries = Parts(
        **{name: c[name] for name in (*_INT64[1:], *_FLOAT64, "n", "non_finite")},
        first_time_ms=c["lo_time_ms"],
        last_time_ms=c["hi_time_ms"],
        ends_known=ordered,
        first_arrival=first_arrival,
        last_arrival=first_arrival + c["n"] - 1,
    )
    until_of = np.array(
        [0, *(INT64_MAX if v.until is None else v.until for v in wanted.voices)], dtype=np.int64
    )
    until = until_of[c["writers"]]
    chunks = Chunks(
        wanted.run_id, summaries, np.frombuffer(row["kinds"], "u1") == _PACKED, tids, until, wanted.span
    )
    counts = (c["writers"] > 0) & (summaries.lo_step <= until)
    return chunks if counts.all() else chunks.take(counts)


def _arrivals(writers: Int64s, seqs: Int64s, parts: Int64s, tids: Int64s) -> Int64s:
    """For each chunk the arrival number of its first point, by (writer, seq, part, place in the table)."""
    same = (writers[1:] == writers[:-1]) & (
        (seqs[1:] > seqs[:-1])
        | (
            (seqs[1:] == seqs[:-1])
            & ((parts[1:] > parts[:-1]) | ((parts[1:] == parts[:-1]) & (tids[1:] > tids[:-1])))
        )
    )
    if same.all():  # the usual case: one writer, whose steps rise
        return np.arange(len(tids)) * _PLACES
    order = np.lexsort((tids, parts, seqs, writers))
    arrivals = np.empty(len(tids), dtype=np.int64)
    arrivals[order] = np.arange(len(tids)) * _PLACES
    return arrivals


def _opened(chunk: Indices, n: Int64s, steps: Int64s, times_ms: Int64s, values: Float64s) -> OpenedPoints:
    place = np.arange(len(steps)) - np.repeat(np.cumsum(n) - n, n)
    return OpenedPoints(np.repeat(chunk, n), place, steps, times_ms, values)


_NO_POINTS: Final = OpenedPoints(
    np.empty(0, np.intp),
    np.empty(0, np.int64),
    np.empty(0, np.int64),
    np.empty(0, np.int64),
    np.empty(0, np.float64),
)
_TID: Final = np.dtype([("block", ">u4"), ("place", ">u2")])


def _tid_numbers(tids: bytes) -> Int64s:
    found = np.frombuffer(tids, dtype=_TID)
    numbers: Int64s = (found["block"].astype(np.int64) << 16) | found["place"]
    return numbers


def _as_tids(numbers: Int64s) -> list[tuple[int, int]]:
    """As asyncpg takes them.

    A text that PostgreSQL casts is encoded faster, but is no constant to the planner: it then compared each row with each of a
    thousand places, and a chart of 12 ms took 75.
    """
    return list(zip((numbers >> 16).tolist(), (numbers & 0xFFFF).tolist(), strict=True))


def _int64s(column: bytes) -> Int64s:
    return np.frombuffer(column, ">i8").astype(np.int64)


def _bools(column: bytes) -> Bools:
    flags: Bools = np.frombuffer(column, "u1") != 0
    return flags
