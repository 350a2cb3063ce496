"""Writes a PyTorch model into a directory in MLflow's format: chooses what goes into `data/`, and says it in MLmodel.

The formats, and who can load them: `ingest_client.pytorch`. torch is imported when a function is called.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

from ingest_client._model_format import (
    Signature,
    as_array,
    infer_signature,
    loader_flavors,
    requirements_of,
    save_example,
    write_model_files,
)
from ingest_client.errors import ModelError

__all__ = ["LOADER_NAME", "Format", "as_signature", "write_model"]

Format = Literal["state_dict", "pt2", "pickle"]

LOADER_NAME: Final = "ingest_model_state_1"
"""The module in `code/` by which a stock MLflow reads `state_dict`; its number is that of the payload's format."""

_MLFLOW_PICKLE: Final = "mlflow.pytorch.pickle_module"
_PICKLE_INFO: Final = "pickle_module_info.txt"


def write_model(
    model: Any,
    directory: Path,
    *,
    conda_env: dict[str, Any] | None,
    code_paths: Sequence[str | Path] | None,
    signature: Any,
    input_example: Any,
    pip_requirements: Sequence[str] | None,
    extra_pip_requirements: Sequence[str] | None,
    metadata: dict[str, Any] | None,
    format: Format | None,  # noqa: A002 - the word for it
    owner: dict[str, str],
) -> tuple[dict[str, Any], str]:
    """Write a model; what MLmodel says, and the format that was taken."""
    import torch

    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"a PyTorch model is a torch.nn.Module, not {type(model).__name__}")
    if format not in {None, "state_dict", "pt2", "pickle"}:
        raise ValueError(f"serialization_format is state_dict, pt2 or pickle, not {format!r}")
    if directory.exists() and any(directory.iterdir()):
        raise FileExistsError(f"{directory} exists and is not empty")
    data = directory / "data"
    data.mkdir(parents=True)
    chosen, pickle_module = _write_data(model, data, input_example, format)
    code = _write_code(directory, code_paths, with_loader=pickle_module == LOADER_NAME)
    example_info = save_example(input_example, directory) if input_example is not None else None
    flavors = loader_flavors(
        pickle_module=pickle_module,
        code=code,
        torch_version=str(torch.__version__),
        with_pyfunc=chosen != "tensors" and not isinstance(input_example, list | tuple),
    )
    flavors["pytorch"]["serialization_format"] = chosen
    requirements = list(pip_requirements) if pip_requirements is not None else _requirements(model, chosen)
    document = write_model_files(
        directory,
        flavors,
        requirements=[*requirements, *(extra_pip_requirements or ())],
        conda_env=conda_env,
        signature=_signature(model, signature, input_example),
        example_info=example_info,
        metadata=metadata,
        **owner,
    )
    return document, chosen


def _write_data(model: Any, data: Path, example: Any, wanted: Format | None) -> tuple[str, str]:
    """The model's own file; the format taken, and what MLflow calls its pickle module."""
    import torch

    if wanted == "pickle":
        warnings.warn(
            "the whole module is pickled, as asked for: whoever loads it runs whatever the file says, and needs the same code;"
            " serialization_format='state_dict' or 'pt2' have neither fault",
            stacklevel=4,
        )
        return _write_pickle(model, data), _MLFLOW_PICKLE
    if wanted == "pt2":
        _write_program(model, data, example)
        return "pt2", _MLFLOW_PICKLE
    from ingest_client._model_state import NotRestorable, Unexpressible, describe, restore

    try:
        payload = describe(model)
        restore(payload)
        trouble = "its class belongs to the running script" if _is_of_script(model) else None
    except (Unexpressible, NotRestorable, RuntimeError, TypeError, AttributeError) as error:
        payload, trouble = {}, str(error)
        if wanted == "state_dict":
            raise ModelError(
                f"the model can't be described by its state_dict: {error}; serialization_format='pt2' with an input_example"
                " needs no description"
            ) from error
    if trouble and wanted is None and example is not None:
        try:
            _write_program(model, data, example)
            return "pt2", _MLFLOW_PICKLE
        except ModelError as error:
            trouble += f"; {error}"
    if payload:
        if trouble:
            warnings.warn(
                f"{trouble}: other programs can load this model only into a module of their own, by load_model(…, model=…);"
                " put the class into a module of its own, or give an input_example",
                stacklevel=4,
            )
        torch.save(payload, data / "model.pth")
        (data / _PICKLE_INFO).write_text(LOADER_NAME)
        return "state_dict", LOADER_NAME
    warnings.warn(
        f"only the tensors of the model are saved, since {trouble}; load_model(…, model=…) loads them into a module, and MLflow can't"
        " load them. An input_example lets it be saved as a torch.export program",
        stacklevel=4,
    )
    torch.save({key: _on_cpu(value) for key, value in model.state_dict().items()}, data / "state_dict.pth")
    return "tensors", _MLFLOW_PICKLE


