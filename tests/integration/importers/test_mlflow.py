"""`ingest import mlflow`: a directory, a database and a server that MLflow itself wrote; every number side by side."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.bench.ports import free_port
from tests.conftest import new_database, serving
from tests.integration.importers.conftest import QUIET, Import, WithMlflow
from tests.integration.importers.test_tensorboard import query

Told = dict[str, Any]
"""What MLflow tells of its store, see `scripts/write_mlflow.py`."""
NEW = ("runs", "points", "artifacts", "models", "model_versions")

pytestmark = pytest.mark.slow


def stored(url: str, run_id: str) -> dict[str, Any]:
    """A run as it is here, in the form in which the script shows it."""
    ((name, status, start, end, lifecycle),) = query(
        url,
        "SELECT name, status, start_time_ms, end_time_ms, lifecycle FROM runs WHERE run_id = $1::text::uuid",
        run_id,
    )
    metrics: dict[str, list[Any]] = {}
    points = query(url, "SELECT key, time_ms, step, value FROM metrics WHERE run_id = $1::text::uuid", run_id)
    for key, time_ms, step, value in points:
        metrics.setdefault(key, []).append([time_ms, step, repr(value)])
    texts = (
        dict(query(url, f"SELECT key, value FROM {table} WHERE run_id = $1::text::uuid", run_id))
        for table in ("params", "tags")
    )
    params, tags = texts
    return {
        "info": [name, status, start, end, lifecycle],
        "params": params,
        "tags": tags,
        "metrics": {key: sorted(found) for key, found in metrics.items()},
    }


def assert_runs_are_here(url: str, expected: dict[str, Any]) -> None:
    for run_id, run in expected.items():
        assert stored(url, run_id) == run
    assert query(url, "SELECT name, lifecycle FROM experiments ORDER BY name") == [
        ("Default", "active"),
        ("gone", "deleted"),
        ("vision: ünï", "active"),
    ]
    assert query(url, "SELECT key, value FROM experiment_tags WHERE key = 'team'") == [("team", "a b")]
    parent, child, _ = expected
    assert query(url, "SELECT parent_run_id::text FROM runs WHERE run_id = $1::text::uuid", child) == [
        (f"{parent[:8]}-{parent[8:12]}-{parent[12:16]}-{parent[16:20]}-{parent[20:]}",)
    ]
    assert query(url, "SELECT lifecycle FROM runs WHERE name = 'of gone'") == [("deleted",)]


def artifacts_under(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix().split("/artifacts/", 1)[1]: path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "/artifacts/" in path.relative_to(folder).as_posix()
    }


def location(url: str, run_or_model: str, rest: str = "") -> str:
    """Where the files of a run or a logged model are here, as clients are told."""
    ((number,),) = query(url, "SELECT experiment_id FROM experiments WHERE name = 'vision: ünï'")
    below = f"models/{run_or_model}" if run_or_model.startswith("m-") else run_or_model
    return f"mlflow-artifacts:/{number}/{below}/artifacts{rest}"


def assert_datasets_are_here(url: str, told: dict[str, list[Any]]) -> None:
    statement = (
        "SELECT d.name, d.digest, d.source_type, d.source, d.schema, d.profile, i.tags::text FROM run_datasets AS i "
        "JOIN runs AS r USING (run_id) JOIN datasets AS d ON (d.experiment_id, d.name, d.digest) = (r.experiment_id, i.name, i.digest) "
        "WHERE run_id = $1::text::uuid ORDER BY d.name"
    )
    for run_id, datasets in told.items():
        found = [[*row[:-1], json.loads(row[-1])] for row in query(url, statement, run_id)]
        assert [[value or None for value in row] for row in found] == [
            [value or None for value in row] for row in datasets
        ]


def assert_models_are_here(url: str, told: Told, *, deleted_too: bool) -> None:
    statement = (
        "SELECT name, model_type, source_run_id, status, created_at_ms, updated_at_ms, params::text, tags::text, lifecycle "
        "FROM logged_models WHERE model_id = $1"
    )
    whole, open_one, gone = told["models"]
    for model_id in (whole, open_one):
        ((*found, params, tags, lifecycle),) = query(url, statement, model_id)
        assert [*found, json.loads(params), json.loads(tags)] == told["models"][model_id]
        assert lifecycle == "active"
    states = query(url, "SELECT status, lifecycle FROM logged_models WHERE model_id = $1", gone)
    assert states == ([("UPLOAD_FAILED", "deleted")] if deleted_too else [])
    points = query(
        url,
        "SELECT model_id, replace(run_id::text, '-', ''), key, step, time_ms, value, dataset_name, dataset_digest "
        "FROM logged_model_metrics ORDER BY key DESC, step",
    )
    assert [[value if value != "" else None for value in row] for row in points] == told["points"]
    run, child, _ = told["runs"]
    links = query(
        url, "SELECT replace(run_id::text, '-', ''), direction, model_id, step FROM run_models ORDER BY direction, step"
    )  # fmt: skip
    assert links == [(child, "input", whole, 0), (run, "output", gone, 0), (run, "output", whole, 7)]


def assert_the_registry_is_here(url: str, told: Told, *, deleted_too: bool) -> None:
    names = query(
        url,
        "SELECT r.name, description, created_at_ms, updated_at_ms, tags::text, "
        "(SELECT COALESCE(json_object_agg(alias, version), '{}') FROM model_aliases AS a WHERE a.name = r.name)::text "
        "FROM registered_models AS r ORDER BY name",
    )
    assert [[*row[:-2], *map(json.loads, row[-2:])] for row in names] == told["names"]
    versions = query(
        url,
        "SELECT version, description, run_id, run_link, stage, created_at_ms, updated_at_ms, tags::text FROM model_versions ORDER BY 1",
    )
    assert [[*row[:-1], json.loads(row[-1])] for row in versions] == told["versions"]
    run, whole = next(iter(told["runs"])), next(iter(told["models"]), None)
    of_run = location(url, run, "/sub/dir")
    of_model = location(url, whole) if whole else of_run
    assert query(url, "SELECT source, storage_location, model_id FROM model_versions ORDER BY version") == [
        (of_run, of_run, None),
        (f"models:/{whole}" if whole else of_run, of_model, whole),
        ("s3://bucket/x", "s3://bucket/x", None),
    ]
    (best, _) = query(url, "SELECT last_version FROM registered_models ORDER BY name")
    assert best == (4 if deleted_too else 3,)  # a number is not given twice


def check_import(
    run_import: Import, url: str, source: str, told: Told, tmp_path: Path, *, deleted_too: bool = True
) -> None:
    """All is here, and again changes nothing. A server tells nothing of models and versions that were deleted."""
    first, has_models = run_import("mlflow", source), bool(told["models"])
    assert (first["runs"], first["points"], first["notes"]) == (4, 3_011 if has_models else 3_008, [])
    assert (first["models"], first["model_versions"]) == ((2 + deleted_too) * has_models, 3)
    # Where nothing was logged, MLflow made no directory, and who can say whose machine that is.
    assert {kind for kind in first["skipped"] if "from here" not in kind} <= {"prompts"}

    def assert_all_is_here() -> None:
        assert_runs_are_here(url, told["runs"])
        assert_datasets_are_here(url, told["datasets"])
        assert_the_registry_is_here(url, told, deleted_too=deleted_too)
        if has_models:
            assert_models_are_here(url, told, deleted_too=deleted_too)
        files = {"sub/dir/model.bin": bytes(range(256)) * 1000}
        files |= {"deep/weights.bin": b"weights" * 1000} if has_models else {}
        assert artifacts_under(tmp_path / "data" / "artifacts") == files

    assert_all_is_here()
    again = run_import("mlflow", source)
    assert {name: again[name] for name in NEW} == dict.fromkeys(NEW, 0)
    assert (again["same"], again["same_models"], again["same_versions"]) == (4, first["models"], 3)
    assert_all_is_here()


def test_a_file_store(run_import: Import, database_url: str, with_mlflow: WithMlflow, tmp_path: Path) -> None:
    store = tmp_path / "mlruns"
    told = json.loads(with_mlflow("write_mlflow.py", f"file:{store}", str(tmp_path)).splitlines()[-1])

    check_import(run_import, database_url, str(store), told, tmp_path)
    for model_id in list(told["models"])[1:2]:
        check_that_a_model_may_get_ready(run_import, database_url, store, model_id)


def check_that_a_model_may_get_ready(run_import: Import, url: str, store: Path, model_id: str) -> None:
    """A file, a tag and a status more than at the import before, as MLflow writes them."""
    (folder,) = store.glob(f"*/models/{model_id}")
    written = (folder / "meta.yaml").read_text()
    ready = re.sub(r"(last_updated_timestamp: )\d+", r"\g<1>2000000000000", written)
    (folder / "meta.yaml").write_text(ready.replace("status: 1", "status: 2"))
    for path, content in (("artifacts/late.bin", "weights"), ("tags/late", "yes")):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(content)

    grown, again = (run_import("mlflow", str(store)) for _ in range(2))

    assert [(one["models"], one["artifacts"], one["same_models"]) for one in (grown, again)] == [
        (1, 1, 2),
        (0, 0, 3),
    ]
    statement = "SELECT status, updated_at_ms, tags ->> 'late' FROM logged_models WHERE model_id = $1"
    assert query(url, statement, model_id) == [("READY", 2_000_000_000_000, "yes")]


def test_a_sqlite_database(
    run_import: Import, database_url: str, with_mlflow: WithMlflow, tmp_path: Path
) -> None:
    source = f"sqlite:///{tmp_path / 'mlflow.db'}"
    told = json.loads(with_mlflow("write_mlflow.py", source, str(tmp_path)).splitlines()[-1])

    check_import(run_import, database_url, source, told, tmp_path)


def test_a_postgresql_database(
    run_import: Import, database_url: str, with_mlflow: WithMlflow, tmp_path: Path, postgres15: str
) -> None:
    with new_database(postgres15) as url:
        source = url.replace("postgresql://", "postgresql+psycopg2://", 1)
        told = json.loads(with_mlflow("write_mlflow.py", source, str(tmp_path)).splitlines()[-1])

        check_import(run_import, database_url, source, told, tmp_path)


@contextlib.contextmanager
def mlflow_server(python: Path, database: str, folder: Path) -> Iterator[str]:
    url = f"http://127.0.0.1:{(port := free_port())}"
    command: list[str] = [
        str(python), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", database, "--artifacts-destination", str(folder / "theirs"),
    ]  # fmt: skip
    # Its job processes take longer to start than the rest of it.
    environment = {**os.environ, **QUIET, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=environment, cwd=folder, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                urllib.request.urlopen(f"{url}/health", timeout=2).close()
                break
            except OSError:
                assert time.monotonic() < deadline, (folder / "server.log").read_text()
                assert process.poll() is None, (folder / "server.log").read_text()
                time.sleep(0.3)
        yield url
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)  # all was read, and asked to end it may take half a minute
        process.wait(60)


@pytest.mark.timeout(400)
def test_a_server(
    run_import: Import, database_url: str, with_mlflow: WithMlflow, mlflow_python: Path, tmp_path: Path
) -> None:
    """What the store of the server has, by REST, while it runs. Then MLflow's client asks both servers the same, and can't tell
    which of them answers: experiments, runs, histories, searches, artifacts, data sets, logged models, the registry."""
    database = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with mlflow_server(mlflow_python, database, tmp_path) as url:
        told = json.loads(with_mlflow("write_mlflow.py", url, str(tmp_path)).splitlines()[-1])
        check_import(run_import, database_url, url, told, tmp_path, deleted_too=False)
        patient = {"INGEST_LOST_AFTER": "3600"}  # runs that were never ended go on in both places
        with serving(database_url, tmp_path, env=patient) as here:
            theirs, ours = map(json.loads, with_mlflow("show_store.py", url, here).splitlines()[-2:])
    assert ours == theirs
    assert [len(files) for files in theirs["registry"]["best é"]["files"].values()] == [1, 1]
    vision = theirs["vision: ünï"]
    assert len(vision["models"]) == 2 * bool(told["models"])
    assert len(vision["runs"]) == 3
    assert [len(found) for found in vision["searches"]] == [2, 1, 1, 1, 1, 1, 1], (
        "each search finds something"
    )
    assert vision["runs"][next(iter(told["runs"]))]["files"] == [
        ["sub", True, None],
        ["sub/dir", True, None],
        ["sub/dir/model.bin", False, 256_000],
    ]


def test_an_import_that_was_broken_off_goes_on(
    run_import: Import, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of a run is here; the rest is added, nothing is doubled. Then the source grows."""
    run = tmp_path / "mlruns" / "1" / ("a" * 32)
    (run / "metrics").mkdir(parents=True)
    (run.parent / "meta.yaml").write_text("experiment_id: '1'\nname: grown\nlifecycle_stage: active\n")
    (run / "meta.yaml").write_text(
        f"run_id: {'a' * 32}\nrun_name: r\nstatus: 3\nstart_time: 5\nend_time: 9\n"
    )
    lines = [f"{1_000 + i} {i / 3} {i}\n" for i in range(250_000)]
    (run / "metrics" / "a").write_text("".join(lines))
    (run / "metrics" / "b").write_text("".join(lines[:130_000]) + "oops\n")

    broken = run_import("mlflow", str(tmp_path / "mlruns"), fails=True)
    assert "line 130001" in broken["error"]
    ((stored_num,),) = query(database_url, "SELECT count(*) FROM metrics")
    assert 0 < stored_num < 380_000
    (run / "metrics" / "b").write_text("".join(lines[:200_000]))
    done = run_import("mlflow", str(tmp_path / "mlruns"))
    assert stored_num + done["points"] == 450_000
    with (run / "metrics" / "a").open("a") as file:
        file.write("7 7.5 7\n")
    assert run_import("mlflow", str(tmp_path / "mlruns"))["points"] == 1

    assert query(
        database_url,
        "SELECT key, count(*), count(DISTINCT time_ms), sum(step) FROM metrics GROUP BY key ORDER BY key",
    ) == [
        ("a", 250_001, 250_001, sum(range(250_000)) + 7),
        ("b", 200_000, 200_000, sum(range(200_000))),
    ]


