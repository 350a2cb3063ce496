"""Requests on runs: create, get, update, delete, restore, tags, params, log-model.

`run_uuid` is the old name of `run_id`; the stock client sends both. A run's name and its tag `mlflow.runName` are one
thing, which the service keeps as the name.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from ingest.mlflow.errors import MlflowError, not_found, refused
from ingest.mlflow.experiments import TAG, experiment_number
from ingest.mlflow.fields import Field, Fields, Table, enum, int64, missing, read, string, texts_of
from ingest.mlflow.rules import check_param, check_run_name, check_tag
from ingest_schema.ids import parse_id

__all__ = [
    "PARENT_TAG",
    "RUN",
    "RUN_NAME_TAG",
    "STATUSES",
    "CreateRun",
    "LogModel",
    "UpdateRun",
    "read_create",
    "read_delete_tag",
    "read_log_model",
    "read_log_param",
    "read_run_id",
    "read_set_tag",
    "read_update",
    "run_id_of",
    "run_not_found",
]

RUN_NAME_TAG: Final = "mlflow.runName"
PARENT_TAG: Final = "mlflow.parentRunId"

STATUSES: Final = {"RUNNING": 1, "SCHEDULED": 2, "FINISHED": 3, "FAILED": 4, "KILLED": 5}

RUN_FIELDS: Final = (Field("run_id", string), Field("run_uuid", string))
RUN = Table(*RUN_FIELDS)
CREATE = Table(
    Field("experiment_id", string),
    Field("user_id", string),
    Field("run_name", string),
    Field("start_time", int64),
    Field("tags", repeated=True, message=TAG),
)
UPDATE = Table(
    *RUN_FIELDS, Field("status", enum(STATUSES)), Field("end_time", int64), Field("run_name", string)
)
KEY_VALUE = Table(*RUN_FIELDS, Field("key", string, required=True), Field("value", string))
KEY_ONLY = Table(*RUN_FIELDS, Field("key", string, required=True))
LOG_MODEL = Table(*RUN_FIELDS, Field("model_json", string, required=True))

_MODEL_FIELDS: Final = ("artifact_path", "flavors", "utc_time_created", "run_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateRun:
    """A new run. name: "" lets the service invent one. tags: without the name's."""

    experiment_id: int
    name: str
    user_name: str
    start_time_ms: int
    parent_run_id: UUID | None
    tags: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateRun:
    """What is to change; None stays as it is."""

    run_id: UUID
    status: str | None
    end_time_ms: int | None
    name: str | None


@dataclass(frozen=True, slots=True)
class LogModel:
    """What clients of MLflow 2 tell of a model that they wrote into the run's artifacts."""

    run_id: UUID
    model: dict[str, Any]


def read_create(body: Any) -> CreateRun:
    """A request of runs/create."""
    fields = read(CREATE, body)
    tags = dict(texts_of(fields.messages("tags"), "key", "value"))
    for i, (key, value) in enumerate(tags.items()):
        check_tag(key, value, f"tags[{i}].")
    name, tag_name = fields.text("run_name"), tags.pop(RUN_NAME_TAG, "")
    if name and tag_name and name != tag_name:
        raise refused(
            "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values "
            f"(run_name='{name}', mlflow.runName='{tag_name}')."
        )
    check_run_name(name)
    return CreateRun(
        experiment_id=experiment_number(fields.text("experiment_id") or "0"),
        name=name or tag_name,
        user_name=fields.text("user_id"),
        start_time_ms=fields.integer("start_time"),
        parent_run_id=_id_or_none(tags.get(PARENT_TAG, "")),
        tags=tuple(tags.items()),
    )


def read_run_id(body: Any) -> UUID:
    """The run that a request consisting of a run id means: get, delete, restore."""
    return run_id_of(read(RUN, body))


def read_update(body: Any) -> UpdateRun:
    """A request of runs/update."""
    fields = read(UPDATE, body)
    check_run_name(fields.text("run_name"))
    return UpdateRun(
        run_id=run_id_of(fields),
        status=fields.text_or_none("status"),
        end_time_ms=fields.integer_or_none("end_time"),
        name=fields.text("run_name") or None,
    )


def read_log_param(body: Any) -> tuple[UUID, str, str]:
    """The run, the param's key and its value."""
    fields = read(KEY_VALUE, body)
    run_id = run_id_of(fields)
    check_param(fields.text("key"), fields.text("value"))
    return run_id, fields.text("key"), fields.text("value")


def read_set_tag(body: Any) -> tuple[UUID, str, str]:
    """The run, the tag's key and its value."""
    fields = read(KEY_VALUE, body)
    run_id = run_id_of(fields)
    check_tag(fields.text("key"), fields.text("value"))
    return run_id, fields.text("key"), fields.text("value")


def read_delete_tag(body: Any) -> tuple[UUID, str]:
    """The run and the tag's key."""
    fields = read(KEY_ONLY, body)
    return run_id_of(fields), fields.text("key")


def read_log_model(body: Any) -> LogModel:
    """A request of runs/log-model."""
    fields = read(LOG_MODEL, body)
    run_id, text = run_id_of(fields), fields.text("model_json")
    try:
        model = json.loads(text)
    except (ValueError, RecursionError):
        model = None
    if not isinstance(model, dict):
        raise refused(f"Malformed model info. \n {text[:1000]} \n is not a valid JSON.")
    if absent := [name for name in _MODEL_FIELDS if name not in model]:
        listed = ", ".join(repr(name) for name in absent)
        raise refused(f"Model json is missing mandatory fields: {{{listed}}}")
    return LogModel(run_id, model)


def run_id_text(fields: Fields) -> str:
    """The run id as it was sent.

    Raises:
        MlflowError: There is none, by either name.
    """
    text = fields.text("run_id") or fields.text("run_uuid")
    if not text:
        raise missing("run_id")
    return text


def run_id_of(fields: Fields) -> UUID:
    """The run's id. A text that can't be one names no run: 404."""
    text = run_id_text(fields)
    found = _id_or_none(text)
    if found is None:
        raise run_not_found(text[:100])
    return found


def run_not_found(run_id: str) -> MlflowError:
    """The answer about a run that is not there."""
    return not_found(f"Run with id={run_id} not found")


def _id_or_none(text: str) -> UUID | None:
    try:
        return parse_id(text)
    except ValueError:
        return None
