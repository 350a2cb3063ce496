"""`ingest export` and `ingest import` as people call them, with a service running and artifacts beside the points."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import typer

import ingest
from ingest.cli.export import _selection
from tests.integration.transfer.test_round_trip import SIMPLE, batches_of


def command(*arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "ingest", *arguments],
        capture_output=True, text=True, timeout=120, check=False, env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def test_an_experiment_moves_with_its_artifacts(
    start_service, tmp_path, monkeypatch, database_url, empty_database_url
):
    first_root, second_root = tmp_path / "first", tmp_path / "second"
    service = start_service("--database-url", database_url, "--artifact-root", str(first_root))
    monkeypatch.setenv("INGEST_SPOOL_DIR", str(tmp_path / "spool"))
    ingest.set_tracking_uri(service.url)
    ingest.set_experiment("moving")
    with ingest.start_run(run_name="whole") as run:
        run.log_metrics({"loss": 0.5}, step=1)
        run.log_text("hello", "notes/läuft.txt")
    ingest.set_experiment("staying")
    with ingest.start_run():
        ingest.log_metric("loss", 1.0)
    assert ingest.flush(30)
    ingest.set_tracking_uri("")
    source = ["--database-url", database_url, "--artifact-root", str(first_root)]
    target = ["--database-url", empty_database_url, "--artifact-root", str(second_root)]
    out = tmp_path / "out"

    told = json.loads(command("export", str(out), "--where", "experiment = 'moving'", *source, "--json"))
    assert (told["runs"], told["points"], told["artifacts"]) == (1, 1, 1)
    command("export", str(out), *source, code=1)  # it is there already

    command("migrate", "--database-url", empty_database_url)
    assert "imported 1 runs, 1 points, 0 models and 1 artifacts" in command("import", str(out), *target)
    assert "1 runs were there already" in command("import", "export", str(out), *target)
    (file,) = [path for path in second_root.rglob("*") if path.is_file()]
    assert (file.name, file.read_text()) == ("läuft.txt", "hello")
    command("import", str(tmp_path / "nowhere"), *target, code=1)
    command("export", str(tmp_path / "x"), "--where", "loss <", *source, code=2)
    assert not (tmp_path / "x").exists()


def test_runs_are_chosen_by_id_by_experiment_and_by_filter(world):
    """What the options of `ingest export` mean; the command itself is above."""
    batches = batches_of(SIMPLE)
    world.commit(*batches)
    run_id, other = batches[0].run_id, batches[2].run_id

    def chosen(runs=(), experiments=(), where=None):
        found = world.run(_selection(world.source, list(runs), list(experiments), where))
        return found.run_ids, found.experiment_ids

    statement = "SELECT experiment_id FROM experiments WHERE name = 'experiment 1'"
    ((row,),) = world.execute(world.source, statement)
    number = row["experiment_id"]
    assert chosen() == (None, None)
    assert chosen([str(run_id), other.hex]) == ([run_id, other], None)
    for experiment in ("experiment 1", str(number)):
        assert chosen(experiments=[experiment]) == (None, [number])
        assert chosen(experiments=[experiment], where="metrics.loss >= 0") == ([other], None)
    for wrong in (
        {"runs": ["x"]},
        {"experiments": ["none"]},
        {"experiments": ["999"]},
        {"experiments": ["9" * 30]},
        {"where": "loss <"},
    ):
        with pytest.raises(typer.Exit):
            chosen(**wrong)
