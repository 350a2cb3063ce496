"""Scripts for the stock MLflow client, unchanged, against `ingest serve`: two versions, every tracking method."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest

from ingest_schema.events import Event
from ingest_schema.ids import new_id
from ingest_schema.wire import Batch, encode_batch
from tests.acceptance.mlflow.conftest import RunScript
from tests.conftest import ServiceProcess, run_apart

pytestmark = [pytest.mark.timeout(1_500), pytest.mark.slow]


def ask(database_url: str, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
    from ingest.store.connect import connect

    async def query() -> list[tuple[Any, ...]]:
        async with connect(database_url, purpose="test") as connection:
            await connection.execute("SET search_path = ingest")
            return [tuple(row) for row in await connection.fetch(sql, *arguments)]

    return run_apart(query)


def test_every_tracking_method_of_the_client(run_stock: RunScript, database_url: str):
    run_id = uuid.UUID(run_stock("tracking.py").split()[-1])
    points = ask(
        database_url, "SELECT key, count(*) FROM metrics WHERE run_id = $1 GROUP BY key ORDER BY key", run_id
    )
    assert points == [("loss", 5), *((f"m{i}", 100) for i in range(10))], (
        "no point twice, though each was sent twice"
    )


def post_run(service: ServiceProcess) -> uuid.UUID:
    """A run as our own client logs it."""
    import urllib.request

    run_id = new_id()
    events = [
        Event("run_start", 1, {"experiment": "mixed", "name": "ours", "start_time_ms": 1}),
        Event("params", 1, {"lr": "0.1"}),
    ]
    batch = Batch.of_points(run_id, new_id(), 1, [("loss", 0, 1, 0.5), ("loss", 1, 2, 0.25)], events=events)
    request = urllib.request.Request(
        f"{service.url}/api/v1/batches",
        data=encode_batch(batch),
        headers={"Content-Type": "application/msgpack"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        assert response.status == 200
    return run_id


def test_a_training_script(run_stock: RunScript, service: ServiceProcess, database_url: str):
    """Also: a run of our own client's is readable, and a point of MLflow's is in `metrics` when the call returns."""
    run_id = uuid.UUID(run_stock("training.py", post_run(service).hex).split()[-1])
    assert ask(database_url, "SELECT count(*), max(step) FROM metrics WHERE run_id = $1", run_id) == [
        (201, 500)
    ]
    assert ask(database_url, "SELECT count(*) FROM runs WHERE parent_run_id = $1", run_id) == [(2,)]


def test_searches(run_stock: RunScript):
    run_stock("searching.py")


def test_the_command_line(run_stock: RunScript):
    run_stock("commands.py")
    assert "Default" in run_stock("mlflow", "experiments", "search")


def test_artifacts(run_stock: RunScript, tmp_path: Path):
    """Also by the command line, which logs, lists and fetches what the script left."""
    run_id = run_stock("artifacts.py").split()[-1]
    (tmp_path / "from-cli.txt").write_text("cli")
    named = ("--run-id", run_id)
    run_stock("mlflow", "artifacts", "log-artifact", *named, "-l", "from-cli.txt", "-a", "cli")
    assert "cli/from-cli.txt" in run_stock("mlflow", "artifacts", "list", *named, "-a", "cli")
    run_stock("mlflow", "artifacts", "download", *named, "-a", "cli", "-d", str(tmp_path / "down"))
    assert (tmp_path / "down" / "cli" / "from-cli.txt").read_text() == "cli"
