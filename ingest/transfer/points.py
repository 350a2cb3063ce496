"""The points of one run in their canonical order: by metric, writer, step, time, arrival.

It is the same order whether the points lie as they came in or compacted, so exports of the same content are equal, and arrival
matters only among points of equal step and time of one writer, which compaction keeps.

A run is read slice by slice, each of about SLICE_POINTS points. A slice ends between two series, or inside one where all steps
that follow are higher. A series logged in an order without such gaps, each step anywhere, is read as one slice, which holds
24 bytes a point in memory.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import numpy as np
import numpy.typing as npt

from ingest.charts.parts import Float64s, Int64s
from ingest.store.packs import PackedPoints, element_column
from ingest_schema.sql import load_queries

__all__ = ["PointSlice", "points_of_run"]

_SQL: Final = load_queries("transfer")
SLICE_POINTS: Final = 500_000
"""12 MB of columns: enough for one row group of Parquet, little enough for any machine."""


@dataclass(frozen=True, slots=True)
class PointSlice:
    """n points of m series; series i holds the next counts[i] of them."""

    keys: tuple[str, ...]
    writer_ids: tuple[UUID, ...]
    counts: Int64s
    steps: Int64s
    times_ms: Int64s
    values: Float64s


@dataclass(frozen=True, slots=True)
class _Chunk:
    key: str
    writer_id: UUID
    ctid: tuple[int, int]
    is_packed: bool
    n: int
    lo_step: int
    hi_step: int


async def points_of_run(
    connection: Any, run_id: UUID, *, slice_points: int = SLICE_POINTS
) -> AsyncIterator[PointSlice]:
    """Read all points of a run, inside the caller's snapshot."""
    rows = await connection.fetch(_SQL["chunks_of_run"], run_id)
    chunks = [
        _Chunk(r["key"], r["writer_id"], tuple(r["ctid"]), r["is_packed"], r["n"], r["lo_step"], r["hi_step"])
        for r in rows
    ]
    del rows
    for piece in _slices(chunks, slice_points):
        yield await _read(connection, run_id, piece)


def _slices(chunks: Sequence[_Chunk], slice_points: int) -> Iterator[list[_Chunk]]:
    """The chunks in groups of about so many points; series that are larger are cut where steps allow."""
    group: list[_Chunk] = []
    group_points = 0
    for series in _series_of(chunks):
        for piece in _cuts(series, slice_points):
            points = sum(chunk.n for chunk in piece)
            if group and group_points + points > slice_points:
                yield group
                group, group_points = [], 0
            group += piece
            group_points += points
    if group:
        yield group


def _series_of(chunks: Sequence[_Chunk]) -> Iterator[list[_Chunk]]:
    begin = 0
    for i in range(1, len(chunks) + 1):
        if i == len(chunks) or (chunks[i].key, chunks[i].writer_id) != (
            chunks[begin].key,
            chunks[begin].writer_id,
        ):
            yield list(chunks[begin:i])
            begin = i


def _cuts(series: list[_Chunk], slice_points: int) -> Iterator[list[_Chunk]]:
    """Pieces of a series such that every step of a piece is below every step of the next; arrival order inside each."""
    if sum(chunk.n for chunk in series) <= slice_points:
        yield series
        return
    arrival = {chunk: i for i, chunk in enumerate(series)}
    by_step = sorted(series, key=lambda chunk: chunk.lo_step)
    piece: list[_Chunk] = []
    points, highest = 0, by_step[0].lo_step
    for chunk in by_step:
        if points >= slice_points and chunk.lo_step > highest:
            yield sorted(piece, key=arrival.__getitem__)
            piece, points = [], 0
        piece.append(chunk)
        points += chunk.n
        highest = max(highest, chunk.hi_step)
    yield sorted(piece, key=arrival.__getitem__)


async def _read(connection: Any, run_id: UUID, chunks: list[_Chunk]) -> PointSlice:
    columns: list[tuple[Int64s, Int64s, Float64s]] = []
    places: list[Int64s] = []
    for is_packed in (False, True):
        wanted = {chunk.ctid: i for i, chunk in enumerate(chunks) if chunk.is_packed is is_packed}
        if not wanted:
            continue
        query = "points_of_packs" if is_packed else "points_of_chunks"
        row = await connection.fetchrow(_SQL[query], run_id, list(wanted))
        tids = np.frombuffer(row["tids"], dtype=[("block", ">u4"), ("place", ">u2")]).tolist()
        place = np.array([wanted[tid] for tid in tids], dtype=np.int64)
        n = np.frombuffer(row["n"], ">i4").astype(np.int64)
        places.append(np.repeat(place, n))
        columns.append(_unpacked(row, n) if is_packed else _plain(row))
    steps, times_ms, values = (np.concatenate(several) for several in zip(*columns, strict=True))
    place_of = np.concatenate(places)
    if not _is_sorted(place_of):  # places first: rows came in any order, and packed ones after the others
        order = np.argsort(place_of, kind="stable")
        place_of, steps, times_ms, values = place_of[order], steps[order], times_ms[order], values[order]
    return _in_order(chunks, place_of, steps, times_ms, values)


def _in_order(
    chunks: list[_Chunk], place_of: Int64s, steps: Int64s, times_ms: Int64s, values: Float64s
) -> PointSlice:
    """Series by series, sorted by (step, time, arrival)."""
    series = list(_series_of(chunks))
    series_of_chunk = np.repeat(np.arange(len(series)), [len(one) for one in series])
    series_of = series_of_chunk[place_of]
    same = series_of[1:] == series_of[:-1]
    rises = (steps[1:] > steps[:-1]) | ((steps[1:] == steps[:-1]) & (times_ms[1:] >= times_ms[:-1]))
    if not (rises | ~same).all():
        order = np.lexsort((times_ms, steps, series_of))  # stable: arrival decides among equals
        steps, times_ms, values = steps[order], times_ms[order], values[order]
    return PointSlice(
        keys=tuple(one[0].key for one in series),
        writer_ids=tuple(one[0].writer_id for one in series),
        counts=np.bincount(series_of, minlength=len(series)).astype(np.int64),
        steps=steps,
        times_ms=times_ms,
        values=values,
    )


def _is_sorted(column: npt.NDArray[np.int64]) -> bool:
    return bool((column[1:] >= column[:-1]).all())


def _plain(row: Any) -> tuple[Int64s, Int64s, Float64s]:
    return (
        element_column(row["steps"], "i8"),
        element_column(row["times_ms"], "i8"),
        element_column(row["values"], "f8"),
    )


def _unpacked(row: Any, n: Int64s) -> tuple[Int64s, Int64s, Float64s]:
    def int64s(name: str) -> Int64s:
        return np.frombuffer(row[name], ">i8").astype(np.int64)

    return PackedPoints(
        lo_step=int64s("lo_step"),
        step_gap=int64s("step_gap"),
        has_steps=np.frombuffer(row["has_steps"], "?"),
        lo_time_ms=int64s("lo_time_ms"),
        hi_time_ms=int64s("hi_time_ms"),
        has_times=np.frombuffer(row["has_times"], "?"),
        n=n,
        steps=row["steps"],
        times_ms=row["times_ms"],
        time_residuals=row["time_residuals"],
        values=row["values"],
    ).unpacked()
