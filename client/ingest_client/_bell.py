"""A bell that wakes the sender. Unlike threading.Event it may be rung by a signal handler that interrupts a ring."""

from __future__ import annotations

import contextlib
from queue import Empty, SimpleQueue

__all__ = ["Bell"]


class Bell:
    """Rung by any thread, heard by one. SimpleQueue.put is reentrant by contract (Python's docs, module queue)."""

    def __init__(self) -> None:
        self._rings: SimpleQueue[None] = SimpleQueue()

    def ring(self) -> None:
        """Wake the listener now, or as soon as it listens."""
        if self._rings.empty():
            self._rings.put(None)

    def wait(self, timeout: float) -> bool:
        """Sleep until it rings, at most `timeout` seconds; True if it rang."""
        try:
            self._rings.get(timeout=timeout)
        except Empty:
            return False
        with contextlib.suppress(Empty):
            while True:
                self._rings.get_nowait()
        return True
