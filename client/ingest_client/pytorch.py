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

import json
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingest_client._artifacts_paths import checked_path
from ingest_client._checkpoints import Checkpoint, load_checkpoint, log_checkpoint
from ingest_client._fluent import active_or_new
from ingest_client._model_format import (
    ModelInfo,
    Signature,
    infer_signature,
    read_mlmodel,
)
from ingest_client._model_loading import fetched, load_data
from ingest_client._model_saving import Format, as_signature, write_model
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
    write_model(
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
    details = {"params": params, "tags": tags, "model_type": model_type, "step": step}
    kept = {**(metadata or {}), **{key: value for key, value in details.items() if value}}
    document, chosen = _write_and_log(
        target,
        path,
        pytorch_model,
        conda_env=conda_env,
        code_paths=code_paths,
        signature=signature,
        input_example=input_example,
        pip_requirements=pip_requirements,
        extra_pip_requirements=extra_pip_requirements,
        metadata=kept or None,
        format="pt2" if export_model else serialization_format,
    )
    info = ModelInfo(
        artifact_path=path,
        model_uri=f"runs:/{target.info.run_id}/{path}",
        run_id=target.info.run_id,
        flavors=document["flavors"],
        model_uuid=document["model_uuid"],
        utc_time_created=document["utc_time_created"],
        signature=as_signature(document.get("signature")),
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
    with fetched(model_uri, dst_path) as directory:
        document = read_mlmodel(directory)
        flavor = document["flavors"].get("pytorch")
        if not isinstance(flavor, dict):
            raise ModelError(
                f"{model_uri} is no PyTorch model; its flavors are {', '.join(document['flavors'])}"
            )
        data = directory / checked_path(str(flavor.get("model_data", "data")))
        loaded = load_data(data, str(model_uri), model=model, allow_pickle=allow_pickle)
    return loaded.to(device) if device is not None else loaded


# --- logging ----------------------------------------------------------------------------------------------------------


def _write_and_log(run: Run, path: str, pytorch_model: Any, **options: Any) -> tuple[dict[str, Any], str]:
    """Write the model beside the run's spool and move it in. The document of MLmodel, and the format chosen.

    Args:
        run, path: Where it goes.
        pytorch_model: The module.
        options: What `write_model` takes.
    """
    with tempfile.TemporaryDirectory(prefix="ingest-model-", dir=run.artifact_workspace()) as folder:
        directory = Path(folder) / "model"
        owner = {"run_id": run.info.run_id, "artifact_path": path}
        document, chosen = write_model(pytorch_model, directory, owner=owner, **options)
        # MLflow takes model.pth where both are there: one that an earlier call has left would win.
        if chosen == "pt2":
            run.remove_artifact(f"{path}/data/model.pth")
        run.log_artifacts(directory, path, keep="move")
    return document, chosen


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
