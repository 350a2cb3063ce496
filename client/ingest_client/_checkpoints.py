"""Checkpoints: the state of a training, as artifacts of its run, of which the last few and the best few are kept.

    checkpoints/step-<step>.pth      what was given, as torch.save writes it; it loads with weights_only=True
    checkpoints/index.json           which there are: step, path, metric and time of each

The file is written before the call returns, the upload goes on in the background. What retention lets go is deleted after the new one
has arrived, so there is never a moment without one. A run that is resumed goes on with the list that is there.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from ingest_client._artifacts_access import download_artifacts
from ingest_client._artifacts_paths import checked_path, join
from ingest_client._fluent import active_or_new, last_active_run
from ingest_client.errors import ArtifactError, ArtifactNotFound, ModelError

if TYPE_CHECKING:
    from ingest_client._run import Run

__all__ = ["Checkpoint", "kept", "load_checkpoint", "log_checkpoint"]

DIRECTORY: Final = "checkpoints"
INDEX: Final = "index.json"


@dataclass(frozen=True, slots=True)
class Entry:
    """One checkpoint in the index."""

    step: int
    path: str
    """Relative to the run."""
    metric: float | None
    time_ms: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that was loaded."""

    state: Any
    step: int
    metric: float | None
    path: str


def log_checkpoint(
    state: Any,
    step: int,
    *,
    metric: float | None = None,
    mode: Literal["min", "max"] = "min",
    keep_last: int | None = None,
    keep_best: int | None = None,
    name: str = DIRECTORY,
    allow_pickle: bool = False,
    run: Run | None = None,
) -> str:
    """Log the state of a training, such as `{"model": model.state_dict(), "optimizer": optimizer.state_dict()}`.

    Args:
        state: Tensors, numbers, texts, and lists and dicts of them.
        step: How far the training is; a second checkpoint of a step replaces the first.
        metric: How good it is, for `keep_best`.
        mode: Whether a smaller or a larger metric is better.
        keep_last: Keep the checkpoints of so many steps, the highest.
        keep_best: Keep so many with the best metric. A checkpoint that neither rule keeps is deleted; with no rule all stay.
        name: The artifact directory; each has its own index.
        allow_pickle: Also take objects of other kinds, which are pickled: loading them runs whatever the file says.
        run: Another run of this process than the active one.

    Returns:
        The address, `runs:/<run_id>/<path>`.

    Raises:
        ModelError: Something in the state can't be loaded without unpickling.
        ValueError: A number to keep is below 1.
    """
    for number in (keep_last, keep_best):
        if number is not None and number < 1:
            raise ValueError(f"keep_last and keep_best count from 1, not {number}")
    target = run or active_or_new()
    directory = checked_path(name.strip("/"))
    step = int(step)
    entry = Entry(
        step,
        join(directory, f"step-{step}.pth"),
        None if metric is None else float(metric),
        time.time_ns() // 1_000_000,
    )
    with tempfile.TemporaryDirectory(prefix="checkpoint-", dir=target.artifact_workspace()) as folder:
        file = Path(folder) / f"step-{step}.pth"
        _write(state, file, allow_pickle=allow_pickle)
        with target.checkpoint_lock:
            index = target.checkpoints.get(directory)
            if index is None:
                index = _index_of(target, directory)
            everything = [e for e in index if e.step != step] + [entry]
            remaining = kept(everything, mode=mode, keep_last=keep_last, keep_best=keep_best)
            target.checkpoints[directory] = remaining
            target.log_artifact(file, directory, keep="move")
            target.log_dict([asdict(e) for e in remaining], join(directory, INDEX))
            for gone in everything:
                if gone not in remaining:
                    target.remove_artifact(gone.path)
    return f"runs:/{target.info.run_id}/{entry.path}"


def kept(entries: list[Entry], *, mode: str, keep_last: int | None, keep_best: int | None) -> list[Entry]:
    """Those that stay, by step. The one logged last always does."""
    if keep_last is None and keep_best is None:
        return sorted(entries, key=lambda e: e.step)
    stay = {entries[-1]}
    if keep_last is not None:
        stay |= set(sorted(entries, key=lambda e: e.step)[-keep_last:])
    if keep_best is not None:
        stay |= set(_by_worth(entries, mode)[:keep_best])
    return sorted(stay, key=lambda e: e.step)


