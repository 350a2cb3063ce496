"""Charts are drawn in a process of their own, next to each serving process: what they compute delays no batch.

    serving process   checks who asks, and hands the request on by HTTP through a Unix socket; `ChartProcess`
    chart process     answers it over a pool of its own; `ingest.web.chart_worker`

Both in one process were measured (docs/decisions.md, "Charts have a process of their own"): with 50 readers a batch waited its turn
behind numpy, and the p99 of ingestion grew fivefold.

Life: the process starts with the first chart, or when a dashboard is opened, which is a second earlier; it is started again when it
died or hangs, with growing delay; it ends with its parent, whatever becomes of that: the pipe's end tells it. The socket lies in a directory that only this
user may enter, so nobody passes by the checks of the serving process.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import aiohttp

from ingest.settings import Settings
from ingest.telemetry import MULTIPROCESS_DIRECTORY

if TYPE_CHECKING:
    from multidict import CIMultiDictProxy
    from yarl import URL

__all__ = ["ChartProcess", "ChartsUnavailable"]

logger = logging.getLogger(__name__)

READY_TIMEOUT: Final = 30.0
"""Seconds until a request that finds no process is given up."""
ANSWER_TIMEOUT: Final = 180.0
"""Seconds for one answer; a statement has a limit of its own (`read_timeout`)."""
REQUESTS_NUM: Final = 64
"""At a time; the others wait in the serving process."""
DEATH_TIMEOUT: Final = 10.0
"""Seconds in which the death of a process that takes no connection is noticed, on a machine with other work."""
LIVED_LONG: Final = 30.0
FIRST_DELAY: Final = 0.1
MOST_DELAY: Final = 10.0
_SOCKET: Final = "charts.sock"


class ChartsUnavailable(Exception):
    """The process that draws charts does not answer; its log lines say why. The same request may succeed later."""


class ChartProcess:
    """The serving process's side; `open` makes one."""

    def __init__(
        self, settings: Settings, database_url: str, session: aiohttp.ClientSession, path: Path
    ) -> None:
        self._message = json.dumps(
            {"settings": settings.model_dump(mode="json"), "database_url": database_url, "socket": str(path)}
        ).encode()
        self._session = session
        self._wanted = asyncio.Event()
        self._ready = asyncio.Event()
        self._waiting_num = 0
        self._process: asyncio.subprocess.Process | None = None

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings, database_url: str) -> AsyncIterator[Self]:
        """Charts for as long as the block."""
        directory = tempfile.mkdtemp(prefix="ingest-charts-")  # 0700
        path = Path(directory) / _SOCKET
        try:
            async with aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(str(path), limit=REQUESTS_NUM)
            ) as session:
                charts = cls(settings, database_url, session, path)
                keeping = asyncio.create_task(charts._keep(), name="chart-process")
                try:
                    yield charts
                finally:
                    keeping.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await keeping
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def wake(self) -> None:
        """Somebody is about to look at charts: start the process unless it runs."""
        self._wanted.set()

    async def ask(
        self, method: str, url: URL, *, headers: dict[str, str], body: bytes | None
    ) -> tuple[int, CIMultiDictProxy[str], bytes]:
        """Status, headers and body of the answer. Asked again if the process dies meanwhile: reading changes nothing.

        Raises:
            ChartsUnavailable: It does not start, dies again and again, or takes longer than ANSWER_TIMEOUT.
        """
        for tries_left in (2, 1, 0):
            try:
                await self._until_ready()
                async with (
                    asyncio.timeout(ANSWER_TIMEOUT),
                    self._session.request(method, url, headers=headers, data=body) as answer,
                ):
                    return answer.status, answer.headers, await answer.read()
            except aiohttp.ClientError as error:
                if not tries_left:
                    raise ChartsUnavailable(
                        f"the process that draws charts does not answer: {error}"
                    ) from error
                is_refused = isinstance(error, aiohttp.ClientConnectorError)
                await self._until_noticed(DEATH_TIMEOUT if is_refused else FIRST_DELAY)
            except TimeoutError as error:
                self._kill()  # it hangs, or would go on with what nobody waits for
                raise ChartsUnavailable("the process that draws charts took too long") from error
        raise AssertionError

    async def _until_ready(self) -> None:
        self._wanted.set()
        self._waiting_num += 1
        try:
            await asyncio.wait_for(self._ready.wait(), READY_TIMEOUT)
        finally:
            self._waiting_num -= 1

    async def _until_noticed(self, patience: float) -> None:
        """A connection broke, so the process has died, as a rule: wait until that is known, lest it be asked again."""
        process = self._process
        with contextlib.suppress(TimeoutError):
            if process is not None and self._ready.is_set():
                await asyncio.wait_for(process.wait(), patience)
                if process is self._process:
                    self._ready.clear()

    async def _keep(self) -> None:
        delay = FIRST_DELAY
        while True:
            await self._wanted.wait()
            self._wanted.clear()  # whoever asks from now on wants it again, should it die
            started = time.monotonic()
            try:
                code = await self._run_once()
                logger.error("the chart process ended with code %d", code)
            except (
                OSError
            ) as error:  # no memory, no descriptor: the service goes on, and charts when there is one
                logger.error("the chart process can't be started: %s", error)  # noqa: TRY400  # foreseen
            if self._waiting_num:
                self._wanted.set()
            delay = FIRST_DELAY if time.monotonic() - started > LIVED_LONG else min(delay * 2, MOST_DELAY)
            await asyncio.sleep(delay * random.uniform(0.7, 1.3))

    async def _run_once(self) -> int:
        """One life of the process; its exit code."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "ingest.web.chart_worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={name: value for name, value in os.environ.items() if name != MULTIPROCESS_DIRECTORY},
            start_new_session=True,  # Ctrl-C reaches the parent alone
        )
        self._process = process
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("a process without pipes")
        try:
            with contextlib.suppress(OSError):
                process.stdin.write(self._message + b"\n")
                await process.stdin.drain()
            if await process.stdout.readline() == b"ready\n":
                self._ready.set()
                logger.info("charts are drawn by process %d", process.pid)
            return await process.wait()
        finally:
            self._ready.clear()
            self._kill()
            await process.wait()

    def _kill(self) -> None:
        """End the process at once; it holds nothing that could be lost."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
