"""The sender: one daemon thread per writer that delivers its spool to the service and keeps the spool in shape.

Owns the connection and the retry clock; the training threads never wait for it. It is polite: it holds the GIL for about
100 µs at most and then gives it away, since a training loop would feel anything else.

Life: started with the run, works until the spool is closed and everything in it is settled, then deletes the spool; of many ended
runs most are parked instead (`_parking`). Dies with the process at any moment without harm: the spool is on disk, and
whoever finds it goes on from its cursor.

Units: seconds of the monotonic clock, unless a name ends in _ms.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Protocol

from ingest_client._bell import Bell
from ingest_client._delivery import Delivery
from ingest_client._pace import Pace
from ingest_client._protocol import Gap, Outcome, Refused, Retry, Stored
from ingest_client._retry import RetryClock, roll
from ingest_client._spool import Spool
from ingest_schema.events import Event, encode_event

if TYPE_CHECKING:
    from ingest_client._parking import Lot
    from ingest_client._recover import SpoolReport

__all__ = ["Post", "Sender", "breathe"]

HEARTBEAT_PERIOD: Final = 20.0
_POLL: Final = 0.2
"""Seconds between two looks at the spool; the hot path rings no bell."""

_IMPATIENT_RETRY: Final = 0.5
"""While somebody waits in flush or at exit, a service that is down is tried this often."""


class Post(Protocol):
    """Sends a batch; `Transport.post_batch`."""

    def __call__(self, body: bytes, seq: int) -> Outcome: ...


class Deferred(Protocol):
    """Values still on an accelerator; see `_tensors`."""

    def resolve(self) -> int:
        """Store those that have arrived; returns how many are still under way."""


def breathe() -> None:
    """Give the GIL away for a moment, so that a training thread gets it at once and not after the switch interval."""
    time.sleep(0.00005)


class Sender(threading.Thread):
    """Delivers one live spool."""

    def __init__(
        self,
        spool: Spool,
        post: Post,
        *,
        max_age: float,
        lot: Lot | None,
        warn: Callable[[str, str], None],
        counters: Callable[[], Mapping[str, int]],
        on_reached: Callable[[], None],
        on_parked: Callable[[], None],
        on_finished: Callable[[], None],
        bell: Bell,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(name=f"ingest-sender-{spool.run_id.hex[:8]}", daemon=True)
        self.spool = spool
        self.delivery = Delivery(spool)
        self.deferred: Deferred | None = None
        self.batches = 0
        self.bytes_sent = 0
        self.retries = 0
        self.last_error: str | None = None
        self.last_ack_ms: float | None = None
        self.unreachable_since: float | None = None
        self.rejected_events = 0
        self.is_complete = False
        """Everything was settled and the spool is gone, by this thread or, after it was parked, by another."""
        self.was_given_up = False
        """Somebody has waited for it as long as an exit may: the next one does not wait again."""
        self.is_parked = False
        """Ended, and offline or one of many: the spool is complete and unlocked, for whoever delivers it."""
        self.cpu_ms = 0
        """Processor time that this thread has taken so far."""
        self._post = post
        self._lot = lot
        self._warn = warn
        self._counters = counters
        self._on_reached = on_reached
        self._on_parked = on_parked
        self._on_finished = on_finished
        self._bell = bell
        self._clock = clock
        self._retry = RetryClock()
        self._pace = Pace(max_age)
        self._settled = threading.Condition()
        self._flush_target = (0, 0)
        self._last_attempt = 0.0
        self._may_hurry = True
        self._waiters = 0
        self._next_heartbeat = clock() + HEARTBEAT_PERIOD

    # --- asked by other threads -------------------------------------------------------------------------------------

    def ask(self, target: tuple[int, int]) -> None:
        """Deliver everything before this place in the spool without waiting for its age.

        Args:
            target: Number of a segment and a word in it.
        """
        with self._settled:
            self._flush_target = max(self._flush_target, target)
        self._bell.ring()

    def has_settled(self, target: tuple[int, int]) -> bool:
        """Whether everything before this place is settled."""
        state = self.delivery.state
        was_taken = self.is_parked and not self.spool.directory.exists()
        return self.is_complete or was_taken or (state.serial, state.position) >= target

    def wait_for(self, target: tuple[int, int], timeout: float) -> bool:
        """Wait until everything before this place is settled, at most `timeout` seconds; True if it is."""
        deadline = self._clock() + timeout
        self.ask(target)
        with self._settled:
            self._waiters += 1
            try:
                while not self.has_settled(target):
                    left = deadline - self._clock()
                    if left <= 0 or not (self.is_alive() or self._is_parked_in_lot()):
                        break
                    self._settled.wait(min(left, 0.1 if self.is_parked else 1.0))
                return self.has_settled(target)
            finally:
                self._waiters -= 1

    def hurry(self) -> None:
        """The end of the process waits: retry sooner from now on. Takes no lock: a signal handler may call it."""
        self._waiters += 1
        self._bell.ring()
        if self._lot is not None:
            self._lot.hurry()

    def is_worth_waiting(self, unreachable_for: float) -> bool:
        """Whether it may still complete: not offline, alive or parked, and somebody has listened within these seconds.

        What is in memory for want of descriptors is waited for in any case: it would be lost.
        """
        if self.is_complete or self.was_given_up:
            return False
        if not self.spool.is_ashore:
            return self.is_alive()
        if self._lot is None:
            return False
        if self.is_parked:
            return self._lot.is_worth_waiting(unreachable_for)
        since = self.unreachable_since
        gone = since is not None and self._clock() - since >= unreachable_for
        return self.is_alive() and not gone

    def count_parked(self, report: SpoolReport) -> None:
        """The attendant has tried to deliver the parked spool."""
        self.spool.settle_left(report.acknowledged_points, report.rejected_points)
        self.batches += report.batches
        for code, points in report.refusals.items():
            self.delivery.refusals[code] = self.delivery.refusals.get(code, 0) + points

    def settle_parked(self) -> None:
        """The parked spool is delivered: what the attendant has not counted, by another process."""
        self.spool.settle_left()
        self._complete()

    def notice_sync(self) -> None:
        """Offline nobody tells when another process has delivered what is parked: look."""
        if (
            self._lot is None
            and self.is_parked
            and not self.is_complete
            and not self.spool.directory.exists()
        ):
            self.settle_parked()

    def _is_parked_in_lot(self) -> bool:
        """Whether the attendant is to deliver it; tells it that somebody waits."""
        if not self.is_parked or self._lot is None:
            return False
        self._lot.ask()
        return True

    # --- the thread -------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Work until the spool is delivered; an error inside costs a pause, never the thread."""
        while not (self.is_complete or self.is_parked):
            try:
                self._turn()
            except Exception as error:  # noqa: BLE001 - the edge: telemetry never kills training, the data stay in the spool
                self.last_error = f"{type(error).__name__}: {error}"
                self._warn("sender", f"an error inside the sender, which goes on: {self.last_error}")
                time.sleep(1.0)

    def _turn(self) -> None:
        """One look at the spool."""
        self.cpu_ms = int(time.thread_time() * 1000)
        under_way = self.deferred.resolve() if self.deferred is not None else 0
        is_ashore = self.spool.land()
        if not self.spool.is_closed:
            self.spool.prepare_spare(breathe)
        elif is_ashore and (self._lot is None or not self._lot.has_place(self)):
            self._park()
            return
        now = self._clock()
        if self._lot is not None and now >= self._not_before() and self._is_due(now):
            self._deliver(now)
            if self._is_exhausted():
                self._finish()
            return
        self._bell.wait(0.002 if under_way else self._pause(now))

    def _is_due(self, now: float) -> bool:
        if self.delivery.state.pending_seq or self.spool.is_closed:
            return True
        if self._flush_target > (0, 0) and not self.has_settled(self._flush_target):
            return True
        return self._pace.is_due(now, self.delivery.waiting_words()) or now >= self._next_heartbeat

    def _not_before(self) -> float:
        """The time of the next attempt: sooner than the retry clock says while somebody waits, unless the service asked."""
        if self._waiters and self._retry.failures and self._may_hurry:
            return min(self._retry.not_before, self._last_attempt + _IMPATIENT_RETRY)
        return self._retry.not_before

    def _pause(self, now: float) -> float:
        if self._retry.failures:
            return min(max(self._not_before() - now, 0.001), _POLL)
        return min(max(self._pace.seconds_left(now), 0.001), _POLL)

    def _deliver(self, now: float) -> None:
        """Send one batch and settle it."""
        heartbeat = None
        if now >= self._next_heartbeat:
            self._next_heartbeat = now + HEARTBEAT_PERIOD
            heartbeat = encode_event(Event("heartbeat", time.time_ns() // 1_000_000, self._counters()))
        request = self.delivery.next_request(
            time.time_ns() // 1_000_000, heartbeat=heartbeat, breathe=breathe
        )
        if request is not None:
            self._pace.sent(now, request.points, request.keys)
            self._last_attempt = now
            outcome = self._post(request.body, request.seq)
            self.delivery.settle(request, outcome)
            self._note(outcome, len(request.body), now)
        with self._settled:
            self._settled.notify_all()

    def _note(self, outcome: Outcome, size_bytes: int, began: float) -> None:
        """Counters, retry clock and warnings for one answer."""
        now = self._clock()
        if isinstance(outcome, Retry):
            self.retries += 1
            self.last_error = outcome.message
            self._retry.failed(now, roll(), outcome.retry_after)
            self._may_hurry = outcome.retry_after is None
            if not outcome.unreachable:
                self.unreachable_since = None
            elif self.unreachable_since is None:
                self.unreachable_since = now
            if self._retry.failures > 1 or not outcome.unreachable:
                self._warn(
                    outcome.reason,
                    f"{outcome.message}; points wait in {self.spool.directory} and are sent again",
                )
            return
        self._retry.succeeded()
        was_away, self.unreachable_since = self.unreachable_since is not None, None
        if isinstance(outcome, Stored):
            self.batches += 1
            if self.batches == 1 or was_away:
                self._on_reached()
            self.bytes_sent += size_bytes
            self.last_ack_ms = (now - began) * 1000
            for rejected in outcome.rejected:
                self.rejected_events += 1
                self._warn(
                    f"rejected {rejected.get('key')}",
                    f"the service left out {rejected.get('kind')} {rejected.get('key')!r}: {rejected.get('message')}",
                )
        elif isinstance(outcome, Refused):
            self.last_error = outcome.message
            self._warn(outcome.code, f"the service refused a batch for good: {outcome.message}")
        elif isinstance(outcome, Gap):
            self.last_error = f"the service expects batch {outcome.expected_seq}"
            self._warn(
                "sequence_gap",
                f"{self.last_error} of run {self.spool.run_id.hex}: it has lost batches that it had acknowledged",
            )

    def _is_exhausted(self) -> bool:
        """Whether the spool is closed and settled to its end."""
        if not self.spool.is_closed or self.delivery.state.pending_seq:
            return False
        return self.spool.segment_from(self.delivery.state.serial) is None

    def _park(self) -> None:
        if self._lot is not None:
            self._lot.reserve(self.spool.directory)
        self.spool.dispose(delete=False)
        self.is_parked = True
        self._on_parked()
        with self._settled:
            self._settled.notify_all()

    def _finish(self) -> None:
        self.spool.dispose(delete=True)
        if self._lot is not None:
            self._lot.leave(self)
        self._on_finished()
        self._complete()

    def _complete(self) -> None:
        with self._settled:
            self.is_complete = True
            self._settled.notify_all()
