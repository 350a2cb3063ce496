"""Experiments: make, read, rename, delete, restore, tag."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson

from ingest.service.database import Database
from ingest.service.errors import ExperimentDeleted, ExperimentUnknown, NameTaken, TagUnknown
from ingest.store.errors import ContentRefused
from ingest.store.retention import Rule, set_rule
from ingest_schema.sql import load_queries

__all__ = [
    "Experiment",
    "create_experiment",
    "delete_tag",
    "edit_experiment",
    "get_experiment",
    "get_experiment_by_name",
    "get_experiments",
    "rename_experiment",
    "set_lifecycle",
    "set_tag",
]

Stage = Literal["active", "deleted"]

_SQL: Final = load_queries("experiments")


@dataclass(frozen=True, slots=True)
class Experiment:
    """A group of runs. artifact_location: "" for the service's own (see `ingest.service.locations`)."""

    experiment_id: int
    name: str
    artifact_location: str
    lifecycle: Stage
    created_at_ms: int
    updated_at_ms: int
    tags: Mapping[str, str]


async def create_experiment(db: Database, name: str, tags: Mapping[str, str]) -> int:
    """A new experiment's id.

    Raises:
        NameTaken: Also by a deleted experiment.
    """

    async def work(connection: Any) -> int:
        experiment_id: int | None = await connection.fetchval(_SQL["create"], name, _now_ms())
        if experiment_id is None:
            raise NameTaken(name)
        if tags:
            await connection.execute(_SQL["set_tags"], experiment_id, list(tags), list(tags.values()))
        return experiment_id

    return await db.edit(work)


async def get_experiment(db: Database, experiment_id: int) -> Experiment:
    """The experiment, deleted or not."""
    return _found(await db.fetchrow(_SQL["get"], experiment_id), experiment_id)


async def get_experiment_by_name(db: Database, name: str) -> Experiment:
    """The same, by its name."""
    return _found(await db.fetchrow(_SQL["get_by_name"], name), name)


async def get_experiments(db: Database, experiment_ids: Sequence[int]) -> list[Experiment]:
    """Several, in the order of the ids; those that are not there are left out."""
    return [_of_row(row) for row in await db.fetch(_SQL["get_many"], experiment_ids)]


async def rename_experiment(db: Database, experiment_id: int, name: str) -> None:
    """Give an active experiment another name."""

    async def work(connection: Any) -> None:
        await _lock_active(connection, experiment_id)
        await _rename(connection, experiment_id, name)

    await _edit_name(db, work, name)


async def set_lifecycle(db: Database, experiment_id: int, stage: Stage) -> None:
    """Delete or restore the experiment with all its runs.

    Raises:
        ExperimentUnknown: Also if it is in that stage already, as MLflow has it.
    """

    async def work(connection: Any) -> None:
        if await connection.fetchval(_SQL["lock"], experiment_id) in {None, stage}:
            raise ExperimentUnknown(experiment_id)
        await _set_lifecycle(connection, experiment_id, stage)

    await db.edit(work)


async def edit_experiment(
    db: Database,
    experiment_id: int,
    *,
    name: str | None,
    tags: Mapping[str, str | None],
    lifecycle: Stage | None,
    retention: Rule | Literal["as it is"] | None = "as it is",
) -> None:
    """Change what people change of an experiment, all or nothing.

    Args:
        tags: None deletes one. lifecycle: Deletion takes all its runs along. retention: None takes the rule away.

    Raises:
        ExperimentUnknown, NameTaken: Nothing was changed.
        ExperimentDeleted: A deleted experiment can be changed only together with its restoration.
    """
    kept = {key: value for key, value in tags.items() if value is not None}

    async def work(connection: Any) -> None:
        before = await connection.fetchval(_SQL["lock"], experiment_id)
        if before is None:
            raise ExperimentUnknown(experiment_id)
        if (
            before == "deleted"
            and lifecycle != "active"
            and (name is not None or tags or retention != "as it is")
        ):
            raise ExperimentDeleted(experiment_id)
        if lifecycle is not None and lifecycle != before:
            await _set_lifecycle(connection, experiment_id, lifecycle)
        if name is not None:
            await _rename(connection, experiment_id, name)
        if kept:
            await connection.execute(_SQL["set_tags"], experiment_id, list(kept), list(kept.values()))
        for key in tags.keys() - kept.keys():
            await connection.execute(_SQL["delete_tag"], experiment_id, key)
        if retention != "as it is":
            await set_rule(connection, experiment_id, retention)
        await connection.execute(_SQL["touch"], experiment_id, _now_ms())

    await _edit_name(db, work, name)


async def set_tag(db: Database, experiment_id: int, key: str, value: str) -> None:
    """Set one tag of an active experiment."""

    async def work(connection: Any) -> None:
        await _lock_active(connection, experiment_id)
        await connection.execute(_SQL["set_tags"], experiment_id, [key], [value])
        await connection.execute(_SQL["touch"], experiment_id, _now_ms())

    await db.edit(work)


async def delete_tag(db: Database, experiment_id: int, key: str) -> None:
    """Delete one tag of an active experiment."""

    async def work(connection: Any) -> None:
        await _lock_active(connection, experiment_id)
        if await connection.fetchval(_SQL["delete_tag"], experiment_id, key) is None:
            raise TagUnknown(key, experiment_id)
        await connection.execute(_SQL["touch"], experiment_id, _now_ms())

    await db.edit(work)


async def _rename(connection: Any, experiment_id: int, name: str) -> None:
    other = await connection.fetchrow(_SQL["get_by_name"], name)
    if other is not None and other["experiment_id"] != experiment_id:
        raise NameTaken(name)
    await connection.execute(_SQL["rename"], experiment_id, name, _now_ms())


async def _edit_name(db: Database, work: Callable[[Any], Awaitable[None]], name: str | None) -> None:
    """Do it; where somebody took the name between look and change, say so."""
    try:
        await db.edit(work)
    except ContentRefused as error:
        if name is None:
            raise
        raise NameTaken(name) from error


async def _set_lifecycle(connection: Any, experiment_id: int, stage: Stage) -> None:
    await connection.execute(_SQL["set_lifecycle"], experiment_id, stage, _now_ms())
    await connection.execute(_SQL["unseal_runs"], experiment_id)
    await connection.execute(_SQL["set_runs_lifecycle"], experiment_id, stage)


async def _lock_active(connection: Any, experiment_id: int) -> None:
    lifecycle = await connection.fetchval(_SQL["lock"], experiment_id)
    if lifecycle is None:
        raise ExperimentUnknown(experiment_id)
    if lifecycle == "deleted":
        raise ExperimentDeleted(experiment_id)


def _found(row: Any, wanted: int | str) -> Experiment:
    if row is None:
        raise ExperimentUnknown(wanted)
    return _of_row(row)


def _of_row(row: Any) -> Experiment:
    return Experiment(**{**row, "tags": orjson.loads(row["tags"])})


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
