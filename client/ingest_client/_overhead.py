"""What a logging call of this run costs here and now, without a clock in the logging call.

The sender times some calls of the run's own set of keys on a recorder of its own, whose records go nowhere, on this machine and under
its present load: about 50 µs of work with each heartbeat. What the training loop's caches add is not in it; `ingest bench client` has that.
"""

from __future__ import annotations

import itertools
import mmap
import time
from typing import Any, Final, cast

from ingest_client._recorder import Recorder

__all__ = ["CALLS", "call_cost_ns"]

CALLS: Final = 100
_MAX_KEYS: Final = 1000
"""Wider calls are not tried: a hundred of them would be felt."""


class _Nowhere:
    """Stands for a spool: takes definitions, and records that its buffer has no room for."""

    def __init__(self) -> None:
        self._shapes = itertools.count(1)

    def define(self, keys: tuple[str, ...]) -> int:
        del keys
        return next(self._shapes)

    def put(self, record: bytes, points: int) -> None:
        """Forget it."""

    def drop(self, reason: str, points: int) -> None:
        """Nothing is counted here."""


def call_cost_ns(keys: tuple[str, ...], *, accelerated: bool = True) -> float | None:
    """Nanoseconds that one `log_metrics` of these keys takes; None if there are none, or too many to try.

    Args:
        keys: A set of keys that the run logs at once.
        accelerated: Whether by the call in C, where there is one.
    """
    if not 0 < len(keys) <= _MAX_KEYS:
        return None
    recorder = Recorder(lambda: cast("Any", _Nowhere()), accelerated=accelerated)
    with mmap.mmap(-1, CALLS * (64 + 8 * len(keys))) as buffer:
        recorder.attach(buffer.write)
        recorder.open()
        metrics = dict.fromkeys(keys, 1.0)
        log_metrics = recorder.log_metrics
        log_metrics(metrics, 0)  # the first call of a set of keys defines it
        began = time.perf_counter_ns()
        for step in range(CALLS):
            log_metrics(metrics, step)
        took = time.perf_counter_ns() - began
        recorder.forget()
    return took / CALLS
