"""MLflow's model format: the file MLmodel and those beside it, which say how a model is loaded and what it needs.

What is written here is that of MLflow 2.22, which 3 reads as well; the words are MLflow's, so that its tools find them. Writing needs no
YAML library, reading what MLflow wrote does (PyYAML, in the extra `torch`).
"""

from __future__ import annotations

import json
import platform
import sys
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata as packages
from pathlib import Path
from typing import Any, Final

from ingest_client._yaml import to_yaml
from ingest_client.errors import ModelError

__all__ = ["ModelInfo", "Signature", "infer_signature", "read_mlmodel", "save_example", "write_model_files"]

FORMAT_VERSION: Final = "2.22.5"
MLMODEL: Final = "MLmodel"


@dataclass(frozen=True, slots=True)
class Signature:
    """What goes into a model and what comes out, as JSON in MLflow's words."""

    inputs: str
    outputs: str | None = None
    params: str | None = None

    def to_dict(self) -> dict[str, str | None]:
        """As it stands in MLmodel."""
        return {"inputs": self.inputs, "outputs": self.outputs, "params": self.params}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """A model that was logged, under MLflow's names."""

    artifact_path: str
    model_uri: str
    """What `load_model` takes."""
    run_id: str
    flavors: dict[str, Any]
    model_uuid: str
    utc_time_created: str
    signature: Any = None
    saved_input_example_info: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    mlflow_version: str = FORMAT_VERSION
    registered_model_name: str | None = None
    registered_model_version: str | None = None
    """None if it was not to be registered, or the registry could not be reached."""
    serialization_format: str = "state_dict"
    params: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """MLflow 3's word for artifact_path."""
        return self.artifact_path

    @property
    def model_id(self) -> None:
        """MLflow 3's entity beside the run: models are kept as artifacts of their run here."""
        return

    @property
    def signature_dict(self) -> dict[str, Any] | None:
        """The signature as it stands in MLmodel."""
        return None if self.signature is None else self.signature.to_dict()


# --- signatures and examples ------------------------------------------------------------------------------------------


def infer_signature(model_input: Any, model_output: Any = None) -> Signature:
    """The signature of arrays, tensors (their first dimension may vary) or DataFrames.

    Raises:
        TypeError: It is none of these.
    """
    return Signature(
        json.dumps(_specs(model_input)), None if model_output is None else json.dumps(_specs(model_output))
    )


_COLUMN_TYPES: Final = {"b": "boolean", "O": "string", "U": "string", "M": "datetime"}


def _specs(data: Any) -> list[dict[str, Any]]:
    if hasattr(data, "columns") and hasattr(data, "dtypes"):
        return [
            {"type": _column_type(dtype), "name": str(name), "required": True}
            for name, dtype in zip(data.columns, data.dtypes, strict=True)
        ]
    if isinstance(data, list | tuple):
        return [spec for item in data for spec in _specs(item)]
    array = as_array(data)
    shape = [-1, *array.shape[1:]] if array.ndim else []
    return [{"type": "tensor", "tensor-spec": {"dtype": str(array.dtype), "shape": shape}}]


def _column_type(dtype: Any) -> str:
    kind, size = getattr(dtype, "kind", "O"), getattr(dtype, "itemsize", 8)
    if kind in {"i", "u"}:
        return "integer" if size <= 4 and not (kind == "u" and size == 4) else "long"
    if kind == "f":
        return "float" if size <= 4 else "double"
    return _COLUMN_TYPES.get(kind, "string")


def as_array(data: Any) -> Any:
    """An array of numpy, on the CPU.

    Raises:
        TypeError: It is neither an array nor a tensor.
    """
    import numpy as np

    if hasattr(data, "detach"):
        return data.detach().cpu().numpy()
    if isinstance(data, np.ndarray | np.generic):
        return np.asarray(data)
    raise TypeError(
        f"an example of a model's input is an array, a tensor or a DataFrame, not {type(data).__name__}"
    )


