"""The same searches from a training script (a DataFrame) and from the command line."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from typing import Any

import pytest

import ingest as face

SCRIPT = """
import ingest
for i in range(3):
    with ingest.start_run(run_name=f"r{i}"):
        ingest.log_params({"lr": 10.0 ** -i, "team": "a" if i else "b"})
        for step, loss in enumerate((3.0, 1.0 + i, 2.0 + i if i < 2 else float("nan"))):
            ingest.log_metric("loss", loss, step=step)
assert ingest.flush()
"""


@pytest.fixture
def logged(service: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Three runs of experiment `cli`, logged by a script of their own."""
    env = {
        "INGEST_TRACKING_URI": service.url,
        "INGEST_EXPERIMENT_NAME": "cli",
        "INGEST_SPOOL_DIR": str(tmp_path),
    }
    subprocess.run([sys.executable, "-c", SCRIPT], env={**os.environ, **env}, check=True, timeout=150)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return service


def test_search_runs_gives_a_frame_with_mlflows_columns(logged: Any) -> None:
    found = face.search_runs(
        filter_string="metrics.loss < 100 OR metrics.loss IS NAN", order_by=["metrics.loss DESC"]
    )

    assert list(found["tags.mlflow.runName"]) == ["r1", "r0", "r2"]
    assert list(found["metrics.loss"][:2]) == [3.0, 2.0]
    assert math.isnan(found["metrics.loss"][2])
    assert list(found["params.lr"]) == ["0.1", "1.0", "0.01"]
    assert list(found["status"]) == ["FINISHED"] * 3
    assert str(found["start_time"].dtype).startswith("datetime64[")
    assert list(found.columns[:6]) == [
        "run_id",
        "experiment_id",
        "status",
        "artifact_uri",
        "start_time",
        "end_time",
    ]


def test_search_runs_reads_only_the_columns_asked_for(logged: Any) -> None:
    (run,) = face.search_runs(
        experiment_names=["cli"],
        filter_string="params.team = 'b'",
        columns=["min(metrics.loss)", "params.lr"],
        output_format="list",
    )

    assert run["min(metrics.loss)"] == 1.0
    assert run["params.lr"] == "1.0"
    assert "metrics.loss" not in run


def test_an_empty_frame_has_its_columns(logged: Any) -> None:
    assert "run_id" in face.search_runs(filter_string="params.lr = 'none'").columns


def test_search_runs_says_what_is_wrong_and_where(logged: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(face.SearchFailed, match=r"(?s)expected a value.*\^ column 15"):
        face.search_runs(filter_string="metrics.loss <")
    monkeypatch.setenv("INGEST_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(face.SearchFailed, match="does not answer"):
        face.search_runs(search_all_experiments=True)


def test_the_command_searches_and_prints_tables_json_and_csv(logged: Any) -> None:
    from tests.conftest import run_ingest

    def ask(*arguments: str) -> Any:
        return run_ingest("runs", *arguments, INGEST_TRACKING_URI=logged.url)

    where = ["--where", "params.lr < 0.5", "--order", "min(metrics.loss) DESC"]
    columns = ["--columns", 'name,params.lr,min(metrics.loss),metrics."loss"']
    csv = ask(*where, *columns, "--csv")
    assert csv.returncode == 0, csv.stderr
    lines = csv.stdout.splitlines()
    assert lines[0] == 'run_id,name,params.lr,min(metrics.loss),"metrics.""loss"""'
    assert [line.split(",")[1:] for line in lines[1:]] == [
        ["r2", "0.01", "3.0", "NaN"],
        ["r1", "0.1", "2.0", "3.0"],
    ]
    table = ask(*where)
    assert "r1" in table.stdout
    assert "r0" not in table.stdout
    (run,) = json.loads(ask("--where", "name = 'r0'", "--json").stdout)
    assert run["name"] == "r0"
    wrong = ask("--where", "metrics.loss <")
    assert wrong.returncode == 1
    assert "expected a value" in wrong.stderr
