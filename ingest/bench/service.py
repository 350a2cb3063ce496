"""An `ingest serve` of the bench's own: a process with a bundled PostgreSQL in a scratch data directory.

Life: `with Service(...)` starts it and waits until it is ready; leaving the block stops it with SIGTERM, and whatever
does not go by itself is killed, its PostgreSQL included. The kernel ends it too when the bench itself is killed.
Chaos rounds use `kill`, `start` and the pids in between.

Units: seconds.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from ingest.bench import BenchError
from ingest.bench.api import Api
from ingest.bench.ports import free_port
from ingest.postgres import running_database_url
from ingest.postgres.cluster import MAJOR, find_running_server

START_TIMEOUT = 180.0
"""initdb, migrations and the log's replay after a crash, on a machine that is busy."""
STOP_TIMEOUT = 60.0
"""More than the service's own drain_timeout plus PostgreSQL's shutdown checkpoint."""
PR_SET_PDEATHSIG = 1
_RUN = "import ctypes, sys; ctypes.CDLL(None).prctl(1, 15); sys.argv[0] = 'ingest'; from ingest.cli import main; main()"


def die_with_parent() -> None:
    """Have the kernel send SIGTERM to this process when its parent dies, however that dies. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment without any setting of the user's, so that a bench measures what it says."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("INGEST_", "MLFLOW_"))}
    return kept | dict(extra or {})


class Service:
    """One service on loopback.

    Args:
        data_dir: Where it keeps its PostgreSQL; a scratch directory, removed at the end, if not given.
        port: A fixed port, so that a restarted service is where its clients look for it; 0 takes a free one.
        settings: Settings of the service by environment variable name, without the prefix INGEST_.
        environment: Other variables of its process.
    """

    def __init__(
        self,
        *,
        data_dir: Path | None = None,
        port: int = 0,
        settings: Mapping[str, object] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._scratch = None if data_dir else tempfile.mkdtemp(prefix="ingest-bench-")
        self.data_dir = data_dir or Path(str(self._scratch)) / "data"
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.settings = dict(settings or {})
        self.environment = dict(environment or {})
        self.log_path = self.data_dir.parent / f"{self.data_dir.name}-service.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
            self.wait_ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        if self._process is None:
            raise BenchError("the service has not been started")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def database_url(self) -> str:
        """Where its PostgreSQL is, for measurements beside the service.

        Raises:
            BenchError: PostgreSQL does not run.
        """
        url = running_database_url(self.data_dir)
        if url is None:
            raise BenchError(f"no PostgreSQL runs in {self.data_dir}")
        return url

    @property
    def postmaster_pid(self) -> int | None:
        server = find_running_server(self._postgres_home)
        return server.pid if server is not None else None

    @property
    def _postgres_home(self) -> Path:
        return self.data_dir.resolve() / "postgres"

    def start(self) -> None:
        """Start the process; `wait_ready` tells when it takes requests."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        variables = {"host": "127.0.0.1", "port": self.port, "data_dir": self.data_dir, **self.settings}
        environment = clean_environment(
            {f"INGEST_{name.upper()}": str(value) for name, value in variables.items()} | self.environment
        )
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _RUN, "serve"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd="/",
                start_new_session=True,  # Ctrl-C in a terminal reaches the bench, and the bench stops the service
            )

    def wait_ready(self, timeout: float = START_TIMEOUT) -> None:
        """Wait until it takes batches.

        Raises:
            BenchError: It ended, or was not ready in time; the message has the end of its log.
        """
        deadline = time.monotonic() + timeout
        with Api(self.url, timeout=10.0) as api:
            while not api.is_ready():
                if not self.is_running or time.monotonic() > deadline:
                    what = "was not ready in time" if self.is_running else "ended"
                    raise BenchError(f"the service {what}; the end of {self.log_path}:\n{self.log_tail()}")
                time.sleep(0.05)

    def processes(self) -> tuple[list[psutil.Process], list[psutil.Process]]:
        """The processes of the service, and those of its PostgreSQL."""
        ours: list[psutil.Process] = []
        with contextlib.suppress(psutil.Error, BenchError):
            root = psutil.Process(self.pid)
            ours = [root, *root.children(recursive=True)]
        postgres: list[psutil.Process] = []
        with contextlib.suppress(psutil.Error):
            if (pid := self.postmaster_pid) is not None:
                master = psutil.Process(pid)
                postgres = [master, *master.children(recursive=True)]
        apart = {process.pid for process in postgres}
        return [process for process in ours if process.pid not in apart], postgres

    def kill(self) -> None:
        """SIGKILL to the service with its workers; its PostgreSQL goes on running. Returns when it is gone."""
        service, _ = self.processes()
        for process in service:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(service, timeout=10.0)
        if self._process is not None:
            self._process.wait(timeout=10.0)

    def stop(self) -> int:
        """SIGTERM, and the exit code; SIGKILL for what is still there after STOP_TIMEOUT."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self.kill()
        return self._process.returncode

    def close(self) -> None:
        """Stop it, make sure that nothing of it is left, and remove the scratch directory."""
        try:
            self.stop()
        finally:
            end_postgres(self._postgres_home)
            if self._scratch is not None:
                shutil.rmtree(self._scratch, ignore_errors=True)

    def log_tail(self, max_bytes: int = 4000) -> str:
        try:
            return self.log_path.read_bytes()[-max_bytes:].decode("utf-8", "replace")
        except OSError:
            return "(no log)"


def end_postgres(home: Path) -> None:
    """End whatever of a bundled PostgreSQL still runs in `home`, after its service was killed; data is not cared for."""
    server = find_running_server(home)
    leftovers = postgres_processes(home)
    if server is not None:
        with contextlib.suppress(OSError):
            os.kill(server.pid, signal.SIGQUIT)  # immediate shutdown: the backends go with it
        psutil.wait_procs(leftovers, timeout=10.0)
    for process in postgres_processes(home):
        with contextlib.suppress(psutil.Error):
            process.kill()


def postgres_processes(home: Path) -> list[psutil.Process]:
    """Every process whose working directory is the cluster in `home`: PostgreSQL's, whether their server lives or not."""
    found = []
    for process in psutil.process_iter(["name"]):
        with contextlib.suppress(OSError, psutil.Error):
            if process.info["name"] == "postgres" and os.path.samefile(process.cwd(), home / MAJOR):
                found.append(process)
    return found
