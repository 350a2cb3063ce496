"""CPU and memory of groups of processes over a stretch of time, by sampling /proc through psutil in a thread.

CPU of a process that ends between two samples is counted up to its last sample, so the interval bounds the error.

Life: `with UsageMeter(...)` samples until the block is left; then `.usage()` tells. Units: seconds, bytes.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Self

import psutil

INTERVAL = 0.1
FIND_EVERY = 10
"""Samples between two looks for new processes of a group: walking the process table costs more than the rest."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one group of processes used."""

    cpu: float
    """Seconds of CPU, user and system."""
    rss_peak_bytes: int
    """Largest sum of resident memory seen at once; shared pages count once for each process."""
    rss_start_bytes: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class _Group:
    def __init__(self) -> None:
        self.first: dict[int, float] = {}
        self.last: dict[int, float] = {}
        self.processes: list[psutil.Process] = []
        self.rss_peak_bytes = 0
        self.rss_start_bytes = 0

    def sample(self, *, is_first: bool) -> None:
        rss_bytes = 0
        for process in self.processes:
            with contextlib.suppress(psutil.Error):
                with process.oneshot():
                    times, rss = process.cpu_times(), process.memory_info().rss
                    # A process that came later starts at zero: all that it used, it used during the measurement.
                    self.first.setdefault(process.pid, times.user + times.system if is_first else 0.0)
                self.last[process.pid] = times.user + times.system
                rss_bytes += rss
        self.rss_peak_bytes = max(self.rss_peak_bytes, rss_bytes)
        if is_first:
            self.rss_start_bytes = rss_bytes

    def usage(self) -> Usage:
        cpu = sum(last - self.first[pid] for pid, last in self.last.items())
        return Usage(cpu, self.rss_peak_bytes, self.rss_start_bytes)


class UsageMeter:
    """Samples groups of processes.

    Args:
        find: Gives each group's processes as they are now; called now and then, since workers come and go.
    """

    def __init__(self, find: Callable[[], Mapping[str, Sequence[psutil.Process]]]) -> None:
        self._find = find
        self._groups: dict[str, _Group] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="usage", daemon=True)
        self._started = self._ended = 0.0

    def __enter__(self) -> Self:
        self._look()
        self._sample(is_first=True)
        self._started = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=10.0)
        self._sample(is_first=False)
        self._ended = time.monotonic()

    @property
    def elapsed(self) -> float:
        return self._ended - self._started

    def usage(self) -> dict[str, Usage]:
        return {name: group.usage() for name, group in self._groups.items()}

    def _run(self) -> None:
        count = 0
        while not self._stop.wait(INTERVAL):
            count += 1
            if count % FIND_EVERY == 0:
                self._look()
            self._sample(is_first=False)

    def _look(self) -> None:
        for name, processes in self._find().items():
            self._groups.setdefault(name, _Group()).processes = list(processes)

    def _sample(self, *, is_first: bool) -> None:
        for group in self._groups.values():
            group.sample(is_first=is_first)
