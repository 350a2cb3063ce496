"""SQL that the team keeps by name."""

from __future__ import annotations

from typing import Any, Final

from ingest.service.database import Database
from ingest_schema.sql import load_queries

__all__ = ["MAX_QUERIES", "delete_query", "list_queries", "save_query"]

_SQL: Final = load_queries("saved_queries")

MAX_QUERIES: Final = 500
"""They are listed whole."""


async def list_queries(db: Database) -> list[dict[str, Any]]:
    """All of them, by name."""
    return [dict(row) for row in await db.fetch(_SQL["list"])]


async def save_query(db: Database, name: str, sql: str, *, by: str) -> dict[str, Any] | None:
    """Keep this SQL under this name, in place of what is there; None if there are MAX_QUERIES already."""

    async def work(connection: Any) -> Any:
        return await connection.fetchrow(_SQL["save"], name, sql, by, MAX_QUERIES)

    row = await db.edit(work)
    return None if row is None else dict(row)


async def delete_query(db: Database, name: str) -> bool:
    """Whether there was one."""

    async def work(connection: Any) -> bool:
        return await connection.fetchval(_SQL["delete"], name) is not None

    return await db.edit(work)
