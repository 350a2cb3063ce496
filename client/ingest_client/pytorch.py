"""PyTorch models in MLflow's format: `ingest.pytorch.save_model`, `log_model`, `load_model`.

What is in `data/` of a model, and who can load it:

    format        file                      loads without unpickling   needs the class   stock MLflow 2.22   stock MLflow 3.17
    state_dict    model.pth (tensors, JSON)    yes                        yes               yes                 yes
    pt2           model.pt2 (torch.export)     yes                        no                no                  yes
    pickle        model.pth (whole module)     no                         yes               yes                 yes

`state_dict` is the default: tensors, and a description of the module by which it is made again (`_model_state`). A model that has no
such description (hooks, lambdas, a class inside a function), or whose class belongs to the script that is running, becomes `pt2` if an
input example is given; else its tensors are saved alone, with a warning, for `load_model(…, model=…)`. A whole module is pickled only
when asked for.

`load_model` never runs code that comes with a model and never unpickles one, unless `allow_pickle=True` says so.

torch is imported when one of the functions is called.
"""

from __future__ import annotations

import importlib
import io
import json
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from ingest_client._artifacts_access import download_artifacts
from ingest_client._artifacts_paths import checked_path
from ingest_client._checkpoints import Checkpoint, load_checkpoint, log_checkpoint
from ingest_client._fluent import active_or_new
from ingest_client._model_format import (
    ModelInfo,
    Signature,
    as_array,
    infer_signature,
    loader_flavors,
    read_mlmodel,
    requirements_of,
    save_example,
    write_model_files,
)
from ingest_client.errors import ModelError

if TYPE_CHECKING:
    from ingest_client._run import Run

__all__ = [
    "Checkpoint",
    "ModelInfo",
    "Signature",
    "infer_signature",
    "load_checkpoint",
    "load_model",
    "log_checkpoint",
    "log_model",
    "save_model",
]

Format = Literal["state_dict", "pt2", "pickle"]

LOADER_NAME: Final = "ingest_model_state_1"
"""The module in `code/` by which a stock MLflow reads `state_dict`; its number is that of the payload's format."""

_MLFLOW_PICKLE: Final = "mlflow.pytorch.pickle_module"
_PICKLE_INFO: Final = "pickle_module_info.txt"


def save_model(
    pytorch_model: Any,
    path: str | Path,
    conda_env: dict[str, Any] | None = None,
    *,
    code_paths: Sequence[str | Path] | None = None,
    signature: Any = None,
    input_example: Any = None,
    pip_requirements: Sequence[str] | None = None,
    extra_pip_requirements: Sequence[str] | None = None,
    metadata: dict[str, Any] | None = None,
    serialization_format: Format | None = None,
    export_model: bool = False,
) -> None:
    """Save a model to a new directory of this machine, in MLflow's format.

    Args:
        pytorch_model: The module. Its mode, train or eval, is kept.
        path: The directory; it must not exist, or be empty.
        conda_env: Instead of the one that is made of the requirements.
        code_paths: Files and directories with code of the model's, kept in `code/`: stock MLflow runs it, `load_model` does not.
        signature: What goes in and comes out; inferred from `input_example` if not given; False for none.
        input_example: An array or tensor (or several, as a tuple), or a DataFrame.
        pip_requirements, extra_pip_requirements: Instead of, and beside, the installed packages that the model's classes come from.
        metadata: Kept in MLmodel.
        serialization_format: `state_dict`, `pt2` or `pickle`; see the module. By default the first that can hold the model.
        export_model: The same as `serialization_format="pt2"`, in MLflow's older words.

    Raises:
        ModelError: The model can't be saved in the format asked for.
        FileExistsError: The directory exists and is not empty.
        TypeError: It is no module.
    """
    _save(
        pytorch_model,
        Path(path),
        conda_env=conda_env,
        code_paths=code_paths,
        signature=signature,
        input_example=input_example,
        pip_requirements=pip_requirements,
        extra_pip_requirements=extra_pip_requirements,
        metadata=metadata,
        format="pt2" if export_model else serialization_format,
        owner={},
    )


