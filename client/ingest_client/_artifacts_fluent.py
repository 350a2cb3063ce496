"""The fluent functions that log artifacts, with MLflow's names and arguments; each is a method of the active run.

With `run_id` they log to another run of the service: to the one of this process if it is active here, else through a queue of its
own that needs no run here, with the same spool and the same promises.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from ingest_client import _lifetime
from ingest_client._artifacts import ArtifactMethods
from ingest_client._artifacts_paths import checked_path
from ingest_client._artifacts_queue import ArtifactQueue
from ingest_client._artifacts_spool import Keep
from ingest_client._fluent import active_or_new, get_tracking_uri
from ingest_client._settings import Settings
from ingest_client._writer import warn
from ingest_schema.ids import parse_id

__all__ = [
    "get_artifact_uri",
    "log_artifact",
    "log_artifacts",
    "log_dict",
    "log_figure",
    "log_image",
    "log_table",
    "log_text",
]


def log_artifact(
    local_path: str | os.PathLike[str],
    artifact_path: str | None = None,
    run_id: str | None = None,
    *,
    keep: Keep = "copy",
) -> None:
    """Log a file or directory to the active run, or to another; see `Run.log_artifact`."""
    _target(run_id).log_artifact(local_path, artifact_path, keep=keep)


def log_artifacts(
    local_dir: str | os.PathLike[str],
    artifact_path: str | None = None,
    run_id: str | None = None,
    *,
    keep: Keep = "copy",
) -> None:
    """Log all that is in a directory; see `Run.log_artifacts`."""
    _target(run_id).log_artifacts(local_dir, artifact_path, keep=keep)


def log_text(text: str, artifact_file: str, run_id: str | None = None) -> None:
    """Log a text; see `Run.log_text`."""
    _target(run_id).log_text(text, artifact_file)


def log_dict(
    dictionary: Mapping[str, Any] | list[Any], artifact_file: str, run_id: str | None = None
) -> None:
    """Log a dict as JSON or YAML; see `Run.log_dict`."""
    _target(run_id).log_dict(dictionary, artifact_file)


def log_figure(figure: Any, artifact_file: str, *, save_kwargs: Mapping[str, Any] | None = None) -> None:
    """Log a figure of matplotlib or plotly; see `Run.log_figure`."""
    _target(None).log_figure(figure, artifact_file, save_kwargs=save_kwargs)


def log_image(  # noqa: PLR0917 - the order of MLflow's arguments is kept
    image: Any,
    artifact_file: str | None = None,
    key: str | None = None,
    step: int | None = None,
    timestamp: int | None = None,
    synchronous: bool | None = None,
) -> None:
    """Log a picture, or one of a series; see `Run.log_image`."""
    _target(None).log_image(image, artifact_file, key, step, timestamp, synchronous)


def log_table(data: Any, artifact_file: str, run_id: str | None = None) -> None:
    """Add rows to a table; see `Run.log_table`."""
    _target(run_id).log_table(data, artifact_file)


def get_artifact_uri(artifact_path: str | None = None) -> str:
    """The address of an artifact of the active run, or of all of them: `runs:/<run_id>[/<artifact_path>]`.

    It holds with no service in sight, and `download_artifacts`, `load_model` and MLflow's functions take it.
    """
    uri = f"runs:/{active_or_new().info.run_id}"
    return f"{uri}/{checked_path(artifact_path)}" if artifact_path else uri


# --- runs that are not of this process --------------------------------------------------------------------------------


class _ElsewhereRun(ArtifactMethods):
    """A run that this process only adds artifacts to."""

    def __init__(self, run_id: UUID) -> None:
        self._queue = ArtifactQueue(
            run_id, Settings.read(tracking_uri=get_tracking_uri()), is_known=lambda: True, warn=warn
        )
        _lifetime.register_queue(self._queue)

    def _artifact_queue(self) -> ArtifactQueue:
        return self._queue


_elsewhere: dict[UUID, _ElsewhereRun] = {}
_lock = threading.RLock()


def _target(run_id: str | None) -> ArtifactMethods:
    if run_id is None:
        return active_or_new()
    run_uuid = parse_id(run_id)
    for run in _lifetime.live_runs():
        if run.id == run_uuid and run.is_active:
            return run
    with _lock:
        if run_uuid not in _elsewhere:
            _elsewhere[run_uuid] = _ElsewhereRun(run_uuid)
        return _elsewhere[run_uuid]


def _forget_after_fork() -> None:
    """In a forked child: the queues and their spools are the parent's."""
    global _lock
    _lock = threading.RLock()
    for run in _elsewhere.values():
        run._queue.abandon()  # noqa: SLF001 - one module
    _elsewhere.clear()


os.register_at_fork(after_in_child=_forget_after_fork)
