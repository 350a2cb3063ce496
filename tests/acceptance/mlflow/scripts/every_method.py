"""Each public method of MlflowClient that is in scope is called and its effect looked at; one that is forgotten ends the script.

What the client offers is asked of the client, so a method that a new version brings fails here until it is called or out of scope.
"""

import io
import os
import re
import tempfile
import warnings

import mlflow
import numpy as np
from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.entities import DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException

warnings.simplefilter("ignore")

OUT_OF_SCOPE = re.compile(
    r"prompt|trace|_span$|assessment|mcp_|"  # GenAI
    r"webhook|workspace|"  # of MLflow's own server
    r"^(add_dataset_to_experiments|remove_dataset_from_experiments)$|"
    r"^(create|delete|get|search)_datasets?$|^(delete_dataset_tag|set_dataset_tags)$"  # evaluation sets of GenAI
)
OFFERED = {
    name for name in dir(MlflowClient) if not name.startswith("_") and not OUT_OF_SCOPE.search(name)
}  # fmt: skip
called: set[str] = set()


class Noted:
    """The client; notes what is asked of it by this script, not what its methods ask of each other."""

    def __init__(self, of):
        self._of = of

    def __getattr__(self, name):
        called.add(name)
        return getattr(self._of, name)


client = Noted(MlflowClient())


def has(name):
    return name in OFFERED


def missing(call, *arguments):
    try:
        call(*arguments)
    except MlflowException as error:
        assert error.error_code == "RESOURCE_DOES_NOT_EXIST", error
    else:
        raise AssertionError(f"{call} found what is gone")


def paths(entries):
    return sorted(entry.path for entry in entries)


# Experiments
assert client.tracking_uri == os.environ["MLFLOW_TRACKING_URI"]
experiment = client.create_experiment("every", tags={"a": "1"})
client.set_experiment_tag(experiment, "b", "2")
if has("delete_experiment_tag"):
    client.delete_experiment_tag(experiment, "a")
    assert client.get_experiment(experiment).tags.keys() == {"b"}
client.rename_experiment(experiment, "each")
assert client.get_experiment_by_name("each").experiment_id == experiment
assert [e.name for e in client.search_experiments(filter_string="name = 'each'")] == ["each"]
client.delete_experiment(experiment)
assert client.get_experiment(experiment).lifecycle_stage == "deleted"
client.restore_experiment(experiment)
assert client.get_experiment(experiment).lifecycle_stage == "active"

# Runs
parent = client.create_run(experiment, run_name="parent").info.run_id
run_id = client.create_run(experiment, tags={"mlflow.parentRunId": parent}).info.run_id
assert client.get_parent_run(run_id).info.run_id == parent
assert client.get_parent_run(parent) is None
client.log_metric(run_id, "loss", 0.5, timestamp=10, step=1)
client.log_batch(run_id, [Metric("loss", 0.25, 20, 2)], [Param("p", "1")], [RunTag("t", "x")])
client.log_param(run_id, "q", "2")
client.set_tag(run_id, "u", "y")
client.delete_tag(run_id, "t")
found = client.get_run(run_id)
assert (found.data.metrics, found.data.params) == ({"loss": 0.25}, {"p": "1", "q": "2"}), found.data
assert found.data.tags["u"] == "y"
assert "t" not in found.data.tags
assert [(m.step, m.timestamp, m.value) for m in client.get_metric_history(run_id, "loss")] == [
    (1, 10, 0.5),
    (2, 20, 0.25),
]
client.update_run(run_id, name="child")
assert [r.info.run_id for r in client.search_runs([experiment], "attributes.run_name = 'child'")] == [run_id]
client.set_terminated(run_id, "FINISHED", end_time=99)
assert (client.get_run(run_id).info.status, client.get_run(run_id).info.end_time) == ("FINISHED", 99)
client.delete_run(run_id)
assert client.get_run(run_id).info.lifecycle_stage == "deleted"
client.restore_run(run_id)
assert client.get_run(run_id).info.lifecycle_stage == "active"
data = mlflow.data.from_numpy(np.arange(3.0), name="numbers")._to_mlflow_entity()
client.log_inputs(run_id, [DatasetInput(data, [InputTag("mlflow.data.context", "train")])])
(given,) = client.get_run(run_id).inputs.dataset_inputs
assert (given.dataset.name, given.dataset.digest) == ("numbers", data.digest)

