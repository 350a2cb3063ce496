"""Prepared batches: one encoded body whose seq, time, steps and times are overwritten in place for each batch.

A generator that built batches point by point would measure itself. Here a batch costs two additions over a column and
two stores, whatever its size; the receiver can't tell. Batch b of a writer holds for each metric the steps
b·p … b·p+p-1 (p points a chunk), the times start + step, and always the same values, so that what must be in the
database follows from the number of batches alone (`expected_sums`), and the database can be asked for the same sums.

The check value of a point is step · v + time_ms, where v = value · 1024 is a whole number: exact in int64, and it
notices a lost or doubled point, a wrong value, and a value that landed on another step. Sums are taken modulo 2^64.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import numpy as np
import numpy.typing as npt

from ingest_schema.events import Event, encode_event
from ingest_schema.wire import encode_columns

VALUE_SCALE: Final = 1024
START_MS: Final = 1_760_000_000_000
"""Time of step 0; a fixed one, so that the sums are the same in every run."""
_SEQ_MARK: Final = 0x7A5A_5A5A_5A5A_5A01
_SENT_MARK: Final = 0x7A5A_5A5A_5A5A_5A02
"""Numbers that msgpack stores in nine bytes, as it does those that replace them; found again by their bits."""
_MODULUS: Final = 1 << 64


@dataclass(frozen=True, slots=True)
class Sums:
    """What all points of one writer amount to."""

    points: int
    check: int
    """Sum of all check values modulo 2^64."""

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.points + other.points, (self.check + other.check) % _MODULUS)


class BatchTemplate:
    """The batches of one writer, in order; `next` gives the body of the next one, valid until the call after."""

    def __init__(
        self, run_id: UUID, writer_id: UUID, *, metrics: int, chunk_points: int, experiment: str, seed: int
    ) -> None:
        self.run_id, self.writer_id = run_id, writer_id
        self.metrics, self.chunk_points = metrics, chunk_points
        self.seq = 0
        self._values = series_values(metrics * chunk_points, seed)
        self._first_events = encode_event(
            Event("run_start", START_MS, {"experiment": experiment, "name": None, "start_time_ms": START_MS})
        ) + encode_event(Event("writer", START_MS, {"rank": 0, "host": "bench", "pid": 0}))
        steps = np.tile(np.arange(chunk_points, dtype="<i8"), metrics)
        self._steps, self._times = steps, steps + START_MS
        self._body = self._encode(b"")
        self._views = self._find_columns()

    @property
    def points(self) -> int:
        """Points of one batch."""
        return self.metrics * self.chunk_points

    def next(self, sent_ms: int) -> bytes | bytearray:
        """The body of the next batch; the first one opens the run."""
        self.seq += 1
        if self.seq == 1:
            return self._encode(self._first_events, 1, sent_ms)
        seq_at, sent_at, steps, times = self._views
        struct.pack_into(">Q", self._body, seq_at, self.seq)
        struct.pack_into(">Q", self._body, sent_at, sent_ms)
        base = (self.seq - 1) * self.chunk_points
        np.add(self._steps, base, out=steps)
        np.add(self._times, base, out=times)
        return self._body

    def _encode(self, events: bytes, seq: int = _SEQ_MARK, sent_ms: int = _SENT_MARK) -> bytearray:
        return bytearray(
            encode_columns(
                run_id=self.run_id.bytes,
                writer_id=self.writer_id.bytes,
                seq=seq,
                sent_ms=sent_ms,
                events=events,
                keys=metric_keys(self.metrics),
                counts=np.full(self.metrics, self.chunk_points, dtype="<u4").tobytes(),
                steps=self._steps.tobytes(),
                times_ms=self._times.tobytes(),
                values=self._values.tobytes(),
            )
        )

    def _find_columns(self) -> tuple[int, int, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        body, count = self._body, self.points
        steps_at, times_at = body.rindex(self._steps.tobytes()), body.rindex(self._times.tobytes())
        return (
            body.index(struct.pack(">Q", _SEQ_MARK)),
            body.index(struct.pack(">Q", _SENT_MARK)),
            np.frombuffer(body, dtype="<i8", count=count, offset=steps_at),
            np.frombuffer(body, dtype="<i8", count=count, offset=times_at),
        )

    def sums(self, batches: int) -> Sums:
        """What the first `batches` batches amount to."""
        return expected_sums(self._values, self.metrics, self.chunk_points, batches)


def metric_keys(metrics: int) -> list[str]:
    """Names as real runs have them: some twenty bytes, with slashes."""
    return [f"layer_{i:04d}/grad_norm" for i in range(metrics)]


def series_values(count: int, seed: int) -> npt.NDArray[np.float64]:
    """Values with many bits set in the mantissa, yet whole multiples of 1/1024 below 1024."""
    dice = np.random.default_rng(seed)
    return (dice.integers(0, VALUE_SCALE * 1024, count) / VALUE_SCALE).astype("<f8")


def expected_sums(values: npt.NDArray[np.float64], metrics: int, chunk_points: int, batches: int) -> Sums:
    """The sums over `batches` batches of these values, without looking at every point.

    With s the step inside the first batch and b·p added for batch b: the sum over b of (s + b·p)·v + START_MS + s + b·p.
    """
    scaled = [int(v) for v in np.rint(values * VALUE_SCALE)]
    inner = np.tile(np.arange(chunk_points), metrics).tolist()
    per_batch = sum(s * v + START_MS + s for s, v in zip(inner, scaled, strict=True))
    shift = chunk_points * (batches * (batches - 1) // 2)
    check = batches * per_batch + shift * (sum(scaled) + len(scaled))
    return Sums(batches * len(scaled), check % _MODULUS)


CHECK_SQL: Final = """
SELECT count(*), COALESCE(sum(step * (value * 1024)::bigint + time_ms), 0)::text
FROM metrics WHERE run_id = {run_id}
"""
"""The same two sums, asked of the database; the second is a numeric, hence text."""


def sums_of_answer(row: list[object]) -> Sums:
    """The row that CHECK_SQL gives."""
    points, check = row
    return Sums(int(str(points)), int(str(check)) % _MODULUS)
