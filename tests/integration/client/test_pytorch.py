"""Models and checkpoints: what was logged is loaded, without unpickling, and says so where it can't be."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import ingest  # noqa: E402 - after the skip
import ingest.pytorch  # noqa: E402
from ingest_client.errors import ModelError  # noqa: E402
from tests.integration.client.stub import wait_until  # noqa: E402

nn: Any = torch.nn


class Tied(nn.Module):  # type: ignore[misc]  # torch is not typed here
    """Tied weights, a buffer that is not persistent, attributes of many kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.register_buffer("scale", torch.full((4,), 2.0), persistent=False)
        self.activation = nn.functional.gelu
        self.options = {"sizes": (1, 2), "dtype": torch.float32, "name": None, 3: [1.5, {"x"}]}

    def forward(self, x):
        return self.activation(self.second(self.first(x))) * self.scale


class Lambda(nn.Module):  # type: ignore[misc]  # same
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 2)
        self.function = lambda x: x * 2

    def forward(self, x):
        return self.inner(x) * 2


def equal(one, other, x=None):
    x = torch.ones(3, 4) if x is None else x
    with torch.no_grad():
        return torch.equal(one(x), other(x))


@pytest.fixture
def face(stub, monkeypatch):
    monkeypatch.setenv("INGEST_MAX_AGE", "0.1")
    ingest.set_tracking_uri(stub.url)
    yield ingest
    while ingest.active_run() is not None:
        ingest.end_run()


def test_a_model_goes_to_the_service_and_comes_back(face, stub):
    model = Tied().eval()
    info = face.pytorch.log_model(model, "best_model")
    run_id = face.active_run().info.run_id
    assert info.model_uri == f"runs:/{run_id}/best_model"
    assert (info.run_id, info.artifact_path, info.name) == (run_id, "best_model", "best_model")
    assert set(info.flavors) == {"pytorch", "python_function"}
    loaded = face.pytorch.load_model(info.model_uri)
    assert type(loaded) is Tied
    assert loaded is not model
    assert not loaded.training
    assert loaded.second.weight is loaded.first.weight
    assert loaded.options == model.options
    assert equal(model, loaded)
    assert "best_model/MLmodel" in stub.artifacts.of(run_id)


def test_the_content_loads_without_unpickling(tmp_path):
    """Plain torch reads the tensors, with no class of ours or of the user's."""
    ingest.pytorch.save_model(Tied(), tmp_path / "m")
    content = torch.load(tmp_path / "m" / "data" / "model.pth", weights_only=True)
    assert set(content["state_dict"]) == set(Tied().state_dict())
    assert Tied().load_state_dict(content["state_dict"])


def test_what_is_logged_is_the_model_of_that_moment(face):
    model = nn.Linear(4, 2)
    before = nn.Linear(4, 2)
    before.load_state_dict(model.state_dict())
    info = face.pytorch.log_model(model, name="model")
    with torch.no_grad():
        model.weight.zero_()
    assert equal(before, face.pytorch.load_model(info.model_uri))


def test_a_model_logged_again_replaces_the_one_there(face):
    """Also where the formats differ, and one file would stand in the other's way."""
    first, second = nn.Linear(4, 2), nn.Linear(4, 2)
    uri = face.pytorch.log_model(first, "m").model_uri
    face.pytorch.log_model(second, "m", input_example=torch.ones(2, 4), serialization_format="pt2")
    assert equal(second, face.pytorch.load_model(uri))
    face.pytorch.log_model(first, "m")
    assert equal(first, face.pytorch.load_model(uri))


def test_a_program_of_torch_export_needs_no_class(tmp_path):
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU()).eval()
    ingest.pytorch.save_model(
        model, tmp_path / "m", input_example=torch.rand(5, 4), serialization_format="pt2"
    )
    loaded = ingest.pytorch.load_model(str(tmp_path / "m"))
    assert equal(model, loaded, torch.rand(7, 4))  # another batch size than the example's
    with pytest.raises(ModelError, match="input_example"):
        ingest.pytorch.save_model(model, tmp_path / "n", serialization_format="pt2")


