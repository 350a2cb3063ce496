"""Keeps the bundled PostgreSQL running for as long as a service runs.

Life: `async with BundledPostgres(...)` locks the data directory, initialises the cluster if there is none, adopts the
server that a killed service left behind or starts one, and stops it at the end. In between a task watches the server
and starts it again when it dies. When that fails for RESTART_WINDOW seconds, `failure` is set and the service should
end; connections fail meanwhile, which the write path answers with 503.

The server is no child in the usual sense: it runs in a session of its own, survives its service, and is watched by
pid. That makes an adopted server and one of our own the same thing.

Units: seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import random
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import psutil

from ingest.postgres import cluster as files
from ingest.postgres.account import PostgresError
from ingest.postgres.cluster import Cluster, RunningServer

logger = logging.getLogger(__name__)

POLL = 0.05
"""Between two looks at whether the server is ready, or still there."""
READY_TIMEOUT = 600.0
"""For a server that is alive but not ready: it replays the log after a crash, at most 4 GB of it."""
STOP_TIMEOUT = 30.0
"""For a fast shutdown, which writes a checkpoint; after that the server is told to stop without one."""
RESTART_WINDOW = 120.0
"""Of failed starts in a row before giving up."""
LIVED_LONG = 10.0
"""After which a server's death counts as its first."""
MOST_PAUSE = 10.0
"""Before a server that keeps dying is started again."""
ORPHAN_PATIENCE = 2.0
"""For backends to notice that their server was killed; a busy one may not, and is then ended by us."""


class DataDirectoryBusy(PostgresError):
    """Another service uses this data directory."""


