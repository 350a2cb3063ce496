"""MLflow's file store: `mlruns/<experiment>/<run>/{meta.yaml,metrics/…,params/…,tags/…,artifacts/…}`.

A metric is a file of lines `time_ms value step`, in the order of logging; a deleted experiment lies in `.trash`. Keys with slashes
are paths. Read line by line.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

from ingest.transfer.mlflow_source import Point, SourceExperiment, SourceRun
from ingest.transfer.source_errors import BadSource

__all__ = ["FileStore"]

_STATUSES: Final = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}


class FileStore:
    """A directory `mlruns`.

    Raises:
        BadSource: It is none.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        if not root.is_dir():
            raise BadSource(
                f"{root} is no directory; give that of an MLflow file store, mostly called mlruns"
            )
        self._folders = {meta["experiment_id"]: (folder, meta) for folder, meta in _experiments(root)}
        if not self._folders:
            raise BadSource(f"{root} has no experiments of MLflow: no directory in it has a meta.yaml")

    async def experiments(self) -> AsyncIterator[SourceExperiment]:
        """All, deleted ones too."""
        for experiment_id, (folder, meta) in self._folders.items():
            is_trash = folder.parent.name == ".trash"
            yield SourceExperiment(
                source_id=experiment_id,
                name=str(meta["name"]),
                is_deleted=is_trash or meta.get("lifecycle_stage") == "deleted",
                tags=_texts(folder / "tags"),
            )

    async def runs(self, experiment: SourceExperiment) -> AsyncIterator[SourceRun]:
        """All runs of one, deleted ones too."""
        folder, _ = self._folders[experiment.source_id]
        for path in sorted(folder.iterdir()):
            meta = _meta(path) if path.is_dir() else None
            run_id = meta and (meta.get("run_id") or meta.get("run_uuid"))
            if not meta or not run_id:
                continue
            local = path / "artifacts"
            yield SourceRun(
                run_id=str(run_id),
                name=meta.get("run_name") or meta.get("name") or None,
                user=meta.get("user_id") or None,
                status=_status(meta.get("status")),
                start_time_ms=meta.get("start_time"),
                end_time_ms=meta.get("end_time"),
                is_deleted=meta.get("lifecycle_stage") == "deleted" or experiment.is_deleted,
                # A directory that was moved still names its old place.
                artifact_uri=str(local.resolve()) if local.is_dir() else meta.get("artifact_uri"),
                params=_texts(path / "params"),
                tags=_texts(path / "tags"),
            )

    async def points(self, run: SourceRun) -> AsyncIterator[Point]:
        """All points of a run, metric after metric."""
        folder = self._folder_of(run)
        for key, path in _leaves(folder / "metrics"):
            with path.open(encoding="utf-8") as lines:
                for number, line in enumerate(lines, 1):
                    if not line.endswith("\n"):
                        break  # still being written, or cut off: MLflow ends each line
                    try:
                        time_ms, value, *rest = line.split()
                        yield key, int(rest[0]) if rest else 0, int(time_ms), float(value)
                    except ValueError as error:
                        raise BadSource(
                            f"{path}, line {number}: {line.strip()[:80]!r} is no point ({error})"
                        ) from error

    def _folder_of(self, run: SourceRun) -> Path:
        for folder, _ in self._folders.values():
            if (folder / run.run_id).is_dir():
                return folder / run.run_id
        raise BadSource(f"run {run.run_id} went away while it was read")


def _experiments(root: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for parent in (root, root / ".trash"):
        for folder in sorted(parent.iterdir()) if parent.is_dir() else ():
            meta = _meta(folder) if folder.is_dir() else None
            if meta and "experiment_id" in meta and "name" in meta:
                yield folder, {**meta, "experiment_id": str(meta["experiment_id"])}


def _meta(folder: Path) -> dict[str, Any] | None:
    """The meta.yaml of a directory; None if it has none."""
    try:
        import yaml
    except ImportError as error:
        raise BadSource("meta.yaml of MLflow needs PyYAML: pip install 'metric-ingest[importers]'") from error
    try:
        found = yaml.safe_load((folder / "meta.yaml").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except yaml.YAMLError as error:
        raise BadSource(f"{folder / 'meta.yaml'} is no YAML: {error}") from error
    return found if isinstance(found, dict) else None


def _status(value: Any) -> str:
    return _STATUSES.get(value, "RUNNING") if isinstance(value, int) else str(value)


def _texts(folder: Path) -> dict[str, str]:
    return {key: path.read_text(encoding="utf-8") for key, path in _leaves(folder)}


def _leaves(folder: Path) -> Iterator[tuple[str, Path]]:
    if folder.is_dir():
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                yield path.relative_to(folder).as_posix(), path
