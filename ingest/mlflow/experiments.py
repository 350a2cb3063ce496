"""Requests on experiments: create, get, get-by-name, update, delete, restore, tags, search-datasets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from ingest.mlflow.errors import MlflowError, refused
from ingest.mlflow.fields import Field, Table, read, string, texts_of
from ingest.mlflow.rules import check_experiment_tag, check_key, check_length
from ingest_schema.limits import INT64_MAX, INT64_MIN

__all__ = [
    "CREATE",
    "EXPERIMENT_ID",
    "EXPERIMENT_NAME",
    "CreateExperiment",
    "RenameExperiment",
    "experiment_number",
    "read_create",
    "read_delete_tag",
    "read_id",
    "read_name",
    "read_rename",
    "read_search_datasets",
    "read_set_tag",
]

_INTEGER: Final = re.compile(r"-?[0-9]{1,19}")

MAX_NAME_CHARS: Final = 500
MAX_LOCATION_CHARS: Final = 2_048
MAX_DATASET_EXPERIMENTS: Final = 20

TAG = Table(Field("key", string), Field("value", string))
CREATE = Table(
    Field("name", string, required=True),
    Field("artifact_location", string),
    Field("tags", repeated=True, message=TAG),
)
EXPERIMENT_ID = Table(Field("experiment_id", string, required=True))
EXPERIMENT_NAME = Table(Field("experiment_name", string, required=True))
UPDATE = Table(Field("experiment_id", string, required=True), Field("new_name", string, required=True))
SET_TAG = Table(
    Field("experiment_id", string, required=True), Field("key", string, required=True), Field("value", string)
)
DELETE_TAG = Table(Field("experiment_id", string, required=True), Field("key", string, required=True))
SEARCH_DATASETS = Table(Field("experiment_ids", string, repeated=True))


@dataclass(frozen=True, slots=True)
class CreateExperiment:
    """A new experiment. Where its artifacts go is the service's choice, whatever the client wished."""

    name: str
    tags: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class RenameExperiment:
    """An experiment and the name that it is to have."""

    experiment_id: int
    new_name: str


def read_create(body: Any) -> CreateExperiment:
    """A request of experiments/create."""
    fields = read(CREATE, body)
    tags = texts_of(fields.messages("tags"), "key", "value")
    for key, value in tags:
        check_experiment_tag(key, value)
    _check_location(fields.text("artifact_location"))
    return CreateExperiment(_checked_name(fields.text("name")), tuple(dict(tags).items()))


def read_id(body: Any) -> int:
    """The experiment that get, delete or restore means."""
    return experiment_number(read(EXPERIMENT_ID, body).text("experiment_id"))


def read_name(body: Any) -> str:
    """The name that get-by-name asks for."""
    return read(EXPERIMENT_NAME, body).text("experiment_name")


def read_rename(body: Any) -> RenameExperiment:
    """A request of experiments/update."""
    fields = read(UPDATE, body)
    return RenameExperiment(
        experiment_number(fields.text("experiment_id")), _checked_name(fields.text("new_name"))
    )


def read_set_tag(body: Any) -> tuple[int, str, str]:
    """The experiment, the tag's key and its value."""
    fields = read(SET_TAG, body)
    check_experiment_tag(fields.text("key"), fields.text("value"))
    return experiment_number(fields.text("experiment_id")), fields.text("key"), fields.text("value")


def read_delete_tag(body: Any) -> tuple[int, str]:
    """The experiment and the key of the tag."""
    fields = read(DELETE_TAG, body)
    check_key(fields.text("key"), "key", "key")
    return experiment_number(fields.text("experiment_id")), fields.text("key")


def read_search_datasets(body: Any) -> list[int]:
    """The experiments whose datasets are asked for: 1 to 20."""
    ids = read(SEARCH_DATASETS, body).texts("experiment_ids")
    if not ids:
        raise refused("SearchDatasets request must specify at least one experiment_id.")
    if len(ids) > MAX_DATASET_EXPERIMENTS:
        raise refused(
            f"SearchDatasets request cannot specify more than {MAX_DATASET_EXPERIMENTS} experiment_ids. "
            f"Received {len(ids)} experiment_ids."
        )
    return [experiment_number(text) for text in ids]


def experiment_number(text: str) -> int:
    """The integer that an experiment id is.

    Raises:
        MlflowError: It is none, or has more than 64 bits.
    """
    if not _INTEGER.fullmatch(text) or not INT64_MIN <= int(text) <= INT64_MAX:
        raise bad_experiment_id(text)
    return int(text)


def bad_experiment_id(text: str) -> MlflowError:
    return refused(f"Invalid experiment ID '{text[:100]}'. Experiment ID must be a valid integer.")


def _checked_name(name: str) -> str:
    if not name.strip():
        raise refused("Invalid experiment name: it must not be blank.")
    check_length("name", name, MAX_NAME_CHARS)
    return name


def _check_location(location: str) -> None:
    """Refuse what MLflow refuses, so that nobody learns of a mistake only after moving back to it."""
    if len(location) > MAX_LOCATION_CHARS:
        raise refused(
            "Invalid artifact path length. The length of the artifact path cannot be greater than "
            f"{MAX_LOCATION_CHARS} characters."
        )
    try:
        parts = urlsplit(location)
    except ValueError as error:
        raise refused(f"'artifact_location' is no URL: {error}") from error
    if parts.fragment or ";" in parts.path.rpartition("/")[2]:
        raise refused("'artifact_location' URL can't include fragments or params.")
    if parts.scheme == "runs":
        raise refused(f"Artifact location cannot be a runs:/ URI. Given: '{location}'")
