"""A training script as people write it for MLflow, with one line of its imports changed. Run by test_tutorial.py.

Arguments: the service's URL, and a folder to work in. It prints one JSON object: the ids of its runs by what they are about.
"""

# mypy: disable-error-code="union-attr, misc, possibly-undefined"
# Written as its users write: a run that is known to be there is not asked for twice, and torch is not typed here.

import json
import math
import os
import sys
import time
import warnings
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 - as everybody writes it
import torchvision
from torch import nn

import ingest as mlflow

url, folder = sys.argv[1:]
os.chdir(folder)
runs = {}

# --- where runs go ----------------------------------------------------------------------------------------------------

assert mlflow.get_tracking_uri() == os.environ["MLFLOW_TRACKING_URI"]
mlflow.set_tracking_uri(url)
assert mlflow.get_tracking_uri() == url

# --- logging without a run: one is started ------------------------------------------------------------------------------

mlflow.log_param("trees", 12)
mlflow.log_param("depth", 4)
mlflow.log_params({"trees": 12, "depth": 4})
mlflow.log_metric("error", 900.0)
mlflow.log_metric("root", 30.0)
mlflow.log_metrics({"error": 625.0, "root": 25.0})
runs["implicit"] = mlflow.active_run().info.run_id

Path("data/more").mkdir(parents=True)
Path("data/settings.yaml").write_text("trees: 12\n")
Path("data/more/notes.txt").write_text("all of it")
mlflow.log_artifact("data/settings.yaml")
mlflow.log_artifacts("data", artifact_path="data")

small = torchvision.models.shufflenet_v2_x0_5(weights=None)
small.eval()
info = mlflow.pytorch.log_model(small, "model")
assert info.artifact_path == "model"
assert info.model_uri == f"runs:/{runs['implicit']}/model"
assert info.run_id == runs["implicit"]
assert {"pytorch", "python_function"} <= info.flavors.keys()
assert info.signature_dict is None
mlflow.end_run()
assert mlflow.active_run() is None

# --- explicit runs, implicit ones, with blocks ----------------------------------------------------------------------------

mlflow.start_run()
mlflow.log_param("mine", "param")
mlflow.log_metric("score", 100)
runs["explicit"] = mlflow.active_run().info.run_id
mlflow.end_run()

mlflow.log_param("mine", "param")
mlflow.log_metric("score", 100)
runs["again"] = mlflow.active_run().info.run_id
mlflow.end_run()

with mlflow.start_run() as run:
    mlflow.log_param("mine", "param")
    mlflow.log_metric("score", 100)
    runs["block"] = run.info.run_id

try:
    with mlflow.start_run() as run:
        runs["broken"] = run.info.run_id
        mlflow.log_metric("score", 1)
        raise RuntimeError("as training does")
except RuntimeError:
    pass
assert mlflow.active_run() is None

mlflow.start_run()
runs["killed"] = mlflow.active_run().info.run_id
mlflow.end_run("KILLED")

# --- steps and times --------------------------------------------------------------------------------------------------------

with mlflow.start_run() as run:
    runs["steps"] = run.info.run_id
    for epoch in range(3):
        mlflow.log_metric(key="quality", value=2 * epoch, step=epoch)
    for step in (1, 5, 75, -20):
        mlflow.log_metric("jumps", step / 2, step=step, timestamp=1_600_000_000_000 + step)

# --- a training from end to end, in an experiment of its own ---------------------------------------------------------------

mlflow.set_experiment("fashion")
BATCH, EPOCHS, DEVICE = 8, 3, "cuda" if torch.cuda.is_available() else "cpu"
torch.manual_seed(0)


class Images(torch.utils.data.Dataset):
    """Ten kinds of noise: a data set can't be downloaded here."""

    def __init__(self, count):
        self.images = torch.randn(count, 1, 32, 32)
        self.labels = torch.randint(0, 10, (count,))

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return self.images[index], self.labels[index]


