"""A training script as people write it for MLflow: fluent calls, nested runs, asynchronous logging, a data set, a failure."""

import sys

import mlflow
import pandas as pd

mlflow.set_experiment("digits")
with mlflow.start_run(run_name="sweep", tags={"purpose": "demo"}) as parent:
    mlflow.log_params({"epochs": 3, "optimizer": "adam"})
    mlflow.log_input(
        mlflow.data.from_pandas(pd.DataFrame({"x": [1, 2, 3]}), name="train-set"), context="training"
    )
    for rate in (0.1, 0.01):
        with mlflow.start_run(run_name=f"lr={rate}", nested=True):
            mlflow.log_param("lr", rate)
            for epoch in range(3):
                mlflow.log_metrics(
                    {"loss": rate / (epoch + 1), "accuracy": 1 - rate / (epoch + 1)}, step=epoch
                )
            mlflow.set_tag("done", "yes")
    for step in range(200):
        mlflow.log_metric("heartbeat", step * 0.5, step=step, synchronous=False)
    mlflow.flush_async_logging()

run = mlflow.get_run(parent.info.run_id)
assert run.info.status == "FINISHED"
assert run.data.params == {"epochs": "3", "optimizer": "adam"}
assert run.data.metrics["heartbeat"] == 99.5
(dataset,) = run.inputs.dataset_inputs
assert dataset.dataset.name == "train-set"
assert {tag.key: tag.value for tag in dataset.tags} == {"mlflow.data.context": "training"}
client = mlflow.MlflowClient()
assert [m.step for m in client.get_metric_history(run.info.run_id, "heartbeat")] == list(range(200))

try:
    with mlflow.start_run(run_name="crash"):
        raise RuntimeError("boom")
except RuntimeError:
    crashed = mlflow.last_active_run()
    assert mlflow.get_run(crashed.info.run_id).info.status == "FAILED"

with mlflow.start_run(run_id=parent.info.run_id):
    mlflow.log_metric("heartbeat", -1.0, step=500)
assert mlflow.get_run(parent.info.run_id).data.metrics["heartbeat"] == -1.0

# A run that another client began, whose id came along.
if len(sys.argv) > 1:
    other = mlflow.get_run(sys.argv[1])
    assert other.data.metrics == {"loss": 0.25}, other
    assert other.data.params == {"lr": "0.1"}
    assert other.info.run_name == other.data.tags["mlflow.runName"] == "ours"

print(parent.info.run_id)
