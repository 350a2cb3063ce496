"""Requests on registered models: create, get, update, rename, delete, search, tags, aliases, the newest versions."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import Any, Final

from ingest.mlflow.errors import MlflowError, refused
from ingest.mlflow.experiments import TAG
from ingest.mlflow.fields import Field, Fields, Table, int64, read, string, texts_of
from ingest.mlflow.rules import check_length, check_model_text

__all__ = [
    "ALIAS",
    "LATEST",
    "NAME",
    "SEARCH",
    "STAGES",
    "CreateRegistered",
    "SearchRegistry",
    "read_alias",
    "read_create",
    "read_delete_tag",
    "read_latest",
    "read_name",
    "read_rename",
    "read_search",
    "read_set_alias",
    "read_set_tag",
    "read_update",
    "stage_of",
    "version_number",
]

STAGES: Final = ("None", "Staging", "Production", "Archived")
MAX_NAME_CHARS: Final = 256
MAX_DESCRIPTION_CHARS: Final = 100_000
MAX_TAG_KEY_CHARS: Final = 250
MAX_TAG_VALUE_CHARS: Final = 100_000
MAX_ALIAS_CHARS: Final = 255
MAX_RESULTS: Final = 1_000
DEFAULT_RESULTS: Final = 100
MAX_VERSION: Final = 2**31 - 1

_ALIAS: Final = re.compile(r"[\w\-]*", re.ASCII)
_VERSION_LIKE: Final = re.compile(r"v[0-9]+", re.IGNORECASE)

NAME = Table(Field("name", string, required=True))
CREATE = Table(
    Field("name", string, required=True),
    Field("tags", repeated=True, message=TAG),
    Field("description", string),
)
UPDATE = Table(Field("name", string, required=True), Field("description", string))
RENAME = Table(Field("name", string, required=True), Field("new_name", string, required=True))
SET_TAG = Table(
    Field("name", string, required=True), Field("key", string, required=True), Field("value", string)
)
DELETE_TAG = Table(Field("name", string, required=True), Field("key", string, required=True))
ALIAS = Table(Field("name", string, required=True), Field("alias", string, required=True))
SET_ALIAS = Table(*ALIAS.fields, Field("version", string, required=True))
LATEST = Table(Field("name", string, required=True), Field("stages", string, repeated=True))
SEARCH = Table(
    Field("filter", string),
    Field("max_results", int64),
    Field("order_by", string, repeated=True),
    Field("page_token", string),
)


@dataclass(frozen=True, slots=True)
class CreateRegistered:
    """A new registered model."""

    name: str
    description: str | None
    tags: dict[str, str]


@dataclass(frozen=True, slots=True)
class SearchRegistry:
    """A search of registered models, or of versions."""

    filter: str
    max_results: int
    order_by: tuple[str, ...]
    page_token: str


def read_name(body: Any) -> str:
    """The model that a request consisting of its name means."""
    return read(NAME, body).text("name")


def read_create(body: Any) -> CreateRegistered:
    """A request of registered-models/create."""
    fields = read(CREATE, body)
    check_name(fields.text("name"))
    return CreateRegistered(fields.text("name"), description_of(fields), registry_tags(fields))


def read_update(body: Any) -> tuple[str, str | None]:
    """The name and the new description; None empties it."""
    fields = read(UPDATE, body)
    return fields.text("name"), description_of(fields)


def read_rename(body: Any) -> tuple[str, str]:
    """The name and the new one."""
    fields = read(RENAME, body)
    check_name(fields.text("new_name"))
    return fields.text("name"), fields.text("new_name")


def read_set_tag(body: Any) -> tuple[str, str, str]:
    """The name, the tag's key and its value."""
    fields = read(SET_TAG, body)
    check_registry_tag(fields.text("key"), fields.text("value"))
    return fields.text("name"), fields.text("key"), fields.text("value")


def read_delete_tag(body: Any) -> tuple[str, str]:
    """The name and the tag's key."""
    fields = read(DELETE_TAG, body)
    return fields.text("name"), fields.text("key")


