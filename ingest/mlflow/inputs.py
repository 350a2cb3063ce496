"""Requests on what a run consumed and made: log-inputs (datasets, models) and outputs (models)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from ingest.mlflow.errors import refused
from ingest.mlflow.experiments import TAG
from ingest.mlflow.fields import Field, Fields, Table, int64, missing, read, string, texts_of
from ingest.mlflow.rules import check_length
from ingest.mlflow.runs import RUN_FIELDS, run_id_of

__all__ = ["DatasetInput", "LogInputs", "ModelOutput", "read_log_inputs", "read_outputs"]

MAX_TAG_KEY_CHARS: Final = 255
MAX_TAG_VALUE_CHARS: Final = 500
_DATASET_LIMITS: Final = {
    "name": 500,
    "digest": 36,
    "source": 65_535,
    "schema": 1_048_575,
    "profile": 16_777_215,
}

DATASET = Table(
    *(Field(name, string) for name in ("name", "digest", "source_type", "source", "schema", "profile"))
)
DATASET_INPUT = Table(Field("tags", repeated=True, message=TAG), Field("dataset", message=DATASET))
MODEL_INPUT = Table(Field("model_id", string, required=True))
MODEL_OUTPUT = Table(Field("model_id", string, required=True), Field("step", int64))
LOG_INPUTS = Table(
    *RUN_FIELDS,
    Field("datasets", repeated=True, message=DATASET_INPUT),
    Field("models", repeated=True, message=MODEL_INPUT),
)
OUTPUTS = Table(*RUN_FIELDS, Field("models", repeated=True, message=MODEL_OUTPUT))


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetInput:
    """A dataset that a run read. One per (name, digest) within an experiment. schema, profile: None if not told."""

    name: str
    digest: str
    source_type: str
    source: str
    schema: str | None
    profile: str | None
    tags: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class LogInputs:
    """Datasets and models that a run read."""

    run_id: UUID
    datasets: tuple[DatasetInput, ...]
    model_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelOutput:
    """A model that a run made, and at which step."""

    model_id: str
    step: int


def read_log_inputs(body: Any) -> LogInputs:
    """A request of runs/log-inputs."""
    fields = read(LOG_INPUTS, body)
    run_id = run_id_of(fields)
    datasets: dict[tuple[str, str], DatasetInput] = {}
    for one in fields.messages("datasets"):
        found = _dataset_input(one)
        datasets.setdefault((found.name, found.digest), found)  # the first of equals wins
    models = [model.text("model_id") for model in fields.messages("models")]
    return LogInputs(run_id, tuple(datasets.values()), tuple(dict.fromkeys(models)))


def read_outputs(body: Any) -> tuple[UUID, tuple[ModelOutput, ...]]:
    """The run and the models that it made. An absent list is refused, an empty one is a success."""
    fields = read(OUTPUTS, body)
    run_id = run_id_of(fields)
    if not fields.has("models"):
        raise missing("models")
    models = fields.messages("models")
    return run_id, tuple(ModelOutput(model.text("model_id"), model.integer("step")) for model in models)


def _dataset_input(one: Fields) -> DatasetInput:
    dataset = one.message("dataset")
    if not dataset.text("name") or not dataset.text("digest"):
        raise refused("A dataset must have a name and a digest.")
    for name, limit in _DATASET_LIMITS.items():
        check_length(name, dataset.text(name), limit)
    tags = dict(texts_of(one.messages("tags"), "key", "value"))
    for key, value in tags.items():
        check_length("key", key, MAX_TAG_KEY_CHARS)
        check_length("value", value, MAX_TAG_VALUE_CHARS)
    return DatasetInput(
        name=dataset.text("name"),
        digest=dataset.text("digest"),
        source_type=dataset.text("source_type"),
        source=dataset.text("source"),
        schema=dataset.text_or_none("schema"),
        profile=dataset.text_or_none("profile"),
        tags=tuple(tags.items()),
    )
