"""Artifacts of one run in one process: taken in at once, delivered in the background, each of them counted.

A queue holds the run's spool of artifacts. They are delivered in the order in which they were logged: the one logged last to a
path is what stays there. The thread that takes the steps is that of `_artifacts_uploader`, or whoever adopts a dead process's spool.

Life: made by the first artifact of a run, closed with the run, gone when everything in it is settled. A forked child has none.

Units: seconds of the monotonic clock, bytes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from ingest_client._artifacts_spool import ArtifactSpool, Entry, Keep, SpoolRefused
from ingest_client._artifacts_tables import merge
from ingest_client._artifacts_upload import Outcome, Upload, Uploaded, remove
from ingest_client._artifacts_uploader import ring, uploader
from ingest_client._protocol import Refused, Retry
from ingest_client._retry import RetryClock, roll
from ingest_client._settings import Settings, fallback_spool_dir
from ingest_client._transport import USER_AGENT, Transport, retry_of

if TYPE_CHECKING:
    from ingest_client._parking import Lot
    from ingest_client._recover import SpoolReport

__all__ = ["ArtifactCounts", "ArtifactQueue"]

_POLL: Final = 0.2
"""Seconds between two looks whether the service knows the run by now."""

_IMPATIENT_RETRY: Final = 0.5
"""While somebody waits in flush or at exit, a service that is down is tried this often."""


@dataclass(frozen=True, slots=True)
class ArtifactCounts:
    """Counters of one queue, at one moment. The law: accepted = uploaded + spooled + rejected + dropped."""

    accepted_num: int
    uploaded_num: int
    spooled_num: int
    rejected: Mapping[str, int]
    dropped: Mapping[str, int]
    uploaded_bytes: int
    retries_num: int
    spool_bytes: int
    last_error: str | None

    def as_stats(self) -> dict[str, Any]:
        """Under the names of `Stats`."""
        return {
            "artifacts_accepted_num": self.accepted_num,
            "artifacts_uploaded_num": self.uploaded_num,
            "artifacts_spooled_num": self.spooled_num,
            "artifacts_rejected_num": sum(self.rejected.values()),
            "artifacts_dropped_num": sum(self.dropped.values()),
            "artifacts_rejected": self.rejected,
            "artifacts_dropped": self.dropped,
            "artifacts_uploaded_bytes": self.uploaded_bytes,
            "artifacts_retries_num": self.retries_num,
            "artifacts_spool_bytes": self.spool_bytes,
        }


class ArtifactQueue:
    """The artifacts of one run in this process."""

    def __init__(
        self,
        run_id: UUID,
        settings: Settings,
        *,
        is_known: Callable[[], bool],
        warn: Callable[[str, str], None],
        spool: ArtifactSpool | None = None,
        lot: Lot | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is made before the first artifact.

        Args:
            run_id, settings: Whose artifacts, and where to.
            is_known: Whether the service has acknowledged the start of the run; nothing is sent before.
            warn: Takes a cause and a message.
            spool: What a dead process has left; the uploader knows nothing of it, the caller takes the steps.
            lot: Takes what is left on the disk by `leave`; None: nothing is left while the process lives.
            clock: Seconds.
        """
        self.run_id = run_id
        self.settings = settings
        self.is_closed = False
        self.is_parked = False
        """Closed, and offline or left to others: the spool is complete and unlocked, for whoever delivers it."""
        self.is_left = False
        """It is to be parked, by the uploader, which may be at work on it."""
        self.was_given_up = False
        self.unreachable_since: float | None = None
        self._is_known = is_known
        self._lot = lot
        self.warn = warn
        self._clock = clock
        self._spool = spool
        self._upload: Upload | None = None
        self._retry = RetryClock()
        self._last_attempt = 0.0
        self._may_hurry = True
        self._waiters = 0
        self._settled = threading.Condition(threading.RLock())
        self._accepted = spool.waiting_num if spool is not None else 0
        self._uploaded = self._uploaded_bytes = self._retries = 0
        self._rejected: dict[str, int] = {}
        self._dropped: dict[str, int] = {}
        self._last_error: str | None = None

    # --- putting in: any thread -------------------------------------------------------------------------------------

    def put_file(self, path: str, source: Path, keep: Keep = "copy") -> None:
        """Take in a file; when this returns, the caller may delete or change it.

        Raises:
            OSError: It can't be read.
        """
        self._put(path, lambda spool: spool.put_file(path, source, keep))

    def put_bytes(self, path: str, content: bytes, kind: str = "file") -> None:
        """Take in what is in memory."""
        self._put(path, lambda spool: spool.put_bytes(path, content, kind))

    def open(self) -> Path | None:
        """The spool's folder, made if there is none yet; None if it can't be."""
        spool = None if self.is_closed else self._open()
        return None if spool is None else spool.directory

    def _put(self, path: str, take_in: Callable[[ArtifactSpool], Entry]) -> None:
        if self.is_closed:
            self._drop("after_end", f"run {self.run_id.hex} has ended; artifact {path!r} is dropped")
            return
        spool = self._open()
        if spool is None:
            self._drop(
                "no_spool",
                f"artifact {path!r} of run {self.run_id.hex} is lost: there is no folder to keep it in",
            )
            return
        with self._settled:  # before it is in the spool, from where the uploader might take it at once
            self._accepted += 1
        try:
            take_in(spool)
        except SpoolRefused as error:
            with self._settled:
                self._accepted -= 1
                self._drop(error.reason, f"artifact {path!r} of run {self.run_id.hex} is dropped: {error}")
            return
        except BaseException:
            with self._settled:
                self._accepted -= 1
            raise
        if self.settings.mode != "offline":
            uploader().add(self)

    def _open(self) -> ArtifactSpool | None:
        with self._settled:
            if self._spool is None:
                for root in (self.settings.spool_dir, fallback_spool_dir()):
                    try:
                        self._spool = ArtifactSpool.create(
                            root,
                            self.run_id,
                            max_bytes=self.settings.artifact_spool_max_bytes,
                            meta={"tracking_uri": self.settings.tracking_uri, "client": USER_AGENT},
                        )
                        break
                    except OSError as error:
                        self.warn(f"artifacts {root}", f"no spool for artifacts in {root}: {error}")
            return self._spool

    def _drop(self, reason: str, message: str) -> None:
        with self._settled:
            self._accepted += 1
            self._dropped[reason] = self._dropped.get(reason, 0) + 1
        self.warn(f"artifact {reason}", message)

    # --- asked by other threads -------------------------------------------------------------------------------------

    def counts(self) -> ArtifactCounts:
        """The counters, of one moment."""
        with self._settled:
            if self._lot is None and self._was_taken():  # offline nobody tells
                self._forget_rest()
            rejected, dropped = dict(self._rejected), dict(self._dropped)
            waiting = self._accepted - self._uploaded - sum(rejected.values()) - sum(dropped.values())
            return ArtifactCounts(
                accepted_num=self._accepted,
                uploaded_num=self._uploaded,
                spooled_num=waiting,
                rejected=rejected,
                dropped=dropped,
                uploaded_bytes=self._uploaded_bytes,
                retries_num=self._retries,
                spool_bytes=self._spool.size_bytes if self._spool is not None and waiting else 0,
                last_error=self._last_error,
            )

    @property
    def directory(self) -> Path | None:
        """Where what waits lies."""
        return None if self._spool is None else self._spool.directory

    def mark(self) -> int:
        """What `has_settled` takes: the artifacts that calls have returned for so far."""
        with self._settled:
            return self._done() + (self._spool.waiting_num if self._spool is not None else 0)

    def has_settled(self, mark: int) -> bool:
        """Whether all artifacts of the mark are uploaded or refused for good. Those in the spool settle in its order."""
        with self._settled:
            return self._was_taken() or self._done() >= mark

    def _was_taken(self) -> bool:
        """Whether it is parked, and somebody else has delivered it."""
        return self.is_parked and self._spool is not None and not self._spool.directory.exists()

    def _done(self) -> int:
        return self._uploaded + sum(self._rejected.values())

    def ask(self) -> None:
        """Somebody waits: retry sooner."""
        ring()

    def wait_for(self, mark: int, timeout: float) -> bool:
        """Wait until everything before the mark is settled, at most `timeout` seconds; True if it is."""
        deadline = self._clock() + timeout
        with self._settled:
            self._waiters += 1
            self.ask()
            try:
                while not self.has_settled(mark):
                    left = deadline - self._clock()
                    if left <= 0 or self.settings.mode == "offline":
                        break
                    if self.is_left and self._lot is not None:
                        self._lot.ask()
                    self._settled.wait(min(left, 1.0))
                return self.has_settled(mark)
            finally:
                self._waiters -= 1

    def hurry(self) -> None:
        """The end of the process waits: retry sooner from now on."""
        self._waiters += 1
        self.ask()
        if self._lot is not None:
            self._lot.hurry()

    def close(self) -> None:
        """The run has ended: no more artifacts. What waits is still delivered."""
        self.is_closed = True
        if self.settings.mode == "offline":
            self.finish()
        else:
            self.ask()

    def leave(self) -> None:
        """Closed, and one of many: leave what waits on the disk, to be delivered in its turn."""
        self.is_left = self._lot is not None
        self.ask()

    def count_parked(self, report: SpoolReport) -> None:
        """The attendant has tried to deliver the parked spool."""
        with self._settled:
            self._uploaded += report.uploaded_artifacts
            for code, artifacts in report.refusals.items():
                self._rejected[code] = self._rejected.get(code, 0) + artifacts

    def settle_parked(self) -> None:
        """The parked spool is delivered."""
        with self._settled:
            self._forget_rest()
            self._settled.notify_all()

    def _forget_rest(self) -> None:
        """The parked spool is gone: what the attendant has not counted was uploaded by another process."""
        if self._spool is not None and not self.is_complete:
            settled = self._done() + sum(self._dropped.values())
            self._uploaded += self._accepted - settled
            self._spool.forget()

    @property
    def may_leave(self) -> bool:
        """Whether it could be left to the lot: closed, and its run is known to the service."""
        return self.is_closed and self._lot is not None and self._is_known()

    def is_worth_waiting(self, unreachable_for: float) -> bool:
        """Whether more of it may still be delivered: see `Sender.is_worth_waiting`."""
        if self.is_parked and self._lot is not None:
            return not (self.is_complete or self.was_given_up) and self._lot.is_worth_waiting(unreachable_for)
        since = self.unreachable_since
        gone = since is not None and self._clock() - since >= unreachable_for
        offline = self.settings.mode == "offline"
        return not (self.is_complete or offline or gone or self.was_given_up or not self._is_known())

    @property
    def is_complete(self) -> bool:
        """Whether nothing waits."""
        return self._spool is None or self._spool.waiting_num == 0

    def abandon(self) -> None:
        """In a forked child: let the parent's spool go."""
        if self._spool is not None:
            self._spool.abandon()

    # --- the uploader -----------------------------------------------------------------------------------------------

    def not_before(self, now: float) -> float | None:
        """When there is something to do; None if there is nothing."""
        if self.is_complete or self.is_parked:
            return None
        if not self._is_known():
            return now + _POLL
        if self._waiters and self._retry.failures and self._may_hurry:
            return min(self._retry.not_before, self._last_attempt + _IMPATIENT_RETRY)
        return self._retry.not_before

    def step(self, transport: Transport, breathe: Callable[[], object]) -> None:
        """One step with the artifact that has waited longest."""
        spool = self._spool
        entry = spool.first() if spool is not None else None
        if spool is None or entry is None:
            return
        self._last_attempt = self._clock()
        outcome: Outcome | None
        try:
            outcome = self._advance(spool, entry, transport, breathe)
        except FileNotFoundError as error:
            outcome = Refused("spool_lost", f"somebody has removed it from the spool: {error}")
        except Exception as error:  # noqa: BLE001 - http.client, ssl and socket raise dozens; all mean: try again
            outcome = retry_of(error, transport.address)
        if outcome is not None:
            self._settle(spool, entry, outcome)

    def _advance(
        self, spool: ArtifactSpool, entry: Entry, transport: Transport, breathe: Callable[[], object]
    ) -> Outcome | None:
        if entry.kind == "remove":
            return remove(self.run_id, entry.path, transport.request)
        if entry.kind == "table":
            return merge(spool, entry, self.run_id, transport.request)
        if self._upload is None:
            self._upload = Upload(
                self.run_id,
                entry.path,
                spool.content(entry),
                entry.size_bytes,
                transport.request,
                breathe=breathe,
            )
        outcome = self._upload.advance()
        if outcome is None and self._retry.failures:  # a part has arrived: the service is there
            self._retry.succeeded()
            self.unreachable_since = None
        return outcome

    def _settle(self, spool: ArtifactSpool, entry: Entry, outcome: Outcome) -> None:
        """Counters, retry clock and warnings for what became of an artifact."""
        now = self._clock()
        if isinstance(outcome, Retry):
            self._last_error = outcome.message
            self._retries += 1
            self._retry.failed(now, roll(), outcome.retry_after)
            self._may_hurry = outcome.retry_after is None
            if not outcome.unreachable:
                self.unreachable_since = None
            elif self.unreachable_since is None:
                self.unreachable_since = now
            if self._retry.failures > 1 or not outcome.unreachable:
                self.warn(
                    f"artifact {outcome.reason}",
                    f"{outcome.message}; artifact {entry.path!r} waits in {spool.directory} and is sent again",
                )
            return
        self._upload = None
        self._retry.succeeded()
        self.unreachable_since = None
        with self._settled:
            spool.remove_first(entry)
            if isinstance(outcome, Uploaded):
                self._uploaded += 1
                self._uploaded_bytes += outcome.size_bytes
            else:
                self._rejected[outcome.code] = self._rejected.get(outcome.code, 0) + 1
                self._last_error = outcome.message
            self._settled.notify_all()
        if isinstance(outcome, Refused):
            self.warn(
                f"artifact {outcome.code}",
                f"artifact {entry.path!r} of run {self.run_id.hex} was refused for good: {outcome.message}",
            )

    def finish(self) -> None:
        """Closed: the spool goes, or is left to `ingest sync` if something waits in it."""
        with self._settled:
            if self.is_parked:
                return
            if self._spool is not None:
                if self._lot is not None and not self.is_complete:
                    self._lot.reserve(self._spool.directory)
                self._spool.dispose()
            self.is_parked = True
            self._settled.notify_all()
        if self._lot is not None and self._spool is not None and not self.is_complete:
            from ingest_client._handover import parked_artifacts

            self._lot.park(parked_artifacts(self, self._spool.directory))
