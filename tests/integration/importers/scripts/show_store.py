"""Ask servers everything that an import carries over, by MLflow's own client: one line of JSON each. Arguments: tracking URIs."""

import hashlib
import json
import sys
import tempfile

import mlflow
from mlflow import MlflowClient
from mlflow.entities import ViewType

SEARCHES: tuple[tuple[str, list[str]], ...] = (
    ("", ["attributes.start_time ASC"]),
    ("metrics.`train/loss` < 1 AND tags.note LIKE '%b%'", []),
    ("params.lr = '0.1'", []),
    ("metrics.long >= 0", ["metrics.weird DESC"]),
    ("attributes.status != 'RUNNING'", ["attributes.end_time DESC", "params.lr"]),
    ("tags.`mlflow.parentRunId` LIKE '%'", []),
    ("run_name ILIKE 'FIRST%'", ["tags.`mlflow.runName`"]),
)


def files(
    client: MlflowClient, run_id: str, directory: str | None = None
) -> list[tuple[str, bool, int | None]]:
    found: list[tuple[str, bool, int | None]] = []
    for entry in sorted(client.list_artifacts(run_id, directory), key=lambda one: one.path):
        found.append((entry.path, entry.is_dir, entry.file_size))
        if entry.is_dir:
            found += files(client, run_id, entry.path)
    return found


def contents(client: MlflowClient, run_id: str) -> dict[str, str]:
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        for path, is_dir, _ in files(client, run_id):
            if not is_dir:
                with open(client.download_artifacts(run_id, path, scratch), "rb") as file:
                    found[path] = hashlib.sha256(file.read()).hexdigest()
    return found


def shown(client: MlflowClient, run_id: str) -> dict[str, object]:
    run = client.get_run(run_id)
    info = run.info
    return {
        "info": [
            info.run_name,
            info.user_id,
            info.status,
            info.start_time,
            info.end_time,
            info.lifecycle_stage,
        ],
        "params": run.data.params,
        "tags": run.data.tags,
        "latest": {key: repr(value) for key, value in sorted(run.data.metrics.items())},
        "histories": {
            key: [(m.timestamp, m.step, repr(m.value)) for m in client.get_metric_history(run_id, key)]
            for key in sorted(run.data.metrics)
        },
        "files": files(client, run_id),
        "contents": contents(client, run_id),
    }


def answers(uri: str) -> dict[str, object]:
    mlflow.set_tracking_uri(uri)
    client = MlflowClient()
    found: dict[str, object] = {}
    for experiment in client.search_experiments(view_type=ViewType.ALL, order_by=["name ASC"]):
        ids = [experiment.experiment_id]
        runs = client.search_runs(ids, run_view_type=ViewType.ALL, order_by=["attributes.run_id ASC"])
        found[experiment.name] = {
            "is": [experiment.lifecycle_stage, experiment.tags],
            "runs": {run.info.run_id: shown(client, run.info.run_id) for run in runs},
            "searches": [
                [run.info.run_id for run in client.search_runs(ids, where, order_by=order)]
                for where, order in SEARCHES
            ],
            "stages": [
                sorted(run.info.run_id for run in client.search_runs(ids, run_view_type=view))
                for view in (ViewType.ACTIVE_ONLY, ViewType.DELETED_ONLY)
            ],
        }
    return found


for uri in sys.argv[1:]:
    print(json.dumps(answers(uri), sort_keys=True))
