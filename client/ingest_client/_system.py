"""What accompanies a run in the background: its environment at the start, the machine's metrics by time.

One daemon thread a process serves all runs that were started in it. It takes the environment of a new run (`_environment`), then every
`system_metrics_interval` seconds the machine's counters (`_machine`, `_gpu`). Metrics go to the run through a writer of their own, made with the
first of them: no step of the user's is touched, and a run shorter than an interval has neither. Their step is whole seconds since
the run's start. Of several ranks on a machine the first one samples; rank 0 takes the environment.

Life: begun by the first run, gone with the last one that ends; a forked child has none until it starts a run of its own.

Units: seconds of the monotonic clock, unless a name ends in _ms.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from ingest_client._imports import not_while_forking
from ingest_client._launch import Ranks, ranks_of
from ingest_client._warn import Warner

if TYPE_CHECKING:
    from ingest_client._gpu import Gpus
    from ingest_client._machine import Probe, Reading
    from ingest_client._run import Run

__all__ = ["Companion", "accompany", "captures", "samples"]

END_PATIENCE: Final = 1.0
"""Seconds that the end of a run waits at most for its environment: the first commands of git on a cold disk."""

_SAME_MOMENT: Final = 0.05
"""Seconds within which runs share a reading."""

warn = Warner()


def samples(ranks: Ranks | None) -> bool:
    """Whether this process is the one of its machine that samples. Without a local rank only rank 0 is sure to be alone."""
    if ranks is None:
        return True
    return ranks.rank == 0 if ranks.local_rank is None else ranks.local_rank == 0


def captures(ranks: Ranks | None) -> bool:
    """Whether this process is the one of its job that says where the run comes from."""
    return ranks is None or ranks.rank == 0


def accompany(run: Run, *, environment: bool = True, end_patience: float = END_PATIENCE) -> None:
    """Take the run's environment, and the machine's metrics until it ends; returns at once.

    Args:
        run: Started in this process.
        environment: False for a run that is only gone on with: it says already where it comes from.
        end_patience: Seconds that its end may wait for the environment.
    """
    settings, ranks = run.settings, ranks_of(os.environ)
    is_sampled = settings.system_metrics == "on" and samples(ranks)
    is_captured = environment and settings.environment == "on" and captures(ranks)
    if not (is_sampled or is_captured):
        return
    companion = Companion(run, is_sampled=is_sampled, is_captured=is_captured, end_patience=end_patience)
    try:
        _serve(companion)
    except RuntimeError as error:  # no more threads, or the interpreter is going down
        warn("no_thread", f"no environment and no system metrics of run {run.id.hex}: {error}")
        return
    run.companion = companion


class Companion:
    """What the thread has to do for one run."""

    def __init__(self, run: Run, *, is_sampled: bool, is_captured: bool, end_patience: float) -> None:
        self.is_sampled = is_sampled
        self.is_over = False
        self.must_capture = is_captured
        self.before: Reading | None = None
        self.interval = run.settings.system_metrics_interval
        self.due = time.monotonic() + self.interval
        self._run = run
        self._end_patience = min(end_patience, run.settings.shutdown_timeout)
        self._writer: Run | None = None
        self._captured = threading.Event()
        self._lock = threading.RLock()

    def end(self) -> None:
        """The run ends. Waits for its environment a bounded time; takes no lock for longer than a second."""
        deadline = time.monotonic() + self._end_patience
        while self.must_capture and (left := deadline - time.monotonic()) > 0 and _is_served():
            self._captured.wait(min(left, 0.1))
        is_locked = self._lock.acquire(timeout=1.0)
        self.is_over = True
        writer, self._writer = self._writer, None
        if is_locked:
            self._lock.release()
        if writer is not None:
            writer.end()
        _wake()

    # --- the thread -------------------------------------------------------------------------------------------------

    def capture(self, find_gpus: Callable[[], Gpus | None]) -> None:
        """Say where the run comes from. What could not be found out is left out."""
        with not_while_forking:
            from ingest_client import _environment

        try:
            env = _copy_of_environment()
            self._tell(_environment.first_facts(sys.orig_argv, env), {})
            tags, files = _environment.capture(env, _environment.code_directory())
            # A nested run is its parent's code on its parent's machine: the files are there.
            self._tell(tags, files if self._run.info.parent_run_id is None else {})
            gpus = find_gpus()  # the slowest comes last
            if gpus is not None and (text := gpus.describe()):
                self._tell({"ingest.env.gpu": text}, {})
        except Exception as error:  # noqa: BLE001 - the edge: a run goes on without its environment
            warn("environment", f"the environment of run {self._run.id.hex} is not known in full: {error!r}")
        finally:
            self.must_capture = False
            self._captured.set()

    def _tell(self, tags: Mapping[str, str], files: Mapping[str, str]) -> None:
        with self._lock:
            if self.is_over:
                return
            self._run.set_captured_tags({key: _as_utf8(text) for key, text in tags.items()})
            for path, text in files.items():
                self._run.log_text(_as_utf8(text), path)

    def log(self, metrics: Mapping[str, float], time_ms: int) -> None:
        """Log one sample."""
        with self._lock:
            if self.is_over or not metrics:
                return
            if self._writer is None:
                self._writer = self._run.another_writer()
            step = max(0, round((time_ms - self._run.info.start_time) / 1000))
            self._writer.log_metrics(metrics, step=step, timestamp=time_ms)


class _Server(threading.Thread):
    """The thread."""

    def __init__(self) -> None:
        super().__init__(name="ingest-system", daemon=True)
        self.companions: list[Companion] = []
        self.bell = threading.Event()
        self._machine: tuple[Probe | None, Gpus | None] | None = None
        self._latest: Reading | None = None

    def run(self) -> None:
        """Serve until no run is left; an error inside ends the sampling, never the training."""
        while self._has_work():
            try:
                self._turn()
            except Exception as error:  # noqa: BLE001 - the edge
                warn("system_metrics", f"the machine can't be read any more, no system metrics: {error!r}")
                for companion in tuple(self.companions):
                    companion.is_sampled = False

    def _has_work(self) -> bool:
        global _server
        with _lock:
            self.companions = [c for c in self.companions if not c.is_over and (c.is_sampled or c.must_capture)]  # fmt: skip
            if not self.companions and _server is self:
                _server = None
            return bool(self.companions)

    def _turn(self) -> None:
        for companion in tuple(self.companions):
            if companion.must_capture:
                companion.capture(self._find_gpus)
        now = time.monotonic()
        for companion in tuple(self.companions):
            if companion.is_sampled and companion.before is None:
                companion.before = self._reading()
                companion.is_sampled = self._find_machine() != (None, None)
        for companion in tuple(self.companions):
            if companion.is_sampled and companion.due <= now:
                self._sample(companion)
        dues = [c.due for c in self.companions if c.is_sampled]
        if dues and not any(c.must_capture for c in self.companions):
            self.bell.wait(max(0.0, min(dues) - time.monotonic()))
            self.bell.clear()

    def _find_machine(self) -> tuple[Probe | None, Gpus | None]:
        """How this machine is read; found out on this thread, since NVML may take a second to start."""
        if self._machine is None:
            with not_while_forking:
                from ingest_client._gpu import Gpus
                from ingest_client._machine import find_probe

            self._machine = find_probe(), Gpus.find()
            if self._machine[0] is None and any(c.is_sampled for c in self.companions):
                warn("no_probe", "no metrics of this machine: it has no /proc, and psutil is not installed")
        return self._machine

    def _find_gpus(self) -> Gpus | None:
        return self._find_machine()[1]

    def _reading(self) -> Reading | None:
        """The counters of now, or of a moment ago."""
        probe = self._find_machine()[0]
        if probe is None:
            return None
        if self._latest is None or time.monotonic() - self._latest.time_s > _SAME_MOMENT:
            self._latest = probe()
        return self._latest

    def _sample(self, companion: Companion) -> None:
        with not_while_forking:
            from ingest_client._machine import metrics_between

        before, after = companion.before, self._reading()
        gpus = self._find_gpus()
        metrics = gpus.metrics() if gpus is not None else {}
        if before is not None and after is not None and after.time_s > before.time_s:
            metrics |= metrics_between(before, after)
        companion.before = after
        companion.log(metrics, time.time_ns() // 1_000_000)
        # After a machine has slept, the samples that it slept through are not made up for.
        companion.due = max(companion.due + companion.interval, time.monotonic() + companion.interval / 2)


def _as_utf8(text: str) -> str:
    """What was no UTF-8 in a path or a variable comes with surrogates, which can't be stored."""
    return text.encode("utf-8", "replace").decode()


def _copy_of_environment() -> dict[str, str]:
    """The training thread may change it meanwhile."""
    for _ in range(10):
        try:
            return dict(os.environ)
        except RuntimeError:
            continue
    return {}


# --- one thread a process ---------------------------------------------------------------------------------------------

_lock = threading.RLock()
_server: _Server | None = None


def _serve(companion: Companion) -> None:
    global _server
    with _lock:
        if _server is None:
            server = _Server()
            server.companions.append(companion)
            server.start()
            _server = server
        else:
            _server.companions.append(companion)
            _server.bell.set()


def _wake() -> None:
    server = _server
    if server is not None:
        server.bell.set()


def _is_served() -> bool:
    server = _server
    return server is not None and server.is_alive()


def _after_fork_in_child() -> None:
    global _server, _lock
    _lock, _server = threading.RLock(), None
    warn.renew()


os.register_at_fork(after_in_child=_after_fork_in_child)
