"""Warnings of the client: through the logger `ingest`, at most one a minute for each cause.

Telemetry in trouble must be seen and must not flood the output of a training run.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

__all__ = ["Warner"]

_PERIOD: Final = 60.0  # seconds


class Warner:
    """Lets one message per cause and minute through. Any thread may call it."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, emit: Callable[[str], None] | None = None
    ) -> None:
        self._clock = clock
        self._emit = emit or _log
        self._last: dict[str, float] = {}
        self._lock = threading.RLock()

    def __call__(self, cause: str, message: str) -> None:
        """Say it, unless the same cause was heard within the last minute."""
        with self._lock:
            now = self._clock()
            if now - self._last.get(cause, -_PERIOD) < _PERIOD:
                return
            self._last[cause] = now
        self._emit(message)

    def renew(self) -> None:
        """In a forked child: a thread of the parent may have held the lock."""
        self._lock = threading.RLock()


def _log(message: str) -> None:
    """A warning must not end the thread that gives it: an import may fail, where no more files can be opened."""
    try:
        import logging

        logging.getLogger("ingest").warning("ingest: %s", message)
    except Exception:  # noqa: BLE001 - as above
        with contextlib.suppress(Exception):
            sys.stderr.write(f"ingest: {message}\n")
