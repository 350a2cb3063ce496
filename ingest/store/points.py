"""The points of one commit group as flat numpy columns, cut into chunks: one chunk becomes one row of `metric_chunks`.

Pure: batches in, arrays out; no database, no clock. Everything downstream (`summaries`, `pgcopy`, `series`) works on a
`PointTable`, so that neither a batch nor a point costs a Python object after decoding; a chunk costs its key's bytes.

Order: chunks stand in the order of arrival, points in a chunk in the order of logging.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ingest_schema.wire import Batch

__all__ = ["MAX_CHUNK_POINTS", "PointTable"]

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]

MAX_CHUNK_POINTS: Final = 256
"""Points in one row; longer pieces are cut. Each row has its summary, which is what a wide bucket of a chart reads: with 1,024 a
fresh series of a million points took 20 times as long to draw, and taking them in was no faster (docs/decisions.md)."""


@dataclass(frozen=True, slots=True)
class PointTable:
    """n points in m chunks of b batches.

    batches: where the chunks come from. batch_of: for each chunk the index of its batch. keys: UTF-8 of each chunk's
    metric. counts, starts: int64, points of each chunk and where they begin. steps, times_ms, values: the n points.
    is_cut: whether some metric of a batch has several chunks.
    """

    batches: Sequence[Batch]
    batch_of: npt.NDArray[np.intp]
    keys: list[bytes]
    counts: Int64s
    starts: Int64s
    steps: Int64s
    times_ms: Int64s
    values: Float64s
    is_cut: bool

    @property
    def chunk_count(self) -> int:
        return len(self.keys)

    @property
    def point_count(self) -> int:
        return len(self.steps)

    @classmethod
    def of(cls, batches: Sequence[Batch], *, max_chunk_points: int = MAX_CHUNK_POINTS) -> PointTable:
        """The points of `batches`, in their order. A metric with more points than fit a chunk is cut into several."""
        keys: list[bytes] = []
        for batch in batches:
            if batch.keys:  # keys hold no NUL (ingest_schema.values), so that one encode serves all of them
                keys += "\0".join(batch.keys).encode().split(b"\0")
        counts = _column("<u4", [batch.counts for batch in batches]).astype(np.int64)
        batch_of = np.repeat(np.arange(len(batches)), [len(batch.keys) for batch in batches])
        is_cut = bool(len(counts)) and int(counts.max()) > max_chunk_points
        if is_cut:
            source, counts = _cut(counts, max_chunk_points)
            batch_of = batch_of[source]
            keys = [keys[i] for i in source.tolist()]
        starts = np.zeros(len(counts), dtype=np.int64)
        np.cumsum(counts[:-1], out=starts[1:])
        return cls(
            batches=batches,
            batch_of=batch_of,
            keys=keys,
            counts=counts,
            starts=starts,
            steps=_column("<i8", [batch.steps for batch in batches]).astype(np.int64, copy=False),
            times_ms=_column("<i8", [batch.times_ms for batch in batches]).astype(np.int64, copy=False),
            values=_column("<f8", [batch.values for batch in batches]).astype(np.float64, copy=False),
            is_cut=is_cut,
        )


def _column(dtype: str, blobs: Sequence[bytes]) -> npt.NDArray[np.generic]:
    """The little-endian blobs as one column; a single blob is not copied."""
    if len(blobs) == 1:
        return np.frombuffer(blobs[0], dtype=dtype)
    return np.frombuffer(b"".join(blobs), dtype=dtype)


def _cut(counts: Int64s, limit: int) -> tuple[npt.NDArray[np.intp], Int64s]:
    """Cut chunks of more than `limit` points: for each piece the index of its chunk, and its number of points."""
    pieces = -(-counts // limit)
    source = np.repeat(np.arange(len(counts)), pieces)
    sizes = np.full(len(source), limit, dtype=np.int64)
    sizes[np.cumsum(pieces) - 1] = counts - (pieces - 1) * limit
    return source, sizes
