"""Stock code through the plug-in: what is logged is there for the reads that follow, and errors come where MLflow's do."""

import math
import tempfile
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

client = MlflowClient()
experiment = mlflow.set_experiment("plug-in")
root = mlflow.get_tracking_uri()
assert root.startswith("ingest://")
assert experiment.artifact_location == f"{root}/{experiment.experiment_id}"

with mlflow.start_run(run_name="first", tags={"team": "a"}) as run:
    run_id = run.info.run_id
    mlflow.log_params({"lr": 0.1, "seed": 7})
    for step in range(500):
        mlflow.log_metric("loss", 1 / (step + 1), step=step)
    mlflow.log_metrics({"nan": math.nan, "inf": math.inf}, step=3)
    client.log_batch(
        run_id,
        [Metric(f"m{i % 10}", i / 3, 1000 + i, i) for i in range(1000)],
        [Param("late", "x" * 20_000)],
        [RunTag("stage", "é")],
    )
    seen = client.get_run(run_id)  # reads see writes
    assert (seen.info.status, seen.info.run_name) == ("RUNNING", "first")
    assert seen.info.artifact_uri == run.info.artifact_uri == mlflow.get_artifact_uri()
    assert seen.data.params == {"lr": "0.1", "seed": "7", "late": "x" * 20_000}
    assert (seen.data.tags["team"], seen.data.tags["stage"]) == ("a", "é")
    assert math.isnan(seen.data.metrics["nan"])
    assert seen.data.metrics["loss"] == 1 / 500
    assert len(client.get_metric_history(run_id, "loss")) == 500
    try:
        mlflow.log_param("lr", 0.2)
    except mlflow.MlflowException as error:
        assert error.error_code == "INVALID_PARAMETER_VALUE", error
        assert "Changing param values is not allowed" in str(error)
    else:
        raise AssertionError("a changed param was not refused")
    mlflow.log_text("hello", "notes/a.txt")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "b.bin").write_bytes(bytes(1000))
        mlflow.log_artifacts(folder, "files")  # and the caller may delete it at once
    assert [f.path for f in client.list_artifacts(run_id)] == ["files", "notes"]
    with mlflow.start_run(nested=True) as child:
        mlflow.log_metric("y", 1)
    client.delete_tag(run_id, "team")
    client.set_tag(run_id, "mlflow.runName", "second")

ended = client.get_run(run_id)
assert (ended.info.status, ended.info.run_name) == ("FINISHED", "second")
assert "team" not in ended.data.tags
assert (
    Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="notes/a.txt")).read_text()
    == "hello"
)
assert Path(mlflow.artifacts.download_artifacts(f"runs:/{run_id}/files/b.bin")).read_bytes() == bytes(1000)
found = mlflow.search_runs(filter_string=f"tags.`mlflow.parentRunId` = '{run_id}'", output_format="list")
assert [r.info.run_id for r in found] == [child.info.run_id]

broken = None
try:
    with mlflow.start_run(run_name="broken") as broken:
        mlflow.log_metric("y", 1)
        raise RuntimeError
except RuntimeError:
    pass
assert broken is not None
assert client.get_run(broken.info.run_id).info.status == "FAILED"

with mlflow.start_run(run_id=run_id):
    mlflow.log_metric("more", 5.0)
resumed = client.get_run(run_id)
assert (resumed.info.status, resumed.data.metrics["more"]) == ("FINISHED", 5.0)
client.log_metric(run_id, "after", 1.0)
assert client.get_run(run_id).info.status == "FINISHED", "logging to an ended run does not start it again"

print(run_id)
