"""Versions of registered models: made, read, staged, deleted, tagged, searched.

Changes lock the registered model first and the version after it, so that two of them wait for each other in one direction.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from ingest.search.listing import Listing
from ingest.service.database import Database
from ingest.service.errors import RegisteredUnknown, VersionUnknown
from ingest_schema.sql import load_queries

__all__ = [
    "ModelVersion",
    "NewVersion",
    "create_version",
    "delete_tag",
    "delete_version",
    "get_version",
    "get_versions",
    "latest_versions",
    "search_versions",
    "set_stage",
    "set_tag",
    "update_version",
]

REGISTRATIONS_TAG: Final = "mlflow.modelVersions"
"""Of a logged model: a JSON list of the versions made of it. Clients read it there."""

_SQL: Final = load_queries("model_versions")
_REGISTRY: Final = load_queries("registry")
_LOGGED: Final = load_queries("logged_models")

Version = tuple[str, int]
"""A registered model's name and a number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVersion:
    """What a version is made of. storage_location: where the files are, found by the caller."""

    name: str
    description: str | None
    source: str
    storage_location: str
    run_id: str | None
    run_link: str | None
    model_id: str | None
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A version. tags, aliases: JSON arrays as text, or None where they would be empty."""

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
    tags: str | None
    aliases: str | None


async def create_version(db: Database, new: NewVersion) -> int:
    """The next version's number."""

    async def work(connection: Any) -> int:
        version: int | None = await connection.fetchval(
            _SQL["create"], new.name, new.description, new.source, new.storage_location, new.run_id,
            new.run_link, new.model_id, orjson.dumps(new.tags).decode(), _now_ms(),
        )  # fmt: skip
        if version is None:
            raise RegisteredUnknown(new.name)
        if new.model_id is not None:
            await _note_registration(connection, new.model_id, new.name, version)
        return version

    return await db.edit(work)


async def get_version(db: Database, name: str, version: int) -> ModelVersion:
    """One version."""
    found = await get_versions(db, [(name, version)])
    if not found:
        raise VersionUnknown(name, version)
    return found[0]


async def get_versions(db: Database, versions: Sequence[Version]) -> list[ModelVersion]:
    """Several, in that order; those that are not there are left out."""
    if not versions:
        return []
    names, numbers = zip(*versions, strict=True)
    return [ModelVersion(*row) for row in await db.fetch(_SQL["get_many"], names, numbers)]


async def latest_versions(
    db: Database, names: Sequence[str], stages: Sequence[str]
) -> dict[str, list[ModelVersion]]:
    """The newest version of each model for each of the stages, by name."""
    rows = await db.fetch(_SQL["latest"], names)
    found = await get_versions(db, [(row["name"], row["version"]) for row in rows if row["stage"] in stages])
    latest: dict[str, list[ModelVersion]] = {}
    for version in found:
        latest.setdefault(version.name, []).append(version)
    return latest


async def update_version(db: Database, version: Version, description: str | None) -> None:
    """Give it another description."""
    await _edit(db, version, "update", description, _now_ms())


async def set_stage(db: Database, version: Version, stage: str, *, archive_others: bool) -> None:
    """Move it to a stage, and the others of that stage to the archive if asked."""

    async def work(connection: Any) -> None:
        await _lock(connection, *version)
        if archive_others:
            await connection.execute(_SQL["archive_others"], *version, stage, _now_ms())
        await connection.execute(_SQL["set_stage"], *version, stage, _now_ms())
        await connection.execute(_REGISTRY["touch"], version[0], _now_ms())

    await db.edit(work)


async def delete_version(db: Database, version: Version) -> None:
    """Delete it with its tags and aliases. Its number is not used again."""

    async def work(connection: Any) -> None:
        await _lock(connection, *version)
        await connection.execute(_SQL["delete"], *version)
        await connection.execute(_REGISTRY["touch"], version[0], _now_ms())

    await db.edit(work)


async def set_tag(db: Database, version: Version, key: str, value: str) -> None:
    """Set one tag."""
    await _edit(db, version, "set_tag", orjson.dumps({key: value}).decode())


async def delete_tag(db: Database, version: Version, key: str) -> None:
    """Delete one tag; one that is not there is deleted already."""
    await _edit(db, version, "delete_tag", key)


async def search_versions(
    db: Database, listing: Listing, *, limit: int, page_token: str
) -> tuple[list[ModelVersion], str | None]:
    """One page of the versions that the listing has, and the token of the next one."""
    page = listing.page(limit + 1, page_token or None)
    rows = await db.fetch(page.sql, *page.values)
    token = listing.token_after(rows[limit - 1]) if len(rows) > limit else None
    return await get_versions(db, [(row["id"], row[len(row) - 1]) for row in rows[:limit]]), token


async def _note_registration(connection: Any, model_id: str, name: str, version: int) -> None:
    row = await connection.fetchrow(_LOGGED["lock"], model_id)
    if row is None:
        return
    try:
        known = orjson.loads(orjson.loads(row["tags"]).get(REGISTRATIONS_TAG, "[]"))
    except orjson.JSONDecodeError:
        known = []
    listed = known if isinstance(known, list) else []
    tag = orjson.dumps([*listed, {"name": name, "version": version}]).decode()
    await connection.execute(
        _LOGGED["set_tags"], model_id, orjson.dumps({REGISTRATIONS_TAG: tag}).decode(), _now_ms()
    )


async def _edit(db: Database, version: Version, query: str, *arguments: object) -> None:
    async def work(connection: Any) -> None:
        await _lock(connection, *version)
        await connection.execute(_SQL[query], *version, *arguments)

    await db.edit(work)


async def _lock(connection: Any, name: str, version: int) -> None:
    await connection.fetchrow(_REGISTRY["lock"], name)
    if await connection.fetchrow(_SQL["lock"], name, version) is None:
        raise VersionUnknown(name, version)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
