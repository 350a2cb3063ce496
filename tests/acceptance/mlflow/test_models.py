"""Models between us and a stock MLflow, both ways, through `ingest serve`; two versions of it.

What is loaded computes the same numbers to the bit. torch is that of the tests' own environment.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import ingest
from tests.acceptance.mlflow.conftest import RunScript
from tests.conftest import ServiceProcess

torch = pytest.importorskip("torch")

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]

TORCH_PATH = str(Path(torch.__file__).parents[1])


@pytest.fixture
def face(service: ServiceProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("INGEST_SPOOL_DIR", str(tmp_path / "spool"))
    ingest.set_tracking_uri(service.url)
    yield ingest
    while ingest.active_run() is not None:
        ingest.end_run()
    ingest.set_tracking_uri("")


def example() -> Any:
    import numpy as np

    return np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)


def a_model() -> Any:
    nn = torch.nn
    return nn.Sequential(
        nn.Linear(4, 3), nn.GELU(), nn.Unflatten(1, (3, 1)), nn.Flatten(), nn.Linear(3, 2)
    ).eval()


def output_of(model: Any) -> Any:
    with torch.no_grad():
        return model(torch.from_numpy(example())).tolist()


def last_line(text: str) -> Any:
    return json.loads(text.strip().splitlines()[-1])


def load_in_mlflow(run_stock: RunScript, uri: str, how: str = "load") -> Any:
    return last_line(run_stock("models.py", TORCH_PATH, how, uri))


def test_mlflow_loads_what_we_log_by_default(face: Any, run_stock: RunScript) -> None:
    model = a_model()
    with face.start_run():
        info = face.pytorch.log_model(model, "best_model", input_example=example())
        assert face.flush(30)
    loaded = load_in_mlflow(run_stock, info.model_uri)
    assert loaded == {"type": "torch.nn.modules.container.Sequential", "y": output_of(model)}
    as_function = load_in_mlflow(run_stock, info.model_uri, "pyfunc")
    assert as_function["y"] == output_of(model)
    assert "float32" in as_function["signature"]


def test_mlflow_3_loads_a_program_of_torch_export(
    face: Any, run_stock: RunScript, stock_client: Path
) -> None:
    if "mlflow-2" in str(stock_client):
        return  # version 2 knows no programs: the docs say so
    model = a_model()
    with face.start_run():
        info = face.pytorch.log_model(
            model, name="program", input_example=example(), serialization_format="pt2"
        )
        assert face.flush(30)
    assert load_in_mlflow(run_stock, info.model_uri)["y"] == output_of(model)


def test_mlflow_loads_a_pickled_module(face: Any, run_stock: RunScript) -> None:
    model = a_model()
    with face.start_run():
        with pytest.warns(UserWarning, match="pickled"):
            info = face.pytorch.log_model(model, "pickled", serialization_format="pickle")
        assert face.flush(30)
    assert load_in_mlflow(run_stock, info.model_uri)["y"] == output_of(model)


@pytest.mark.parametrize("form", ["pickle", "pt2"])
def test_we_load_what_mlflow_logs(face: Any, run_stock: RunScript, stock_client: Path, form: str) -> None:
    """Its pickles of torch's own classes too, without unpickling them."""
    if form == "pt2" and "mlflow-2" in str(stock_client):
        return
    logged = last_line(run_stock("models.py", TORCH_PATH, "log", form, "theirs"))
    assert output_of(face.pytorch.load_model(logged["uri"])) == logged["y"]
