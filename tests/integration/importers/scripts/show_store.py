"""Ask servers everything that an import carries over, by MLflow's own client: one line of JSON each. Arguments: tracking URIs."""

import hashlib
import json
import sys
import tempfile
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import ViewType
from mlflow.entities.model_registry import ModelVersion

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
        "datasets": sorted(
            [
                json.dumps([dict(one.dataset), {tag.key: tag.value for tag in one.tags}], sort_keys=True)
                for one in run.inputs.dataset_inputs
            ]
        ),
        "read": [one.model_id for one in getattr(run.inputs, "model_inputs", None) or []],
        "made": sorted(
            (one.model_id, one.step)
            for one in getattr(getattr(run, "outputs", None), "model_outputs", None) or []
        ),
        "files": files(client, run_id),
        "contents": contents(client, run_id),
    }


def models(client: MlflowClient, experiment_id: str) -> list[dict[str, object]]:
    if not hasattr(client, "search_logged_models"):
        return []
    return [
        {
            "is": [one.model_id, one.name, one.model_type, str(one.status), one.source_run_id],
            "times": [one.creation_timestamp, one.last_updated_timestamp],
            "params": one.params,
            "tags": one.tags,
            "metrics": sorted(
                repr((m.key, m.step, m.timestamp, m.value, m.run_id, m.dataset_name, m.dataset_digest))
                for m in one.metrics or []
            ),
        }
        for one in client.search_logged_models([experiment_id])
    ]


def registry(client: MlflowClient) -> dict[str, object]:
    """All but the sources of versions: each server has its own locations."""
    found: dict[str, object] = {}
    for name in client.search_registered_models():
        # One by one: MLflow's search leaves the aliases of versions out.
        numbers = [one.version for one in client.search_model_versions(f"name = '{name.name}'")]
        versions = [client.get_model_version(name.name, number) for number in numbers]
        found[name.name] = {
            "is": [name.description or "", name.creation_timestamp, name.last_updated_timestamp, name.tags],
            "aliases": {alias: str(version) for alias, version in name.aliases.items()},
            "versions": {
                str(one.version): [
                    one.description or "", one.current_stage, one.run_id or "", one.run_link or "",
                    one.creation_timestamp, one.last_updated_timestamp, one.tags, sorted(one.aliases),
                ]
                for one in versions
            },
            "files": {str(one.version): files_of_version(one) for one in versions if one.run_id},
        }  # fmt: skip
    return found


def files_of_version(version: ModelVersion) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as scratch:
        uri = f"models:/{version.name}/{version.version}"
        root = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=scratch))
        return {
            path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(root.rglob("*"))
            if path.is_file() and path.name != "registered_model_meta"  # MLflow's client adds it
        }


def answers(uri: str) -> dict[str, object]:
    mlflow.set_tracking_uri(uri)
    client = MlflowClient()
    found: dict[str, object] = {"registry": registry(client)}
    for experiment in client.search_experiments(view_type=ViewType.ALL, order_by=["name ASC"]):
        ids = [experiment.experiment_id]
        runs = client.search_runs(ids, run_view_type=ViewType.ALL, order_by=["attributes.run_id ASC"])
        found[experiment.name] = {
            "is": [experiment.lifecycle_stage, experiment.tags],
            "models": models(client, experiment.experiment_id),
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
