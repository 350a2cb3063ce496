"""Reads the file in `data/` of a PyTorch model, without running what comes with it.

Who can load which format: `ingest_client.pytorch`. torch is imported when a function is called.
"""

from __future__ import annotations

import importlib
import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ingest_client._artifacts_access import download_artifacts
from ingest_client.errors import ModelError

__all__ = ["fetched", "load_data"]


@contextmanager
def fetched(model_uri: str | Path, dst_path: str | Path | None) -> Iterator[Path]:
    """The model's directory on this machine, for as long as the block lasts, or in `dst_path` for good."""
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


def load_data(data: Path, uri: str, *, model: Any, allow_pickle: bool) -> Any:
    """The module that the model's `data/` holds, on the CPU. Raises ModelError as `load_model` does."""
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
