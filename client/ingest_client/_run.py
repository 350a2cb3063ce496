"""A run: what `start_run` returns. Thread-safe; nothing in it waits for the network but `flush`.

Everything that is logged, start, params, tags and end included, goes through the spool in the order in which it happened:
a run can begin, log and end with no service in sight and is delivered later.

After a fork the child that logs becomes a writer of its own in the same run, with its own spool and sender; a child that
does not log starts nothing. Only the process that started a run ends it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self
from uuid import UUID

from ingest_client import _lifetime
from ingest_client._artifacts import ArtifactMethods
from ingest_client._bell import Bell
from ingest_client._identity import RunInfo, user_name, writer_body
from ingest_client._record import encode_event_record
from ingest_client._recorder import Recorder
from ingest_client._sender import Sender
from ingest_client._settings import Settings, fallback_spool_dir
from ingest_client._spool import Spool
from ingest_client._stats import Stats
from ingest_client._transport import USER_AGENT, Transport
from ingest_client._warn import Warner
from ingest_schema.events import END_STATUSES, Event, encode_event
from ingest_schema.ids import new_id
from ingest_schema.run_names import run_name_of
from ingest_schema.values import check_key, check_text

if TYPE_CHECKING:
    from ingest_client._artifacts_queue import ArtifactQueue
    from ingest_client._system import Companion
    from ingest_client._tensors import DeferredReads

__all__ = ["Run", "RunInfo"]

_EVENT_TEXT_BYTES: Final = 1024 * 1024
"""Params of one event; a larger call is split, so that a batch stays under the protocol's limit."""

_CAPTURED: Final = ("mlflow.source.", "ingest.env.")
"""Tags that the client sets by itself, unless the user did."""

warn = Warner()


