"""A training script as people write it against MLflow: a classifier, its params, curves, pictures, model and registration."""

import tempfile
from pathlib import Path

import matplotlib as mpl
import mlflow
import mlflow.pytorch
import torch
from mlflow import MlflowClient

mpl.use("Agg")
import matplotlib.pyplot as plt

IS_3 = mlflow.__version__.startswith("3.")
torch.manual_seed(0)


class Classifier(torch.nn.Module):  # type: ignore[misc]  # torch is Any to mypy here
    def __init__(self, hidden=16):
        super().__init__()
        self.body = torch.nn.Sequential(
            torch.nn.Linear(8, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 3)
        )

    def forward(self, images):
        return self.body(images)


def epoch(model, data, labels, optimizer=None):
    logits = model(data)
    loss = torch.nn.functional.cross_entropy(logits, labels)
    if optimizer is not None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item(), (logits.argmax(1) == labels).float().mean().item()


images = torch.rand(96, 8)
labels = images[:, :3].argmax(1)
train, held_out = (images[:64], labels[:64]), (images[64:], labels[64:])

mlflow.set_experiment("classifiers")
for lr in (0.01, 0.1):
    with mlflow.start_run(run_name=f"lr-{lr}") as run:
        mlflow.set_tag("task", "shapes")
        mlflow.log_params({"lr": lr, "epochs": 12, "hidden": 16, "optimizer": "Adam"})
        model = Classifier()
        optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        losses = []
        for i in range(12):
            loss, accuracy = epoch(model, *train, optimizer)
            losses.append(loss)
            mlflow.log_metrics({"train_loss": loss, "train_acc": accuracy}, step=i)
            with torch.no_grad():
                loss, accuracy = epoch(model, *held_out)
            mlflow.log_metric("val_loss", loss, step=i)
            mlflow.log_metric("val_acc", accuracy, step=i)
        figure, axes = plt.subplots()
        axes.plot(losses)
        mlflow.log_figure(figure, "plots/loss.png")
        plt.close(figure)
        with tempfile.TemporaryDirectory() as scratch:
            report = Path(scratch) / "report.txt"
            report.write_text(f"final loss {losses[-1]}\n")
            mlflow.log_artifact(str(report), artifact_path="reports")
        mlflow.log_dict({"classes": ["a", "b", "c"]}, "classes.json")
        where = {"name": "model"} if IS_3 else {"artifact_path": "model"}
        mlflow.pytorch.log_model(model, **where, input_example=images[:2].numpy(), pip_requirements=["torch"])

client = MlflowClient()
experiment = client.get_experiment_by_name("classifiers")
runs = mlflow.search_runs([experiment.experiment_id], order_by=["metrics.val_acc DESC"])
assert sorted(runs["params.lr"]) == ["0.01", "0.1"]
best = runs.iloc[0].run_id
assert [p for p in client.get_metric_history(best, "val_loss") if p.step == 11]
assert len(client.get_metric_history(best, "train_loss")) == 12
names = {f.path for f in client.list_artifacts(best)}
assert {"plots", "reports", "classes.json"} <= names, names
assert mlflow.artifacts.load_dict(f"runs:/{best}/classes.json") == {"classes": ["a", "b", "c"]}
assert mlflow.artifacts.load_text(f"runs:/{best}/reports/report.txt").startswith("final loss")

version = mlflow.register_model(f"runs:/{best}/model", "classifier")
client.set_registered_model_alias("classifier", "best", version.version)
again = mlflow.pytorch.load_model("models:/classifier@best")
with torch.no_grad():
    scores = again(images[:2])
assert scores.shape == (2, 3)
print(best)
