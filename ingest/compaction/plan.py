"""Which chunks of a series are merged together, and when it is worth it. Pure.

The rule: packed rows should be nearly full (each has a fixed cost on disk), a transaction should be short, and nothing should
be rewritten often. So a series waits until there is enough for several full rows, or until it has very many chunks, or until
its run is over; and a row that came out less than half full is merged once more with what comes next.

Order: chunks of one writer are merged in the order of their arrival and never across writers, so that arrival can be told
from (seq, part) of a row afterwards, and rank and attempt from its writer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import Final
from uuid import UUID

__all__ = [
    "MERGE_MAX_CHUNKS",
    "MERGE_MAX_POINTS",
    "SMALL_PACK_POINTS",
    "Merge",
    "Piece",
    "is_worthwhile",
    "merges",
]

PACK_POINTS: Final = 986
"""Points of a full row; see ingest/store/packs.py, and a test that keeps the two equal."""
SMALL_PACK_POINTS: Final = PACK_POINTS // 2

MERGE_MAX_POINTS: Final = 100_000
"""Points of one transaction: about 3 MB in memory and 50 ms of work."""
MERGE_MAX_CHUNKS: Final = 2_000
"""Chunks of one transaction; each is a row to delete, and its pieces out of line."""

WORTHWHILE_POINTS: Final = 8 * PACK_POINTS
"""With eight full rows and a rest, rows come out at least 89% full."""
WORTHWHILE_CHUNKS: Final = 128
"""A slow metric, a point a flush, is merged every 128 flushes, and each of its points 2.5 times until a row is half full."""

_GOOD_FILL: Final = 0.95


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk that waits, or a small packed row: where it is and how many points it has."""

    writer_id: UUID
    seq: int
    tid: tuple[int, int]
    n: int


@dataclass(frozen=True, slots=True)
class Merge:
    """One transaction's work: these packed rows, then these chunks, all of one writer, in order of arrival."""

    writer_id: UUID
    packs: tuple[Piece, ...]
    chunks: tuple[Piece, ...]

    @property
    def seq(self) -> int:
        """The last batch among them."""
        return max(piece.seq for piece in (*self.packs, *self.chunks))

    @property
    def n(self) -> int:
        return sum(piece.n for piece in (*self.packs, *self.chunks))


def is_worthwhile(chunks: int, points: int, *, is_over: bool) -> bool:
    """Whether so many chunks of so many points should be merged now."""
    return chunks > 0 and (is_over or chunks >= WORTHWHILE_CHUNKS or points >= WORTHWHILE_POINTS)


def merges(chunks: Sequence[Piece], packs: Sequence[Piece], *, is_over: bool) -> Iterator[Merge]:
    """The transactions that compact these chunks of one series.

    Args:
        chunks: Ordered by (writer, seq, place). packs: The series' small packed rows.
        is_over: Nothing more is expected: leave no chunk behind.
    """
    for writer_id, group in groupby(chunks, key=lambda piece: piece.writer_id):
        waiting = list(group)
        first = tuple(piece for piece in packs if piece.writer_id == writer_id)
        while is_worthwhile(len(waiting), sum(piece.n for piece in waiting), is_over=is_over):
            count = _prefix(waiting, sum(piece.n for piece in first))
            yield Merge(writer_id, first, tuple(waiting[:count]))
            del waiting[:count]
            first = ()


def _prefix(chunks: Sequence[Piece], before: int) -> int:
    """How many chunks to take: the longest run within the limits that fills its rows well, else the best-filled one.

    Args:
        before: Points that come along from packed rows.
    """
    best, best_fill = 1, 0.0
    for count, points in enumerate(accumulate(piece.n for piece in chunks), start=1):
        total = before + points
        if count > 1 and (count > MERGE_MAX_CHUNKS or total > MERGE_MAX_POINTS):
            break
        fill = min(_GOOD_FILL, total / (-(-total // PACK_POINTS) * PACK_POINTS))
        if fill >= best_fill:
            best, best_fill = count, fill
    return best
