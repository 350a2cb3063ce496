"""From records of the spool to the columns of a batch, at C speed and in bounded slices. Pure.

Training loops log the same keys over and over, so most records of a segment have the same first word: such a stretch
becomes columns by strided slices, a handful of C calls for thousands of points. Mixed records are sorted into
groups of one shape first; each group then is such a stretch.

The sender holds the GIL while it works here, and a training loop would feel that: no single step works on more than
SLICE_RECORDS records or SLICE_WORDS words, and between two steps `breathe()` is called, which gives the GIL away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from struct import Struct
from typing import Final

from ingest_client._record import FIRST_SHAPE, SIZE_MASK, event_payload

__all__ = ["BatchLimits", "Columns", "count_points"]

SLICE_RECORDS: Final = 1024
SLICE_WORDS: Final = 16 * 1024
"""Words of one step: 128 KiB, about 100 µs of picking words apart."""

_SHORTEST_STRETCH: Final = 8
_word = Struct("<Q").pack
_uint32 = Struct("<I").pack


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """When a batch is full; far under the protocol's limits, since batches beyond these sizes gain nothing."""

    points: int = 32_768
    """0.8 MB of columns, about 0.1 ms each time they are copied; the service gains nothing from more."""
    keys: int = 50_000
    events: int = 1_000
    event_bytes: int = 2 * 1024 * 1024
    """At least two params of the largest size are below the protocol's limit of 4 MiB with it."""
    records: int = 1 << 40
    """Lowered to find the one record that the service refuses."""


class Columns:
    """The contents of one batch in the making."""

    __slots__ = ("_parts", "event_bytes", "event_count", "events", "point_count", "record_count")

    def __init__(self) -> None:
        self.events: list[bytes] = []
        self.event_count = 0
        self.event_bytes = 0
        self.point_count = 0
        self.record_count = 0
        self._parts: dict[str, list[bytes]] = {}  # key -> steps, times, values, steps, times, values …

    def collect(
        self,
        words: memoryview,
        begin: int,
        end: int,
        shapes: Mapping[int, tuple[str, ...]],
        *,
        limits: BatchLimits,
        breathe: Callable[[], object],
    ) -> int:
        """Take records from word `begin` on, until `end`, a zero word, or a limit.

        A record that alone is over a limit is still taken into an empty batch.

        Returns:
            The word after the last record taken.
        """
        position = begin
        while position < end:
            word0 = words[position]
            if not word0:
                break
            room = self._room(limits)
            if room <= 0:
                break
            if word0 >> 32 < FIRST_SHAPE:
                payload = event_payload(words, position)
                if self.events and self.event_bytes + len(payload) > limits.event_bytes:
                    break
                self._add_event(payload)
                position += (word0 & SIZE_MASK) >> 3
                continue
            width = (word0 & SIZE_MASK) >> 3
            keys = shapes[word0 >> 32]
            records = self._records_that_fit(len(keys), limits, room)
            if records == 0:
                break
            records = _equal_run(words, position, end, width=width, word0=word0, most=records)
            if records >= _SHORTEST_STRETCH or position + records * width >= end:
                self._add_stretch(words, position, records, width, keys)
                position += records * width
            else:
                position = self._collect_mixed(words, position, end, shapes, limits)
            breathe()
        return position

    def finish(self) -> tuple[list[str], bytes, bytes, bytes, bytes]:
        """Keys, counts, steps, times and values as the wire wants them."""
        counts: list[bytes] = []
        steps: list[bytes] = []
        times: list[bytes] = []
        values: list[bytes] = []
        for parts in self._parts.values():
            key_steps = parts[0::3]
            counts.append(_uint32(sum(map(len, key_steps)) >> 3))
            steps += key_steps
            times += parts[1::3]
            values += parts[2::3]
        return list(self._parts), b"".join(counts), b"".join(steps), b"".join(times), b"".join(values)

    def _room(self, limits: BatchLimits) -> int:
        """Records that may still come; 0 when the batch is full."""
        if self.event_count >= limits.events or self.point_count >= limits.points:
            return 0
        return limits.records - self.record_count

    def _records_that_fit(self, key_count: int, limits: BatchLimits, room: int) -> int:
        if self.point_count and len(self._parts) + key_count > limits.keys:
            return 0
        fitting = (limits.points - self.point_count) // key_count
        if not fitting and not self.point_count:
            fitting = 1
        return min(fitting, room, max(1, SLICE_WORDS // (key_count + 4)))

    def _add_event(self, payload: bytes) -> None:
        self.events.append(payload)
        self.event_count += 1
        self.event_bytes += len(payload)
        self.record_count += 1

    def _add_stretch(
        self, words: memoryview, position: int, records: int, width: int, keys: tuple[str, ...]
    ) -> None:
        end = position + records * width
        steps = words[position + 1 : end : width].tobytes()
        times = words[position + 2 : end : width].tobytes()
        parts = self._parts
        column = position + 3
        for key in keys:
            values = words[column:end:width].tobytes()
            if key in parts:
                parts[key] += (steps, times, values)
            else:
                parts[key] = [steps, times, values]
            column += 1
        self.record_count += records
        self.point_count += records * len(keys)

    def _collect_mixed(
        self,
        words: memoryview,
        begin: int,
        end: int,
        shapes: Mapping[int, tuple[str, ...]],
        limits: BatchLimits,
    ) -> int:
        """Take up to SLICE_RECORDS records of any shapes, grouped by shape."""
        groups: dict[int, list[int]] = {}
        position = begin
        last = min(end, begin + SLICE_WORDS)
        # A record has more words than points: this many words never hold more points than fit.
        last = min(last, begin + max(limits.points - self.point_count, 1))
        for _ in range(min(SLICE_RECORDS, limits.records - self.record_count)):
            word0 = words[position]
            if word0 >> 32 < FIRST_SHAPE:
                break
            following = position + ((word0 & SIZE_MASK) >> 3)
            if following > last and position > begin:
                break
            if word0 in groups:
                groups[word0].append(position)
            else:
                groups[word0] = [position]
            position = following
            if position >= last:
                break
        for word0, positions in groups.items():
            width = (word0 & SIZE_MASK) >> 3
            gathered = b"".join([words[p : p + width] for p in positions])
            self._add_stretch(memoryview(gathered).cast("Q"), 0, len(positions), width, shapes[word0 >> 32])
        return position


def count_points(words: memoryview, begin: int, end: int, shapes: Mapping[int, tuple[str, ...]]) -> int:
    """The points of the records between two words, or up to the first zero word."""
    points = 0
    position = begin
    while position < end:
        word0 = words[position]
        if not word0:
            break
        width = (word0 & SIZE_MASK) >> 3
        if word0 >> 32 < FIRST_SHAPE:
            position += width
            continue
        records = _equal_run(
            words, position, end, width=width, word0=word0, most=max(1, SLICE_WORDS // width)
        )
        points += records * len(shapes[word0 >> 32])
        position += records * width
    return points


def _equal_run(words: memoryview, position: int, end: int, *, width: int, word0: int, most: int) -> int:
    """How many records with this first word follow each other from here, at most `most`; at least 1.

    Gallops: tries 8, then 64, … and halves the last step, so that mixed records cost next to nothing.
    """
    most = min(most, (end - position) // width)
    pattern = _word(word0)
    known, step = 1, 8
    while known < most:
        trial = min(known + step, most)
        first, last = position + known * width, position + trial * width
        if words[first:last:width].tobytes() == pattern * (trial - known):
            known, step = trial, step * 8
        elif step == 1:
            break
        else:
            most, step = trial - 1, max(1, (trial - known) // 2)
    return max(known, 1)
