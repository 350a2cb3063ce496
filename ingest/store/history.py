"""Raw points of one series in pages, exactly as they were logged.

Arrays come in PostgreSQL's binary form and are decoded by numpy; no Python object is made for a point. A page token names a
chunk and an offset into it. Compacted chunks come first, in the order of their lowest step, then those that still wait.

Nothing here hides the points of an earlier attempt: that is what charts do.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import numpy as np
import numpy.typing as npt

from ingest.store.pages import BadPageToken, decode_token, encode_token
from ingest.store.pgcopy import decode_array
from ingest.store.points import Float64s, Int64s
from ingest_schema.limits import INT64_MIN
from ingest_schema.sql import load_queries

__all__ = ["PointPage", "packed_columns", "plain_columns", "read_points"]

_SQL: Final = load_queries("read")
_PREFETCH: Final = 32
"""Chunks that one round trip fetches: up to 800 kB."""
_PACKED, _PLAIN = "packed", "plain"
_NO_WRITER: Final = UUID(int=0)


@dataclass(frozen=True, slots=True)
class PointPage:
    """Columns of equal length, in this machine's byte order, and where the next page begins."""

    steps: Int64s
    times_ms: Int64s
    values: Float64s
    next_page_token: str | None


@dataclass(frozen=True, slots=True)
class _Position:
    """A chunk, by its place in the order of its table, and how many of its points were read."""

    table: str
    lo_step: int = INT64_MIN
    writer_id: UUID = _NO_WRITER
    seq: int = 0
    block: int = 0
    item: int = 0
    offset: int = 0

    @property
    def token(self) -> str:
        return encode_token(
            "points",
            self.table,
            self.lo_step,
            self.writer_id.bytes,
            self.seq,
            self.block,
            self.item,
            self.offset,
        )

    @classmethod
    def of_token(cls, token: str) -> _Position:
        table, lo_step, writer_id, seq, block, item, offset = decode_token(
            "points", token, [str, int, bytes, int, int, int, int]
        )
        if table not in {_PACKED, _PLAIN} or len(writer_id) != 16 or offset < 0:
            raise BadPageToken(f"{token[:40]!r} is no page token of a series' points")
        if not (0 <= block < 2**32 and 0 <= item < (2**31 if table == _PACKED else 2**16)):
            raise BadPageToken(f"{token[:40]!r} is no page token of a series' points")
        return cls(table, lo_step, UUID(bytes=writer_id), seq, block, item, offset)


async def read_points(
    connection: Any, run_id: UUID, key: str, *, limit: int, page_token: str | None
) -> PointPage:
    """At most `limit` points from where the token says; from the beginning without one.

    Args:
        connection: In a transaction.

    Raises:
        BadPageToken: It is no token of a page of points.
    """
    position = _Position.of_token(page_token) if page_token else _Position(_PACKED)
    pieces: list[tuple[Int64s, Int64s, Float64s]] = []
    room = limit
    async for at, row in _chunks(connection, run_id, key, position):
        is_same = (at.lo_step, at.writer_id, at.seq, at.block, at.item) == (
            position.lo_step, position.writer_id, position.seq, position.block, position.item,
        )  # fmt: skip
        skipped = position.offset if is_same and at.table == position.table else 0
        if room == 0 and skipped < row["n"]:
            return _page(pieces, _with_offset(at, skipped))
        columns = plain_columns(row) if at.table == _PLAIN else packed_columns(row)
        end = min(skipped + room, row["n"])
        pieces.append(tuple(column[skipped:end] for column in columns))  # type: ignore[arg-type]  # three of them
        room -= end - skipped
        if end < row["n"]:
            return _page(pieces, _with_offset(at, end))
    return _page(pieces, None)


async def _chunks(
    connection: Any, run_id: UUID, key: str, start: _Position
) -> AsyncIterator[tuple[_Position, Any]]:
    """Chunks from `start` on, each with its position."""
    if start.table == _PACKED:
        arguments = (start.lo_step, start.writer_id, start.seq, start.item)
        async for row in connection.cursor(
            _SQL["packed_points"], run_id, key, *arguments, prefetch=_PREFETCH
        ):
            yield _Position(_PACKED, row["lo_step"], row["writer_id"], row["seq"], item=row["part"]), row
        start = _Position(_PLAIN)
    arguments_plain = (start.lo_step, start.writer_id, start.seq, (start.block, start.item))
    async for row in connection.cursor(
        _SQL["chunk_points"], run_id, key, *arguments_plain, prefetch=_PREFETCH
    ):
        block, item = row["ctid"]
        yield _Position(_PLAIN, row["lo_step"], row["writer_id"], row["seq"], block, item), row


def plain_columns(row: Any) -> tuple[Int64s, Int64s, Float64s]:
    """Steps, times and values of a chunk as it was logged; the row has its arrays by array_send()."""
    return (
        decode_array(row["steps"], ">i8"),
        decode_array(row["times_ms"], ">i8"),
        decode_array(row["values"], ">f8"),
    )


def packed_columns(row: Any) -> tuple[Int64s, Int64s, Float64s]:
    """The columns of a compacted chunk; what its step_gap and time_residuals mean is said in the migration."""
    index = np.arange(row["n"], dtype=np.int64)
    if row["steps"] is not None:
        steps: Int64s = decode_array(row["steps"], ">i8")
    else:
        steps = row["lo_step"] + index * row["step_gap"]
    if row["times_ms"] is not None:
        times_ms: Int64s = decode_array(row["times_ms"], ">i8")
    else:
        span_ms = row["hi_time_ms"] - row["lo_time_ms"]
        residuals: npt.NDArray[np.int16] = decode_array(row["time_residuals"], ">i2")
        times_ms = row["lo_time_ms"] + index * span_ms // max(row["n"] - 1, 1) + residuals
    return steps, times_ms, decode_array(row["values"], ">f8")


def _with_offset(at: _Position, offset: int) -> _Position:
    return _Position(at.table, at.lo_step, at.writer_id, at.seq, at.block, at.item, offset)


def _page(pieces: list[tuple[Int64s, Int64s, Float64s]], after: _Position | None) -> PointPage:
    columns = [np.concatenate(column) for column in zip(*pieces, strict=True)] if pieces else []
    if not columns:
        columns = [np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float64)]
    steps, times_ms, values = columns
    return PointPage(steps, times_ms, values, after.token if after else None)
