"""What the three kinds of MLflow store have in common: what each of them tells, in one form.

    from_mlflow_files    a directory `mlruns`
    from_mlflow_sql      the database of an MLflow server: SQLite or PostgreSQL
    from_mlflow_rest     an MLflow server

Each is a `Source`. What becomes of it here: `mlflow_intake`, `mlflow_models`. Times in ms.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from ingest.service.datasets import Dataset
from ingest.transfer.files_in import File

__all__ = [
    "DELETED_STAGE",
    "Inputs",
    "Point",
    "Source",
    "SourceExperiment",
    "SourceModel",
    "SourceModelPoint",
    "SourceRegistered",
    "SourceRun",
    "SourceVersion",
    "model_status",
]

DELETED_STAGE: Final = "Deleted_Internal"
"""Of a version that its registry keeps for its number."""
_MODEL_STATUSES: Final = ("UNSPECIFIED", "PENDING", "READY", "UPLOAD_FAILED")
"""As MLflow numbers them."""

Point = tuple[str, int, int, float]
"""Key, step, time in ms, value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceExperiment:
    """An experiment of the source."""

    source_id: str
    name: str
    is_deleted: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRun:
    """A run of the source."""

    run_id: str
    name: str | None
    user: str | None
    status: str
    start_time_ms: int | None
    end_time_ms: int | None
    is_deleted: bool
    artifact_uri: str | None
    params: Mapping[str, str]
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a run read and made. made: ids of models, and at which step."""

    datasets: Sequence[Dataset] = ()
    models: Sequence[str] = ()
    made: Sequence[tuple[str, int]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceModel:
    """A logged model of the source."""

    model_id: str
    name: str
    model_type: str | None
    source_run_id: str | None
    status: str
    status_message: str | None
    is_deleted: bool
    created_at_ms: int
    updated_at_ms: int
    artifact_uri: str | None
    params: Mapping[str, str]
    tags: Mapping[str, str]


class SourceModelPoint(NamedTuple):
    """A point of a metric of a logged model."""

    key: str
    step: int
    time_ms: int
    value: float
    run_id: str
    dataset_name: str | None
    dataset_digest: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRegistered:
    """A name of the source's registry. aliases: the version of each."""

    name: str
    description: str | None
    created_at_ms: int
    updated_at_ms: int
    tags: Mapping[str, str]
    aliases: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceVersion:
    """A version. location: where its files are; None: where `source` says. is_deleted: nothing is left but its number."""

    name: str
    version: int
    description: str | None
    user: str | None
    source: str
    location: str | None
    run_id: str | None
    run_link: str | None
    model_id: str | None
    stage: str
    is_deleted: bool
    created_at_ms: int
    updated_at_ms: int
    tags: Mapping[str, str]


def model_status(number: int) -> str:
    """The status of a logged model that MLflow's stores keep as a number."""
    return _MODEL_STATUSES[number] if 0 <= number < len(_MODEL_STATUSES) else _MODEL_STATUSES[0]


class Source(Protocol):
    """A store of MLflow's."""

    def experiments(self) -> AsyncIterator[SourceExperiment]:
        """All, deleted ones too."""

    def runs(self, experiment: SourceExperiment) -> AsyncIterator[SourceRun]:
        """All runs of one, deleted ones too."""

    def points(self, run: SourceRun) -> AsyncIterator[Point]:
        """All points of the run that `runs` gave last; those of a metric always in the same order."""

    async def inputs(self, run: SourceRun) -> Inputs:
        """What a run read and made."""

    def has_files(self, uri: str) -> bool:
        """Whether the files at an artifact URI can be had through this source."""

    def files(self, uri: str) -> AsyncIterator[File]:
        """The files at such a URI."""

    def models(self, experiment: SourceExperiment) -> AsyncIterator[SourceModel]:
        """All logged models of one, deleted ones too where the store tells of them."""

    def model_points(self, model: SourceModel) -> AsyncIterator[SourceModelPoint]:
        """All points of the model that `models` gave last."""

    def registered(self) -> AsyncIterator[SourceRegistered]:
        """All names of the registry."""

    def versions(self) -> AsyncIterator[SourceVersion]:
        """All versions of all names."""