def _by_worth(entries: list[Entry], mode: str) -> list[Entry]:
    """The best first, the later one of two equals before the other; those without a metric, or with NaN, are not there."""
    sign = -1.0 if mode == "max" else 1.0
    measured = [
        (sign * e.metric, -e.step, e) for e in entries if e.metric is not None and not math.isnan(e.metric)
    ]
    return [e for _, _, e in sorted(measured, key=lambda item: item[:2])]


def load_checkpoint(
    run_id: str | None = None,
    step: int | Literal["last", "best"] = "last",
    *,
    mode: Literal["min", "max"] = "min",
    name: str = DIRECTORY,
    map_location: Any = "cpu",
    allow_pickle: bool = False,
) -> Checkpoint:
    """Load a checkpoint of a run, without unpickling.

    Args:
        run_id: The run; the active or last one if not given.
        step: Of which step; `last` for the highest, `best` for the best metric by `mode`.
        mode: Whether a smaller or a larger metric is better.
        name: The artifact directory.
        map_location: Where tensors go, as in `torch.load`.
        allow_pickle: Unpickle objects of other kinds: only for files of people you trust.

    Raises:
        ArtifactNotFound: There is no such checkpoint.
        ArtifactError: The service can't be reached.
        ModelError: It would have to be unpickled.
    """
    import torch

    directory = checked_path(name.strip("/"))
    if run_id is None:
        active = last_active_run()
        if active is None:
            raise ValueError("no run is active; give run_id")
        run_id = active.info.run_id
    entry = _chosen(_read_index(run_id, directory), step, mode, run_id)
    with tempfile.TemporaryDirectory(prefix="ingest-checkpoint-") as folder:
        file = download_artifacts(run_id=run_id, artifact_path=entry.path, dst_path=folder)
        try:
            state = torch.load(file, map_location=map_location, weights_only=not allow_pickle)
        except Exception as error:
            raise ModelError(
                f"{entry.path} of run {run_id} can't be loaded without unpickling: {str(error).splitlines()[0]};"
                " if you trust who wrote it: allow_pickle=True"
            ) from error
    return Checkpoint(state, entry.step, entry.metric, entry.path)


def _chosen(entries: list[Entry], step: int | str, mode: str, run_id: str) -> Entry:
    if step == "last":
        found = sorted(entries, key=lambda e: e.step)[-1:]
    elif step == "best":
        found = _by_worth(entries, mode)[:1]
    else:
        found = [e for e in entries if e.step == step]
    if not found:
        known = ", ".join(str(e.step) for e in entries) or "none"
        raise ArtifactNotFound(f"run {run_id} has no checkpoint {step!r}; its steps are {known}")
    return found[0]


def _write(state: Any, file: Path, *, allow_pickle: bool) -> None:
    import torch

    if allow_pickle:
        warnings.warn(
            "this checkpoint may hold pickled objects, as asked for: loading it runs whatever the file says",
            stacklevel=3,
        )
    torch.save(state, file)
    if allow_pickle:
        return
    try:
        torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        raise ModelError(
            f"the state can't be loaded without unpickling: {str(error).splitlines()[0]}; make it of tensors, numbers, texts, lists and"
            " dicts (arrays by torch.from_numpy), or give allow_pickle=True"
        ) from error


def _index_of(run: Run, directory: str) -> list[Entry]:
    """What is there of a run that was resumed: read once, and taken for nothing where the service does not answer."""
    if not run.was_resumed:
        return []
    try:
        return _read_index(run.info.run_id, directory)
    except ArtifactNotFound:
        return []
    except ArtifactError as error:
        warnings.warn(
            f"the checkpoints that run {run.info.run_id} has already are not known, so they are kept: {error}",
            stacklevel=4,
        )
        return []


def _read_index(run_id: str, directory: str) -> list[Entry]:
    with tempfile.TemporaryDirectory(prefix="ingest-checkpoint-") as folder:
        path = download_artifacts(run_id=run_id, artifact_path=join(directory, INDEX), dst_path=folder)
        return [Entry(**item) for item in json.loads(Path(path).read_bytes())]
