"""Reading artifacts, with the names and arguments of `mlflow.artifacts`.

    download_artifacts    a file or directory of a run, or a model, to this machine
    list_artifacts        what lies in a directory of a run
    load_text, load_dict, load_table, load_image    a single artifact, as what it was logged as

Here the caller waits for the service, and trouble with it raises `ArtifactError`. What this process has logged to the run and not
yet delivered is waited for first, 30 seconds at most.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ingest_client import _lifetime
from ingest_client._artifacts_paths import checked_path
from ingest_client._artifacts_read import ArtifactReader, FileInfo
from ingest_client._artifacts_uris import Local, OfRun, download, resolve
from ingest_client._fluent import get_tracking_uri, last_active_run
from ingest_client._settings import Settings
from ingest_client.errors import ArtifactError
from ingest_schema.ids import parse_id

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "FileInfo",
    "download_artifacts",
    "list_artifacts",
    "load_dict",
    "load_image",
    "load_table",
    "load_text",
]

_OWN_TIMEOUT = 30.0  # seconds


def download_artifacts(
    artifact_uri: str | None = None,
    run_id: str | None = None,
    artifact_path: str | None = None,
    dst_path: str | os.PathLike[str] | None = None,
    tracking_uri: str | None = None,
) -> str:
    """Bring a file, or a directory with all that is below it, to this machine.

    Args:
        artifact_uri: `runs:/<run_id>/<path>`, `models:/<name>/<version>`, `models:/<name>@<alias>` or a local path. If it is not
            given: `artifact_path` of `run_id`, or of the active or last run.
        run_id, artifact_path: Instead of `artifact_uri`; all artifacts of the run if there is no path.
        dst_path: A directory for it, made if need be; a new temporary one, which the caller may delete, if not given.
        tracking_uri: Another service than the current one.

    Returns:
        The local path of the file or directory. Files appear under their names when they are complete.

    Raises:
        ArtifactNotFound: There is no such artifact, run, model or version.
        ArtifactError: The service can't be reached or refuses.
        ValueError: Not exactly one of the two ways is used, or an address that is none.
    """
    if artifact_uri is not None and (run_id is not None or artifact_path is not None):
        raise ValueError("give either artifact_uri, or run_id and artifact_path")
    with _reader(tracking_uri) as reader:
        if artifact_uri is None:
            path = checked_path(artifact_path.rstrip("/")) if artifact_path else ""
            place: Any = OfRun(_run_id(run_id), path)
        else:
            place = resolve(artifact_uri, reader)
        if isinstance(place, OfRun):
            _deliver_own(place.run_id)
        target = (
            Path(dst_path) if dst_path is not None else Path(tempfile.mkdtemp(prefix="ingest-artifacts-"))
        )
        try:
            found = download(place, reader, target)
        except BaseException:
            if dst_path is None:
                shutil.rmtree(target, ignore_errors=True)
            raise
        if isinstance(place, Local) and dst_path is not None:
            return str(_copied(found, target))
        return str(found)


def list_artifacts(
    artifact_uri: str | None = None,
    run_id: str | None = None,
    artifact_path: str | None = None,
    tracking_uri: str | None = None,
) -> list[FileInfo]:
    """What lies directly in a directory of a run's artifacts, by name; nothing if there is no such directory.

    Args:
        artifact_uri: `runs:/<run_id>[/<path>]`. If it is not given: of `run_id`, or of the active or last run.
        run_id, artifact_path: Instead of `artifact_uri`.
        tracking_uri: Another service than the current one.

    Raises:
        ArtifactNotFound: There is no such run.
        ArtifactError: The service can't be reached or refuses.
        ValueError: An address that is none, or not of a run.
    """
    with _reader(tracking_uri) as reader:
        if artifact_uri is None:
            place: Any = OfRun(
                _run_id(run_id), checked_path(artifact_path.rstrip("/")) if artifact_path else ""
            )
        else:
            place = resolve(artifact_uri, reader)
        if not isinstance(place, OfRun):
            raise ValueError(  # noqa: TRY004 - the address is wrong, not a type of ours
                f"{artifact_uri!r} is not an address of a run's artifacts"
            )
        _deliver_own(place.run_id)
        return [info for info in reader.list(place.run_id, place.path) if info.path != place.path]


def load_text(artifact_uri: str) -> str:
    """The text of an artifact; see `download_artifacts` for addresses and errors."""
    with _local(artifact_uri) as path:
        return path.read_text("utf-8")


def load_dict(artifact_uri: str) -> Any:
    """What a JSON artifact holds; see `download_artifacts`."""
    import json

    with _local(artifact_uri) as path:
        return json.loads(path.read_bytes())


def load_image(artifact_uri: str) -> Any:
    """A picture, as Pillow's; see `download_artifacts`."""
    import PIL.Image

    with _local(artifact_uri) as path, PIL.Image.open(path) as image:
        image.load()
        return image


def load_table(artifact_uri: str) -> pd.DataFrame:
    """A table that `log_table` made, as a DataFrame; see `download_artifacts`."""
    import pandas as pd

    from ingest_client._artifacts_tables import parse

    with _local(artifact_uri) as path:
        table = parse(path.read_bytes())
    return pd.DataFrame(table["data"], columns=table["columns"])


@contextlib.contextmanager
def _local(artifact_uri: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ingest-artifacts-") as folder:
        path = Path(download_artifacts(artifact_uri, dst_path=folder))
        if path.is_dir():
            raise ArtifactError(f"{artifact_uri} is a directory")
        yield path


@contextlib.contextmanager
def _reader(tracking_uri: str | None) -> Iterator[ArtifactReader]:
    reader = ArtifactReader(Settings.read(tracking_uri=tracking_uri or get_tracking_uri()))
    try:
        yield reader
    finally:
        reader.close()


def _run_id(run_id: str | None) -> UUID:
    if run_id is not None:
        return parse_id(run_id)
    run = last_active_run()
    if run is None:
        raise ValueError("no run is active; give run_id or artifact_uri")
    return run.id


def _deliver_own(run_id: UUID) -> None:
    """Wait for what this process has logged to the run."""
    for run in _lifetime.live_runs():
        if run.id == run_id:
            run.flush(_OWN_TIMEOUT)
    for queue in _lifetime.live_queues():
        if queue.run_id == run_id:
            queue.wait_for(queue.mark(), _OWN_TIMEOUT)


def _copied(found: Path, target: Path) -> Path:
    target.mkdir(parents=True, exist_ok=True)
    into = target / found.name
    if found.is_dir():
        shutil.copytree(found, into, dirs_exist_ok=True)
    else:
        shutil.copy2(found, into)
    return into
