"""Fill a store of MLflow's with what is hard to carry over, by MLflow itself. Arguments: tracking URI, artifact folder."""

import json
import math
import sys
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric

uri, folder = sys.argv[1:3]
client = MlflowClient(uri)
# A file store keeps artifacts where it is; others are told a place.
place = None if uri.startswith("file:") else f"file://{folder}/artifacts"
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
client.set_terminated(run, "FAILED", end_time=1_700_000_009_999)
child = client.create_run(vision, run_name="child", tags={"mlflow.parentRunId": run}).info.run_id
client.log_metric(child, "m", 2.0)
deleted = client.create_run(vision, run_name="deleted").info.run_id
client.set_terminated(deleted, "KILLED")
client.delete_run(deleted)
gone = client.create_experiment("gone", artifact_location=place)
client.create_run(gone, run_name="of gone")
client.delete_experiment(gone)


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


print(json.dumps({one: shown(one) for one in (run, child, deleted)}))
