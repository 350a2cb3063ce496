"""Autologging by the stock client: scikit-learn, and PyTorch Lightning with its checkpoint of a model."""

import logging
import warnings

import mlflow
import numpy as np
import torch
from sklearn.ensemble import RandomForestRegressor

warnings.simplefilter("ignore")
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
import pytorch_lightning as lightning  # noqa: E402

mlflow.set_experiment("autolog")

mlflow.sklearn.autolog(log_models=False)
rng = np.random.default_rng(0)
x, y = rng.random((40, 3)), rng.random(40)
with mlflow.start_run() as run:
    RandomForestRegressor(n_estimators=3, max_depth=2).fit(x, y)
data = mlflow.get_run(run.info.run_id).data
assert data.params["n_estimators"] == "3", data.params
assert "training_mean_squared_error" in data.metrics, data.metrics
assert data.tags["estimator_name"] == "RandomForestRegressor"
inputs = mlflow.get_run(run.info.run_id).inputs.dataset_inputs
assert [(tag.key, tag.value) for tag in inputs[0].tags] == [("mlflow.data.context", "train")]

mlflow.sklearn.autolog(log_models=True, registered_model_name="forest")
forest = RandomForestRegressor(n_estimators=4, max_depth=2, random_state=0)
with mlflow.start_run() as run:
    forest.fit(x, y)
wanted = forest.predict(x)
assert np.allclose(mlflow.sklearn.load_model(f"runs:/{run.info.run_id}/model").predict(x), wanted)
assert np.allclose(mlflow.pyfunc.load_model("models:/forest/1").predict(x), wanted)
assert mlflow.MlflowClient().get_model_version("forest", "1").run_id == run.info.run_id
mlflow.sklearn.autolog(disable=True)


class Net(lightning.LightningModule):  # type: ignore[misc]  # the library is not typed for mypy here
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 1)

    def forward(self, batch):
        return self.layer(batch)

    def training_step(self, batch, index):
        loss = self(batch[0]).pow(2).mean()
        self.log("loss", loss, on_step=True, on_epoch=True)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


mlflow.pytorch.autolog(log_models=False, log_every_n_step=1)
loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.rand(32, 3)), batch_size=8)
trainer = lightning.Trainer(
    max_epochs=3, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
    enable_checkpointing=False, log_every_n_steps=1,
)  # fmt: skip
with mlflow.start_run() as run:
    trainer.fit(Net(), loader)
client = mlflow.MlflowClient()
data = client.get_run(run.info.run_id).data
assert data.params["optimizer_name"] == "SGD", data.params
assert len(client.get_metric_history(run.info.run_id, "loss_epoch")) == 3, data.metrics
assert len(client.get_metric_history(run.info.run_id, "loss_step")) >= 3
found = mlflow.search_runs(experiment_names=["autolog"], filter_string="params.n_estimators = '3'")
assert len(found) == 1
print(run.info.run_id)
