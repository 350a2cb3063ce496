"""Logged models and the registry as they come from elsewhere: with the ids, numbers and times that they have there.

Exports and other tools' stores are taken in through these, each call a part of the caller's transaction. What is here already stays,
so everything may be repeated; each function says whether it changed anything. What clients make anew is made by
`ingest.service.logged_models`, `registry` and `model_versions`, in the same tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any, Final, NamedTuple
from uuid import UUID

from ingest_schema.sql import load_queries

__all__ = [
    "LoggedModelRow",
    "ModelPoint",
    "ModelVersionRow",
    "RegisteredModelRow",
    "put_alias",
    "put_model",
    "put_registered",
    "put_version",
    "skip_version",
]

_LOGGED: Final = load_queries("logged_models")
_REGISTRY: Final = load_queries("registry")
_VERSIONS: Final = load_queries("model_versions")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedModelRow:
    """A logged model without its experiment. params, tags: JSON objects as text. Times in ms."""

    model_id: str
    name: str
    model_type: str | None
    source_run_id: str | None
    status: str
    status_message: str
    lifecycle: str
    created_at_ms: int
    updated_at_ms: int
    params: str
    tags: str


class ModelPoint(NamedTuple):
    """A point of a metric of a logged model. dataset_name, dataset_digest: "" if it was measured on none."""

    key: str
    step: int
    time_ms: int
    value: float
    run_id: UUID
    dataset_name: str
    dataset_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredModelRow:
    """A name of the registry. last_version: the highest number that was ever given. tags: a JSON object as text."""

    name: str
    description: str | None
    last_version: int
    created_at_ms: int
    updated_at_ms: int
    tags: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersionRow:
    """A version. tags: a JSON object as text."""

    name: str
    version: int
    description: str | None
    user_name: str
    source: str
    storage_location: str
    run_id: str | None
    run_link: str | None
    model_id: str | None
    stage: str
    created_at_ms: int
    updated_at_ms: int
    tags: str


async def put_model(
    connection: Any, experiment_id: int, model: LoggedModelRow, points: Sequence[ModelPoint]
) -> bool:
    """A logged model with points of its metrics. One that is PENDING here takes what is told of it since."""
    is_changed = await connection.fetchval(_LOGGED["bring"], experiment_id, *astuple(model)) is not None
    if points:
        columns = map(list, zip(*points, strict=True))
        done = await connection.execute(_LOGGED["add_points"], [model.model_id] * len(points), *columns)
        is_changed |= done != "INSERT 0 0"
    return is_changed


async def put_registered(connection: Any, registered: RegisteredModelRow) -> bool:
    """A name of the registry. No number of a version is given twice, here or there."""
    return bool(await connection.fetchval(_REGISTRY["bring"], *astuple(registered)))


async def put_version(connection: Any, version: ModelVersionRow) -> bool:
    """A version of a name that is here."""
    return await connection.fetchval(_VERSIONS["bring"], *astuple(version)) is not None


async def skip_version(connection: Any, name: str, version: int) -> None:
    """Keep the number of a version that was deleted elsewhere from being given again."""
    await connection.execute(_VERSIONS["skip"], name, version)


async def put_alias(connection: Any, name: str, alias: str, version: int) -> bool:
    """An alias, if that version is here. One that is here goes on meaning what it meant."""
    return await connection.fetchval(_REGISTRY["bring_alias"], name, alias, version) is not None
