"""The registry: models by names that people chose, and their aliases. Versions are `ingest.service.model_versions`'s."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from ingest.search.listing import Listing
from ingest.service.database import Database
from ingest.service.errors import AliasUnknown, RegisteredUnknown, RegistryNameTaken, VersionUnknown
from ingest.store.errors import ContentRefused
from ingest_schema.sql import load_queries

__all__ = [
    "Registered",
    "create_registered",
    "delete_alias",
    "delete_registered",
    "delete_tag",
    "get_registered",
    "get_several",
    "rename_registered",
    "search_registered",
    "set_alias",
    "set_tag",
    "update_registered",
    "version_of_alias",
]

_SQL: Final = load_queries("registry")
_VERSIONS: Final = load_queries("model_versions")


@dataclass(frozen=True, slots=True)
class Registered:
    """A registered model. tags, aliases: JSON arrays as text, or None where they would be empty."""

    name: str
    description: str | None
    created_at_ms: int
    updated_at_ms: int
    tags: str | None
    aliases: str | None


async def create_registered(
    db: Database, name: str, description: str | None, tags: Mapping[str, str]
) -> None:
    """Register a name."""

    async def work(connection: Any) -> None:
        labels = orjson.dumps(tags).decode()
        if await connection.fetchval(_SQL["create"], name, description, labels, _now_ms()) is None:
            raise RegistryNameTaken(name)

    await db.edit(work)


async def get_registered(db: Database, name: str) -> Registered:
    """The registered model of that name."""
    found = await get_several(db, [name])
    if not found:
        raise RegisteredUnknown(name)
    return found[0]


async def get_several(db: Database, names: Sequence[str]) -> list[Registered]:
    """Several, in the order of the names; those that are not there are left out."""
    return [Registered(*row) for row in await db.fetch(_SQL["get_many"], names)]


async def update_registered(db: Database, name: str, description: str | None) -> None:
    """Give it another description."""
    await _edit(db, name, "update", description, _now_ms())


async def rename_registered(db: Database, name: str, new_name: str) -> None:
    """Give it another name, with all its versions."""

    async def work(connection: Any) -> None:
        await _lock(connection, name)
        if await connection.fetchval(_SQL["exists"], new_name):
            raise RegistryNameTaken(new_name)
        await connection.execute(_SQL["rename"], name, new_name, _now_ms())
        await connection.execute(_SQL["touch_versions"], new_name, _now_ms())

    try:
        await db.edit(work)
    except ContentRefused as error:  # somebody took it between look and change
        raise RegistryNameTaken(new_name) from error


async def delete_registered(db: Database, name: str) -> None:
    """Delete it with its versions, tags and aliases; files stay where they are."""
    await _edit(db, name, "delete")


async def set_tag(db: Database, name: str, key: str, value: str) -> None:
    """Set one tag."""
    await _edit(db, name, "set_tag", orjson.dumps({key: value}).decode())


async def delete_tag(db: Database, name: str, key: str) -> None:
    """Delete one tag; one that is not there is deleted already."""
    await _edit(db, name, "delete_tag", key)


async def set_alias(db: Database, name: str, alias: str, version: int) -> None:
    """Let the alias stand for that version; it moves if it stood for another."""

    async def work(connection: Any) -> None:
        await _lock(connection, name)
        if await connection.fetchrow(_VERSIONS["lock"], name, version) is None:
            raise VersionUnknown(name, version)
        await connection.execute(_SQL["set_alias"], name, alias, version)
        await connection.execute(_SQL["touch"], name, _now_ms())

    await db.edit(work)


async def delete_alias(db: Database, name: str, alias: str) -> None:
    """Delete the alias; one that is not there is deleted already."""
    await _edit(db, name, "delete_alias", alias)


async def version_of_alias(db: Database, name: str, alias: str) -> int:
    """The number of the version that the alias stands for."""
    row = await db.fetchrow(_SQL["version_of_alias"], name, alias)
    if row is None:
        if await db.fetchrow(_SQL["exists"], name) is None:
            raise RegisteredUnknown(name)
        raise AliasUnknown(name, alias)
    version: int = row["version"]
    return version


async def search_registered(
    db: Database, listing: Listing, *, limit: int, page_token: str
) -> tuple[list[Registered], str | None]:
    """One page of the registered models that the listing has, and the token of the next one."""
    page = listing.page(limit + 1, page_token or None)
    rows = await db.fetch(page.sql, *page.values)
    token = listing.token_after(rows[limit - 1]) if len(rows) > limit else None
    return await get_several(db, [row["id"] for row in rows[:limit]]), token


async def _edit(db: Database, name: str, query: str, *arguments: object) -> None:
    async def work(connection: Any) -> None:
        await _lock(connection, name)
        await connection.execute(_SQL[query], name, *arguments)

    await db.edit(work)


async def _lock(connection: Any, name: str) -> None:
    if await connection.fetchrow(_SQL["lock"], name) is None:
        raise RegisteredUnknown(name)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
