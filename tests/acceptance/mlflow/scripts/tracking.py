"""Every tracking method of the stock MlflowClient, once, with what it must give back."""

import math

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException


def refused(call, *arguments, code, says, **named):
    try:
        call(*arguments, **named)
    except MlflowException as error:
        assert error.error_code == code, error
        assert says in str(error), error
    else:
        raise AssertionError("not refused")


client = MlflowClient()

# Experiments
assert client.get_experiment("0").name == "Default"
experiment = client.create_experiment("vision", tags={"team": "a"})
found = client.get_experiment(experiment)
assert (found.name, found.tags, found.lifecycle_stage) == ("vision", {"team": "a"}, "active")
assert found.artifact_location == f"mlflow-artifacts:/{experiment}"
refused(
    client.create_experiment,
    "vision",
    code="RESOURCE_ALREADY_EXISTS",
    says="Experiment(name=vision) already exists.",
)
client.set_experiment_tag(experiment, "goal", "90 %")
client.rename_experiment(experiment, "vision-2")
assert client.get_experiment_by_name("vision-2").tags == {"team": "a", "goal": "90 %"}
assert client.get_experiment_by_name("vision") is None
refused(
    client.get_experiment, "4711", code="RESOURCE_DOES_NOT_EXIST", says="No Experiment with id=4711 exists"
)

# Runs, their names, tags and params
run = client.create_run(experiment, run_name="first", tags={"t": "1"}, start_time=1234)
run_id = run.info.run_id
assert (len(run_id), run.info.status, run.info.start_time) == (32, "RUNNING", 1234)
assert run.data.tags == {"t": "1", "mlflow.runName": "first"}
assert run.info.artifact_uri == f"mlflow-artifacts:/{experiment}/{run_id}/artifacts"
assert client.create_run(experiment).info.run_name.count("-") == 2
client.set_tag(run_id, "mlflow.runName", "second")
assert client.get_run(run_id).info.run_name == "second"
client.update_run(run_id, status="SCHEDULED", name="third")
assert client.get_run(run_id).data.tags["mlflow.runName"] == "third"
client.delete_tag(run_id, "t")
refused(
    client.delete_tag,
    run_id,
    "t",
    code="RESOURCE_DOES_NOT_EXIST",
    says=f"No tag with name: t in run with id {run_id}",
)
client.log_param(run_id, "lr", 0.1)
client.log_param(run_id, "lr", 0.1)
refused(
    client.log_param,
    run_id,
    "lr",
    0.2,
    code="INVALID_PARAMETER_VALUE",
    says="Changing param values is not allowed",
)
client.log_param(run_id, "config", "ü" * 50_000)
client.set_tag(run_id, "note", "x" * 20_000)
data = client.get_run(run_id).data
assert data.params == {"lr": "0.1", "config": "ü" * 50_000}, "long values are whole"
assert data.tags["note"] == "x" * 20_000

# Metrics
client.log_metric(run_id, "loss", 2.5, timestamp=100, step=-(2**63))
client.log_metric(run_id, "loss", math.nan, timestamp=50, step=2**63 - 1)
client.log_metric(run_id, "loss", math.inf, timestamp=75, step=3)
client.log_metric(run_id, "loss", -math.inf, timestamp=75, step=3)
for _ in range(3):
    client.log_metric(run_id, "loss", 1.0, timestamp=200, step=0)
history = [(m.timestamp, m.step, m.value) for m in client.get_metric_history(run_id, "loss")]
assert repr(history) == repr(
    [(50, 2**63 - 1, math.nan), (75, 3, -math.inf), (75, 3, math.inf), (100, -(2**63), 2.5), (200, 0, 1.0)]
)
assert math.isnan(client.get_run(run_id).data.metrics["loss"]), "the latest is by step"
assert client.get_metric_history(run_id, "nothing") == []
refused(client.log_metric, run_id, "a,b", 1.0, code="INVALID_PARAMETER_VALUE", says="a,b")

metrics = [Metric(f"m{i % 10}", i / 3, 1000 + i, i) for i in range(1000)]
for _ in range(2):
    client.log_batch(run_id, metrics, [Param("seed", "7")], [RunTag("stage", "é😀")])
run = client.get_run(run_id)
assert run.data.metrics["m9"] == 999 / 3
assert (run.data.params["seed"], run.data.tags["stage"]) == ("7", "é😀")
assert len(client.get_metric_history(run_id, "m0")) == 100
refused(
    client.log_batch, run_id, [Metric("late", 1.0, 1, 1)], [Param("seed", "8")],
    code="INVALID_PARAMETER_VALUE", says="Changing param values is not allowed",
)  # fmt: skip
assert "late" not in client.get_run(run_id).data.metrics, "all or nothing"

# The end of things
client.set_terminated(run_id, "FAILED", end_time=5678)
info = client.get_run(run_id).info
assert (info.status, info.end_time) == ("FAILED", 5678)
client.delete_run(run_id)
assert client.get_run(run_id).info.lifecycle_stage == "deleted"
refused(
    client.log_metric, run_id, "x", 1.0, code="INVALID_PARAMETER_VALUE", says="must be in the 'active' state"
)
client.restore_run(run_id)
client.delete_experiment(experiment)
assert client.get_experiment(experiment).lifecycle_stage == "deleted"
assert client.get_run(run_id).info.lifecycle_stage == "deleted"
refused(
    client.rename_experiment,
    experiment,
    "other",
    code="INVALID_STATE",
    says="Cannot rename a non-active experiment.",
)
client.restore_experiment(experiment)
assert client.get_run(run_id).info.lifecycle_stage == "active"
refused(client.get_run, "0" * 32, code="RESOURCE_DOES_NOT_EXIST", says="not found")

print(run_id)
