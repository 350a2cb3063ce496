"""`--workers N`: a parent that keeps N serving processes alive on one port, and what each of them does.

Each worker opens a socket of its own on the port (SO_REUSEPORT), so the kernel spreads connections over them and none
waits for another. The parent holds the port without listening on it: it stays reserved while a worker is replaced.

The parent tells a worker its settings by standard input, since they hold passwords, which neither a command line nor an
environment should; the pipe's end tells the worker that its parent died. A worker says `ready` on its standard output.

Life: `WorkerGroup.run` starts all, announces the service when all are ready, starts a dead one again with growing delay,
and on the signal ends all and waits. A worker that dies before it was ever ready ends the service: it would die again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psutil
from prometheus_client.multiprocess import mark_process_dead

from ingest.logs import configure
from ingest.serving import CannotListen, StopSignal, bind, run, serve_requests
from ingest.settings import Settings
from ingest.telemetry import MULTIPROCESS_DIRECTORY

logger = logging.getLogger(__name__)

READY_TIMEOUT: Final = 60.0
LIVED_LONG: Final = 30.0
"""Seconds after which a worker's death starts the delays anew."""
FIRST_DELAY: Final = 0.2
MOST_DELAY: Final = 10.0
METRICS_PREFIX: Final = "ingest-metrics-"
STOP_MARGIN: Final = 15.0
"""Seconds beyond drain_timeout before a worker that does not stop is killed."""


class WorkerFailed(CannotListen):
    """A worker can't start; its own log line says why."""


class WorkerGroup:
    """The parent's side."""

    def __init__(self, settings: Settings, database_url: str, listener: socket.socket) -> None:
        self._settings = settings
        host, port = listener.getsockname()[:2]
        self._message = json.dumps(
            {
                "settings": settings.model_dump(mode="json"),
                "database_url": database_url,
                "host": host,
                "port": port,
            }
        ).encode()
        self._metrics_directory = ""
        self._ready = [asyncio.Event() for _ in range(settings.workers)]

    async def run(self, stop: StopSignal, announce: Callable[[], None]) -> None:
        """Keep the workers until the signal.

        Raises:
            WorkerFailed: One of them did not start.
        """
        remove_abandoned_metrics()
        self._metrics_directory = tempfile.mkdtemp(prefix=f"{METRICS_PREFIX}{os.getpid()}-")
        try:
            async with asyncio.TaskGroup() as tasks:
                for number, ready in enumerate(self._ready):
                    tasks.create_task(self._keep(number, ready, stop), name=f"worker-{number}")
                tasks.create_task(self._announce_when_ready(stop, announce))
        except* WorkerFailed as group:
            raise group.exceptions[0] from None
        finally:
            shutil.rmtree(self._metrics_directory, ignore_errors=True)

    async def _announce_when_ready(self, stop: StopSignal, announce: Callable[[], None]) -> None:
        for ready in self._ready:
            await ready.wait()
        if not stop.requested.is_set():
            announce()

    async def _keep(self, number: int, ready: asyncio.Event, stop: StopSignal) -> None:
        delay = FIRST_DELAY
        try:
            while not stop.requested.is_set():
                started = time.monotonic()
                code = await self._run_once(number, ready, stop)
                if stop.requested.is_set():
                    return
                if not ready.is_set():
                    raise WorkerFailed(f"worker {number} ended with code {code} before it was ready")
                logger.error("worker %d died with code %d; starting it again in %.1f s", number, code, delay)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.requested.wait(), delay * random.uniform(0.7, 1.3))
                delay = FIRST_DELAY if time.monotonic() - started > LIVED_LONG else min(delay * 2, MOST_DELAY)
        finally:
            ready.set()  # nobody may go on waiting for it

    async def _run_once(self, number: int, ready: asyncio.Event, stop: StopSignal) -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "ingest.workers",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, MULTIPROCESS_DIRECTORY: self._metrics_directory},
            start_new_session=True,  # Ctrl-C reaches the parent alone, which ends the workers in order
        )
        try:
            if await self._was_started(process, stop):
                ready.set()
                logger.info("worker %d is ready, pid %d", number, process.pid)
            await self._wait_for_end(process, stop)
        finally:
            await self._end(process)
            mark_process_dead(process.pid, path=self._metrics_directory)  # type: ignore[no-untyped-call]
        return process.returncode if process.returncode is not None else -signal.SIGKILL

    async def _was_started(self, process: asyncio.subprocess.Process, stop: StopSignal) -> bool:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("a worker without pipes")
        with contextlib.suppress(OSError):
            process.stdin.write(self._message + b"\n")
            await process.stdin.drain()
        said = asyncio.create_task(process.stdout.readline())
        stopped = asyncio.create_task(stop.requested.wait())
        try:
            await asyncio.wait((said, stopped), timeout=READY_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
            return said.done() and said.result() == b"ready\n"
        finally:
            said.cancel()
            stopped.cancel()

    async def _wait_for_end(self, process: asyncio.subprocess.Process, stop: StopSignal) -> None:
        ended = asyncio.create_task(process.wait())
        stopped = asyncio.create_task(stop.requested.wait())
        try:
            await asyncio.wait((ended, stopped), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
            stopped.cancel()

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        """SIGTERM, patience, SIGKILL."""
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(self._settings.drain_timeout + STOP_MARGIN):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def remove_abandoned_metrics() -> None:
    """Remove the files of counters that a killed parent left; its pid is in the directory's name."""
    for directory in Path(tempfile.gettempdir()).glob(f"{METRICS_PREFIX}*"):
        with contextlib.suppress(OSError, ValueError):
            pid = int(directory.name.removeprefix(METRICS_PREFIX).partition("-")[0])
            if directory.stat().st_uid == os.geteuid() and not psutil.pid_exists(pid):
                shutil.rmtree(directory, ignore_errors=True)


async def _work() -> int:
    """A worker's life: settings from standard input, requests, and the end by signal or with the parent."""
    stop = StopSignal()
    stop.install()
    message = json.loads(await asyncio.to_thread(sys.stdin.buffer.readline))
    settings = Settings.model_validate(message["settings"])
    configure(settings)
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _on_parent_gone, stop)

    def announce() -> None:
        sys.stdout.write("ready\n")
        sys.stdout.flush()

    with bind(message["host"], message["port"], shared=True) as listener:
        await serve_requests(settings, message["database_url"], listener, stop, announce)
    return 0


def _on_parent_gone(stop: StopSignal) -> None:
    asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
    logger.warning("the parent process is gone, stopping")
    stop.request()


if __name__ == "__main__":
    sys.exit(run(_work()))