class BundledPostgres:
    """A running bundled PostgreSQL, used as an async context manager.

    Args:
        data_dir: The service's data directory.
        user: Operating system user to run PostgreSQL as; only means something to root.
        connections: How many connections it must allow.
        options: PostgreSQL settings that override ours.
        durable: False makes initdb skip its fsync; for tests.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        user: str | None = None,
        connections: int = 100,
        options: Mapping[str, str] | None = None,
        durable: bool = True,
    ) -> None:
        self._data_dir = data_dir
        self._user = user
        self._connections = connections
        self._options = dict(options or {})
        self._durable = durable
        self._lock: IO[str] | None = None
        self._cluster: Cluster | None = None
        self._socket_directory = Path("/")
        self._pid = 0
        self._child: subprocess.Popen[bytes] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Gets an exception once the server can't be kept running."""
        self.restarts = 0

    @property
    def url(self) -> str:
        return files.database_url(self._socket_directory)

    @property
    def pid(self) -> int:
        return self._pid

    async def __aenter__(self) -> Self:
        try:
            await asyncio.to_thread(self._prepare)
            await self._adopt_or_start()
        except BaseException:
            await self._stop_server()
            self._release()
            raise
        self._watcher = asyncio.create_task(self._watch(), name="bundled-postgres")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        if self.failure.done():
            self.failure.exception()  # so that asyncio does not report it a second time
        try:
            await self._stop_server()
        finally:
            self._release()

    @property
    def _files(self) -> Cluster:
        if self._cluster is None:
            raise RuntimeError("BundledPostgres is used outside its context")
        return self._cluster

    def _prepare(self) -> None:
        self._lock = lock_data_directory(self._data_dir)
        self._cluster = files.open_cluster(self._data_dir.resolve(), self._user)
        files.initialise(self._cluster, durable=self._durable)

    async def _adopt_or_start(self) -> None:
        server = files.find_running_server(self._files.home)
        if server is None:
            await self._start_with_retries()
            return
        self._pid, self._socket_directory = server.pid, server.socket_directory
        logger.info("adopted the PostgreSQL that an earlier service left running, pid %d", server.pid)
        await self._wait_ready()

    async def _start_with_retries(self, *, again: bool = False) -> None:
        """Start the server; try again while backends of a killed one still hold its shared memory.

        Args:
            again: It has run before, so whatever keeps it from starting now may pass, such as a full disk.

        Raises:
            PostgresError: RESTART_WINDOW is over, or trying again would not help.
        """
        started = time.monotonic()
        delay = 0.1
        while True:
            try:
                await self._start_once()
                return
            except PostgresError as error:
                waited = time.monotonic() - started
                if waited > RESTART_WINDOW or not (again or "shared memory" in str(error)):
                    raise
                logger.warning("PostgreSQL does not start yet, trying again: %s", str(error).splitlines()[-1])
                if waited > ORPHAN_PATIENCE:
                    self._end_orphans()
            await asyncio.sleep(delay * random.uniform(0.7, 1.3))
            delay = min(delay * 2, 0.5)

    def _end_orphans(self) -> None:
        for process in files.orphan_backends(self._files):
            logger.warning("ending process %d, left over from a PostgreSQL that was killed", process.pid)
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGQUIT)

    async def _start_once(self) -> None:
        cluster = self._files
        files.remove_old_logs(cluster.home)
        self._socket_directory = files.make_socket_directory(cluster)
        files.remove_stale_locks(cluster, self._socket_directory)
        command = files.server_command(cluster, self._socket_directory, self._connections, self._options)
        # Receives what the server says before its log collector runs; a file, since a pipe would break with us.
        output = os.open(self._data_dir / "postgres-start.log", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            self._child = cluster.account.popen(command, descriptors=cluster.descriptors, output=output)
            self._pid = self._child.pid
            await self._wait_ready(output)
        finally:
            os.close(output)
        logger.info(
            "started PostgreSQL %s, pid %d, socket in %s", files.MAJOR, self._pid, self._socket_directory
        )

    async def _wait_ready(self, output: int | None = None) -> None:
        deadline = time.monotonic() + READY_TIMEOUT
        next_message = time.monotonic() + 5.0
        while not ((server := self._running()) and server.is_ready):
            if not self._is_alive():
                said = b"" if output is None else os.pread(output, 4000, 0)
                raise PostgresError(
                    f"PostgreSQL ended while starting:\n{said.decode(errors='replace')}"
                    f"{files.log_tail(self._files.home)}".rstrip()
                )
            if time.monotonic() > deadline:
                raise PostgresError(f"PostgreSQL was not ready after {READY_TIMEOUT:.0f} seconds")
            if time.monotonic() > next_message:
                logger.info("waiting for PostgreSQL, which replays its log after a crash")
                next_message += 10.0
            await asyncio.sleep(POLL)

    def _running(self) -> RunningServer | None:
        server = files.find_running_server(self._files.home)
        return server if server is not None and server.pid == self._pid else None

    def _is_alive(self) -> bool:
        if self._child is not None and self._child.pid == self._pid:
            return self._child.poll() is None
        return self._running() is not None

    async def _ended(self, timeout: float | None) -> None:
        """Wait for the server's end. By polling: an adopted server is not our child, and nothing tells us."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self._is_alive():  # noqa: ASYNC110  # no event exists, see above
                    await asyncio.sleep(POLL)

    async def _watch(self) -> None:
        pause = 0.0
        try:
            while True:
                started = time.monotonic()
                await self._ended(None)
                # One that dies as soon as it runs is started ever more slowly.
                pause = (
                    0.0 if time.monotonic() - started > LIVED_LONG else min(max(pause * 2, 0.1), MOST_PAUSE)
                )
                logger.error("PostgreSQL (pid %d) has died; starting it again in %.1f s", self._pid, pause)
                await asyncio.sleep(pause)
                await self._start_with_retries(again=True)
                self.restarts += 1
        except PostgresError as error:
            logger.critical("PostgreSQL can't be kept running: %s", error)
            if not self.failure.done():
                self.failure.set_exception(error)

    async def _stop_server(self) -> None:
        if self._cluster is None or not self._pid:
            return
        for sent, patience in ((signal.SIGINT, STOP_TIMEOUT), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 5.0)):
            if not self._is_alive():
                break
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, sent)
            await self._ended(patience)
        with contextlib.suppress(OSError):
            self._socket_directory.rmdir()
        logger.info("stopped PostgreSQL, pid %d", self._pid)
        self._pid = 0

    def _release(self) -> None:
        if self._cluster is not None:
            self._cluster.close()
            self._cluster = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def lock_data_directory(data_dir: Path) -> IO[str]:
    """Take the data directory for this process, until the file returned is closed or the process ends.

    Raises:
        DataDirectoryBusy: Another process has it; the message names its pid.
        PostgresError: The directory can't be made or written to.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (data_dir / "ingest.lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise PostgresError(f"the data directory {data_dir} can't be used: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        owner = lock.read().strip() or "unknown"
        lock.close()
        raise DataDirectoryBusy(
            f"the data directory {data_dir} is in use by another ingest process (pid {owner}); "
            "stop it, or choose another one by --data-dir"
        ) from None
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def running_database_url(data_dir: Path) -> str | None:
    """The URL of the bundled PostgreSQL if a service runs it now; for commands beside a running service."""
    server = files.find_running_server(data_dir.resolve() / "postgres")
    return files.database_url(server.socket_directory) if server is not None and server.is_ready else None
