"""The uploader: one daemon thread that delivers the artifacts of all runs of this process.

It takes the queues in turn, a step of bounded length each, so that a checkpoint of gigabytes does not hold up the pictures of
another run. It sleeps until something is logged.

Life: starts with the first artifact and dies with the process at any moment without harm: the spools are on disk. After a fork
the child has none until it logs an artifact.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING, Final

from ingest_client._bell import Bell
from ingest_client._parking import PLACES
from ingest_client._settings import Settings
from ingest_client._transport import Transport

if TYPE_CHECKING:
    from ingest_client._artifacts_queue import ArtifactQueue

__all__ = ["Uploader", "ring", "uploader"]

_ANSWER_TIMEOUT: Final = 300.0
"""The service may have to put together and check gigabytes before it answers."""

_IDLE: Final = 60.0


class Uploader(threading.Thread):
    """Delivers the artifacts of this process."""

    def __init__(self) -> None:
        super().__init__(name="ingest-artifacts", daemon=True)
        self.bell = Bell()
        self._queues: list[ArtifactQueue] = []
        self._lock = threading.RLock()
        self._transports: dict[tuple[str, str | None, str | None], Transport] = {}

    def add(self, queue: ArtifactQueue) -> None:
        """There is something in this queue."""
        with self._lock:
            if queue not in self._queues:
                self._queues.append(queue)
        if not self.is_alive():
            self._begin(queue)
        self.bell.ring()

    def _begin(self, queue: ArtifactQueue) -> None:
        with self._lock:
            try:
                if self.ident is None:
                    self.start()
            except RuntimeError as error:  # no more threads, or the interpreter is going down
                queue.warn("no_thread", f"no thread for artifacts ({error}); deliver them by `ingest sync`")

    def run(self) -> None:
        """Work as long as the process lives; an error inside costs a pause, never the thread."""
        while True:
            try:
                self.bell.wait(self._turn())
            except Exception as error:  # noqa: BLE001 - the edge: telemetry never kills training, the spool has everything
                with self._lock:
                    for queue in self._queues:
                        queue.warn(
                            "uploader", f"an error in the delivery of artifacts, which goes on: {error!r}"
                        )
                time.sleep(1.0)

    def _turn(self) -> float:
        """A step for each queue that has something to do; returns how long to wait before the next turn."""
        with self._lock:
            queues = list(self._queues)
        for queue in [queue for queue in queues if queue.may_leave][PLACES:]:
            queue.is_left = True
        pause = _IDLE
        for queue in queues:
            now = time.monotonic()
            due = queue.not_before(now)
            if due is None or queue.is_left:
                if queue.is_closed:
                    queue.finish()
                    self._remove(queue)
            elif due <= now:
                queue.step(self._transport(queue.settings), _breathe)
                pause = 0.0
            else:
                pause = min(pause, due - now)
        return max(pause, 0.0001)

    def _remove(self, queue: ArtifactQueue) -> None:
        with self._lock:
            self._queues.remove(queue)
            if not self._queues:
                for transport in self._transports.values():
                    transport.close()

    def _transport(self, settings: Settings) -> Transport:
        key = (settings.tracking_uri, settings.token, settings.ca_file)
        if key not in self._transports:
            self._transports[key] = Transport(
                settings.tracking_uri,
                token=settings.token,
                ca_file=settings.ca_file,
                answer_timeout=_ANSWER_TIMEOUT,
            )
        return self._transports[key]


def _breathe() -> None:
    """Give the GIL away for a moment; see `_sender.breathe`."""
    time.sleep(0.00005)


_uploader: Uploader | None = None
_making = threading.RLock()


def uploader() -> Uploader:
    """That of this process; its thread starts with the first queue."""
    global _uploader
    with _making:
        if _uploader is None:
            _uploader = Uploader()
        return _uploader


def ring() -> None:
    """Wake it, if there is one. Takes no lock: a signal handler may call it."""
    if _uploader is not None:
        _uploader.bell.ring()


def _forget_after_fork() -> None:
    """In a forked child: the parent's uploader is not ours, and one of its threads may have held the lock."""
    global _uploader, _making
    _making = threading.RLock()
    parents, _uploader = _uploader, None
    if parents is not None:
        for transport in parents._transports.values():  # noqa: SLF001 - one module
            with contextlib.suppress(Exception):
                transport.close()


os.register_at_fork(after_in_child=_forget_after_fork)
