"""How runs end with their process: exit, exceptions, Ctrl-C, SIGTERM, fork.

The hooks go in with the first run and keep whatever the user has: excepthooks are chained; SIGTERM is only taken where
the default action stands, and that action follows afterwards, so that the exit status is the one everybody expects.

The end of the process waits for the service, all runs together at most the longest `shutdown_timeout`, and half a second
where nobody listens. What is left lies in the spool, and one line says so.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol

from ingest_client import _sigterm
from ingest_client._roster import Roster

if TYPE_CHECKING:
    from ingest_client._artifacts_queue import ArtifactQueue
    from ingest_client._run import Run
    from ingest_client._settings import Settings

__all__ = [
    "deliverers",
    "finish",
    "forget_active",
    "live_runs",
    "on_end",
    "register",
    "status_of",
    "writer_opened",
]

UNREACHABLE_PATIENCE: Final = 0.5
"""Seconds that the exit waits where connections are refused: two attempts."""

_CHILD_TIMEOUT: Final = 2.0
"""Seconds that a multiprocessing child waits for its tail; its parent adopts what is left."""


class Deliverer(Protocol):
    """What an exit waits for: the sender of a run's points, and the queue of its artifacts."""

    was_given_up: bool

    @property
    def is_complete(self) -> bool:
        """Everything is settled."""

    def hurry(self) -> None:
        """Retry sooner from now on."""

    def is_worth_waiting(self, unreachable_for: float) -> bool:
        """Whether more may still be delivered."""


_runs: Roster[Run] = Roster(lambda run: run.is_delivered)
_queues: list[ArtifactQueue] = []  # of runs that are not of this process
_on_end: list[Callable[[Run], None]] = []
_is_installed = False
_exit_status = "FINISHED"


def register(run: Run) -> None:
    """A run has started in this process."""
    _install()
    _runs.add(run)


def live_runs() -> list[Run]:
    """Runs of this process that have not ended or are not fully delivered."""
    return [run for run in _runs if not run.is_delivered]


def register_queue(queue: ArtifactQueue) -> None:
    """This process adds artifacts to a run that is not its own."""
    _install()
    _queues.append(queue)


def live_queues() -> list[ArtifactQueue]:
    """Artifacts for runs that are not of this process, where some wait."""
    return [queue for queue in _queues if not queue.is_complete]


def deliverers(runs: list[Run]) -> list[Deliverer]:
    """Everything that delivers for these runs."""
    senders: list[Deliverer] = [run.sender for run in runs if run.sender is not None]
    return senders + [run.artifacts for run in runs if run.artifacts is not None]


def on_end(callback: Callable[[Run], None]) -> None:
    """Call this with each run whose `with` block is left."""
    _on_end.append(callback)


def forget_active(run: Run) -> None:
    """The `with` block of a run is left."""
    for callback in _on_end:
        callback(run)


def status_of(kind: type[BaseException] | None) -> str:
    """How a run ends that is left by this exception. Leaving by sys.exit() is no failure of the run, as in MLflow."""
    if kind is None or issubclass(kind, SystemExit):
        return "FINISHED"
    return "KILLED" if issubclass(kind, KeyboardInterrupt) else "FAILED"


def writer_opened(run: Run) -> None:
    """A process has begun to write; in a multiprocessing child, which skips atexit, its own way of finishing is used."""
    register(run)
    if _sigterm.is_multiprocessing_child():
        sys.modules["multiprocessing.util"].Finalize(
            None, finish, args=("FINISHED", _CHILD_TIMEOUT), exitpriority=10
        )