# Artifacts
with tempfile.TemporaryDirectory() as scratch:
    one = os.path.join(scratch, "one.txt")
    with open(one, "w") as file:
        file.write("one")
    client.log_artifact(run_id, one, "files")
    client.log_artifacts(run_id, scratch, "folder")
    figure = Figure()
    figure.add_subplot().plot([1, 2])
    client.log_figure(run_id, figure, "figure.png")
    client.log_image(run_id, np.zeros((4, 4, 3), dtype=np.uint8), "image.png")
    client.log_text(run_id, "text", "text.txt")
    client.log_dict(run_id, {"k": [1]}, "dict.json")
    client.log_table(run_id, {"n": [1, 2]}, "table.json")
    wanted = ["dict.json", "figure.png", "files", "folder", "image.png", "table.json", "text.txt"]
    if has("log_stream"):
        client.log_stream(run_id, io.BytesIO(b"stream"), "stream.bin")
        wanted = sorted([*wanted, "stream.bin"])
    assert paths(client.list_artifacts(run_id)) == wanted, paths(client.list_artifacts(run_id))
    assert paths(client.list_artifacts(run_id, "folder")) == ["folder/one.txt"]
    down = client.download_artifacts(run_id, "", tempfile.mkdtemp(dir=scratch))

    def content(name):
        with open(os.path.join(down, name), "rb") as file:
            return file.read()

    assert (content("files/one.txt"), content("folder/one.txt"), content("text.txt")) == (
        b"one",
        b"one",
        b"text",
    )
    assert content("figure.png").startswith(b"\x89PNG")
    assert content("image.png").startswith(b"\x89PNG")
    assert b'"k"' in content("dict.json")
    if has("log_stream"):
        assert content("stream.bin") == b"stream"
assert client.load_table(experiment, "table.json", [run_id])["n"].tolist() == [1, 2]

# Registry
client.create_registered_model("net", {"a": "1"}, "first words")
source = f"{client.get_run(run_id).info.artifact_uri}/folder"
version = client.create_model_version("net", source, run_id, tags={"v": "1"}).version
client.update_registered_model("net", "other words")
client.set_registered_model_tag("net", "b", "2")
client.delete_registered_model_tag("net", "a")
client.set_registered_model_alias("net", "best", version)
found = client.get_registered_model("net")
assert (found.description, found.tags, list(found.aliases)) == ("other words", {"b": "2"}, ["best"]), found
assert client.get_model_version_by_alias("net", "best").version == version
client.delete_registered_model_alias("net", "best")
assert not client.get_registered_model("net").aliases
client.update_model_version("net", version, "a version")
client.set_model_version_tag("net", version, "w", "2")
client.delete_model_version_tag("net", version, "v")
found = client.get_model_version("net", version)
assert (found.description, found.tags, found.run_id) == ("a version", {"w": "2"}, run_id), found
assert client.get_model_version_download_uri("net", version) == source
assert "Production" in client.get_model_version_stages("net", version)
client.transition_model_version_stage("net", version, "Staging")
assert [v.version for v in client.get_latest_versions("net", ["Staging"])] == [version]
copied = client.copy_model_version(f"models:/net/{version}", "copy")
assert {v.name for v in client.search_model_versions(f"run_id = '{run_id}'")} == {"net", "copy"}
client.rename_registered_model("copy", "copied")
assert [m.name for m in client.search_registered_models("name LIKE 'cop%'")] == ["copied"]
client.delete_model_version("copied", copied.version)
missing(client.get_model_version, "copied", copied.version)
client.delete_registered_model("copied")
missing(client.get_registered_model, "copied")

# Logged models, which MLflow 3 has
if has("create_logged_model"):
    model_id = client.create_logged_model(
        experiment, "logged", run_id, tags={"a": "1"}, params={"p": "1"}
    ).model_id
    with tempfile.TemporaryDirectory() as scratch:
        weights = os.path.join(scratch, "weights.bin")
        with open(weights, "wb") as binary:
            binary.write(b"weights")
        client.log_model_artifact(model_id, weights)
        client.log_model_artifacts(model_id, scratch, "all")
    assert paths(client.list_logged_model_artifacts(model_id)) == ["all", "weights.bin"]
    assert paths(client.list_logged_model_artifacts(model_id, "all")) == ["all/weights.bin"]
    client.log_model_params(model_id, {"q": "2"})
    client.set_logged_model_tags(model_id, {"b": "2"})
    client.delete_logged_model_tag(model_id, "a")
    assert str(client.finalize_logged_model(model_id, "READY").status) == "READY"
    found = client.get_logged_model(model_id)
    assert (found.params, found.tags) == ({"p": "1", "q": "2"}, {"b": "2"}), found
    client.log_outputs(run_id, [mlflow.entities.LoggedModelOutput(model_id, 2)])
    assert [(o.model_id, o.step) for o in client.get_run(run_id).outputs.model_outputs] == [(model_id, 2)]
    assert [m.model_id for m in client.search_logged_models([experiment], "name = 'logged'")] == [model_id]
    client.delete_logged_model(model_id)
    missing(client.get_logged_model, model_id)

assert not OFFERED - called, f"never called: {sorted(OFFERED - called)}"
assert not called - OFFERED, f"called, though out of scope: {sorted(called - OFFERED)}"
print(len(called))
