"""Fill a store of MLflow's with what is hard to carry over, by MLflow itself. Arguments: tracking URI, artifact folder.

The last line says what MLflow then tells of it, as JSON: `runs`, `datasets`, `models` with `points`, `registry`, `versions`.
"""

import json
import math
import sys
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric

uri, folder = sys.argv[1:3]
mlflow.set_tracking_uri(uri)  # the registry looks up models there, whatever its client was given
client = MlflowClient(uri)
has_models = hasattr(client, "create_logged_model")
# A file store keeps artifacts where it is, a server takes them in; databases are told a place.
place = None if uri.startswith(("file:", "http:")) else f"file://{folder}/artifacts"
vision = client.create_experiment("vision: ünï", artifact_location=place, tags={"team": "a b"})
run = client.create_run(vision, run_name='first: "x"', start_time=1_700_000_000_123).info.run_id
for step, value in ((5, 0.1), (5, 0.2), (-3, 0.3), (2**40, 1e-300), (0, -0.0)):
    client.log_metric(run, "train/loss", value, timestamp=1_700_000_000_200 + abs(step) % 7, step=step)
client.log_metric(run, "weird", math.nan, timestamp=1, step=1)
client.log_metric(run, "weird", math.inf, timestamp=2, step=2)
for first in range(0, 3_000, 1_000):
    points = [Metric("long", i / 7, 1_700_000_001_000 + i, i) for i in range(first, first + 1_000)]
    client.log_batch(run, metrics=points)
client.log_param(run, "lr", "0.1")
client.log_param(run, "a/b c", "line 1\nline 2\n")
client.log_param(run, "text", "ä" * 100)
client.set_tag(run, "note", " é\nb ")
client.set_tag(run, "mlflow.note.content", "# Title")
Path(folder, "model.bin").write_bytes(bytes(range(256)) * 1000)
client.log_artifact(run, str(Path(folder, "model.bin")), "sub/dir")
train = Dataset("train é", "d1", "local", '{"uri": "a b"}', schema='{"x": "long"}', profile='{"rows": 3}')
plain = Dataset("plain", "d2", "code", "{}")
tags = [InputTag("mlflow.data.context", "training"), InputTag("part", "1/2")]
client.log_inputs(run, [DatasetInput(train, tags), DatasetInput(plain, [])])
child = client.create_run(vision, run_name="child", tags={"mlflow.parentRunId": run}).info.run_id
client.log_metric(child, "m", 2.0)
client.log_inputs(child, [DatasetInput(plain, [InputTag("mlflow.data.context", "eval")])])
deleted = client.create_run(vision, run_name="deleted").info.run_id
client.log_inputs(deleted, [DatasetInput(train, [])])


def add_models() -> tuple[list[str], list[list[object]]]:
    """A model with everything, one that never got ready, one that was deleted."""
    from mlflow.entities import LoggedModelInput, LoggedModelOutput

    whole = client.create_logged_model(
        vision, "net é", source_run_id=run, tags={"a": "b\nc"}, params={"lr": "0.1"}, model_type="agent"
    ).model_id
    open_one = client.create_logged_model(vision, "unfinished").model_id
    gone_one = client.create_logged_model(vision, "gone", source_run_id=run).model_id
    points = [
        ["acc", 0, 4, 0.1, "plain", "d2"],  # MLflow reads back every step as 0 where a file names a data set
        ["acc", 4, 9, 1e-300, None, None],
        ["a/b", -5, 4, 2.5, None, None],
    ]
    for key, step, time_ms, value, name, digest in points:
        client.log_metric(
            run, key, value, timestamp=time_ms, step=step, model_id=whole, dataset_name=name, dataset_digest=digest
        )  # fmt: skip
    Path(folder, "weights.bin").write_bytes(b"weights" * 1000)
    client.log_model_artifact(whole, str(Path(folder, "weights.bin")), "deep")
    client.log_model_params(whole, {"depth": "3"})
    client.set_logged_model_tags(whole, {"later": "ü"})
    client.finalize_logged_model(whole, "READY")
    client.finalize_logged_model(gone_one, "FAILED")
    client.log_outputs(run, [LoggedModelOutput(whole, 7), LoggedModelOutput(gone_one, 0)])
    client.log_inputs(child, models=[LoggedModelInput(whole)])
    client.delete_logged_model(gone_one)
    return [whole, open_one, gone_one], [[whole, run, *point] for point in points]


