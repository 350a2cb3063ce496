"""Artifacts by the stock client: every way to log a file, lists, downloads, deletion; all through the service."""

import json
import os
import random
import tempfile
from pathlib import Path

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

client = MlflowClient()
here = Path(tempfile.mkdtemp(prefix="artifacts-"))
(here / "dir" / "sub").mkdir(parents=True)
(here / "weights.bin").write_bytes(random.Random(1).randbytes(30_000_000))
(here / "dir" / "a.txt").write_text("eins")
(here / "dir" / "sub" / "ü b.txt").write_text("zwei")
(here / "dir" / "empty").touch()

mlflow.set_experiment("files")
with mlflow.start_run() as run:
    mlflow.log_artifact(str(here / "weights.bin"))
    mlflow.log_artifact(str(here / "weights.bin"), "model/data")
    mlflow.log_artifacts(str(here / "dir"), "tree")
    mlflow.log_text("Grüße", "notes/hello.txt")
    mlflow.log_dict({"lr": 0.1, "layers": [1, 2]}, "config.json")
    mlflow.log_dict({"lr": 0.1}, "config.yaml")
    for loss in (0.5, 0.25):
        mlflow.log_table({"step": [1], "loss": [loss]}, "table.json")
    mlflow.log_image(np.zeros((8, 8, 3), dtype="uint8"), "black.png")
    # MLflow 2 makes a # of the slash, and its own URL ends there; it also takes the %23 of step 23 for one.
    key, steps = ("dashboard/grey", (0, 23)) if mlflow.__version__ > "3" else ("grey", (0, 7))
    for step in steps:
        mlflow.log_image(np.full((8, 8), 0.5), key=key, step=step, synchronous=True)
run_id = run.info.run_id
assert run.info.artifact_uri == f"mlflow-artifacts:/{run.info.experiment_id}/{run_id}/artifacts"

# Lists
listed = {one.path: (one.is_dir, one.file_size) for one in client.list_artifacts(run_id)}
assert listed["weights.bin"] == (False, 30_000_000)
assert listed["tree"] == (True, None)
assert {"model", "notes", "config.json", "config.yaml", "table.json"} <= set(listed)
assert [one.path for one in client.list_artifacts(run_id, "tree")] == ["tree/a.txt", "tree/empty", "tree/sub"]
assert client.list_artifacts(run_id, "tree/a.txt") == []
assert client.list_artifacts(run_id, "nothing") == []

# Downloads
uri = f"runs:/{run_id}"
found = Path(mlflow.artifacts.download_artifacts(f"{uri}/model/data/weights.bin", dst_path=str(here)))
assert found.read_bytes() == (here / "weights.bin").read_bytes()
tree = Path(client.download_artifacts(run_id, "tree", str(here)))
assert (tree / "sub" / "ü b.txt").read_text() == "zwei"
assert (tree / "empty").read_bytes() == b""
assert mlflow.artifacts.load_text(f"{uri}/notes/hello.txt") == "Grüße"
assert mlflow.artifacts.load_dict(f"{uri}/config.json") == {"lr": 0.1, "layers": [1, 2]}
assert json.loads(mlflow.artifacts.load_text(f"{uri}/table.json"))["data"] == [[1, 0.5], [1, 0.25]]
assert list(mlflow.load_table("table.json", run_ids=[run_id])["loss"]) == [0.5, 0.25]
assert mlflow.artifacts.load_image(f"{uri}/black.png").size == (8, 8)
images = client.list_artifacts(run_id, "images")
assert len(images) == 4, images
for image in images:
    assert os.path.getsize(client.download_artifacts(run_id, image.path, str(here)))

# Overwriting, and what is not there
mlflow.set_tracking_uri(mlflow.get_tracking_uri())
client.log_text(run_id, "two", "notes/hello.txt")
assert mlflow.artifacts.load_text(f"{uri}/notes/hello.txt") == "two"
try:
    client.download_artifacts(run_id, "nothing.txt", str(here))
except (MlflowException, OSError) as error:
    assert "nothing.txt" in str(error), error
else:
    raise AssertionError("a file that is not there was downloaded")

# Deletion
repository = get_artifact_repository(run.info.artifact_uri)
repository.delete_artifacts("tree/sub")
assert [one.path for one in client.list_artifacts(run_id, "tree")] == ["tree/a.txt", "tree/empty"]
repository.delete_artifacts("weights.bin")
assert "weights.bin" not in [one.path for one in client.list_artifacts(run_id)]

print(run_id)
