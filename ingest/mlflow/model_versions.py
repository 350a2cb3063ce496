"""Requests on versions of registered models: create, get, update, stages, delete, search, tags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from ingest.mlflow.errors import refused
from ingest.mlflow.experiments import TAG
from ingest.mlflow.fields import Field, Table, boolean, read, string
from ingest.mlflow.model_sources import check_source
from ingest.mlflow.registry import (
    SEARCH,
    SearchRegistry,
    check_registry_tag,
    description_of,
    registry_tags,
    search_of,
    stage_of,
    version_number,
)
from ingest.mlflow.rules import check_length

__all__ = [
    "ARTIFACT_FILE",
    "SEARCH",
    "VERSION",
    "CreateVersion",
    "Transition",
    "read_artifact_file",
    "read_create",
    "read_delete_tag",
    "read_search",
    "read_set_tag",
    "read_transition",
    "read_update",
    "read_version",
]

MAX_RESULTS: Final = 200_000
DEFAULT_RESULTS: Final = 100_000
MAX_TEXT_CHARS: Final = 500
ACTIVE_STAGES: Final = ("Staging", "Production")

_NAME: Final = (Field("name", string, required=True), Field("version", string, required=True))
VERSION = Table(*_NAME)
CREATE = Table(
    Field("name", string, required=True),
    Field("source", string, required=True),
    Field("run_id", string),
    Field("tags", repeated=True, message=TAG),
    Field("run_link", string),
    Field("description", string),
    Field("model_id", string),
)
UPDATE = Table(*_NAME, Field("description", string))
TRANSITION = Table(*_NAME, Field("stage", string, required=True), Field("archive_existing_versions", boolean))
SET_TAG = Table(*_NAME, Field("key", string, required=True), Field("value", string))
DELETE_TAG = Table(*_NAME, Field("key", string, required=True))
ARTIFACT_FILE = Table(*_NAME, Field("path", string, required=True))

Version = tuple[str, int]
"""A registered model's name and a number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateVersion:
    """A new version. source: checked for its form; whether it may be used depends on what it leads to."""

    name: str
    source: str
    run_id: str | None
    run_link: str | None
    description: str | None
    model_id: str | None
    tags: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A version that goes to another stage; the others of that stage may go to the archive."""

    version: Version
    stage: str
    archive_others: bool


def read_version(body: Any) -> Version:
    """The version that a request consisting of its name and number means."""
    fields = read(VERSION, body)
    return fields.text("name"), version_number(fields.text("version"))


def read_create(body: Any) -> CreateVersion:
    """A request of model-versions/create."""
    fields = read(CREATE, body)
    check_length("source", fields.text("source"), MAX_TEXT_CHARS)
    check_source(fields.text("source"))
    for name in ("run_id", "run_link", "model_id"):
        check_length(name, fields.text(name), MAX_TEXT_CHARS)
    return CreateVersion(
        name=fields.text("name"),
        source=fields.text("source"),
        run_id=fields.text("run_id") or None,
        run_link=fields.text("run_link") or None,
        description=description_of(fields),
        model_id=fields.text("model_id") or None,
        tags=registry_tags(fields),
    )


def read_update(body: Any) -> tuple[Version, str | None]:
    """The version and its new description; None empties it."""
    fields = read(UPDATE, body)
    return (fields.text("name"), version_number(fields.text("version"))), description_of(fields)


def read_transition(body: Any) -> Transition:
    """A request of model-versions/transition-stage."""
    fields = read(TRANSITION, body)
    stage, archive = stage_of(fields.text("stage")), fields.flag("archive_existing_versions")
    if archive and stage not in ACTIVE_STAGES:
        raise refused(
            f"Model version transition cannot archive existing model versions because '{stage}' is not an Active "
            f"stage. Valid stages are {list(ACTIVE_STAGES)}"
        )
    return Transition(version=read_version(body), stage=stage, archive_others=archive)


def read_set_tag(body: Any) -> tuple[Version, str, str]:
    """The version, the tag's key and its value."""
    fields = read(SET_TAG, body)
    check_registry_tag(fields.text("key"), fields.text("value"))
    version = fields.text("name"), version_number(fields.text("version"))
    return version, fields.text("key"), fields.text("value")


def read_delete_tag(body: Any) -> tuple[Version, str]:
    """The version and the tag's key."""
    fields = read(DELETE_TAG, body)
    return (fields.text("name"), version_number(fields.text("version"))), fields.text("key")


def read_search(body: Any) -> SearchRegistry:
    """A request of model-versions/search."""
    return search_of(read(SEARCH, body), default=DEFAULT_RESULTS, most=MAX_RESULTS)


def read_artifact_file(body: Any) -> tuple[Version, str]:
    """The version and the path of one of its files."""
    fields = read(ARTIFACT_FILE, body)
    return (fields.text("name"), version_number(fields.text("version"))), fields.text("path")
