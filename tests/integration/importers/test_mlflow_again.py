"""A repeated `ingest import mlflow`: what changed at the source comes, what was changed here stays, and nothing is told twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.importers.conftest import Import
from tests.integration.importers.test_tensorboard import query

RUN = "c" * 32
TIMES = "creation_timestamp: 5\nlast_updated_timestamp: 6\n"


class Store:
    """A file store with one run and one registered model of two versions, as MLflow lays it out."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.run = root / "1" / RUN
        self.name = root / "models" / "net"
        (self.run / "metrics").mkdir(parents=True)
        (self.run.parent / "meta.yaml").write_text("experiment_id: '1'\nname: again\n")
        self.describe_run("first")
        (self.run / "metrics" / "loss").write_text("1 0.5 1\n")
        self.name.mkdir(parents=True)
        (self.name / "meta.yaml").write_text(f"name: net\ndescription: a net\n{TIMES}")
        for version in (1, 2):
            self.stage(version, "None")

    def describe_run(self, name: str, *, stage: str = "active") -> None:
        (self.run / "meta.yaml").write_text(
            f"run_id: {RUN}\nrun_name: {name}\nstatus: 3\nstart_time: 5\nend_time: 9\nlifecycle_stage: {stage}\n"
        )

    def tag(self, folder: Path, key: str, text: str | None) -> None:
        (folder / "tags").mkdir(exist_ok=True)
        if text is None:
            (folder / "tags" / key).unlink()
        else:
            (folder / "tags" / key).write_text(text)

    def stage(self, version: int, stage: str) -> None:
        folder = self.name / f"version-{version}"
        folder.mkdir(exist_ok=True)
        (folder / "meta.yaml").write_text(
            f"name: net\nversion: {version}\nsource: /artifacts/1/{RUN}/artifacts/m\nrun_id: {RUN}\ncurrent_stage: {stage}\n{TIMES}"
        )

    def alias(self, alias: str, version: int | None) -> None:
        (self.name / "aliases").mkdir(exist_ok=True)
        if version is None:
            (self.name / "aliases" / alias).unlink()
        else:
            (self.name / "aliases" / alias).write_text(str(version))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "mlruns")


def tags_here(url: str) -> dict[str, str]:
    return dict(query(url, "SELECT key, value FROM tags"))


def test_what_changed_of_a_run_comes_and_what_was_changed_here_stays(
    run_import: Import, database_url: str, store: Store
) -> None:
    for key in ("ours", "theirs", "both", "gone"):
        store.tag(store.run, key, "old")
    store.tag(store.run.parent, "team", "a")
    first = run_import("mlflow", str(store.root))
    assert (first["runs"], first["changed"]) == (1, 0)
    query(database_url, "UPDATE tags SET value = 'mine' WHERE key IN ('ours', 'both')")
    for key, text in (("theirs", "new"), ("both", "new"), ("gone", None), ("added", "new")):
        store.tag(store.run, key, text)
    store.tag(store.run.parent, "team", "b")
    store.describe_run("second")

    again, idle = (run_import("mlflow", str(store.root)) for _ in range(2))

    assert tags_here(database_url) == {"ours": "mine", "theirs": "new", "both": "mine", "added": "new"}
    assert query(database_url, "SELECT name FROM runs") == [("second",)]
    assert query(database_url, "SELECT value FROM experiment_tags WHERE key = 'team'") == [("b",)]
    assert (again["changed"], again["runs"], again["same"], again["points"]) == (5, 0, 1, 0)
    assert [note for note in again["notes"] if "tag both was changed there and here" in note]
    assert (idle["changed"], idle["notes"]) == (0, [])


def test_a_run_that_was_deleted_there_is_deleted_here(
    run_import: Import, database_url: str, store: Store
) -> None:
    run_import("mlflow", str(store.root))
    store.describe_run("first", stage="deleted")

    assert run_import("mlflow", str(store.root))["changed"] == 1

    assert query(database_url, "SELECT lifecycle FROM runs") == [("deleted",)]
    query(database_url, "UPDATE runs SET lifecycle = 'active'")
    assert run_import("mlflow", str(store.root))["changed"] == 0, "restored here, it stays"


def test_stages_aliases_and_descriptions_of_the_registry_follow(
    run_import: Import, database_url: str, store: Store
) -> None:
    for alias in ("best", "mine", "gone"):
        store.alias(alias, 1)
    run_import("mlflow", str(store.root))
    query(database_url, "UPDATE model_aliases SET version = 2 WHERE alias = 'mine'")
    query(database_url, "UPDATE model_versions SET stage = 'Archived' WHERE version = 2")
    store.alias("best", 2)
    store.alias("gone", None)
    store.stage(1, "Production")
    store.stage(2, "Staging")
    (store.name / "meta.yaml").write_text(f"name: net\ndescription: a better net\n{TIMES}")

    again, idle = (run_import("mlflow", str(store.root)) for _ in range(2))

    assert query(database_url, "SELECT alias, version FROM model_aliases ORDER BY alias") == [
        ("best", 2),
        ("mine", 2),
    ]
    assert query(database_url, "SELECT version, stage FROM model_versions ORDER BY version") == [
        (1, "Production"),
        (2, "Archived"),
    ]
    assert query(database_url, "SELECT description FROM registered_models") == [("a better net",)]
    assert (again["changed"], again["model_versions"], again["same_versions"]) == (4, 0, 2)
    assert again["notes"] == ["model version net/2: stage was changed there and here; it stays as it is here"]
    assert (idle["changed"], idle["notes"]) == (0, [])


def test_an_experiment_that_was_here_before_keeps_its_tags(
    run_import: Import, database_url: str, store: Store
) -> None:
    query(
        database_url,
        "INSERT INTO experiments (name, created_at_ms, updated_at_ms) VALUES ('again', 1, 1)",
    )
    store.tag(store.run.parent, "team", "a")

    run_import("mlflow", str(store.root))

    assert query(database_url, "SELECT * FROM experiment_tags") == []
