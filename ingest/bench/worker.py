"""A process of a bench, spoken to by lines of JSON: orders in, perhaps "go", one result out.

The child ends when the pipe to it is closed or when the kernel tells it that its parent is gone (`die_with_parent`).

Units: seconds.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from ingest.bench import BenchError
from ingest.bench.service import clean_environment

READY_TIMEOUT = 60.0
RESULT_TIMEOUT = 600.0
"""Longer than any measurement: a process that hangs fails the bench instead of blocking it."""

_NOTHING_BESIDE: Final = {"INGEST_SYSTEM_METRICS": "off", "INGEST_ENVIRONMENT": "off"}
"""Every point and every microsecond is counted: the client logs nothing by itself."""


class Worker:
    """One generator process and the pipes to it."""

    def __init__(self, module: str, orders: object, environment: Mapping[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=clean_environment({**_NOTHING_BESIDE, **(environment or {})}),
            text=True,
        )
        self._say(json.dumps(orders))

    def _say(self, line: str) -> None:
        pipe = self.process.stdin
        with suppress(BrokenPipeError):  # it has ended; whoever waits for its result is told
            if pipe is not None:
                pipe.write(line + "\n")
                pipe.flush()

    def _hear(self, timeout: float) -> str:
        pipe = self.process.stdout
        if pipe is None or not select.select([pipe], [], [], timeout)[0]:
            raise BenchError(f"process {self.process.pid} said nothing for {timeout:.0f} s")
        line = pipe.readline()
        if not line:
            raise BenchError(f"a generator process ended with exit code {self.process.wait(timeout=10)}")
        return line

    def wait_ready(self, timeout: float = READY_TIMEOUT) -> None:
        self._hear(timeout)

    def go(self) -> None:
        self._say("go")

    def result(self, timeout: float = RESULT_TIMEOUT) -> dict[str, Any]:
        """The line with its result.

        Raises:
            BenchError: It ended without one, or took longer than `timeout`.
        """
        report: dict[str, Any] = json.loads(self._hear(timeout))
        return report

    def close(self) -> None:
        """End it if it has not ended, and close the pipes."""
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()
        if self.process.poll() is None:
            try:
                self.process.wait(timeout=1.0)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(timeout=10.0)
