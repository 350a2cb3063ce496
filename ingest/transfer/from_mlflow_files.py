"""MLflow's file store: `mlruns/<experiment>/<run>/{meta.yaml,metrics/…,params/…,tags/…,inputs/…,outputs/…,artifacts/…}`.

A metric is a file of lines `time_ms value step`, in the order of logging; a deleted experiment lies in `.trash`; a data set lies in
its experiment's `datasets/`, and a run's `inputs/` name it. Read line by line. Models: `from_mlflow_model_files`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ingest.service.datasets import Dataset
from ingest.transfer import from_mlflow_model_files as model_files
from ingest.transfer.files_in import File
from ingest.transfer.mlflow_places import is_local, local_files
from ingest.transfer.mlflow_source import (
    Inputs,
    Point,
    SourceExperiment,
    SourceModel,
    SourceModelPoint,
    SourceRegistered,
    SourceRun,
    SourceVersion,
)
from ingest.transfer.mlruns import Facts, children, leaves, lines, meta, texts
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
        self._folders = {found["experiment_id"]: (folder, found) for folder, found in _experiments(root)}
        if not self._folders:
            raise BadSource(f"{root} has no experiments of MLflow: no directory in it has a meta.yaml")

    async def experiments(self) -> AsyncIterator[SourceExperiment]:
        """All, deleted ones too."""
        for experiment_id, (folder, found) in self._folders.items():
            is_trash = folder.parent.name == ".trash"
            yield SourceExperiment(
                source_id=experiment_id,
                name=str(found["name"]),
                is_deleted=is_trash or found.get("lifecycle_stage") == "deleted",
                tags=texts(folder / "tags"),
            )

    async def runs(self, experiment: SourceExperiment) -> AsyncIterator[SourceRun]:
        """All runs of one, deleted ones too."""
        folder, _ = self._folders[experiment.source_id]
        for path, found in children(folder):
            run_id = found.get("run_id") or found.get("run_uuid")
            if not run_id:
                continue
            local = path / "artifacts"
            yield SourceRun(
                run_id=str(run_id),
                name=found.get("run_name") or found.get("name") or None,
                user=found.get("user_id") or None,
                status=_status(found.get("status")),
                start_time_ms=found.get("start_time"),
                end_time_ms=found.get("end_time"),
                is_deleted=found.get("lifecycle_stage") == "deleted" or experiment.is_deleted,
                # A directory that was moved still names its old place.
                artifact_uri=str(local.resolve()) if local.is_dir() else found.get("artifact_uri"),
                params=texts(path / "params"),
                tags=texts(path / "tags"),
            )

    async def points(self, run: SourceRun) -> AsyncIterator[Point]:
        """All points of a run, metric after metric."""
        for key, path in leaves(self._folder_of(run) / "metrics"):
            for number, line in lines(path):
                try:
                    time_ms, value, *rest = line.split()
                    yield key, int(rest[0]) if rest else 0, int(time_ms), float(value)
                except ValueError as error:
                    raise BadSource(
                        f"{path}, line {number}: {line.strip()[:80]!r} is no point ({error})"
                    ) from error

    async def inputs(self, run: SourceRun) -> Inputs:
        """What a run read and made."""
        folder = self._folder_of(run)
        read = [found for _, found in children(folder / "inputs")]
        made = [found for _, found in children(folder / "outputs")]
        return Inputs(
            datasets=[
                _dataset(facts, found)
                for found in read
                if found["source_type"] == "DATASET"
                and (facts := meta(folder.parent / "datasets" / found["source_id"])) is not None
            ],
            models=[found["source_id"] for found in read if found["source_type"] == "MODEL"],
            made=[(found["source_id"], int(found.get("step", 0))) for found in made],
        )

    def has_files(self, uri: str) -> bool:
        """Whether they lie on this machine."""
        return is_local(uri)

    def files(self, uri: str) -> AsyncIterator[File]:
        """The files at an artifact URI."""
        return local_files(uri)

    async def models(self, experiment: SourceExperiment) -> AsyncIterator[SourceModel]:
        """All logged models of one, deleted ones too."""
        folder, _ = self._folders[experiment.source_id]
        for model in model_files.models(folder):
            yield model

    async def model_points(self, model: SourceModel) -> AsyncIterator[SourceModelPoint]:
        """All points of a model, metric after metric."""
        for folder, _ in self._folders.values():
            for point in model_files.points(folder, model.model_id):
                yield point

    async def registered(self) -> AsyncIterator[SourceRegistered]:
        """All names of the registry."""
        for registered in model_files.registered(self._root):
            yield registered

    async def versions(self) -> AsyncIterator[SourceVersion]:
        """All versions of all names."""
        for version in model_files.versions(self._root):
            yield version

    def _folder_of(self, run: SourceRun) -> Path:
        for folder, _ in self._folders.values():
            if (folder / run.run_id).is_dir():
                return folder / run.run_id
        raise BadSource(f"run {run.run_id} went away while it was read")


def _experiments(root: Path) -> Iterator[tuple[Path, Facts]]:
    for parent in (root, root / ".trash"):
        for folder, found in children(parent):
            if "experiment_id" in found and "name" in found:
                found["experiment_id"] = str(found["experiment_id"])
                yield folder, found


def _status(value: Any) -> str:
    return _STATUSES.get(value, "RUNNING") if isinstance(value, int) else str(value)


def _dataset(facts: Mapping[str, Any], read: Mapping[str, Any]) -> Dataset:
    return Dataset(
        name=str(facts["name"]),
        digest=str(facts["digest"]),
        source_type=facts.get("source_type") or "",
        source=facts.get("source") or "",
        schema=facts.get("schema"),
        profile=facts.get("profile"),
        tags={str(key): str(value) for key, value in (read.get("tags") or {}).items()},
    )