training = torch.utils.data.DataLoader(Images(32), batch_size=BATCH, shuffle=True, num_workers=2)
validation = torch.utils.data.DataLoader(Images(16), batch_size=BATCH, shuffle=False, num_workers=2)

model = torchvision.models.efficientnet_b0(weights=None)
model.features[0][0] = nn.Conv2d(1, 32, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), bias=False)
model.classifier[1] = nn.Linear(1280, 10, bias=True)
model = model.to(DEVICE)
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.001)


def train_step(epoch):
    model.train()
    total_loss, total_right, began = 0.0, 0.0, time.time()
    for number, (inputs, labels) in enumerate(training):
        optimizer.zero_grad()
        outputs = model(inputs.to(DEVICE))
        loss = loss_fn(outputs, labels.to(DEVICE))
        loss.backward()
        optimizer.step()
        right = (F.softmax(outputs, dim=-1).argmax(-1) == labels).double().sum()
        step = math.ceil(epoch * len(training) / BATCH) + number
        mlflow.log_metric("Batch Accuracy", right.item() / BATCH, step=step)
        mlflow.log_metric("Loss", loss.item(), step=step)
        total_loss += loss.item()
        total_right += right.item()
    mlflow.log_metric("Train Accuracy", total_right / len(training), step=epoch)
    mlflow.log_metric("Average Loss", total_loss / len(training), step=epoch)
    mlflow.log_metric("Time Taken", time.time() - began, step=epoch)


def test_step(epoch):
    model.eval()
    right = sum((model(inputs).argmax(-1) == labels).sum().item() for inputs, labels in validation)
    mlflow.log_metric("Test Accuracy", right / 16, step=epoch)
    return right / 16


best_accuracy = -1.0
with mlflow.start_run() as run:
    runs["training"] = run.info.run_id
    mlflow.log_params(
        {
            "Batch Size": BATCH,
            "Epochs": EPOCHS,
            "Optimizer": "adam",
            "Learning Rate": 0.001,
            "GPU Used": DEVICE,
        }
    )
    for epoch in range(EPOCHS):
        train_step(epoch)
        with torch.no_grad():
            accuracy = test_step(epoch)
        if accuracy > best_accuracy:
            best_accuracy = accuracy
            mlflow.pytorch.log_model(model, artifact_path="best_model")
            best_state = {key: value.clone() for key, value in model.state_dict().items()}

# --- what was logged, by program ---------------------------------------------------------------------------------------------

assert mlflow.flush(60)
best = mlflow.pytorch.load_model(f"runs:/{runs['training']}/best_model")
assert type(best) is type(model)
assert all(torch.equal(value, best.state_dict()[key]) for key, value in best_state.items())

found = mlflow.search_runs(experiment_names=["fashion"])
assert found["run_id"].tolist() == [runs["training"]]
assert found["params.Batch Size"].tolist() == [str(BATCH)]
assert found["status"].tolist() == ["FINISHED"]

# --- a run inside a run ------------------------------------------------------------------------------------------------------

with mlflow.start_run(run_name="outer") as outer, mlflow.start_run(run_name="inner", nested=True) as inner:
    runs["outer"], runs["inner"] = outer.info.run_id, inner.info.run_id
    mlflow.set_tag("kind", "inner")

# --- what MLflow would cut, refuse or replace: only where `mlflow` is ours ------------------------------------------------------

with mlflow.start_run():
    try:
        mlflow.start_run()
    except mlflow.RunAlreadyActive as error:
        assert "already active" in str(error)
    else:
        raise AssertionError("a second run started inside the first")
    mlflow.log_param("once", 1)
    mlflow.log_param("once", 1)
    runs["params"] = mlflow.active_run().info.run_id
    mlflow.log_params({f"p{n}": "x" * 2000 for n in range(300)})
    mlflow.log_metrics({f"m{n}": n for n in range(1500)})
    mlflow.log_metric("endless", float("inf"))
    mlflow.set_tag("long", "t" * 20_000)
    warnings.simplefilter("ignore")
    mlflow.log_param("once", 2)

print(json.dumps(runs))