def test_a_program_with_something_pickled_in_it_is_refused(tmp_path):
    """torch.export.load would unpickle it."""
    import zipfile

    model = nn.Linear(4, 3)
    ingest.pytorch.save_model(
        model, tmp_path / "m", input_example=torch.rand(5, 4), serialization_format="pt2"
    )
    file = tmp_path / "m" / "data" / "model.pt2"

    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "pwned",))

    torch.save(Evil(), tmp_path / "evil")
    bad = tmp_path / "bad.pt2"
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(bad, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("weights_config.json"):
                table = json.loads(content)
                for entry in table["config"].values():
                    entry["use_pickle"] = True
                content = json.dumps(table).encode()
            if "/data/weights/weight_" in name:
                content = (tmp_path / "evil").read_bytes()
            new.writestr(name, content)
    bad.replace(file)
    with pytest.raises(ModelError, match="more than tensors"):
        ingest.pytorch.load_model(tmp_path / "m")
    assert not (tmp_path / "pwned").exists()


def test_a_model_without_a_description_is_exported_or_saved_as_tensors(tmp_path):
    model = Lambda().eval()
    ingest.pytorch.save_model(model, tmp_path / "exported", input_example=torch.rand(2, 4))
    assert (tmp_path / "exported" / "data" / "model.pt2").exists()
    assert equal(model, ingest.pytorch.load_model(tmp_path / "exported"))
    with pytest.warns(UserWarning, match="only the tensors"):
        ingest.pytorch.save_model(model, tmp_path / "tensors")
    with pytest.raises(ModelError, match="model="):
        ingest.pytorch.load_model(tmp_path / "tensors")
    assert equal(model, ingest.pytorch.load_model(tmp_path / "tensors", model=Lambda()))
    with pytest.raises(ModelError, match="function is a"):
        ingest.pytorch.save_model(model, tmp_path / "no", serialization_format="state_dict")


def test_a_whole_module_is_pickled_only_when_asked_for_and_loudly(tmp_path):
    model = Tied()
    with pytest.warns(UserWarning, match="pickled, as asked for"):
        ingest.pytorch.save_model(model, tmp_path / "m", serialization_format="pickle")
    with pytest.raises(ModelError, match="allow_pickle=True"):
        ingest.pytorch.load_model(tmp_path / "m")
    assert equal(model, ingest.pytorch.load_model(tmp_path / "m", allow_pickle=True))


def test_a_pickled_module_of_torchs_own_classes_loads_without_unpickling(tmp_path):
    """What MLflow logs by default in its version 2, of models that are made of known parts."""
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.LSTM(3, 2)).eval()
    with pytest.warns(UserWarning, match="pickled"):
        ingest.pytorch.save_model(model, tmp_path / "m", serialization_format="pickle")
    loaded = ingest.pytorch.load_model(tmp_path / "m")
    assert torch.equal(model[0].weight, loaded[0].weight)


def test_a_file_that_runs_code_when_unpickled_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "pwned",))

    ingest.pytorch.save_model(nn.Linear(1, 1), tmp_path / "m")
    torch.save(Evil(), tmp_path / "m" / "data" / "model.pth")
    with pytest.raises(ModelError, match="unpickled"):
        ingest.pytorch.load_model(tmp_path / "m")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    "changed",
    [
        {"class": "subprocess:Popen"},
        {"class": "collections:OrderedDict"},
        {"class": "torch:load"},
        {"state": {"f": {"function": "torch:load"}}},
        {
            "state": {
                "f": {"function": "torch.nn.functional:has_torch_function"},
                "g": {"partial": [{"class": "os:system"}, [], {}]},
            }
        },
    ],
)
def test_a_description_can_name_nothing_but_modules_and_torchs_functions(changed):
    from ingest_client._model_state import NotRestorable, describe, restore

    payload = describe(nn.Linear(1, 1))
    skeleton = json.loads(payload["skeleton"])
    skeleton["parts"][""] |= changed
    with pytest.raises(NotRestorable):
        restore({**payload, "skeleton": json.dumps(skeleton)})


SCRIPT = """
import sys, torch, warnings
import ingest
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__(); self.fc = torch.nn.Linear(4, 2)
    def forward(self, x):
        return self.fc(x)
torch.manual_seed(0)
for how, example, heed in (("example", torch.ones(2, 4), "error"), ("none", None, "default")):
    warnings.simplefilter(heed)
    ingest.pytorch.save_model(Net(), f"{sys.argv[1]}/{how}", input_example=example)
    print(ingest.pytorch.load_model(f"{sys.argv[1]}/{how}")(torch.ones(1, 4)).tolist())
"""


def test_the_class_of_a_script_is_exported_if_there_is_an_example(tmp_path):
    """Nobody else can import __main__.Net."""
    (tmp_path / "train.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, tmp_path / "train.py", tmp_path],
        capture_output=True,
        text=True,
        timeout=150,
        check=True,
    )
    exported, tensors = map(json.loads, done.stdout.splitlines())
    assert ingest.pytorch.load_model(tmp_path / "example")(torch.ones(1, 4)).tolist() == exported
    assert done.stderr.count("load_model(…, model=…)") == 1
    with pytest.raises(ModelError, match="Net"):
        ingest.pytorch.load_model(tmp_path / "none")
    filled = ingest.pytorch.load_model(tmp_path / "none", model=nn.ModuleDict({"fc": nn.Linear(4, 2)}))
    assert filled["fc"](torch.ones(1, 4)).tolist() == tensors


