"""Delivery of one spool: cuts batches, remembers their boundaries, settles what became of them.

No thread, no socket, no clock: the sender of a live run and the sweep of orphaned spools both drive it, and tests do.

The rule of exactly once: a batch's number and end are in the cursor before the batch is first sent, and they change only
when the service has said that it stored the batch, or that it stored nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final, Protocol
from uuid import UUID

from ingest_client._columns import BatchLimits, Columns
from ingest_client._cursor import Cursor, CursorState
from ingest_client._protocol import Gap, Outcome, Refused, Retry, Stored
from ingest_client._segment import FIRST_WORD, Segment
from ingest_schema.events import Event, encode_event
from ingest_schema.wire import encode_columns

__all__ = ["Delivery", "Request", "Source"]

MAX_ISOLATIONS: Final = 16
"""So many refused records are searched for one by one in a run; after them a refused batch is given up whole."""


class Source(Protocol):
    """Where records come from: the spool of a live writer, or what a dead one left."""

    run_id: UUID
    writer_id: UUID
    shapes: dict[int, tuple[str, ...]]

    @property
    def cursor(self) -> Cursor:
        """How far it is delivered."""

    def segment_from(self, serial: int) -> Segment | None:
        """The first segment with this number or a later one."""

    def limit(self, segment: Segment) -> int:
        """The word up to which its records may be read."""

    def is_final(self, segment: Segment) -> bool:
        """Whether nothing more comes into it."""

    def intact(self, segment: Segment, begin: int, end: int) -> Iterable[tuple[int, int]]:
        """The stretches of it that can be trusted."""

    def settle(self, segment: Segment | None, points: int, state: CursorState) -> None:
        """Make this the state of the cursor; so many points of the segment are settled with it."""

    def release(self, segment: Segment, breathe: Callable[[], object]) -> None:
        """All of it is settled."""


@dataclass(frozen=True, slots=True)
class Request:
    """One batch on its way."""

    seq: int
    body: bytes
    segment: Segment | None
    end: int
    points: int
    keys: int
    records: int
    damaged_bytes: int


class Delivery:
    """The state of one spool's delivery. One thread drives it; `cursor.state` may be read by any."""

    def __init__(self, source: Source, limits: BatchLimits | None = None) -> None:
        self.source = source
        self.refusals: dict[str, int] = {}
        """Points refused for good, by code."""
        self.refused_events = 0
        """Events refused for good, such as those of a run that was deleted for good."""
        self._limits = limits or BatchLimits()
        self._most_records = self._limits.records
        self._most_points = self._limits.points
        self._isolations = 0

    @property
    def state(self) -> CursorState:
        return self.source.cursor.state

    def waiting_words(self) -> int:
        """Words of the segment in delivery that are not acknowledged; a cheap sign of how much waits."""
        state = self.state
        segment = self.source.segment_from(state.serial)
        if segment is None:
            return 0
        if segment.serial != state.serial:
            return self.source.limit(segment) - FIRST_WORD
        if self.source.is_final(segment):  # how far it is filled is not known without reading it
            return max(1, self.source.limit(segment) - state.position)
        return self.source.limit(segment) - state.position

    def next_request(
        self,
        now_ms: int,
        *,
        heartbeat: bytes | None = None,
        breathe: Callable[[], object] = lambda: None,
    ) -> Request | None:
        """The batch to send now: the one that may be under way, else a new one; None if there is nothing to say.

        Args:
            now_ms: Sent along as the client's clock.
            heartbeat: An encoded event to go along with the records, or alone if there are none.
            breathe: Called between steps of bounded length.
        """
        state = self.state
        if state.pending_seq:
            return self._repeat(state, now_ms, heartbeat, breathe)
        while (segment := self._current_segment()) is not None:
            state = self.state
            final = self.source.is_final(
                segment
            )  # asked before the limit: what is final now has its last record
            limit = self.source.limit(segment)
            columns, end, damaged = self._cut(segment, state.position, limit, self._cut_limits(), breathe)
            if columns.record_count:
                return self._begin(segment, end, columns, damaged, now_ms=now_ms, heartbeat=heartbeat)
            if not final:
                break
            self._move(segment, damaged, breathe)
        if heartbeat is None:
            return None
        state = self.state
        return self._begin(None, state.position, Columns(), 0, now_ms=now_ms, heartbeat=heartbeat)

    def settle(self, request: Request, outcome: Outcome) -> None:
        """Apply the service's answer to the last request."""
        state = self.state
        if isinstance(outcome, Retry):
            return
        if isinstance(outcome, Gap):
            # Numbers that the service forgot (a restored backup) or has seen: this batch goes on under the one it expects.
            self.source.cursor.store(
                replace(state, pending_seq=outcome.expected_seq, last_seq=outcome.expected_seq - 1)
            )
            return
        if isinstance(outcome, Refused) and self._can_be_split(request):
            self._split(request, outcome)
            self.source.cursor.store(replace(state, pending_seq=0, pending_end=0))
            return
        self._advance(request, outcome)

    # --- cutting ----------------------------------------------------------------------------------------------------

    def _cut_limits(self) -> BatchLimits:
        return replace(self._limits, records=self._most_records, points=self._most_points)

    def _cut(
        self, segment: Segment, begin: int, end: int, limits: BatchLimits, breathe: Callable[[], object]
    ) -> tuple[Columns, int, int]:
        """Records between two words up to the limits, the word after them, and the bytes skipped as damaged."""
        columns = Columns()
        position, damaged = begin, 0
        for first, last in self.source.intact(segment, begin, end):
            damaged += 8 * (first - position)
            position = columns.collect(
                segment.words, first, last, self.source.shapes, limits=limits, breathe=breathe
            )
            if position < last:  # full, or at the zero word that ends a sealed segment
                return columns, position, damaged
        # A file that was cut may end before the place from which to read.
        return columns, max(end, position), damaged + 8 * max(0, end - position)

    def _repeat(
        self,
        state: CursorState,
        now_ms: int,
        heartbeat: bytes | None,
        breathe: Callable[[], object],
    ) -> Request:
        """The same records under the same number as before."""
        segment = self.source.segment_from(state.serial)
        columns, damaged = Columns(), 0
        if segment is not None and segment.serial == state.serial and state.pending_end > state.position:
            end = min(state.pending_end, self.source.limit(segment))
            columns, _, damaged = self._cut(segment, state.position, end, _UNBOUNDED, breathe)
        else:
            segment = None
        events = columns.events + ([heartbeat] if heartbeat else [])
        if not columns.record_count and not events:
            events = [encode_event(Event("heartbeat", now_ms, {}))]
        return self._request(
            segment, state.pending_end, columns, damaged, now_ms=now_ms, events=events, seq=state.pending_seq
        )

    def _begin(
        self,
        segment: Segment | None,
        end: int,
        columns: Columns,
        damaged: int,
        *,
        now_ms: int,
        heartbeat: bytes | None,
    ) -> Request:
        state = self.state
        seq = state.last_seq + 1
        self.source.cursor.store(replace(state, pending_seq=seq, pending_end=end))
        events = columns.events + ([heartbeat] if heartbeat else [])
        return self._request(segment, end, columns, damaged, now_ms=now_ms, events=events, seq=seq)

    def _request(
        self,
        segment: Segment | None,
        end: int,
        columns: Columns,
        damaged: int,
        *,
        now_ms: int,
        events: list[bytes],
        seq: int,
    ) -> Request:
        keys, counts, steps, times_ms, values = columns.finish()
        body = encode_columns(
            run_id=self.source.run_id.bytes,
            writer_id=self.source.writer_id.bytes,
            seq=seq,
            sent_ms=now_ms,
            events=b"".join(events),
            keys=keys,
            counts=counts,
            steps=steps,
            times_ms=times_ms,
            values=values,
        )
        return Request(seq, body, segment, end, columns.point_count, len(keys), columns.record_count, damaged)

    # --- moving on --------------------------------------------------------------------------------------------------

    def _current_segment(self) -> Segment | None:
        """The segment in delivery; a lost one is skipped."""
        state = self.state
        segment = self.source.segment_from(state.serial)
        if segment is not None and segment.serial != state.serial:
            self.source.cursor.store(replace(state, serial=segment.serial, position=FIRST_WORD))
        return segment

    def _move(self, segment: Segment, damaged: int, breathe: Callable[[], object]) -> None:
        """Leave a segment that is final and settled."""
        state = self.state
        self.source.cursor.store(
            replace(
                state,
                serial=segment.serial + 1,
                position=FIRST_WORD,
                damaged_bytes=state.damaged_bytes + damaged,
            )
        )
        self.source.release(segment, breathe)

    def _advance(self, request: Request, outcome: Stored | Refused) -> None:
        """Leave the request's records behind, as acknowledged or rejected."""
        state = self.state
        stored = isinstance(outcome, Stored)
        if isinstance(outcome, Refused):
            self.refusals[outcome.code] = self.refusals.get(outcome.code, 0) + request.points
            if not request.points:
                self.refused_events += request.records
            self._isolations += 1
            self._most_records = self._limits.records
        else:
            self._most_records = min(self._limits.records, self._most_records * 2)
            self._most_points = min(self._limits.points, self._most_points * 2)
        self.source.settle(
            request.segment,
            request.points,
            replace(
                state,
                position=max(request.end, state.position),
                last_seq=request.seq if stored else request.seq - 1,
                pending_seq=0,
                pending_end=0,
                acknowledged_points=state.acknowledged_points + (request.points if stored else 0),
                rejected_points=state.rejected_points + (0 if stored else request.points),
                damaged_bytes=state.damaged_bytes + request.damaged_bytes,
            ),
        )

    def _can_be_split(self, request: Request) -> bool:
        return request.records > 1 and self._isolations < MAX_ISOLATIONS

    def _split(self, request: Request, refusal: Refused) -> None:
        """Send less at a time: because of the size, or to find the one record that is refused."""
        if refusal.code == "batch_too_large":
            self._most_points = max(1, request.points // 2)
        self._most_records = max(1, request.records // 2)


_UNBOUNDED: Final = BatchLimits(
    points=1 << 40, keys=1 << 40, events=1 << 40, event_bytes=1 << 40, records=1 << 40
)