def shown_model(model_id: str) -> list[object]:
    found = client.get_logged_model(model_id)
    return [
        found.name, found.model_type or None, found.source_run_id or None, str(found.status), found.creation_timestamp,
        found.last_updated_timestamp, found.params or {}, found.tags or {},
    ]  # fmt: skip


def add_registry(model_id: str | None) -> tuple[list[list[object]], list[list[object]]]:
    """Two names, one of them with versions of a run, of a model, and one that was deleted."""
    best = "best é"
    client.create_registered_model(best, tags={"t": "u"}, description="of all\n")
    client.create_registered_model("empty")
    files = client.get_run(run).info.artifact_uri + "/sub/dir"
    client.create_model_version(
        best, files, run_id=run, tags={"v": "w"}, description="first", run_link="http://l"
    )
    if model_id is None:
        client.create_model_version(best, files, run_id=run)
    else:
        client.create_model_version(best, f"models:/{model_id}", model_id=model_id)
    client.create_model_version(best, "s3://bucket/x", tags={})
    client.create_model_version(best, files, run_id=run)
    client.delete_model_version(best, "4")
    client.transition_model_version_stage(best, "1", "Staging")
    client.set_registered_model_alias(best, "champion", "2")
    client.set_registered_model_alias(best, "old-one", "1")
    names = [client.get_registered_model(name) for name in (best, "empty")]
    versions = [client.get_model_version(best, str(number)) for number in (1, 2, 3)]
    return [
        [one.name, one.description or None, one.creation_timestamp, one.last_updated_timestamp, one.tags,
         {alias: int(version) for alias, version in one.aliases.items()}]
        for one in names
    ], [
        [int(one.version), one.description or None, one.run_id or None, one.run_link or None, one.current_stage,
         one.creation_timestamp, one.last_updated_timestamp, one.tags]
        for one in versions
    ]  # fmt: skip


def shown(run_id: str) -> dict[str, object]:
    found = client.get_run(run_id)
    return {
        "info": [
            found.info.run_name,
            found.info.status,
            found.info.start_time,
            found.info.end_time,
            found.info.lifecycle_stage,
        ],
        "params": found.data.params,
        "tags": {k: v for k, v in found.data.tags.items() if k != "mlflow.runName"},
        "metrics": {
            key: sorted((m.timestamp, m.step, repr(m.value)) for m in client.get_metric_history(run_id, key))
            for key in found.data.metrics
        },
    }


def shown_datasets(run_id: str) -> list[list[object]]:
    return sorted(
        [
            one.dataset.name, one.dataset.digest, one.dataset.source_type, one.dataset.source, one.dataset.schema,
            one.dataset.profile, {tag.key: tag.value for tag in one.tags},
        ]
        for one in client.get_run(run_id).inputs.dataset_inputs
    )  # fmt: skip


model_ids, model_points = add_models() if has_models else ([], [])
names, versions = add_registry(model_ids[0] if has_models else None)
models = {one: shown_model(one) for one in model_ids[:2]} | dict.fromkeys(model_ids[2:])
client.set_terminated(run, "FAILED", end_time=1_700_000_009_999)
client.set_terminated(deleted, "KILLED")
datasets = {one: shown_datasets(one) for one in (run, child, deleted)}
client.delete_run(deleted)
gone = client.create_experiment("gone", artifact_location=place)
client.create_run(gone, run_name="of gone")
client.delete_experiment(gone)
if hasattr(client, "register_prompt"):
    client.register_prompt("greeting", "Hello {{name}}")
print(
    json.dumps(
        {
            "runs": {one: shown(one) for one in (run, child, deleted)},
            "datasets": datasets,
            "models": models,
            "points": model_points,
            "names": names,
            "versions": versions,
        },
        default=dict,
    )
)
