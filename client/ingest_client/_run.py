"""A run: what `start_run` returns. Thread-safe; nothing in it waits for the network but `flush`.

Everything that is logged, start, params, tags and end included, goes through the spool in the order in which it happened:
a run can begin, log and end with no service in sight and is delivered later.

After a fork the child that logs becomes a writer of its own in the same run (`_writer`). Only the process that started a run ends it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self
from uuid import UUID

from ingest_client import _account, _flushing, _lifetime, _sigterm
from ingest_client._artifacts import ArtifactMethods
from ingest_client._identity import RunInfo, user_name
from ingest_client._settings import Settings
from ingest_client._stats import Stats
from ingest_client._writer import Writer
from ingest_schema.events import END_STATUSES
from ingest_schema.ids import new_id
from ingest_schema.run_names import run_name_of
from ingest_schema.values import check_key, check_text

if TYPE_CHECKING:
    from ingest_client._artifacts_queue import ArtifactQueue
    from ingest_client._sender import Sender
    from ingest_client._system import Companion

__all__ = ["Run", "RunInfo"]

_CAPTURED: Final = ("mlflow.source.", "ingest.env.")
"""Tags that the client sets by itself, unless the user did."""


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
        self._start_ms = time.time_ns() // 1_000_000 if start_time is None else start_time
        self._start_pid = os.getpid()
        self._end_ms: int | None = None
        self._status = "RUNNING"
        self.checkpoints = {}
        self.checkpoint_lock = threading.RLock()
        self.logged_models = []
        self.companion: Companion | None = None
        """What samples the machine and takes the environment for it (`_system`)."""
        self._tags_lock = threading.RLock()
        self._users_tags: set[str] = set()
        self.was_resumed = run_id is not None
        """It may have a past that this process does not know."""
        self.writer = Writer(self, settings, owns_run=owns_run)
        """What this process has open for it."""
        self.log_metrics = self.writer.recorder.log_metrics
        self.log_metric = self.writer.recorder.log_metric
        self.writer.recorder.open()
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
        self.writer.put_texts(kind, texts)

    # --- waiting and ending -----------------------------------------------------------------------------------------

    def flush(self, timeout: float = 30.0) -> bool:
        """Wait until the service has acknowledged all that was logged before this call.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            True if all of it is committed; False if some is still on its way after `timeout`, or was rejected or dropped
            (see `stats`). What is on its way stays in the spool and is delivered whatever happens.
        """
        return _flushing.flush(self.writer, timeout)

    def ask_flush(self) -> Callable[[], bool]:
        """Hurry the delivery, and return a function that says whether all that was logged before is settled."""
        return _flushing.ask_flush(self.writer)

    def has_lost_nothing(self) -> bool:
        """Whether no point and no artifact of this run was rejected or dropped so far."""
        return _account.has_lost_nothing(self.writer)

    def stats(self) -> Stats:
        """Counters of this run in this process; their law is in `Stats`. Cheap unless gigabytes wait in the spool."""
        return _account.stats_of(self.writer)

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
        if self.is_active:
            # What may take a while comes first: a signal's handler that ends the run meanwhile, and waits for its delivery, finds it active.
            companion, self.companion = self.companion, None
            if companion is not None:
                companion.end()
            self.writer.conclude()
        with _sigterm.undisturbed():
            if not self.is_active:
                return
            self._status = status
            self._end_ms = time.time_ns() // 1_000_000 if end_time is None else end_time
            self.writer.end(status, self._end_ms)

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
        sender, artifacts = self.sender, self.artifacts
        is_uploaded = artifacts is None or artifacts.is_complete
        return not self.is_active and (sender is None or sender.is_complete) and is_uploaded

    @property
    def is_afloat(self) -> bool:
        """Whether some of it is in memory only: this process has as many files open as it may."""
        spool = self.writer.recorder.spool
        return spool is not None and not spool.is_ashore

    @property
    def sender(self) -> Sender | None:
        """The thread that delivers; None where there is no spool."""
        return self.writer.sender

    @property
    def artifacts(self) -> ArtifactQueue | None:
        """The artifacts that this process has logged to it; None if there are none."""
        return self.writer.artifacts

    @property
    def spool_dir(self) -> str | None:
        """Where undelivered records lie."""
        spool = self.writer.recorder.spool
        return None if spool is None else str(spool.directory)

    def _artifact_queue(self) -> ArtifactQueue:
        return self.writer.artifact_queue()

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

    # --- for the writer ---------------------------------------------------------------------------------------------

    def start_body(self) -> dict[str, Any]:
        """What the first event of each of its writers says. A writer of another process begins when it begins to log."""
        is_first = os.getpid() == self._start_pid
        start: dict[str, Any] = {
            "name": self._name,
            "start_time_ms": self._start_ms if is_first else time.time_ns() // 1_000_000,
        }
        start["experiment_id" if isinstance(self._experiment, int) else "experiment"] = self._experiment
        if (user := user_name()) is not None:
            start["user"] = user
        if self._parent is not None:
            start["parent_run_id"] = self._parent.bytes
        if self._resume_from_step is not None:
            start["resume_from_step"] = self._resume_from_step
        return start

    def after_fork_in_child(self) -> None:
        """The child starts clean."""
        self.checkpoint_lock, self._tags_lock = threading.RLock(), threading.RLock()
        self.companion = None
        self.writer.after_fork_in_child()


def _join(run_id: str, experiment: str | int, name: str | None, tracking_uri: str) -> Run:
    """The run in another process, as a further writer."""
    settings = Settings.read(tracking_uri=tracking_uri)
    return Run(settings, run_id=UUID(hex=run_id), experiment=experiment, run_name=name, owns_run=False)