def log_model(  # noqa: PLR0917 - MLflow's second argument is the path, by position
    pytorch_model: Any,
    artifact_path: str | None = None,
    conda_env: dict[str, Any] | None = None,
    code_paths: Sequence[str | Path] | None = None,
    pickle_module: Any = None,
    registered_model_name: str | None = None,
    signature: Any = None,
    input_example: Any = None,
    await_registration_for: int | None = 300,
    *,
    pip_requirements: Sequence[str] | None = None,
    extra_pip_requirements: Sequence[str] | None = None,
    metadata: dict[str, Any] | None = None,
    name: str | None = None,
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, Any] | None = None,
    model_type: str | None = None,
    step: int | None = None,
    serialization_format: Format | None = None,
    export_model: bool = False,
    run: Run | None = None,
) -> ModelInfo:
    """Log a model to the active run; one is started if there is none. `runs:/<run_id>/<name>` loads it, here and in MLflow.

    The weights are written down before this returns, so that training may go on; the upload goes on in the background. A model
    logged to a name again replaces the one there.

    Args:
        pytorch_model: The module.
        artifact_path, name: Where it lies among the run's artifacts; `model` if neither is given.
        conda_env, code_paths, signature, input_example, pip_requirements, extra_pip_requirements, metadata, serialization_format,
            export_model: As in `save_model`.
        pickle_module: Taken for MLflow's sake; it counts only with `serialization_format="pickle"`, and cloudpickle is used then.
        registered_model_name: Register it under this name: waits for the upload and asks the registry. Where that can't be reached, a
            warning says so and the model stays logged.
        await_registration_for: Seconds that registering may wait.
        params, tags, model_type, step: Kept in the metadata.
        run: Another run of this process.

    Returns:
        What was logged: `model_uri`, `run_id`, `flavors`, `signature` and more.

    Raises:
        ModelError, TypeError: See `save_model`.
        BadPath: The name can't be a path of artifacts.
    """
    del pickle_module
    if artifact_path is not None and name is not None:
        raise ValueError("artifact_path is the older word for name; give one of them")
    path = checked_path((artifact_path or name or "model").strip("/"))
    target = run or active_or_new()
    run_id = target.info.run_id
    details = {"params": params, "tags": tags, "model_type": model_type, "step": step}
    kept = {**(metadata or {}), **{key: value for key, value in details.items() if value}}
    with tempfile.TemporaryDirectory(prefix="ingest-model-", dir=target.artifact_workspace()) as folder:
        directory = Path(folder) / "model"
        document, chosen = _save(
            pytorch_model,
            directory,
            conda_env=conda_env,
            code_paths=code_paths,
            signature=signature,
            input_example=input_example,
            pip_requirements=pip_requirements,
            extra_pip_requirements=extra_pip_requirements,
            metadata=kept or None,
            format="pt2" if export_model else serialization_format,
            owner={"run_id": run_id, "artifact_path": path},
        )
        # MLflow takes model.pth where both are there: one that an earlier call has left would win.
        if chosen == "pt2":
            target.remove_artifact(f"{path}/data/model.pth")
        target.log_artifacts(directory, path, keep="move")
    info = ModelInfo(
        artifact_path=path,
        model_uri=f"runs:/{run_id}/{path}",
        run_id=run_id,
        flavors=document["flavors"],
        model_uuid=document["model_uuid"],
        utc_time_created=document["utc_time_created"],
        signature=_as_signature(document.get("signature")),
        saved_input_example_info=document.get("saved_input_example_info"),
        metadata=document.get("metadata"),
        serialization_format=chosen,
        params=dict(params or {}),
        tags=dict(tags or {}),
        registered_model_name=registered_model_name,
        registered_model_version=_register(target, path, registered_model_name, await_registration_for),
    )
    _note_in_history(target, info)
    return info