def test_signature_and_example_are_in_the_model(tmp_path):
    import numpy as np
    import yaml

    example = np.ones((3, 4), dtype=np.float32)
    ingest.pytorch.save_model(
        nn.Linear(4, 2), tmp_path / "m", input_example=example, pip_requirements=["torch"], metadata={"a": 1}
    )
    document = yaml.safe_load((tmp_path / "m" / "MLmodel").read_text())
    assert json.loads(document["signature"]["inputs"]) == [
        {"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 4]}}
    ]
    assert json.loads(document["signature"]["outputs"])[0]["tensor-spec"]["shape"] == [-1, 2]
    assert json.loads((tmp_path / "m" / "input_example.json").read_text()) == example.tolist()
    assert (tmp_path / "m" / "requirements.txt").read_text() == "torch\n"
    assert document["metadata"] == {"a": 1}
    assert yaml.safe_load((tmp_path / "m" / "conda.yaml").read_text())["dependencies"][-1] == {
        "pip": ["torch"]
    }


def test_torchvisions_models_have_descriptions(tmp_path):
    torchvision = pytest.importorskip("torchvision")
    model = torchvision.models.mobilenet_v3_small().eval()
    model.classifier[3] = nn.Linear(1024, 10)
    ingest.pytorch.save_model(model, tmp_path / "m")
    x = torch.rand(1, 3, 64, 64)
    assert equal(model, ingest.pytorch.load_model(tmp_path / "m"), x)
    requirements = (tmp_path / "m" / "requirements.txt").read_text()
    assert "torchvision==" in requirements


def test_a_registry_that_does_not_answer_is_no_reason_to_stop(face):
    with pytest.warns(UserWarning, match="not registered as 'net'"):
        info = face.pytorch.log_model(nn.Linear(1, 1), "m", registered_model_name="net")
    assert info.registered_model_version is None


# --- checkpoints ------------------------------------------------------------------------------------------------------


def checkpoints_of(stub, run_id: str) -> list[str]:
    return sorted(p.rpartition("/")[2] for p in stub.artifacts.of(run_id) if p.startswith("checkpoints/step"))


def state_of(step: int) -> dict[str, object]:
    model = nn.Linear(4, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": step,
        "rng": torch.get_rng_state(),
    }


def test_the_last_and_the_best_checkpoints_stay(face, stub):
    for step, loss in enumerate([5.0, 1.0, float("nan"), 4.0, 3.0, 2.0, 6.0]):
        face.log_checkpoint(state_of(step), step, metric=loss, keep_last=2, keep_best=2)
    run_id = face.active_run().info.run_id
    assert face.flush(30)
    assert checkpoints_of(stub, run_id) == [f"step-{n}.pth" for n in (1, 5, 6)]
    last = face.load_checkpoint(run_id)
    assert (last.step, last.metric, last.state["step"]) == (6, 6.0, 6)
    best = face.load_checkpoint(run_id, "best")
    assert (best.step, best.metric) == (1, 1.0)
    assert face.load_checkpoint(run_id, 5).step == 5
    with pytest.raises(ingest.ArtifactNotFound, match=r"steps are 1, 5, 6"):
        face.load_checkpoint(run_id, 3)


def test_a_resumed_run_goes_on_with_the_checkpoints_that_are_there(face, stub):
    with face.start_run() as first:
        for step in range(3):
            face.log_checkpoint({"step": step}, step, keep_last=3)
    wait_until(lambda: first.is_delivered)
    with face.start_run(run_id=first.info.run_id, resume_from_step=2):
        face.log_checkpoint({"step": 3}, 3, keep_last=2)
        assert face.flush(30)
    assert checkpoints_of(stub, first.info.run_id) == ["step-2.pth", "step-3.pth"]


def test_a_checkpoint_that_would_have_to_be_unpickled_is_refused_at_once(face, stub):
    with pytest.raises(ModelError, match="without unpickling"):
        face.log_checkpoint({"model": nn.Linear(1, 1)}, 1)
    with pytest.warns(UserWarning, match="pickled objects"):
        face.log_checkpoint({"model": nn.Linear(1, 1)}, 1, allow_pickle=True)
    with pytest.raises(ModelError, match="allow_pickle"):
        face.load_checkpoint()
    assert isinstance(face.load_checkpoint(allow_pickle=True).state["model"], nn.Linear)


def test_numbers_to_keep_count_from_one(face):
    with pytest.raises(ValueError, match="from 1"):
        face.log_checkpoint({}, 1, keep_last=0)


def test_pickle_is_not_needed_to_import_the_face():
    assert pickle.loads(pickle.dumps(ingest.pytorch.Signature("[]"))).inputs == "[]"
