"""Logged models: made, read, finalized, deleted, labelled, searched. Their files are artifacts of their experiment."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final
from uuid import uuid4

import orjson

from ingest.search.listing import Listing
from ingest.service.database import Database
from ingest.service.errors import (
    ExperimentDeleted,
    ExperimentUnknown,
    ModelParamsDiffer,
    ModelTagUnknown,
    ModelUnknown,
)
from ingest_schema.run_names import run_name_of
from ingest_schema.sql import load_queries

__all__ = [
    "LoggedModel",
    "ModelPlace",
    "add_params",
    "create_model",
    "delete_model",
    "delete_tag",
    "get_model",
    "get_models",
    "get_place",
    "search_models",
    "set_status",
    "set_tags",
]

_SQL: Final = load_queries("logged_models")
_EXPERIMENTS: Final = load_queries("experiments")


@dataclass(frozen=True, slots=True)
class LoggedModel:
    """A model and its lists; each a JSON array as text, or None where it would be empty."""

    model_id: str
    experiment_id: int
    name: str
    model_type: str | None
    source_run_id: str | None
    status: str
    status_message: str
    lifecycle: str
    created_at_ms: int
    updated_at_ms: int
    artifact_location: str
    params: str | None
    tags: str | None
    registrations: str | None
    metrics: str | None


@dataclass(frozen=True, slots=True)
class ModelPlace:
    """Where a model's files are. artifact_location: its experiment's, see `ingest.service.locations`."""

    experiment_id: int
    lifecycle: str
    source_run_id: str | None
    artifact_location: str


_NAMES: Final = tuple(field.name for field in fields(LoggedModel))


async def create_model(
    db: Database,
    *,
    experiment_id: int,
    name: str,
    model_type: str | None,
    source_run_id: str | None,
    params: Mapping[str, str],
    tags: Mapping[str, str],
) -> str:
    """A new model in an active experiment, PENDING; its id. Without a name it gets one, as a run does."""
    number = uuid4()
    model_id, name = f"m-{number.hex}", name or run_name_of(number)

    async def work(connection: Any) -> None:
        made = await connection.fetchval(
            _SQL["create"], model_id, experiment_id, name, model_type, source_run_id,
            _json(params), _json(tags), _now_ms(),
        )  # fmt: skip
        if made is None:
            if await connection.fetchval(_EXPERIMENTS["lock"], experiment_id) is None:
                raise ExperimentUnknown(experiment_id)
            raise ExperimentDeleted(experiment_id)

    await db.edit(work)
    return model_id


async def get_model(db: Database, model_id: str, *, deleted_too: bool = False) -> LoggedModel:
    """The model with everything."""
    found = await get_models(db, [model_id])
    if not found or (found[0].lifecycle == "deleted" and not deleted_too):
        raise ModelUnknown(model_id)
    return found[0]


async def get_models(db: Database, model_ids: Sequence[str]) -> list[LoggedModel]:
    """Several, in the order of the ids; those that are not there are left out."""
    rows = await db.fetch(_SQL["get_many"], model_ids)
    return [LoggedModel(*(row[name] for name in _NAMES)) for row in rows]


async def get_place(db: Database, model_id: str) -> ModelPlace:
    """Where the files of an active model are."""
    row = await db.fetchrow(_SQL["place"], model_id)
    if row is None or row["lifecycle"] == "deleted":
        raise ModelUnknown(model_id)
    return ModelPlace(*row)


async def set_status(db: Database, model_id: str, status: str) -> None:
    """PENDING, READY or UPLOAD_FAILED."""
    await _edit(db, model_id, "set_status", status, _now_ms())


async def delete_model(db: Database, model_id: str) -> None:
    """Delete an active model; its files stay until they are collected."""
    await _edit(db, model_id, "delete", _now_ms())


async def set_tags(db: Database, model_id: str, tags: Mapping[str, str]) -> None:
    """Set tags of an active model; others stay."""
    await _edit(db, model_id, "set_tags", _json(tags), _now_ms())


async def delete_tag(db: Database, model_id: str, key: str) -> None:
    """Delete one tag of an active model."""

    async def work(connection: Any) -> None:
        row = await _lock_active(connection, model_id)
        if key not in orjson.loads(row["tags"]):
            raise ModelTagUnknown(model_id, key)
        await connection.execute(_SQL["delete_tag"], model_id, key, _now_ms())

    await db.edit(work)


async def add_params(db: Database, model_id: str, params: Mapping[str, str]) -> None:
    """Add params to an active model; they are written once, as those of runs.

    Raises:
        ModelParamsDiffer: One is there with another value; none was added.
    """

    async def work(connection: Any) -> None:
        known = orjson.loads((await _lock_active(connection, model_id))["params"])
        for key, value in params.items():
            if known.get(key, value) != value:
                raise ModelParamsDiffer(model_id, key, known[key], value)
        await connection.execute(_SQL["add_params"], model_id, _json(params), _now_ms())

    await db.edit(work)


async def search_models(
    db: Database, listing: Listing, *, limit: int, page_token: str
) -> tuple[list[LoggedModel], str | None]:
    """One page of the models that the listing has, and the token of the next one."""
    page = listing.page(limit + 1, page_token or None)
    rows = await db.fetch(page.sql, *page.values)
    token = listing.token_after(rows[limit - 1]) if len(rows) > limit else None
    return await get_models(db, [row["id"] for row in rows[:limit]]), token


async def _edit(db: Database, model_id: str, query: str, *arguments: object) -> None:
    async def work(connection: Any) -> None:
        await _lock_active(connection, model_id)
        await connection.execute(_SQL[query], model_id, *arguments)

    await db.edit(work)


async def _lock_active(connection: Any, model_id: str) -> Any:
    row = await connection.fetchrow(_SQL["lock"], model_id)
    if row is None or row["lifecycle"] == "deleted":
        raise ModelUnknown(model_id)
    return row


def _json(labels: Mapping[str, str]) -> str:
    return orjson.dumps(labels).decode()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
