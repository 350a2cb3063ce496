"""The plug-in in the stock client's own environments: the same code, with `ingest://` for its tracking URI."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from ingest.bench.ports import free_port
from tests.acceptance.mlflow.conftest import QUIET, RunScript
from tests.acceptance.mlflow.test_stock_client import ask, post_run
from tests.conftest import ServiceProcess, run_ingest

pytestmark = [pytest.mark.timeout(1_500), pytest.mark.slow]

RunPlugin = Callable[..., str]


@pytest.fixture
def run_plugin(run_stock: RunScript, service: ServiceProcess, installed: Path, tmp_path: Path) -> RunPlugin:
    """`run_stock` with the plug-in beside it."""
    uri = service.url.replace("http://", "ingest://")
    environment = {
        "MLFLOW_TRACKING_URI": uri, "PYTHONPATH": str(installed), "INGEST_SPOOL_DIR": str(tmp_path / "spool"),
    }  # fmt: skip
    return lambda *command: run_stock(*command, environment=environment)


def test_what_is_logged_is_read_back_and_stored_once(run_plugin: RunPlugin, database_url: str):
    run_id = uuid.UUID(run_plugin("plugin.py").split()[-1])
    rows = ask(
        database_url, "SELECT key, count(*) FROM metrics WHERE run_id = $1 GROUP BY key ORDER BY key", run_id
    )
    assert rows == [
        ("after", 1), ("inf", 1), ("loss", 500), *((f"m{i}", 100) for i in range(10)), ("more", 1), ("nan", 1),
    ]  # fmt: skip
    clients = ask(
        database_url, "SELECT sum(points) FROM writers WHERE run_id = $1 AND client <> 'post'", run_id
    )
    assert clients == [(1503,)], "all but the one for the ended run came through the spool"
    assert ask(database_url, "SELECT count(*) FROM runs WHERE parent_run_id = $1", run_id) == [(1,)]


def test_the_training_script_that_runs_over_http(
    run_plugin: RunPlugin, service: ServiceProcess, database_url: str
):
    run_id = uuid.UUID(run_plugin("training.py", post_run(service).hex).split()[-1])
    assert ask(database_url, "SELECT count(*), max(step) FROM metrics WHERE run_id = $1", run_id) == [
        (201, 500)
    ]
    assert ask(database_url, "SELECT count(*) FROM runs WHERE parent_run_id = $1", run_id) == [(2,)]


def test_searches_through_the_plug_in(run_plugin: RunPlugin):
    run_plugin("searching.py")


def test_a_script_without_a_service_ends_well_and_is_delivered_later(
    stock_client: Path, installed: Path, start_service, database_url: str, tmp_path: Path
):
    source = (
        "import mlflow\nwith mlflow.start_run():\n    mlflow.log_param('lr', 1)\n"
        "    for i in range(100): mlflow.log_metric('loss', i, step=i)\n"
    )
    port, spool = free_port(), tmp_path / "spool"
    done = subprocess.run(
        [stock_client, "-c", source], capture_output=True, text=True, timeout=100, check=False, cwd=tmp_path,
        env={
            **os.environ, **QUIET, "PYTHONPATH": str(installed), "INGEST_SPOOL_DIR": str(spool),
            "MLFLOW_TRACKING_URI": f"ingest://127.0.0.1:{port}", "INGEST_SHUTDOWN_TIMEOUT": "1",
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "ingest sync" in done.stderr
    start_service("--database-url", database_url, port=port)
    assert run_ingest("sync", str(spool)).returncode == 0
    assert ask(database_url, "SELECT count(*), count(DISTINCT step) FROM metrics") == [(100, 100)]
    assert ask(database_url, "SELECT status FROM runs") == [("FINISHED",)]