def _write_pickle(model: Any, data: Path) -> str:
    import torch

    try:
        import cloudpickle as pickler
    except ImportError:
        import pickle as pickler
    if isinstance(model, torch.jit.ScriptModule):
        model.save(str(data / "model.pth"))
    else:
        torch.save(model, data / "model.pth", pickle_module=pickler)
    (data / _PICKLE_INFO).write_text(_MLFLOW_PICKLE)
    return "pickle"


def _write_program(model: Any, data: Path, example: Any) -> None:
    """A torch.export program; the first dimension of its inputs may vary if that of the example is over 1."""
    import torch

    if example is None:
        raise ModelError("a torch.export program needs an input_example, by which the model is traced")
    arguments = tuple(
        torch.as_tensor(as_array(a)) for a in (example if isinstance(example, list | tuple) else (example,))
    )
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    arguments = tuple(argument.to(device) for argument in arguments)
    try:
        shapes = tuple({0: torch.export.Dim.AUTO} if a.dim() and a.shape[0] > 1 else {} for a in arguments)
        with torch.no_grad():
            program = torch.export.export(model, arguments, dynamic_shapes=shapes)
        torch.export.save(program, data / "model.pt2")
    except Exception as error:
        (data / "model.pt2").unlink(missing_ok=True)
        raise ModelError(f"torch.export can't trace the model: {type(error).__name__}: {error}") from error


def _is_of_script(model: Any) -> bool:
    return any(type(part).__module__ == "__main__" for part in model.modules())


def _on_cpu(value: Any) -> Any:
    return value.detach().cpu() if hasattr(value, "detach") else value


def _write_code(directory: Path, code_paths: Sequence[str | Path] | None, *, with_loader: bool) -> str | None:
    if not code_paths and not with_loader:
        return None
    code = directory / "code"
    code.mkdir()
    for source in map(Path, code_paths or ()):
        if source.is_dir():
            shutil.copytree(source, code / source.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, code / source.name)
    if with_loader:
        from ingest_client import _model_state

        shutil.copy2(_model_state.__file__, code / f"{LOADER_NAME}.py")
    return "code"


def _requirements(model: Any, chosen: str) -> list[str]:
    modules = {type(part).__module__.partition(".")[0] for part in model.modules()} | {"torch"}
    if chosen == "pt2":
        modules = {"torch"}
    return [
        *requirements_of(sorted(modules)),
        *(requirements_of(["cloudpickle"]) if chosen == "pickle" else []),
    ]


def _signature(model: Any, given: Any, example: Any) -> Any:
    """The signature that was given, or that of the example and of what the model makes of it."""
    import torch

    if given is False:
        return None
    if given is not None or example is None:
        return given
    if isinstance(example, list | tuple) or hasattr(example, "columns"):
        return infer_signature(example)
    was_training = model.training
    try:
        model.eval()
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        with torch.no_grad():
            output = model(torch.as_tensor(as_array(example)).to(device))
        return infer_signature(example, output)
    except Exception as error:  # noqa: BLE001 - whatever a user's model raises: the model is still saved
        warnings.warn(
            f"the signature says nothing of the output: {type(error).__name__}: {error}", stacklevel=5
        )
        return infer_signature(example)
    finally:
        model.train(was_training)


def as_signature(document: dict[str, Any] | None) -> Signature | None:
    return (
        None
        if document is None
        else Signature(document["inputs"], document.get("outputs"), document.get("params"))
    )