def read_alias(body: Any) -> tuple[str, str]:
    """The name and the alias, to be looked up or deleted."""
    fields = read(ALIAS, body)
    return fields.text("name"), fields.text("alias")


def read_set_alias(body: Any) -> tuple[str, str, int]:
    """The name, the alias and the version that it is to stand for."""
    fields = read(SET_ALIAS, body)
    _check_alias(fields.text("alias"))
    return fields.text("name"), fields.text("alias"), version_number(fields.text("version"))


def read_latest(body: Any) -> tuple[str, tuple[str, ...]]:
    """The name and the stages; all of them if none is named."""
    fields = read(LATEST, body)
    return fields.text("name"), tuple(stage_of(text) for text in fields.texts("stages")) or STAGES


def read_search(body: Any) -> SearchRegistry:
    """A request of registered-models/search."""
    return search_of(read(SEARCH, body), default=DEFAULT_RESULTS, most=MAX_RESULTS)


def search_of(fields: Fields, *, default: int, most: int) -> SearchRegistry:
    max_results = fields.integer("max_results", default)
    if not 0 < max_results <= most:
        raise refused(
            f"Invalid value {max_results} for parameter 'max_results' supplied. It must be a positive integer, at most {most}"
        )
    return SearchRegistry(
        fields.text("filter"), max_results, tuple(fields.texts("order_by")), fields.text("page_token")
    )


def version_number(text: str) -> int:
    """The integer that a version is. One beyond any that there can be names none."""
    if not re.fullmatch(r"[0-9]{1,10}", text):
        raise refused(f"Parameter 'version' must be an integer, got '{text[:100]}'.")
    return min(int(text), MAX_VERSION)


def stage_of(text: str) -> str:
    """The stage as it is written, whatever the case of the text."""
    for stage in STAGES:
        if stage.lower() == text.lower():
            return stage
    raise refused(f"Invalid Model Version stage: {text[:100]}. Value must be one of {', '.join(STAGES)}.")


def check_name(name: str) -> None:
    """Refuse a name that could not stand in a path or a URI."""
    if not name.strip():
        raise refused("Registered model name cannot be empty.")
    if "/" in name or ":" in name or posixpath.normpath(name) != name or name in {".", ".."}:
        raise refused(
            f"Invalid model name: '{name[:300]}'. Names must not contain '/' or ':', nor resolve to another name as a path."
        )
    check_length("name", name, MAX_NAME_CHARS)


def description_of(fields: Fields) -> str | None:
    text = fields.text_or_none("description")
    if text is not None:
        check_length("description", text, MAX_DESCRIPTION_CHARS)
    return text


def registry_tags(fields: Fields) -> dict[str, str]:
    """The last of equal keys wins."""
    tags = dict(texts_of(fields.messages("tags"), "key", "value"))
    for key, value in tags.items():
        check_registry_tag(key, value)
    return tags


def check_registry_tag(key: str, value: str) -> None:
    """Refuse a tag of a model or version."""
    if not key:
        raise refused("Tag name cannot be None or empty.")
    check_length("key", key, MAX_TAG_KEY_CHARS)
    check_model_text("value", value)
    check_length("value", value, MAX_TAG_VALUE_CHARS)


def _check_alias(alias: str) -> None:
    if not _ALIAS.fullmatch(alias):
        raise _bad_alias(alias, "Names may only contain alphanumerics, underscores (_), and dashes (-).")
    if alias.lower() == "latest":
        raise _bad_alias(alias, "'latest' alias name (case insensitive) is reserved.")
    if _VERSION_LIKE.fullmatch(alias):
        raise _bad_alias(alias, f"Version alias name '{alias}' is reserved.")
    check_length("alias", alias, MAX_ALIAS_CHARS)


def _bad_alias(alias: str, why: str) -> MlflowError:
    return refused(f"Invalid alias name: '{alias[:300]}'. {why}")