def load_model(
    model_uri: str | Path,
    dst_path: str | Path | None = None,
    *,
    model: Any = None,
    device: Any = None,
    allow_pickle: bool = False,
) -> Any:
    """Load a model that `log_model` or `save_model` wrote, here or in MLflow.

    Args:
        model_uri: `runs:/<run_id>/<name>`, `models:/<name>/<version>`, `models:/<name>@<alias>`, or a local path.
        dst_path: Keep the files there.
        model: A module to load the tensors into, for a model whose class can't be found by name.
        device: Where its tensors go; the CPU if not given.
        allow_pickle: Unpickle a whole module. That runs whatever the file says: only for files of people you trust.

    Returns:
        The module, in the mode in which it was saved; of `pt2` the module of its exported program.

    Raises:
        ModelError: It is no PyTorch model, its class is not here, or it would have to be unpickled. The message says what to do.
        ArtifactNotFound, ArtifactError: It is not there, or the service can't be reached.
    """
    with _fetched(model_uri, dst_path) as directory:
        document = read_mlmodel(directory)
        flavor = document["flavors"].get("pytorch")
        if not isinstance(flavor, dict):
            raise ModelError(
                f"{model_uri} is no PyTorch model; its flavors are {', '.join(document['flavors'])}"
            )
        data = directory / checked_path(str(flavor.get("model_data", "data")))
        loaded = _load_data(data, str(model_uri), model=model, allow_pickle=allow_pickle)
    return loaded.to(device) if device is not None else loaded


# --- saving -----------------------------------------------------------------------------------------------------------


