"""Requests on logged models: create, get, finalize, delete, tags, params, search, and lists of their artifacts.

The id of the model comes from the path, and is put among the fields.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ingest.mlflow.errors import MlflowError, not_found, refused
from ingest.mlflow.experiments import TAG, experiment_number
from ingest.mlflow.fields import Field, Fields, Table, boolean, enum, int32, missing, read, string, texts_of
from ingest.mlflow.rules import check_length, check_model_text

__all__ = [
    "ARTIFACT_FILE",
    "DIRECTORY",
    "GET",
    "STATUSES",
    "CreateModel",
    "OrderKey",
    "SearchModels",
    "model_not_found",
    "read_artifact_file",
    "read_create",
    "read_delete_tag",
    "read_directory",
    "read_finalize",
    "read_get",
    "read_id",
    "read_labels",
    "read_search",
    "status_of",
]

STATUSES: Final = {
    "LOGGED_MODEL_STATUS_UNSPECIFIED": 0,
    "LOGGED_MODEL_PENDING": 1,
    "LOGGED_MODEL_READY": 2,
    "LOGGED_MODEL_UPLOAD_FAILED": 3,
}
_PREFIX: Final = re.compile("LOGGED_MODEL_(STATUS_)?")
MAX_NAME_CHARS: Final = 500
MAX_TYPE_CHARS: Final = 500
MAX_KEY_CHARS: Final = 250
MAX_RESULTS: Final = 1_000
DEFAULT_RESULTS: Final = 50
_BAD_IN_NAME: Final = ("/", ":", ".", "%", '"', "'")

ID = Table(Field("model_id", string, required=True))
GET = Table(Field("model_id", string, required=True), Field("allow_deleted", boolean))
CREATE = Table(
    Field("experiment_id", string, required=True),
    Field("name", string),
    Field("model_type", string),
    Field("source_run_id", string),
    Field("params", repeated=True, message=TAG),
    Field("tags", repeated=True, message=TAG),
)
FINALIZE = Table(Field("model_id", string, required=True), Field("status", enum(STATUSES), required=True))
TAGS = Table(Field("model_id", string, required=True), Field("tags", repeated=True, message=TAG))
PARAMS = Table(Field("model_id", string, required=True), Field("params", repeated=True, message=TAG))
TAG_KEY = Table(Field("model_id", string, required=True), Field("key", string, required=True))
DIRECTORY = Table(
    Field("model_id", string, required=True),
    Field("artifact_directory_path", string),
    Field("page_token", string),
)
ARTIFACT_FILE = Table(
    Field("model_id", string, required=True), Field("artifact_file_path", string, required=True)
)
DATASET = Table(Field("dataset_name", string), Field("dataset_digest", string))
ORDER_BY = Table(
    Field("field_name", string, required=True),
    Field("ascending", boolean),
    Field("dataset_name", string),
    Field("dataset_digest", string),
)
SEARCH = Table(
    Field("experiment_ids", string, repeated=True),
    Field("filter", string),
    Field("datasets", repeated=True, message=DATASET),
    Field("max_results", int32),
    Field("order_by", repeated=True, message=ORDER_BY),
    Field("page_token", string),
)

Dataset = tuple[str, str]
"""Name and digest; "" where any digest will do."""
Labels = dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateModel:
    """A new logged model. name: "" lets the service invent one. model_type, source_run_id: None if not told."""

    experiment_id: int
    name: str
    model_type: str | None
    source_run_id: str | None
    params: Labels
    tags: Labels


@dataclass(frozen=True, slots=True)
class OrderKey:
    """One key of an order. dataset: what a metric was measured on; None for any."""

    field: str
    descending: bool
    dataset: Dataset | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchModels:
    """A search of logged models. datasets: metrics count only where they were measured on one of these; () for any."""

    experiment_ids: tuple[int, ...]
    filter: str
    datasets: tuple[Dataset, ...]
    max_results: int
    order_by: tuple[OrderKey, ...]
    page_token: str


def model_not_found(model_id: str) -> MlflowError:
    """The answer about a logged model that is not there."""
    return not_found(f"Logged model with ID '{model_id[:100]}' not found.")


def read_id(body: Any) -> str:
    """The model that a request consisting of its id means."""
    return read(ID, body).text("model_id")


def read_get(body: Any) -> tuple[str, bool]:
    """The model, and whether a deleted one will do."""
    fields = read(GET, body)
    return fields.text("model_id"), fields.flag("allow_deleted")


def read_create(body: Any) -> CreateModel:
    """A request of logged-models (POST)."""
    fields = read(CREATE, body)
    name = fields.text("name")
    if fields.has("name"):
        _check_name(name)
    check_length("model_type", fields.text("model_type"), MAX_TYPE_CHARS)
    return CreateModel(
        experiment_id=experiment_number(fields.text("experiment_id")),
        name=name,
        model_type=fields.text_or_none("model_type"),
        source_run_id=fields.text("source_run_id") or None,
        params=_labels(fields, "params"),
        tags=_labels(fields, "tags"),
    )


def read_finalize(body: Any) -> tuple[str, str]:
    """The model and its status, without MLflow's prefix."""
    fields = read(FINALIZE, body)
    return fields.text("model_id"), status_of(fields.text("status"))


