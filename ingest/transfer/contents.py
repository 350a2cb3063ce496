"""The content of a run as one digest, the same wherever the run lies and however its points are stored. Pure.

BLAKE2b over, in this order: the experiment's name; the rows of the run's tables (`layout.RUN_TABLES`) as JSON lists, each
behind its table's name, without the experiment's number, which differs from server to server; then for each series its
metric, writer and number of points, and a digest of each of its three columns as little-endian bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import numpy as np
import orjson

from ingest.transfer.layout import Table
from ingest.transfer.points import PointSlice

__all__ = ["RunDigest"]

_LOCAL: Final = frozenset({"experiment_id"})
_DIGEST_BYTES: Final = 32


class RunDigest:
    """Takes in a run piece by piece, in the order above."""

    def __init__(self, experiment: str) -> None:
        self.points = 0
        self._total = _hasher(orjson.dumps(["experiment", experiment]))
        self._series: tuple[str, UUID] | None = None
        self._series_points = 0
        self._columns = [_hasher() for _ in range(3)]

    def add_rows(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """The run's rows of one table, in order; of their columns those that the table has."""
        names = [name for name in table.column_names if name not in _LOCAL]
        for row in rows:
            cells = [_plain(row[name]) for name in names]
            self._total.update(orjson.dumps([table.name, *cells], option=orjson.OPT_APPEND_NEWLINE))

    def add_points(self, piece: PointSlice) -> None:
        """The next slice of points; a series may go on from the slice before."""
        begin = 0
        for key, writer_id, count in zip(piece.keys, piece.writer_ids, piece.counts.tolist(), strict=True):
            if (key, writer_id) != self._series:
                self._end_series()
                self._series = key, writer_id
            end = begin + count
            for hasher, column in zip(
                self._columns, (piece.steps, piece.times_ms, piece.values), strict=True
            ):
                hasher.update(np.ascontiguousarray(column[begin:end]).view(np.uint8).data)
            self._series_points += count
            self.points += count
            begin = end

    def hexdigest(self) -> str:
        """The digest of all that came in; the last thing to ask for."""
        self._end_series()
        return str(self._total.hexdigest())

    def _end_series(self) -> None:
        if self._series is not None:
            key, writer_id = self._series
            self._total.update(orjson.dumps([key, writer_id.hex, self._series_points]))
            for hasher in self._columns:
                self._total.update(hasher.digest())
        self._series, self._series_points = None, 0
        self._columns = [_hasher() for _ in range(3)]


def _hasher(data: bytes = b"") -> Any:
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES)


def _plain(value: Any) -> Any:
    return value.hex if isinstance(value, UUID) else value
