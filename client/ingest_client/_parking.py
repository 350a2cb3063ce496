"""Ended runs that wait for their delivery: a few with a thread and files of their own, all others on the disk alone.

A run that has ended goes on with its sender as long as it has one of PLACES. Beyond them it is parked: its files are closed, its
spool lies there complete and unlocked, and a few attendants, threads with a connection each, deliver what is parked. So a
process that starts and ends thousands of runs holds a bounded number of threads, descriptors and mappings, whether the service is
away or is slower than the process. The same for artifacts. Whoever else finds a parked spool (the sweep of another process, `ingest sync`,
`ingest serve`) may deliver it as well: its lock keeps them apart.

Life: a lot begins with the first run for a service and spool folder; attendants come with the spools parked there, and go when
none is left. While the service is away one of them tries. A forked child has no lots.

Units: seconds of the monotonic clock.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ingest_client._bell import Bell
from ingest_client._protocol import Outcome, Retry
from ingest_client._retry import RetryClock, roll
from ingest_client._transport import Transport

if TYPE_CHECKING:
    from ingest_client._recover import SpoolReport
    from ingest_client._settings import Settings

__all__ = ["PLACES", "Lot", "Parked", "lot_of"]

PLACES: Final = 16
"""Ended runs that go on by themselves, for one service and spool folder. Each holds a thread and five descriptors, and beside a
hundred live runs a process should stay below the common limit of 1,024; what happens there: `_descriptors`."""

ATTENDANTS: Final = 4
"""The service groups the commits of batches that come side by side."""

_LINGER: Final = 1.0
"""Seconds that an attendant waits for another spool before its thread ends."""

_IMPATIENT_RETRY: Final = 0.5
"""While somebody waits in flush or at exit, a service that is down is tried this often."""

_ASKED_LATELY: Final = 1.0
_ELSEWHERE: Final = 0.2
"""Seconds until the next look at a spool that somebody else is delivering."""

Post = Callable[[bytes, int], Outcome]


@dataclass(frozen=True, slots=True)
class Parked:
    """A spool that waits on the disk."""

    directory: Path
    deliver: Callable[[Transport, Post], SpoolReport]
    """Tries once to deliver it; `in_use` means: not now."""
    settle: Callable[[Transport], None]
    """Told that it is delivered, by `deliver` or by another process."""
    is_artifacts: bool = False


class Lot:
    """What waits in one spool folder for one service. All but the attendants' own methods may be called by any thread."""

    def __init__(self, open_transport: Callable[[], Transport], warn: Callable[[str, str], None]) -> None:
        self.unreachable_since: float | None = None
        self._open_transport = open_transport
        self._warn = warn
        self._places: set[int] = set()
        self._points: deque[Parked] = deque()
        self._artifacts: deque[Parked] = deque()
        self._directories: set[Path] = set()
        self._attendants_num = 0
        self._lock = threading.RLock()
        self._bell = Bell()
        self._retry = RetryClock()
        self._last_attempt = 0.0
        self._may_hurry = True
        self._asked_at = -_ASKED_LATELY
        self._is_hurried = False

    def has_place(self, waiter: object) -> bool:
        """Whether this ended run may go on by itself: it has a place, or takes a free one until it calls `leave`."""
        with self._lock:
            if id(waiter) not in self._places and len(self._places) >= PLACES:
                return False
            self._places.add(id(waiter))
            return True

    def leave(self, waiter: object) -> None:
        """It waits no longer."""
        with self._lock:
            self._places.discard(id(waiter))

    def reserve(self, directory: Path) -> None:
        """This spool is about to be unlocked and parked: from now on `holds` says so."""
        self._directories.add(directory)

    def park(self, parked: Parked) -> None:
        """Deliver this spool in its turn: points before artifacts."""
        self.reserve(parked.directory)
        with self._lock:
            self._queue_of(parked).append(parked)
        self._call_attendants()

    def holds(self, directory: Path) -> bool:
        """Whether this spool is parked here: its delivery is counted by the run."""
        return directory in self._directories

    def reached(self) -> None:
        """The service has answered somebody: try at once."""
        if self._retry.failures:
            self._retry.succeeded()
        self.unreachable_since = None
        self._call_attendants()

    def ask(self) -> None:
        """Somebody waits at this moment: retry sooner."""
        self._asked_at = time.monotonic()
        self._bell.ring()

    def hurry(self) -> None:
        """The end of the process waits: retry sooner from now on. Takes no lock: a signal handler may call it."""
        self._is_hurried = True
        self._bell.ring()

    def is_worth_waiting(self, unreachable_for: float) -> bool:
        """Whether what is parked may still be delivered: somebody has listened within these seconds."""
        since = self.unreachable_since
        is_gone = since is not None and time.monotonic() - since >= unreachable_for
        return self._attendants_num > 0 and not is_gone

    def _queue_of(self, parked: Parked) -> deque[Parked]:
        return self._artifacts if parked.is_artifacts else self._points

    def _call_attendants(self) -> None:
        """As many as there is work for; one while the service is away."""
        with self._lock:
            waiting = len(self._points) + len(self._artifacts)
            wanted = min(waiting, 1 if self._retry.failures else ATTENDANTS)
            while self._attendants_num < wanted:
                try:
                    threading.Thread(target=self._attend, name="ingest-parked", daemon=True).start()
                except RuntimeError as error:  # no more threads, or the interpreter is going down
                    self._warn(
                        "no_thread", f"no thread for parked runs ({error}); `ingest sync` delivers them"
                    )
                    break
                self._attendants_num += 1
        self._bell.ring()

    # --- an attendant -----------------------------------------------------------------------------------------------

    def _attend(self) -> None:
        """Deliver until nothing is parked; an error inside costs a pause, never the thread."""
        with contextlib.closing(self._open_transport()) as transport:
            while (parked := self._next()) is not None:
                try:
                    self._deliver(parked, transport)
                except Exception as error:  # noqa: BLE001 - the edge: the spool stays where it is
                    self._warn(
                        "parked", f"{parked.directory} is tried again: {type(error).__name__}: {error}"
                    )
                    self._failed(None)
                    self._put_back(parked)

    def _next(self) -> Parked | None:
        """What has waited longest, when it is time for it; None, and the end of this attendant, if it is not needed any more."""
        has_rung = True
        while True:
            with self._lock:
                wait = self._seconds_left()
                waiting = self._points or self._artifacts
                if waiting and wait <= 0:
                    return waiting.popleft()
                is_one_of_many = self._retry.failures > 0 and self._attendants_num > 1
                if is_one_of_many or not (waiting or has_rung):
                    self._attendants_num -= 1
                    return None
            has_rung = self._bell.wait(wait if waiting else _LINGER)

    def _seconds_left(self) -> float:
        """Until the next attempt."""
        now, due = time.monotonic(), self._retry.not_before
        if self._may_hurry and (self._is_hurried or now - self._asked_at < _ASKED_LATELY):
            due = min(due, self._last_attempt + _IMPATIENT_RETRY)
        return due - now

    def _deliver(self, parked: Parked, transport: Transport) -> None:
        outcomes: list[Outcome] = []

        def post(body: bytes, seq: int) -> Outcome:
            outcomes[:] = [transport.post_batch(body, seq)]
            return outcomes[0]

        self._last_attempt = time.monotonic()
        report = parked.deliver(transport, post)
        if report.status == "waiting":
            self._failed(outcomes[0] if outcomes else None)
            self._put_back(parked)
            return
        was_away = self._retry.failures > 0
        self._retry.succeeded()
        if report.status == "in_use" and parked.directory.exists():
            self._bell.wait(_ELSEWHERE)
            self._put_back(parked, last=True)
            return
        self._directories.discard(parked.directory)
        self.unreachable_since = None
        if report.status in {"delivered", "in_use"}:
            parked.settle(transport)
        else:
            self._warn("parked", f"{parked.directory} stays there: {report.status}, {report.error}")
        if was_away:
            self._call_attendants()

    def _put_back(self, parked: Parked, *, last: bool = False) -> None:
        with self._lock:
            queue = self._queue_of(parked)
            queue.append(parked) if last else queue.appendleft(parked)

    def _failed(self, outcome: Outcome | None) -> None:
        retry_after = outcome.retry_after if isinstance(outcome, Retry) else None
        now = time.monotonic()
        self._retry.failed(now, roll(), retry_after)
        self._may_hurry = retry_after is None
        if not (isinstance(outcome, Retry) and outcome.unreachable):
            self.unreachable_since = None
        elif self.unreachable_since is None:
            self.unreachable_since = now


_lots: dict[tuple[str, str, str | None, str | None], Lot] = {}
_making = threading.RLock()


def lot_of(root: Path, settings: Settings, warn: Callable[[str, str], None]) -> Lot:
    """The lot of this process for a spool folder and the service of these settings."""
    uri, token, ca_file = settings.tracking_uri, settings.token, settings.ca_file
    key = (str(root), uri, token, ca_file)
    with _making:
        if key not in _lots:
            _lots[key] = Lot(lambda: Transport(uri, token=token, ca_file=ca_file), warn)
        return _lots[key]


def _forget_after_fork() -> None:
    """In a forked child: what the parent has parked is the parent's to deliver."""
    global _making
    _making = threading.RLock()
    _lots.clear()


os.register_at_fork(after_in_child=_forget_after_fork)
