"""One process as a writer of a run: what it has open, and how that comes, is delivered and goes.

A writer has a recorder for the logging calls, a spool, a sender and, with the first artifact, a queue of artifacts. After a fork
the child that logs becomes a writer of its own in the same run; a child that does not log opens nothing.

Made by a `Run`, which says what the run is; nothing here waits for the network.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from ingest_client import _lifetime, _sigterm
from ingest_client._account import last_report, report
from ingest_client._bell import Bell
from ingest_client._handover import parked_points, sweep_children, sweep_orphans
from ingest_client._identity import writer_body
from ingest_client._parking import Lot, lot_of
from ingest_client._record import encode_event_record
from ingest_client._recorder import Recorder
from ingest_client._sender import Sender
from ingest_client._settings import Settings, fallback_spool_dir
from ingest_client._spool import Spool
from ingest_client._transport import USER_AGENT, Transport
from ingest_client._warn import Warner
from ingest_schema.events import Event, encode_event
from ingest_schema.ids import new_id

if TYPE_CHECKING:
    from ingest_client._artifacts_queue import ArtifactQueue
    from ingest_client._run import Run
    from ingest_client._tensors import DeferredReads

__all__ = ["Writer", "warn"]

_EVENT_TEXT_BYTES: Final = 1024 * 1024
"""Params of one event; a larger call is split, so that a batch stays under the protocol's limit."""

_EVENT_TEXTS: Final = 1000

warn = Warner()