class Run(ArtifactMethods):
    """One run, as seen by the process that logs to it. Made by `start_run`.

    Attributes:
        log_metrics: `log_metrics(metrics, step=0, timestamp=None)` logs one value for each name in `metrics`.
            metrics: names to numbers: bool, int, float, numpy scalars, tensors of one element. NaN and infinities are values.
            step: any 64-bit integer, in any order; 0 if not given. timestamp: milliseconds since the Unix epoch; now if not given.
            It raises BadKey, BadValue, BadStep or BadTime for what can't be stored, before anything is, and never for
            trouble with the service, the network or the disk. A CUDA tensor is not waited for: it is read in the background.
        log_metric: `log_metric(key, value, step=0, timestamp=None)`, the same for one value.
    """

    log_metrics: Callable[..., None]
    log_metric: Callable[..., None]

    def __init__(
        self,
        settings: Settings,
        *,
        experiment: str | int = "Default",
        run_id: UUID | None = None,
        run_name: str | None = None,
        parent_run_id: UUID | None = None,
        resume_from_step: int | None = None,
        owns_run: bool = True,
        start_time: int | None = None,
    ) -> None:
        self.id = run_id or new_id()
        self.settings = settings
        self._experiment = experiment
        self._name = run_name
        self._parent = parent_run_id
        self._resume_from_step = resume_from_step
        self._owns_run = owns_run
        self._start_ms = time.time_ns() // 1_000_000 if start_time is None else start_time
        self._start_pid = os.getpid()
        self._end_ms: int | None = None
        self._call_cost_ns: float | None = None
        self._status = "RUNNING"
        self._bell = Bell()
        self._sender: Sender | None = None
        self._artifacts: ArtifactQueue | None = None
        self._artifacts_lock = threading.RLock()
        self.checkpoints = {}
        self.checkpoint_lock = threading.RLock()
        self.logged_models = []
        self.companion: Companion | None = None
        """What samples the machine and takes the environment for it (`_system`)."""
        self._tags_lock = threading.RLock()
        self._users_tags: set[str] = set()
        self.was_resumed = run_id is not None
        """It may have a past that this process does not know."""
        self._recorder = Recorder(self._open_spool, self._set_deferrer)
        self.log_metrics = self._recorder.log_metrics
        self.log_metric = self._recorder.log_metric
        self._recorder.open()
        _lifetime.register(self)

    # --- logging ----------------------------------------------------------------------------------------------------

    def log_param(self, key: str, value: Any) -> Any:
        """Log one param, a setting of the run; `str(value)` is stored. Returns the value, as MLflow does.

        A param is written once: the same value again is fine, another one is refused by the service and reported.

        Raises:
            BadKey, BadText: It can't be stored.
        """
        self.log_params({key: value})
        return value

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log several params; see `log_param`."""
        self._put_texts("params", "param", {key: str(value) for key, value in params.items()})

    def set_tag(self, key: str, value: Any) -> None:
        """Set one tag; `str(value)` is stored and replaces what was there. None deletes the tag.

        Raises:
            BadKey, BadText: It can't be stored.
        """
        self.set_tags({key: value})

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set several tags; see `set_tag`."""
        texts = {key: None if value is None else str(value) for key, value in tags.items()}
        with self._tags_lock:
            self._users_tags.update(key for key in texts if str(key).startswith(_CAPTURED))
            self._put_texts("tags", "tag", texts)

    def set_captured_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags of the environment, found out in the background; those that the user has set or deleted meanwhile are left alone."""
        with self._tags_lock:
            self._put_texts("tags", "tag", {k: v for k, v in tags.items() if k not in self._users_tags})

    def _put_texts(self, kind: str, what: str, texts: Mapping[str, str | None]) -> None:
        for key, text in texts.items():
            check_key(key, what)
            if text is not None:
                check_text(key, text, what)
        part: dict[str, str | None] = {}
        size = 0
        for key, text in texts.items():
            part[key] = text
            size += len(key) * 4 + len(text or "") * 4
            if size >= _EVENT_TEXT_BYTES or len(part) >= 1000:
                self._put_event(kind, part)
                part, size = {}, 0
        if part:
            self._put_event(kind, part)

    def _put_event(self, kind: str, body: Mapping[str, Any], spool: Spool | None = None) -> None:
        spool = spool or self._recorder.open()
        if spool is None:
            warn("no_spool", f"{kind} of run {self.info.run_id} is lost: there is no folder to keep it in")
            return
        event = Event(kind, time.time_ns() // 1_000_000, body)
        spool.put(encode_event_record(encode_event(event)), 0)

    # --- waiting and ending -----------------------------------------------------------------------------------------

    def flush(self, timeout: float = 30.0) -> bool:
        """Wait until the service has acknowledged all that was logged before this call.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            True if all of it is committed; False if some is still on its way after `timeout`, or was rejected or dropped
            (see `stats`). What is on its way stays in the spool and is delivered whatever happens.
        """
        deadline = time.monotonic() + timeout
        deferrer, sender, artifacts = self._recorder.deferrer, self._sender, self._artifacts
        mark = artifacts.mark() if artifacts is not None else 0
        if deferrer is not None and not deferrer.wait(timeout):
            return False
        if self._recorder.spool is not None and sender is not None:
            left = max(0.0, deadline - time.monotonic())
            if not sender.is_complete and not sender.wait_for(self._recorder.spool.head(), left):
                return False
        if artifacts is not None and not artifacts.wait_for(mark, max(0.0, deadline - time.monotonic())):
            return False
        return self.has_lost_nothing()

    def ask_flush(self) -> Callable[[], bool]:
        """Hurry the delivery, and return a function that says whether all that was logged before is settled."""
        artifacts = self._artifacts
        are_points_settled = self._ask_sender()
        if artifacts is None:
            return are_points_settled
        mark = artifacts.mark()
        artifacts.ask()
        return lambda: are_points_settled() and artifacts.has_settled(mark)

    def _ask_sender(self) -> Callable[[], bool]:
        spool, sender, deferrer = self._recorder.spool, self._sender, self._recorder.deferrer
        if spool is None or sender is None:
            return lambda: True
        if deferrer is not None:
            read = deferrer.mark()
            target: list[tuple[int, int]] = []

            def is_settled() -> bool:
                if not target and read():
                    target.append(spool.head())
                    sender.ask(target[0])
                return bool(target) and sender.has_settled(target[0])

            return is_settled
        head = spool.head()
        sender.ask(head)
        return lambda: sender.has_settled(head)

    def has_lost_nothing(self) -> bool:
        """Whether no point and no artifact of this run was rejected or dropped so far."""
        stats = self.stats()
        lost_artifacts = stats.artifacts_rejected_num or stats.artifacts_dropped_num
        return not (stats.rejected_num or stats.dropped_num or lost_artifacts)

    def stats(self) -> Stats:
        """Counters of this run in this process; their law is in `Stats`. Cheap unless gigabytes wait in the spool."""
        spool, sender, deferrer = self._recorder.spool, self._sender, self._recorder.deferrer
        dropped = dict(self._recorder.dropped)
        acknowledged = rejected = spooled = spool_bytes = 0
        if spool is not None:
            for reason, points in tuple(spool.dropped.items()):
                dropped[reason] = dropped.get(reason, 0) + points
            state, spooled = spool.counted()
            acknowledged, rejected = state.acknowledged_points, state.rejected_points
            spool_bytes = 0 if sender is not None and sender.is_complete else spool.size_bytes
        if deferrer is not None:
            spooled += deferrer.pending_num
        dropped_num = sum(dropped.values())
        counts = self._artifacts.counts() if self._artifacts is not None else None
        return Stats(
            accepted_num=acknowledged + spooled + rejected + dropped_num,
            acknowledged_num=acknowledged,
            spooled_num=spooled,
            rejected_num=rejected,
            dropped_num=dropped_num,
            rejected=dict(sender.delivery.refusals) if sender else {},
            dropped=dropped,
            rejected_events_num=sender.rejected_events + sender.delivery.refused_events if sender else 0,
            batches_num=sender.batches if sender else 0,
            sent_bytes=sender.bytes_sent if sender else 0,
            retries_num=sender.retries if sender else 0,
            spool_bytes=spool_bytes,
            last_ack_ms=sender.last_ack_ms if sender else None,
            last_error=(sender.last_error if sender else None) or (counts.last_error if counts else None),
            call_cost_ns=self._call_cost_ns,
            **(counts.as_stats() if counts is not None else {}),
        )

    def end(self, status: str = "FINISHED", end_time: int | None = None) -> None:
        """End the run. Returns at once; the rest is delivered in the background and, at exit, waited for a bounded time.

        In a forked child, or where the run was only joined, this ends the writer and leaves the run's status alone.

        Args:
            status: FINISHED, FAILED or KILLED.
            end_time: Milliseconds since the Unix epoch; now if not given.

        Raises:
            ValueError: Another status.
        """
        if status not in END_STATUSES:
            raise ValueError(
                f"the status of an ended run is one of {', '.join(END_STATUSES)}, not {status!r}"
            )
        companion, self.companion = self.companion, None
        if companion is not None and self.is_active:
            companion.end()
        if self._status != "RUNNING":  # before, or by a signal's handler meanwhile
            return
        self._status = status
        self._end_ms = time.time_ns() // 1_000_000 if end_time is None else end_time
        if self._recorder.deferrer is not None:
            self._recorder.deferrer.wait(self.settings.shutdown_timeout)
        spool = self._recorder.spool
        if spool is not None:
            if self._owns_run:
                self._put_event("run_end", {"status": status, "end_time_ms": self._end_ms}, spool)
            self._put_event("writer_end", {}, spool)
            spool.close()
        self._bell.ring()
        if self._artifacts is not None:
            self._artifacts.close()
            self._park_artifacts()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(_lifetime.status_of(kind))
        _lifetime.forget_active(self)

    def __repr__(self) -> str:
        return f"<Run {self.id.hex} {self._status} to {self.settings.tracking_uri}>"

    def __reduce__(self) -> tuple[Callable[..., Run], tuple[Any, ...]]:
        """Pickled into another process it becomes a writer of its own there; the token comes from the environment."""
        return _join, (self.id.hex, self._experiment, self._name, self.settings.tracking_uri)

    # --- what is there ----------------------------------------------------------------------------------------------

    def history(self, keys: str | Sequence[str] | None = None, *, output_format: Any = "pandas") -> Any:
        """All points of its metrics from the service, after what is still to be delivered; see docs/search.md.

        Args:
            keys: A metric, or several; by default all.
            output_format: `pandas` (a DataFrame), `arrow` (a Table), or `batches` (an iterator of record batches).

        Returns:
            Columns key, step, time_ms and value, metric after metric, by step, then time. Nothing is sampled.

        Raises:
            NotFound, ReadFailed: The run is not there yet, or the service can't be reached.
            ImportError: The library of the format is not there.
        """
        from ingest_client import _history

        return _history.history(
            self.id.hex, keys, output_format=output_format, tracking_uri=self.settings.tracking_uri
        )

    # --- what it is -------------------------------------------------------------------------------------------------

    @property
    def info(self) -> RunInfo:
        """The run's id, name, experiment, status and times."""
        return RunInfo(
            run_id=self.id.hex,
            run_name=self._name or (None if self.was_resumed else run_name_of(self.id)),
            experiment=self._experiment,
            status=self._status,
            start_time=self._start_ms,
            end_time=self._end_ms,
            parent_run_id=self._parent.hex if self._parent else None,
        )

    @property
    def is_active(self) -> bool:
        """Whether it has not ended."""
        return self._status == "RUNNING"

    @property
    def is_delivered(self) -> bool:
        """Whether it has ended and everything of it is settled."""
        is_uploaded = self._artifacts is None or self._artifacts.is_complete
        return not self.is_active and (self._sender is None or self._sender.is_complete) and is_uploaded

    @property
    def sender(self) -> Sender | None:
        """The thread that delivers; None where there is no spool."""
        return self._sender

    @property
    def artifacts(self) -> ArtifactQueue | None:
        """The artifacts that this process has logged to it; None if there are none."""
        return self._artifacts

    @property
    def spool_dir(self) -> str | None:
        """Where undelivered records lie."""
        return None if self._recorder.spool is None else str(self._recorder.spool.directory)

    def _artifact_queue(self) -> ArtifactQueue:
        """The queue of this process, made with the run's first artifact."""
        with self._artifacts_lock:
            if self._artifacts is None:
                from ingest_client._artifacts_queue import ArtifactQueue

                self._recorder.open()  # a forked child becomes a writer, as with its first point
                self._artifacts = ArtifactQueue(
                    self.id, self.settings, is_known=lambda: self._is_known, warn=warn
                )
                if not self.is_active:
                    self._artifacts.close()
            return self._artifacts

    @property
    def _is_known(self) -> bool:
        """Whether the service has acknowledged the start of the run by this writer."""
        return self._sender is None or self._sender.batches > 0

    def another_writer(self) -> Run:
        """A further writer of this run in this process, with a spool and a sender of its own; `end` ends it, not the run."""
        return Run(
            self.settings,
            experiment=self._experiment,
            run_id=self.id,
            run_name=self._name,
            parent_run_id=self._parent,
            owns_run=False,
            start_time=self._start_ms,
        )

    # --- one writer per process -------------------------------------------------------------------------------------

    def _open_spool(self) -> Spool | None:
        """The spool and the sender of this process; the first records say what run this is and who writes."""
        if (
            not self.is_active
        ):  # a forked child of an ended run: a new writer would bring the run back to life
            warn("after_end", f"run {self.id.hex} has ended; what is still logged to it is dropped")
            return None
        spool = self._make_spool()
        if spool is None:
            return None
        settings = self.settings
        start: dict[str, Any] = {"name": self._name, "start_time_ms": self._writer_start_ms()}
        start["experiment_id" if isinstance(self._experiment, int) else "experiment"] = self._experiment
        if (user := user_name()) is not None:
            start["user"] = user
        if self._parent is not None:
            start["parent_run_id"] = self._parent.bytes
        if self._resume_from_step is not None:
            start["resume_from_step"] = self._resume_from_step
        self._put_event("run_start", start, spool)
        self._put_event("writer", writer_body(), spool)
        transport = Transport(settings.tracking_uri, token=settings.token, ca_file=settings.ca_file)
        sender = Sender(
            spool,
            transport.post_batch,
            max_age=settings.max_age,
            offline=settings.mode == "offline",
            warn=warn,
            counters=self._counters,
            on_reached=lambda: self._look_for_orphans(spool.directory.parent.parent),
            on_parked=lambda: self._after_parking(spool.directory.parent.parent, transport),
            on_finished=lambda: self._after_last_batch(transport),
            bell=self._bell,
        )
        self._sender = sender
        try:
            sender.start()
        except (
            RuntimeError
        ) as error:  # no more threads, or the interpreter is going down: the spool keeps everything
            warn(
                "no_thread",
                f"no sender for run {self.id.hex} ({error}); deliver {spool.directory} by `ingest sync`",
            )
        _lifetime.writer_opened(self)
        return spool

    def _set_deferrer(self, deferrer: DeferredReads) -> None:
        if self._sender is not None:
            self._sender.deferred = deferrer
            self._bell.ring()

    def _make_spool(self) -> Spool | None:
        for root in (self.settings.spool_dir, fallback_spool_dir()):
            try:
                return Spool(
                    root,
                    self.id,
                    new_id(),
                    max_bytes=self.settings.spool_max_bytes,
                    meta={"tracking_uri": self.settings.tracking_uri, "client": USER_AGENT},
                    on_switch=self._recorder.attach,
                    wake=self._bell.ring,
                    warn=warn,
                )
            except OSError as error:
                warn(f"spool {root}", f"no spool in {root}: {error}")
        return None

    def _writer_start_ms(self) -> int:
        """When this writer began: the run's own start for its first one."""
        return self._start_ms if os.getpid() == self._start_pid else time.time_ns() // 1_000_000

    def _counters(self) -> Mapping[str, int]:
        """For the heartbeat, on the sender's thread: what the service keeps as `writers.stats`."""
        from ingest_client._overhead import call_cost_ns

        shapes = self._recorder.spool.shapes if self._recorder.spool is not None else {}
        self._call_cost_ns = call_cost_ns(next(reversed(tuple(shapes.values())), ()))
        stats = self.stats()
        costs = {} if stats.call_cost_ns is None else {"call_cost_ns": round(stats.call_cost_ns)}
        return {
            **costs,
            "spool_bytes": stats.spool_bytes,
            "sent_bytes": stats.sent_bytes,
            "batches": stats.batches_num,
            "last_ack_us": round((stats.last_ack_ms or 0.0) * 1000),
            "accepted": stats.accepted_num,
            "acknowledged": stats.acknowledged_num,
            "spooled": stats.spooled_num,
            "rejected": stats.rejected_num,
            "dropped": stats.dropped_num,
            "retries": stats.retries_num,
        }

    def _look_for_orphans(self, root: Path) -> None:
        """The service is there: deliver what dead processes have left, too."""
        from ingest_client._artifacts_recover import sweep_artifacts
        from ingest_client._recover import sweep_in_background

        s = self.settings
        sweep_in_background(
            root,
            lambda: Transport(s.tracking_uri, token=s.token, ca_file=s.ca_file),
            s.tracking_uri,
            lambda transport: sweep_artifacts(root, transport, s, tracking_uri=s.tracking_uri),
        )

    def _after_parking(self, root: Path, transport: Transport) -> None:
        """The spool waits on the disk for whoever reaches the service first, and its artifacts with it."""
        from ingest_client._recover import look_again

        look_again(root, self.settings.tracking_uri)
        transport.close()
        self._park_artifacts()

    def _park_artifacts(self) -> None:
        sender, artifacts = self._sender, self._artifacts
        if sender is not None and sender.is_parked and artifacts is not None and artifacts.is_closed:
            artifacts.finish()

    def _after_last_batch(self, transport: Transport) -> None:
        """Everything of this writer is stored: take care of what dead children of this run have left."""
        if self._owns_run and self._recorder.spool is not None:
            from ingest_client._artifacts_recover import sweep_artifacts
            from ingest_client._recover import sweep

            root, uri = self._recorder.spool.directory.parent.parent, self.settings.tracking_uri
            sweep(root, transport.post_batch, tracking_uri=uri, run_id=self.id)
            sweep_artifacts(root, transport, self.settings, tracking_uri=uri, run_id=self.id)
        transport.close()

    def after_fork_in_child(self) -> None:
        """The child starts clean: it has no spool until it logs, and it does not own the run."""
        spool, self._sender = self._recorder.spool, None
        artifacts, self._artifacts = self._artifacts, None
        self._artifacts_lock, self.checkpoint_lock = threading.RLock(), threading.RLock()
        self._tags_lock, self.companion = threading.RLock(), None
        if artifacts is not None:
            artifacts.abandon()
        self._owns_run = False
        self._bell = Bell()
        self._recorder.deferrer = None
        self._recorder.forget()
        if spool is not None:
            spool.abandon()


def _join(run_id: str, experiment: str | int, name: str | None, tracking_uri: str) -> Run:
    """The run in another process, as a further writer."""
    settings = Settings.read(tracking_uri=tracking_uri)
    return Run(settings, run_id=UUID(hex=run_id), experiment=experiment, run_name=name, owns_run=False)