def save_example(example: Any, directory: Path) -> dict[str, Any] | None:
    """Write an example of the input beside the model; what MLmodel says of it, or None where MLflow has no form for it."""
    if hasattr(example, "to_json") and hasattr(example, "columns"):
        content = json.loads(example.to_json(orient="split", index=False))
        document = {"columns": content["columns"], "data": content["data"]}
        info = {"type": "dataframe", "pandas_orient": "split", "artifact_path": "input_example.json"}
        serving: dict[str, Any] = {"dataframe_split": document}
    elif isinstance(example, list | tuple | dict):
        return None
    else:
        document = as_array(example).tolist()
        info = {"type": "ndarray", "artifact_path": "input_example.json"}
        serving = {"inputs": document}
    (directory / "input_example.json").write_text(json.dumps(document))
    (directory / "serving_input_example.json").write_text(json.dumps(serving))
    return {**info, "serving_input_path": "serving_input_example.json"}


# --- the files --------------------------------------------------------------------------------------------------------


def write_model_files(
    directory: Path,
    flavors: dict[str, Any],
    *,
    requirements: Sequence[str],
    conda_env: dict[str, Any] | None = None,
    signature: Any = None,
    example_info: dict[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
    run_id: str | None = None,
    artifact_path: str | None = None,
) -> dict[str, Any]:
    """Write MLmodel, requirements.txt, conda.yaml and python_env.yaml; returns what MLmodel says."""
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    document: dict[str, Any] = {
        **({"artifact_path": artifact_path, "run_id": run_id} if run_id else {}),
        "flavors": flavors,
        "mlflow_version": FORMAT_VERSION,
        "model_size_bytes": size,
        "model_uuid": uuid.uuid4().hex,
        "utc_time_created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
    }
    if example_info is not None:
        document["saved_input_example_info"] = example_info
    if signature is not None:
        document["signature"] = signature.to_dict()
    if metadata is not None:
        document["metadata"] = metadata
    version = platform.python_version()
    conda = conda_env or {
        "channels": ["conda-forge"],
        "dependencies": [f"python={version}", "pip", {"pip": list(requirements)}],
        "name": "mlflow-env",
    }
    python_env = {"python": version, "build_dependencies": ["pip"], "dependencies": ["-r requirements.txt"]}
    (directory / "conda.yaml").write_text(to_yaml(conda))
    (directory / "python_env.yaml").write_text(to_yaml(python_env))
    (directory / "requirements.txt").write_text("\n".join(requirements) + "\n")
    (directory / MLMODEL).write_text(to_yaml(document))
    return document


def requirements_of(modules: Sequence[str]) -> list[str]:
    """The installed distributions that provide these modules, pinned; those of nobody are left out."""
    known = packages.packages_distributions()
    names = {distribution for module in modules for distribution in known.get(module, [])}
    return sorted(f"{name}=={packages.version(name)}" for name in names)


def read_mlmodel(directory: Path) -> dict[str, Any]:
    """What MLmodel says.

    Raises:
        ModelError: The directory is no model, or PyYAML is missing.
    """
    try:
        import yaml
    except ImportError as error:
        raise ModelError("reading MLmodel needs PyYAML: pip install 'metric-ingest[torch]'") from error
    try:
        document = yaml.safe_load((directory / MLMODEL).read_text("utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ModelError(f"{directory} is no model in MLflow's format: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("flavors"), dict):
        raise ModelError(f"{directory / MLMODEL} names no flavors")
    return document


def loader_flavors(
    *, pickle_module: str, code: str | None, torch_version: str, with_pyfunc: bool
) -> dict[str, Any]:
    """The flavors of a PyTorch model, in MLflow's words."""
    flavors: dict[str, Any] = {
        "pytorch": {"code": code, "model_data": "data", "pytorch_version": torch_version}
    }
    if with_pyfunc:
        flavors["python_function"] = {
            **({"code": code} if code else {}),
            "config": {"device": None},
            "data": "data",
            "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
            "loader_module": "mlflow.pytorch",
            "pickle_module_name": pickle_module,
            "python_version": ".".join(map(str, sys.version_info[:3])),
        }
    return flavors