def _save(
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


def _as_signature(document: dict[str, Any] | None) -> Signature | None:
    return (
        None
        if document is None
        else Signature(document["inputs"], document.get("outputs"), document.get("params"))
    )


# --- logging ----------------------------------------------------------------------------------------------------------


def _register(run: Run, path: str, name: str | None, timeout: float | None) -> str | None:
    if name is None:
        return None
    from ingest_client._registry import register_model

    run.flush(timeout or 0.0)
    try:
        return str(register_model(f"runs:/{run.info.run_id}/{path}", name)["version"])
    except Exception as error:  # noqa: BLE001 - the registry is no reason to end a training run
        warnings.warn(
            f"the model {path!r} is logged and not registered as {name!r}: {error};"
            f" ingest.register_model('runs:/{run.info.run_id}/{path}', {name!r}) does it later",
            stacklevel=3,
        )
        return None


def _note_in_history(run: Run, info: ModelInfo) -> None:
    """The tag by which MLflow's own pages know the models of a run."""
    run.logged_models.append(
        {
            "artifact_path": info.artifact_path,
            "flavors": info.flavors,
            "model_uuid": info.model_uuid,
            "run_id": info.run_id,
            "utc_time_created": info.utc_time_created,
        }
    )
    run.set_tag("mlflow.log-model.history", json.dumps(run.logged_models[-20:]))


# --- loading ----------------------------------------------------------------------------------------------------------


@contextmanager
def _fetched(model_uri: str | Path, dst_path: str | Path | None) -> Iterator[Path]:
    uri = str(model_uri)
    if dst_path is not None:
        Path(dst_path).mkdir(parents=True, exist_ok=True)
        yield Path(download_artifacts(uri, dst_path=dst_path))
        return
    folder = tempfile.mkdtemp(prefix="ingest-model-")
    try:
        is_local = "://" not in uri and not uri.startswith(("runs:", "models:", "mlflow-artifacts:", "file:"))
        yield Path(uri) if is_local else Path(download_artifacts(uri, dst_path=folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _load_data(data: Path, uri: str, *, model: Any, allow_pickle: bool) -> Any:
    import torch

    tensors, whole, program = data / "state_dict.pth", data / "model.pth", data / "model.pt2"
    if tensors.exists():
        if model is None:
            raise ModelError(
                f"{uri} holds only tensors: give load_model the module to load them into, model=…"
            )
        model.load_state_dict(torch.load(tensors, map_location="cpu", weights_only=True))
        return model
    if whole.exists():
        return _load_whole(whole, uri, model=model, allow_pickle=allow_pickle)
    if program.exists():
        _check_program(program, uri)
        return torch.export.load(program).module()
    raise ModelError(f"{uri} has neither data/model.pth nor data/model.pt2")


def _load_whole(file: Path, uri: str, *, model: Any, allow_pickle: bool) -> Any:
    import torch

    from ingest_client._model_state import NotRestorable, is_payload, restore

    foreign = _foreign_classes(file)
    try:
        with torch.serialization.safe_globals(foreign):
            loaded = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        if not allow_pickle:
            raise ModelError(
                f"{uri} holds a whole module that would have to be unpickled, which runs whatever the file says"
                f" ({str(error).splitlines()[0] if str(error) else type(error).__name__}). If you trust who wrote it:"
                " load_model(…, allow_pickle=True)"
            ) from error
        return torch.load(file, map_location="cpu", weights_only=False)
    if not is_payload(loaded):
        return loaded
    if model is not None:
        model.load_state_dict(loaded["state_dict"])
        return model
    try:
        return restore(loaded)
    except NotRestorable as error:
        raise ModelError(
            f"{uri}: {error}. Or load its tensors into a module of yours: load_model(…, model=…)"
        ) from error


def _foreign_classes(file: Path) -> list[Any]:
    """The classes of modules of torch and torchvision that a pickled module names: torch makes them without running code of the file."""
    import torch

    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(file)
    except Exception:  # noqa: BLE001 - a file of another kind: torch.load will say what is wrong with it
        return []
    classes: list[Any] = []
    for name in names:
        module, _, attribute = name.rpartition(".")
        if module.partition(".")[0] not in {"torch", "torchvision"}:
            continue
        try:
            found = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError):
            continue
        if isinstance(found, type) and issubclass(found, torch.nn.Module):
            classes.append(found)
    return classes


def _check_program(file: Path, uri: str) -> None:
    """torch.export.load unpickles what an archive says is pickled: refuse one with more than tensors in such places.

    Raises:
        ModelError: It has.
    """
    import torch

    try:
        with zipfile.ZipFile(file) as archive:
            contents = {info.filename: info for info in archive.infolist() if not info.is_dir()}
            raw = _raw_records(archive, contents)
            for name in contents.keys() - raw:
                content = archive.read(name)
                if _is_text(content):
                    continue
                try:
                    torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
                except Exception as error:
                    raise ModelError(
                        f"{uri}: {name} in its torch.export program is more than tensors; it is not loaded"
                    ) from error
    except zipfile.BadZipFile as error:
        raise ModelError(f"{uri}: model.pt2 is damaged: {error}") from error


def _raw_records(archive: zipfile.ZipFile, names: Mapping[str, Any]) -> set[str]:
    """Records that the archive's own tables say are plain bytes of tensors, and that no table says are pickled."""
    raw: set[str] = set()
    pickled: set[str] = set()
    for name in names:
        if not name.endswith("_config.json"):
            continue
        entries = json.loads(archive.read(name)).get("config", {})
        folder = name.rpartition("/")[0]
        for entry in entries.values() if isinstance(entries, dict) else ():
            if isinstance(entry, dict) and isinstance(entry.get("path_name"), str):
                is_raw = entry.get("use_pickle") is False and entry["path_name"].startswith(
                    ("weight_", "tensor_")
                )
                (raw if is_raw else pickled).add(f"{folder}/{entry['path_name']}")
    return raw - pickled


def _is_text(content: bytes) -> bool:
    """JSON, or a short word such as a version: nothing that an unpickler would take."""
    try:
        text = content.decode("utf-8")
        if (
            len(text) <= 64
            and text.isascii()
            and text.count("\n") <= 1
            and text.strip().replace(".", "").isalnum()
        ):
            return True
        json.loads(text)
    except ValueError:
        return False
    return True
