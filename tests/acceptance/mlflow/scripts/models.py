"""Models by the stock client of MLflow 3 and 2: PyTorch and scikit-learn flavours, the registry, every method of models."""

import warnings

import mlflow
import mlflow.pytorch
import mlflow.sklearn
import numpy as np
import torch
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sklearn.linear_model import LinearRegression

warnings.simplefilter("ignore")
IS_3 = mlflow.__version__.startswith("3.")
client = MlflowClient()
mlflow.set_experiment("models")
torch.manual_seed(1)
net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
sample = torch.rand(5, 3)
wanted = net(sample).detach().numpy()


def same(model):
    return np.allclose(model(sample).detach().numpy(), wanted)


def named(name):
    return {"name": name} if IS_3 else {"artifact_path": name}


PICKLED = {"serialization_format": "pickle"} if IS_3 else {}

with mlflow.start_run() as run:
    mlflow.log_params({"lr": 0.1})
    for step in range(20):
        mlflow.log_metric("loss", 1 / (step + 1), step=step)
    info = mlflow.pytorch.log_model(
        net, **named("net"), input_example=sample.numpy(), pip_requirements=["torch"]
    )
run_id = run.info.run_id
assert same(mlflow.pytorch.load_model(f"runs:/{run_id}/net"))
assert same(mlflow.pytorch.load_model(info.model_uri))
try:
    mlflow.pytorch.load_model(f"runs:/{run_id}/nothing")
except (MlflowException, OSError):
    pass
else:
    raise AssertionError("there is no such model")

# The registry, from the client's own functions
first = mlflow.register_model(f"runs:/{run_id}/net", "vision.net")
assert (first.version, first.status) in {("1", "READY"), (1, "READY")}, first
client.set_registered_model_alias("vision.net", "champion", "1")
assert same(mlflow.pytorch.load_model("models:/vision.net/1"))
assert same(mlflow.pytorch.load_model("models:/vision.net@champion"))
client.transition_model_version_stage("vision.net", "1", "Production")
assert same(mlflow.pytorch.load_model("models:/vision.net/Production"))
assert client.get_model_version_by_alias("vision.net", "champion").run_id == run_id
copied = client.copy_model_version("models:/vision.net/1", "vision.copy")
assert same(mlflow.pytorch.load_model(f"models:/vision.copy/{copied.version}"))
assert client.get_model_version_download_uri("vision.copy", "1") == client.get_model_version_download_uri(
    "vision.net", "1"
)

client.update_registered_model("vision.net", "sees things")
client.set_registered_model_tag("vision.net", "team", "a")
client.set_model_version_tag("vision.net", "1", "checked", "yes")
client.update_model_version("vision.net", "1", "the first")
found = client.get_registered_model("vision.net")
assert (found.description, found.tags, found.aliases) == ("sees things", {"team": "a"}, {"champion": "1"}), (
    found
)
version = client.get_model_version("vision.net", "1")
assert (version.description, version.tags, version.current_stage) == (
    "the first",
    {"checked": "yes"},
    "Production",
)
assert [m.name for m in client.search_registered_models("name LIKE 'vision%'")] == [
    "vision.copy",
    "vision.net",
]
assert [m.name for m in client.search_registered_models(order_by=["name DESC"], max_results=1)] == [
    "vision.net"
]
assert len(client.search_model_versions(f"run_id = '{run_id}'")) == 2
assert [v.version for v in client.get_latest_versions("vision.net", ["Production"])] == ["1"]
client.delete_registered_model_alias("vision.net", "champion")
client.delete_registered_model_tag("vision.net", "team")
client.delete_model_version_tag("vision.net", "1", "checked")
try:
    client.get_model_version_by_alias("vision.net", "champion")
except MlflowException as error:
    assert error.error_code == "INVALID_PARAMETER_VALUE"
client.rename_registered_model("vision.copy", "vision.other")
assert client.get_model_version("vision.other", "1").source
client.delete_model_version("vision.other", "1")
client.delete_registered_model("vision.other")
assert [m.name for m in client.search_registered_models()] == ["vision.net"]

# scikit-learn, registered as it is logged
line = LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0])
with mlflow.start_run():
    mlflow.sklearn.log_model(
        line,
        **named("line"),
        registered_model_name="line",
        input_example=np.array([[1.0]]),
        pip_requirements=["scikit-learn"],
        **PICKLED,
    )
assert round(float(mlflow.sklearn.load_model("models:/line/1").predict([[2.0]])[0]), 6) == 4
assert mlflow.pyfunc.load_model("models:/line/1").predict(np.array([[3.0]])).round(6).tolist() == [6]

if IS_3:
    # Logged models: what MLflow 3 adds
    model_id = info.model_id
    model = mlflow.get_logged_model(model_id)
    assert (model.name, str(model.status), model.source_run_id) == ("net", "READY", run_id), model
    assert model.params["lr"] == "0.1"
    assert [(m.key, m.value) for m in model.metrics] == [("loss", 1.0)], "the points of the model's step"
    assert same(mlflow.pytorch.load_model(f"models:/{model_id}"))
    assert [o.model_id for o in mlflow.get_run(run_id).outputs.model_outputs] == [model_id]

    data = mlflow.data.from_numpy(np.arange(3.0), name="holdout")
    with mlflow.start_run() as other:
        mlflow.log_input(data, context="test", model=mlflow.entities.LoggedModelInput(model_id))
        mlflow.log_metrics({"acc": 0.9, "f1": 0.8}, step=1, model_id=model_id, dataset=data)
        mlflow.log_metric("acc", 0.95, step=2, model_id=model_id, dataset=data)
    assert [i.model_id for i in mlflow.get_run(other.info.run_id).inputs.model_inputs] == [model_id]
    model = mlflow.get_logged_model(model_id)
    assert {(m.key, m.value, m.dataset_name) for m in model.metrics} == {
        ("loss", 1.0, None), ("acc", 0.9, "holdout"), ("f1", 0.8, "holdout"), ("acc", 0.95, "holdout"),
    }  # fmt: skip

    empty = client.create_logged_model(
        model.experiment_id, name="empty", tags={"t": "1"}, params={"a": "b"}, model_type="agent"
    )
    assert str(client.finalize_logged_model(empty.model_id, "FAILED").status) == "FAILED"
    client.set_logged_model_tags(empty.model_id, {"u": "2", "v/w": "3"})
    client.delete_logged_model_tag(empty.model_id, "t")
    client.log_model_params(empty.model_id, {"c": "d"})
    again = client.get_logged_model(empty.model_id)
    assert (again.tags, again.params, again.model_type) == (
        {"u": "2", "v/w": "3"},
        {"a": "b", "c": "d"},
        "agent",
    )
    best = mlflow.search_logged_models(
        [model.experiment_id], "metrics.acc > 0.9", datasets=[{"dataset_name": "holdout"}],
        order_by=[{"field_name": "metrics.acc", "ascending": False}], output_format="list",
    )  # fmt: skip
    assert [m.model_id for m in best] == [model_id]
    assert len(mlflow.search_logged_models([model.experiment_id], output_format="list")) == 3
    assert [m.name for m in client.search_logged_models([model.experiment_id], max_results=1)] == ["empty"]
    client.delete_logged_model(empty.model_id)
    try:
        client.get_logged_model(empty.model_id)
    except MlflowException as error:
        assert error.error_code == "RESOURCE_DOES_NOT_EXIST"

    external = mlflow.create_external_model(name="outside")
    assert str(mlflow.initialize_logged_model(name="later").status) == "PENDING"
    assert external.name == "outside"

print(run_id)
