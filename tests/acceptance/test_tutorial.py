"""MLflow's tutorial, in our own words: a script that makes each of its calls with `import ingest as mlflow`, and every effect.

The script (tutorial.py) is run as its users do, as a process, against `ingest serve`; what it did is read from the database and
over HTTP, not from the client.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.conftest import ServiceProcess

pytest.importorskip("torchvision")
pytest.importorskip("pandas")

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]

SCRIPT = Path(__file__).with_name("tutorial.py")


class Effects:
    """What the script left in the service."""

    def __init__(self, service: ServiceProcess, runs: dict[str, str]) -> None:
        self.url = service.url
        self.runs = runs

    def sql(self, statement: str) -> list[list[Any]]:
        request = urllib.request.Request(
            f"{self.url}/api/v1/sql",
            data=json.dumps({"sql": statement}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return [list(row) for row in json.load(answer)["rows"]]

    def points(self, run: str, key: str) -> list[tuple[int, float]]:
        run_id = UUID(self.runs[run])
        rows = self.sql(
            f"SELECT step, value FROM metrics WHERE run_id = '{run_id}' AND key = '{key}' ORDER BY step, time_ms"
        )
        return [(int(step), float(value)) for step, value in rows]

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=30) as answer:
            return json.load(answer)

    def run(self, name: str) -> dict[str, Any]:
        """The run as MLflow's clients see it."""
        return dict(self.get(f"/api/2.0/mlflow/runs/get?run_id={self.runs[name]}")["run"])

    def params(self, name: str) -> dict[str, str]:
        return {p["key"]: p["value"] for p in self.run(name)["data"].get("params", [])}

    def tags(self, name: str) -> dict[str, str]:
        return {t["key"]: t["value"] for t in self.run(name)["data"].get("tags", [])}

    def files(self, name: str, directory: str = "") -> set[str]:
        found = self.get(f"/api/v1/runs/{self.runs[name]}/artifacts?path={directory}")["files"]
        inner = [self.files(name, item["path"]) for item in found if item["is_dir"]]
        return {item["path"] for item in found if not item["is_dir"]}.union(*inner)

    def content(self, name: str, path: str) -> bytes:
        with urllib.request.urlopen(
            f"{self.url}/api/v1/runs/{self.runs[name]}/artifacts/{path}", timeout=30
        ) as answer:
            return bytes(answer.read())


@pytest.fixture
def effects(service: ServiceProcess, tmp_path: Path) -> Effects:
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:1",  # replaced by the script's first call
        "INGEST_SPOOL_DIR": str(tmp_path / "spool"),
    }
    (tmp_path / "work").mkdir()
    done = subprocess.run(
        [sys.executable, SCRIPT, service.url, tmp_path / "work"],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return Effects(service, json.loads(done.stdout.splitlines()[-1]))


def test_every_call_of_the_tutorial_has_its_effect(effects: Effects) -> None:
    check_effects(effects)
    _no_limits(effects)


def check_effects(effects: Effects) -> None:
    """All that a script of MLflow's can do by itself."""
    _params_and_metrics(effects)
    _artifacts_and_models(effects)
    _lives_of_runs(effects)
    _steps_and_times(effects)
    _training(effects)


def _params_and_metrics(effects: Effects) -> None:
    assert effects.params("implicit") == {"trees": "12", "depth": "4"}
    assert sorted(effects.points("implicit", "error")) == [(0, 625.0), (0, 900.0)]
    latest = {m["key"]: m["value"] for m in effects.run("implicit")["data"]["metrics"]}
    assert latest["root"] in {25.0, 30.0}
    for name in ("explicit", "again", "block"):
        assert effects.params(name) == {"mine": "param"}
        assert effects.points(name, "score") == [(0, 100.0)]


def _artifacts_and_models(effects: Effects) -> None:
    files = effects.files("implicit")
    assert {"settings.yaml", "data/settings.yaml", "data/more/notes.txt"} <= files
    assert {
        f"model/{name}"
        for name in ("MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt", "data/model.pth")
    } <= files
    assert effects.content("implicit", "data/more/notes.txt") == b"all of it"
    assert effects.content("implicit", "settings.yaml") == b"trees: 12\n"
    assert json.loads(effects.tags("implicit")["mlflow.log-model.history"])[0]["artifact_path"] == "model"


def _lives_of_runs(effects: Effects) -> None:
    statuses = {name: effects.run(name)["info"]["status"] for name in effects.runs}
    assert statuses.pop("broken") == "FAILED"
    assert statuses.pop("killed") == "KILLED"
    assert set(statuses.values()) == {"FINISHED"}
    assert len(set(effects.runs.values())) == len(effects.runs)
    assert effects.tags("inner")["mlflow.parentRunId"] == effects.runs["outer"]
    assert effects.run("inner")["info"]["run_name"] == "inner"
    assert effects.tags("inner")["kind"] == "inner"
    assert effects.run("implicit")["info"]["experiment_id"] == "0"


def _steps_and_times(effects: Effects) -> None:
    assert effects.points("steps", "quality") == [(0, 0.0), (1, 2.0), (2, 4.0)]
    assert effects.points("steps", "jumps") == [(-20, -10.0), (1, 0.5), (5, 2.5), (75, 37.5)]
    times = effects.sql("SELECT time_ms FROM metrics WHERE key = 'jumps' ORDER BY step")
    assert [int(row[0]) for row in times] == [1_600_000_000_000 + step for step in (-20, 1, 5, 75)]


def _training(effects: Effects) -> None:
    experiment = effects.run("training")["info"]["experiment_id"]
    assert (
        effects.get(f"/api/2.0/mlflow/experiments/get?experiment_id={experiment}")["experiment"]["name"]
        == "fashion"
    )
    assert effects.params("training") == {
        "Batch Size": "8",
        "Epochs": "3",
        "Optimizer": "adam",
        "Learning Rate": "0.001",
        "GPU Used": effects.params("training")["GPU Used"],
    }
    assert len(effects.points("training", "Loss")) == len(effects.points("training", "Batch Accuracy")) == 12
    for key in ("Train Accuracy", "Average Loss", "Time Taken", "Test Accuracy"):
        assert [step for step, _ in effects.points("training", key)] == [0, 1, 2]
    assert "best_model/data/model.pth" in effects.files("training")


def _no_limits(effects: Effects) -> None:
    """What MLflow's own client and server would cut, refuse or replace."""
    params = effects.params("params")
    assert params["once"] == "1", "a param is written once"
    assert [params[f"p{n}"] for n in range(300)] == ["x" * 2000] * 300
    run_id = UUID(effects.runs["params"])
    count = effects.sql(f"SELECT count(*) FROM metrics WHERE run_id = '{run_id}' AND key LIKE 'm%'")
    assert int(count[0][0]) == 1500
    assert effects.points("params", "endless") == [(0, float("inf"))]
    assert effects.tags("params")["long"] == "t" * 20_000