def test_with_an_experiment_come_the_versions_of_its_runs_and_what_is_here_stays(
    run_import: Import, database_url: str, tmp_path: Path
) -> None:
    root, times = tmp_path / "mlruns", "creation_timestamp: 5\nlast_updated_timestamp: 6\n"
    for number, run_id in ((1, "a" * 32), (2, "b" * 32)):
        run, version = root / f"{number}" / run_id, root / "models" / "net" / f"version-{number}"
        run.mkdir(parents=True)
        version.mkdir(parents=True)
        (run.parent / "meta.yaml").write_text(f"experiment_id: '{number}'\nname: e{number}\n")
        (run / "meta.yaml").write_text(f"run_id: {run_id}\nstatus: 3\nstart_time: 5\nend_time: 9\n")
        (version / "meta.yaml").write_text(
            f"name: net\nversion: {number}\nsource: /artifacts/{number}/{run_id}/artifacts/m/artifacts\nrun_id: {run_id}\ncurrent_stage: None\n{times}"
        )
    for name in ("net", "other"):
        (root / "models" / name / "aliases").mkdir(parents=True)
        (root / "models" / name / "meta.yaml").write_text(f"name: {name}\ndescription: theirs\n{times}")
    (root / "models" / "net" / "aliases" / "best").write_text("2")
    (odd := root / "1" / "models" / "x").mkdir(parents=True)
    (odd / "meta.yaml").write_text(f"model_id: ../x\nname: x\nstatus: 2\n{times}")
    names = "SELECT name, description, last_version FROM registered_models ORDER BY name"
    versions = "SELECT version, stage, storage_location FROM model_versions ORDER BY version"

    first = run_import("mlflow", str(root), "--experiment", "e1")

    assert (first["runs"], first["model_versions"], first["same_versions"]) == (1, 1, 0)
    assert first["skipped"]["logged models that can't be stored"] == 1
    assert "../x" in first["notes"][0]
    assert query(database_url, names) == [("net", "theirs", 1)]
    ((number,),) = query(database_url, "SELECT experiment_id FROM experiments WHERE name = 'e1'")
    here = f"mlflow-artifacts:/{number}/{'a' * 32}/artifacts/m/artifacts"
    assert query(database_url, versions) == [(1, "None", here)]
    assert query(database_url, "SELECT * FROM model_aliases") == []

    query(database_url, "UPDATE registered_models SET description = 'ours'")
    query(database_url, "UPDATE model_versions SET stage = 'Production'")
    rest = run_import("mlflow", str(root))

    assert (rest["runs"], rest["model_versions"], rest["same_versions"]) == (1, 1, 1)
    assert query(database_url, names) == [("net", "ours", 2), ("other", "theirs", 0)]
    assert [row[:2] for row in query(database_url, versions)] == [(1, "Production"), (2, "None")]
    assert query(database_url, "SELECT name, alias, version FROM model_aliases") == [("net", "best", 2)]
    (odd / "meta.yaml").write_text("model_id: x\n")
    assert "x/meta.yaml says no name" in run_import("mlflow", str(root), fails=True)["error"]


