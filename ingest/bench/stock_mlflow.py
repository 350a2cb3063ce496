"""MLflow's own server for a bench: a process in an environment of its own, on a database beside ours."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ingest.bench import BenchError
from ingest.bench.ports import free_port
from ingest.bench.service import Service

__all__ = ["PACKAGES", "StockServer", "mlflow_server"]

PACKAGES: Final = ("mlflow", "psycopg2-binary", "uvloop")
"""What its environment holds. Without uvloop each request of MLflow's server costs 40 ms more, which would flatter us."""
START_TIMEOUT: Final = 120.0


@dataclass(frozen=True, slots=True)
class StockServer:
    """Where it listens, and the database it writes to."""

    url: str
    database_url: str


@contextmanager
def mlflow_server(python: Path, service: Service, scratch: Path) -> Iterator[StockServer]:
    """MLflow's server for as long as the block lasts.

    Args:
        python: The interpreter of its environment.
        service: Ours, whose PostgreSQL it shares.
        scratch: A directory for its log and its artifacts.

    Raises:
        BenchError: It did not start; the message has the end of its log.
    """
    admin = service.database_url
    database = admin.replace("/ingest?", "/mlflow?")
    if database == admin:
        raise BenchError(f"no database called ingest in {admin}")
    asyncio.run(_create_database(admin))
    uri = database.replace("postgresql:", "postgresql+psycopg2:")
    port = free_port()
    environment = {
        **os.environ,
        "MLFLOW_TELEMETRY_DISABLED": "1",
        "DO_NOT_TRACK": "1",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # six processes that only take the processor from it
        "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "20",  # its default of 15 ran dry with 32 connections: 30 s of waiting, then status 400
        "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": "0",
    }
    with (scratch / "mlflow.log").open("wb") as log:
        server = subprocess.Popen(
            [python, "-m", "mlflow", "server", "--backend-store-uri", uri, "--host", "127.0.0.1", "--port", str(port),
             "--workers", "1", "--artifacts-destination", str(scratch / "artifacts")],
            stdout=log, stderr=log, env=environment, start_new_session=True,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(url, server, scratch / "mlflow.log")
        yield StockServer(url, database)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


async def _create_database(admin: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(admin)
    await connection.execute("CREATE DATABASE mlflow")
    await connection.close()


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=2):  # noqa: S310  http, on loopback
            return
        if server.poll() is not None or time.monotonic() > deadline:
            raise BenchError(f"MLflow's server did not start:\n{log.read_text()[-2000:]}")
        time.sleep(0.3)
