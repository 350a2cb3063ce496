"""Runs, changed from outside their own stream: made, updated, deleted, restored, untagged.

A run's name is its column `name`; the tag `mlflow.runName` is a view of it and never stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal
from uuid import UUID

from ingest.service.database import Database
from ingest.service.errors import ExperimentDeleted, ExperimentUnknown, RunIsDeleted, RunUnknown, TagUnknown
from ingest_schema.ids import new_id
from ingest_schema.run_names import run_name_of
from ingest_schema.sql import load_queries

__all__ = [
    "NAME_TAG",
    "PARENT_TAG",
    "change_tag",
    "create_run",
    "delete_tag",
    "edit_run",
    "set_lifecycle",
    "update_run",
]

NAME_TAG: Final = "mlflow.runName"
PARENT_TAG: Final = "mlflow.parentRunId"

_SQL: Final = load_queries("runs_edit")
_WRITE: Final = load_queries("write")
_EXPERIMENTS: Final = load_queries("experiments")


async def create_run(
    db: Database,
    *,
    experiment_id: int,
    name: str,
    user_name: str,
    start_time_ms: int,
    parent_run_id: UUID | None,
    tags: Mapping[str, str],
) -> UUID:
    """A new run in an active experiment; its id. Without a name it gets one that follows from the id."""
    run_id = new_id()
    name = name or run_name_of(run_id)

    async def work(connection: Any) -> None:
        made = await connection.fetchval(
            _SQL["create"], run_id, experiment_id, name, user_name, parent_run_id, start_time_ms
        )
        if made is None:
            if await connection.fetchval(_EXPERIMENTS["lock"], experiment_id) is None:
                raise ExperimentUnknown(experiment_id)
            raise ExperimentDeleted(experiment_id)
        if tags:
            await connection.execute(
                _WRITE["set_tags"], [run_id] * len(tags), list(tags), list(tags.values())
            )

    await db.edit(work)
    return run_id


async def update_run(
    db: Database, run_id: UUID, *, status: str | None, end_time_ms: int | None, name: str | None
) -> None:
    """Change what is not None of an active run."""

    async def work(connection: Any) -> None:
        await _lock_active(connection, run_id)
        await connection.execute(_SQL["update"], run_id, status, end_time_ms, name)

    await db.edit(work)


async def set_lifecycle(db: Database, run_id: UUID, stage: Literal["active", "deleted"]) -> None:
    """Delete or restore a run; one that is in that stage already stays as it is."""

    async def work(connection: Any) -> None:
        await _lock(connection, run_id)
        await connection.execute(_SQL["unseal"], run_id)
        await connection.execute(_SQL["set_lifecycle"], run_id, stage)

    await db.edit(work)


async def edit_run(
    db: Database,
    run_id: UUID,
    *,
    name: str | None,
    tags: Mapping[str, str | None],
    lifecycle: Literal["active", "deleted"] | None,
) -> None:
    """Change what people change of a run, all or nothing: its name, tags (None deletes one), deletion.

    Raises:
        RunUnknown, RunIsDeleted: A deleted run can be changed only together with its restoration.
    """
    kept = {key: value for key, value in tags.items() if value is not None}
    gone = [key for key, value in tags.items() if value is None]

    async def work(connection: Any) -> None:
        row = await _lock(connection, run_id)
        if row["lifecycle"] == "deleted" and lifecycle != "active" and (name is not None or tags):
            raise RunIsDeleted(run_id)
        await connection.execute(_SQL["unseal"], run_id)
        if lifecycle is not None:
            await connection.execute(_SQL["set_lifecycle"], run_id, lifecycle)
        if name is not None:
            await connection.execute(_SQL["set_name"], run_id, name)
        if kept:
            await connection.execute(
                _WRITE["set_tags"], [run_id] * len(kept), list(kept), list(kept.values())
            )
        if gone:
            await connection.execute(_WRITE["delete_tags"], [run_id] * len(gone), gone)

    await db.edit(work)


async def delete_tag(db: Database, run_id: UUID, key: str) -> None:
    """Delete one tag of an active run."""

    async def work(connection: Any) -> None:
        name = await _lock_active(connection, run_id)
        if key == NAME_TAG and name:
            await connection.execute(_SQL["set_name"], run_id, "")
        elif await connection.fetchval(_SQL["delete_tag"], run_id, key) is None:
            raise TagUnknown(key, run_id)

    await db.edit(work)


async def change_tag(db: Database, run_id: UUID, key: str, change: Callable[[str | None], str]) -> None:
    """Set a tag of an active run to what `change` makes of its value; None: it is not there."""

    async def work(connection: Any) -> None:
        await _lock_active(connection, run_id)
        value = change(await connection.fetchval(_SQL["get_tag"], run_id, key))
        await connection.execute(_WRITE["set_tags"], [run_id], [key], [value])

    await db.edit(work)


async def _lock(connection: Any, run_id: UUID) -> Any:
    """The run's lifecycle and name, which stay until COMMIT. A run that is just being deleted for good is there no more."""
    row = await connection.fetchrow(_SQL["lock"], run_id)
    if row is None or await connection.fetch(_WRITE["gone_runs"], [run_id]):
        raise RunUnknown(run_id)
    return row


async def _lock_active(connection: Any, run_id: UUID) -> str:
    """The run's name. The caller is about to change it."""
    row = await _lock(connection, run_id)
    if row["lifecycle"] == "deleted":
        raise RunIsDeleted(run_id)
    await connection.execute(_SQL["unseal"], run_id)  # searches of runs at rest would not see the change
    name: str = row["name"]
    return name