def test_a_run_that_is_here_from_elsewhere_is_left_alone(
    run_import: Import, database_url: str, tmp_path: Path
) -> None:
    run = tmp_path / "mlruns" / "1" / ("b" * 32)
    (run / "metrics").mkdir(parents=True)
    (run.parent / "meta.yaml").write_text("experiment_id: '1'\nname: other\n")
    (run / "meta.yaml").write_text(f"run_id: {'b' * 32}\nstatus: 3\nstart_time: 5\nend_time: 9\n")
    (run / "metrics" / "a").write_text("1 1.0 1\n")
    query(
        database_url,
        "INSERT INTO runs (run_id, experiment_id, name, status, start_time_ms) "
        "VALUES ($1::text::uuid, 0, 'mine', 'FINISHED', 1)",
        "b" * 32,
    )

    report = run_import("mlflow", str(tmp_path / "mlruns"))

    assert report["skipped"] == {"runs that are here from elsewhere": 1}
    assert "left as it is" in report["notes"][0]
    assert query(database_url, "SELECT name FROM runs") == [("mine",)]
    assert query(database_url, "SELECT * FROM metrics") == []


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere", "is no directory"),
        ("sqlite:////nowhere.db", "no database file"),
        ("http://127.0.0.1:9", "does not answer"),
    ],
)
def test_what_is_no_store_is_an_error_that_says_so(run_import: Import, source: str, message: str) -> None:
    assert message in run_import("mlflow", source, fails=True)["error"]