def status_of(text: str) -> str:
    """A status without MLflow's prefix, as it is stored."""
    return _PREFIX.sub("", text)


def read_labels(body: Any) -> tuple[str, Labels]:
    """The model, and the tags or the params, whichever the request has."""
    name = "params" if isinstance(body, dict) and "params" in body else "tags"
    fields = read(PARAMS if name == "params" else TAGS, body)
    return fields.text("model_id"), _labels(fields, name)


def read_delete_tag(body: Any) -> tuple[str, str]:
    """The model and the key of its tag."""
    fields = read(TAG_KEY, body)
    return fields.text("model_id"), fields.text("key")


def read_directory(body: Any) -> tuple[str, str, str]:
    """The model, a directory of its artifacts, the page's token."""
    fields = read(DIRECTORY, body)
    return fields.text("model_id"), fields.text("artifact_directory_path"), fields.text("page_token")


def read_artifact_file(body: Any) -> tuple[str, str]:
    """The model and the path of a file."""
    fields = read(ARTIFACT_FILE, body)
    return fields.text("model_id"), fields.text("artifact_file_path")


def read_search(body: Any) -> SearchModels:
    """A request of logged-models/search."""
    fields = read(SEARCH, body)
    if not fields.texts("experiment_ids"):
        raise missing("experiment_ids")
    max_results = fields.integer("max_results", DEFAULT_RESULTS)
    if not 0 < max_results <= MAX_RESULTS:
        raise refused(
            f"Invalid value {max_results} for parameter 'max_results' supplied. It must be between 1 and {MAX_RESULTS}"
        )
    return SearchModels(
        experiment_ids=tuple(experiment_number(text) for text in fields.texts("experiment_ids")),
        filter=fields.text("filter"),
        datasets=tuple(_datasets(fields.messages("datasets"))),
        max_results=max_results,
        order_by=tuple(_order_key(one) for one in fields.messages("order_by")),
        page_token=fields.text("page_token"),
    )


def _datasets(messages: Sequence[Fields]) -> list[Dataset]:
    for one in messages:
        if not one.text("dataset_name"):
            raise refused("`dataset_name` in the `datasets` clause must be specified.")
    return [(one.text("dataset_name"), one.text("dataset_digest")) for one in messages]


def _order_key(one: Fields) -> OrderKey:
    name, digest = one.text("dataset_name"), one.text("dataset_digest")
    if digest and not name:
        raise refused("`dataset_digest` in `order_by` can only be specified together with `dataset_name`.")
    return OrderKey(
        one.text("field_name"), not one.flag("ascending", default=True), (name, digest) if name else None
    )


def _check_name(name: str) -> None:
    if not name.strip() or any(bad in name for bad in _BAD_IN_NAME):
        raise refused(
            f"Invalid model name ({name[:100]!r}) provided. Model name must be a non-empty string and cannot contain "
            f"the following characters: {_BAD_IN_NAME}."
        )
    check_length("name", name, MAX_NAME_CHARS)


def _labels(fields: Fields, name: str) -> Labels:
    labels = dict(texts_of(fields.messages(name), "key", "value"))
    for i, (key, value) in enumerate(labels.items()):
        if not key:
            raise missing(f"{name}[{i}].key")
        check_length(f"{name}[{i}].key", key, MAX_KEY_CHARS)
        check_model_text(f"{name}[{i}].value", value)
    return labels