class Writer:
    """What this process has open for one run."""

    def __init__(self, run: Run, settings: Settings, *, owns_run: bool) -> None:
        """Nothing is opened yet: see `Recorder.open`.

        Args:
            run: Says what the run is when the spool is opened, here or in a forked child.
            settings: Where to.
            owns_run: Whether this process may end the run.
        """
        self.run_id: UUID = run.id
        self.settings = settings
        self.owns_run = owns_run
        self.sender: Sender | None = None
        self.artifacts: ArtifactQueue | None = None
        self.call_cost_ns: float | None = None
        self._run = run
        self._lot: Lot | None = None
        self._bell = Bell()
        self._artifacts_lock = threading.RLock()
        self.recorder = Recorder(self._open_spool, self._set_deferrer)

    # --- events -----------------------------------------------------------------------------------------------------

    def put_event(self, kind: str, body: Mapping[str, Any], spool: Spool | None = None) -> None:
        """Put an event into the spool, in the order in which things happened."""
        spool = spool or self.recorder.open()
        if spool is None:
            warn("no_spool", f"{kind} of run {self.run_id.hex} is lost: there is no folder to keep it in")
            return
        event = Event(kind, time.time_ns() // 1_000_000, body)
        spool.put(encode_event_record(encode_event(event)), 0)

    def put_texts(self, kind: str, texts: Mapping[str, str | None]) -> None:
        """Params or tags that are known to be good, in as many events as their size asks for."""
        part: dict[str, str | None] = {}
        size = 0
        for key, text in texts.items():
            part[key] = text
            size += len(key) * 4 + len(text or "") * 4
            if size >= _EVENT_TEXT_BYTES or len(part) >= _EVENT_TEXTS:
                self.put_event(kind, part)
                part, size = {}, 0
        if part:
            self.put_event(kind, part)

    # --- opening ----------------------------------------------------------------------------------------------------

    def artifact_queue(self) -> ArtifactQueue:
        """The queue of this process, made with the run's first artifact."""
        with self._artifacts_lock:
            if self.artifacts is None:
                from ingest_client._artifacts_queue import ArtifactQueue

                self.recorder.open()  # a forked child becomes a writer, as with its first point
                self.artifacts = ArtifactQueue(
                    self.run_id, self.settings, is_known=self._is_known, warn=warn, lot=self._lot
                )
                if not self._run.is_active:
                    self.artifacts.close()
            return self.artifacts

    def _is_known(self) -> bool:
        """Whether the service has acknowledged the start of the run by this writer."""
        return self.sender is None or self.sender.batches > 0 or self.sender.is_complete

    def _open_spool(self) -> Spool | None:
        """The spool and the sender of this process; the first records say what run this is and who writes."""
        if (
            not self._run.is_active
        ):  # a forked child of an ended run: a new writer would bring the run back to life
            warn("after_end", f"run {self.run_id.hex} has ended; what is still logged to it is dropped")
            return None
        spool = self._make_spool()
        if spool is None:
            return None
        self.put_event("run_start", self._run.start_body(), spool)
        self.put_event("writer", writer_body(), spool)
        self._start_sender(spool)
        _lifetime.writer_opened(self._run)
        return spool

    def _start_sender(self, spool: Spool) -> None:
        settings, root = self.settings, spool.directory.parent.parent
        transport = Transport(settings.tracking_uri, token=settings.token, ca_file=settings.ca_file)
        self._lot = None if settings.mode == "offline" else lot_of(root, settings, warn)
        self.sender = Sender(
            spool,
            transport.post_batch,
            max_age=settings.max_age,
            lot=self._lot,
            warn=warn,
            counters=lambda: report(self),
            on_reached=lambda: self._reached(root),
            on_parked=lambda: self._parked(transport),
            on_finished=lambda: self._finished(spool, transport),
            bell=self._bell,
        )
        try:
            self.sender.start()
        except (
            RuntimeError
        ) as error:  # no more threads, or the interpreter is going down: the spool keeps everything
            warn(
                "no_thread",
                f"no sender for run {self.run_id.hex} ({error}); deliver {spool.directory} by `ingest sync`",
            )

    def _set_deferrer(self, deferrer: DeferredReads) -> None:
        if self.sender is not None:
            self.sender.deferred = deferrer
            self._bell.ring()

    def _make_spool(self) -> Spool | None:
        for root in (self.settings.spool_dir, fallback_spool_dir()):
            try:
                return Spool(
                    root,
                    self.run_id,
                    new_id(),
                    max_bytes=self.settings.spool_max_bytes,
                    meta={"tracking_uri": self.settings.tracking_uri, "client": USER_AGENT},
                    on_switch=self.recorder.attach,
                    wake=self._bell.ring,
                    warn=warn,
                )
            except OSError as error:
                warn(f"spool {root}", f"no spool in {root}: {error}")
        return None

    # --- ending -----------------------------------------------------------------------------------------------------

    def conclude(self) -> None:
        """The last before the end: what is still on an accelerator, and what all of it has cost."""
        if self.recorder.deferrer is not None:
            self.recorder.deferrer.wait(self.settings.shutdown_timeout)
        if self.recorder.spool is not None:
            # An end goes on whatever its last report meets.
            with _sigterm.undisturbed(), contextlib.suppress(Exception):
                self.put_event("heartbeat", last_report(self), self.recorder.spool)

    def end(self, status: str, end_time_ms: int) -> None:
        """Say that the run, or this writer of it, has ended, and let nothing in any more. The rest is delivered in the background."""
        spool = self.recorder.spool
        if spool is not None:
            if self.owns_run:
                self.put_event("run_end", {"status": status, "end_time_ms": end_time_ms}, spool)
            self.put_event("writer_end", {}, spool)
            spool.close()
        self._bell.ring()
        if self.artifacts is not None:
            self.artifacts.close()
            self._leave_artifacts()

    def _parked(self, transport: Transport) -> None:
        """The spool waits on the disk, and its artifacts with it; offline for `ingest sync`, else for the attendant of the lot."""
        transport.close()
        if self._lot is not None and self.sender is not None:
            self._lot.park(parked_points(self, self.sender))
        self._leave_artifacts()

    def _leave_artifacts(self) -> None:
        """Once its points are parked and its artifacts are all there, the queue is left to the lot as well."""
        sender, artifacts = self.sender, self.artifacts
        if sender is not None and sender.is_parked and artifacts is not None and artifacts.is_closed:
            artifacts.leave()

    def _finished(self, spool: Spool, transport: Transport) -> None:
        sweep_children(self, spool, transport)
        transport.close()

    def _reached(self, root: Path) -> None:
        if self._lot is not None:
            self._lot.reached()
            sweep_orphans(root, self.settings, self._lot)

    def after_fork_in_child(self) -> None:
        """The child starts clean: it has no spool until it logs, and it does not own the run."""
        spool, self.sender = self.recorder.spool, None
        artifacts, self.artifacts = self.artifacts, None
        self._artifacts_lock = threading.RLock()
        if artifacts is not None:
            artifacts.abandon()
        self.owns_run = False
        self._bell = Bell()
        self.recorder.deferrer = None
        self.recorder.forget()
        if spool is not None:
            spool.abandon()