def finish(status: str, timeout: float | None = None) -> None:
    """End all runs of this process and wait a bounded time for their delivery.

    Takes no lock that the interrupted thread could hold: SIGTERM's handler calls it.

    Args:
        status: For runs that have not ended.
        timeout: Seconds; the longest shutdown_timeout of the runs if not given.
    """
    runs, queues = live_runs(), live_queues()
    if not runs and not queues:
        return
    for run in runs:
        with contextlib.suppress(
            Exception
        ):  # an exit goes on whatever happens; the spool has what was logged
            run.end(status)
    waiting = [*deliverers(runs), *queues]
    settings = [run.settings for run in runs] + [queue.settings for queue in queues]
    for deliverer in waiting:
        deliverer.hurry()
    deadline = time.monotonic() + (max(s.shutdown_timeout for s in settings) if timeout is None else timeout)
    with contextlib.suppress(KeyboardInterrupt):  # a second Ctrl-C: wait no longer
        while time.monotonic() < deadline and any(d.is_worth_waiting(UNREACHABLE_PATIENCE) for d in waiting):
            time.sleep(0.01)
    for deliverer in waiting:
        deliverer.was_given_up = not deliverer.is_complete
    _say_what_is_left(runs)
    for queue in queues:
        if not queue.is_complete:
            _say(
                f"{queue.counts().spooled_num:,} artifacts of run {queue.run_id.hex} wait",
                str(queue.directory),
                queue.settings,
            )


def _say_what_is_left(runs: list[Run]) -> None:
    for run in runs:
        if run.is_afloat:
            _say_lost(run)
    undelivered = [run for run in runs if not (run.is_delivered or run.is_afloat)]
    left = [run for run in undelivered if run.spool_dir and os.path.isdir(run.spool_dir)]
    if not left:
        return
    stats = [run.stats() for run in left]
    waiting = f"{sum(s.spooled_num for s in stats):,} points"
    if artifacts := sum(s.artifacts_spooled_num for s in stats):
        waiting += f" and {artifacts:,} artifacts"
    root = os.path.dirname(os.path.dirname(left[0].spool_dir or ""))
    runs_num = len({run.id for run in left})  # a run may have two writers here
    runs_text = f"run {left[0].id.hex}" if runs_num == 1 else f"{runs_num} runs"
    _say(f"{waiting} of {runs_text} wait", root, left[0].settings)


def _say_lost(run: Run) -> None:
    with contextlib.suppress(Exception):
        sys.stderr.write(
            f"ingest: {run.stats().spooled_num:,} points of run {run.id.hex} are lost: the service did not take them in time, and this"
            " process had no file descriptor left to keep them on the disk\n"
        )


def _say(what: str, root: str, settings: Settings) -> None:
    with contextlib.suppress(Exception):
        sys.stderr.write(
            f"ingest: {what} in {root} for {settings.tracking_uri};"
            f" the next run delivers them, or: ingest sync {root}\n"
        )


# --- hooks ------------------------------------------------------------------------------------------------------------


def _install() -> None:
    global _is_installed
    if not _is_installed:
        _is_installed = True
        atexit.register(_at_exit)
        _chain_excepthook()
        os.register_at_fork(after_in_child=_after_fork_in_child)
    _sigterm.take(finish)


def _at_exit() -> None:
    status = _status_at_exit()
    finish(status)
    if status == "KILLED":
        # CPython ends by SIGINT after an unhandled Ctrl-C, which shells rely on, but forgets it when any string is
        # compiled and run meanwhile, as making a dataclass does in a module imported late. This reminds it.
        with contextlib.suppress(KeyboardInterrupt):
            exec("raise KeyboardInterrupt")  # noqa: S102 - a constant


def _status_at_exit() -> str:
    """By our excepthook, or where somebody has replaced it, by what the interpreter notes of the exception that ends a script."""
    if _exit_status == "FINISHED" and not hasattr(sys, "ps1"):  # what a console notes is no end
        return status_of(getattr(sys, "last_type", None))
    return _exit_status


def _chain_excepthook() -> None:
    previous = sys.excepthook

    def excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        global _exit_status
        _exit_status = status_of(kind)
        previous(kind, error, trace)

    sys.excepthook = excepthook


def _after_fork_in_child() -> None:
    from ingest_client._writer import warn

    global _runs
    warn.renew()
    _sigterm.forget()
    parents, _runs = (
        _runs,
        Roster(lambda run: run.is_delivered),
    )  # a thread of the parent may have held its lock
    for run in parents:
        run.after_fork_in_child()
    # None of them is this process's to end. One that logs here comes back as a writer (writer_opened).
    _queues.clear()
