"""Small questions beside the work: is the database there, whose token is this, which tokens are there.

They have a pool of their own, of two connections, so that a probe or a check of a token never waits behind readers.

Errors: DatabaseUnavailable. Units: seconds.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Self

import asyncpg

from ingest.store.errors import DatabaseUnavailable, translated
from ingest_schema.sql import load_queries

__all__ = ["FoundToken", "Housekeeping", "TokenRow"]

CONNECTIONS: Final = 2
TIMEOUT: Final = 5.0
"""For a connection and for each question; a probe is answered within that."""


@dataclass(frozen=True, slots=True)
class FoundToken:
    """A valid token, as the check needs it."""

    token_id: uuid.UUID
    name: str
    role: str
    valid_seconds: float | None
    """Until it expires; None: never."""


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token as `ingest token list` shows it."""

    token_id: uuid.UUID
    name: str
    role: str
    created_at: dt.datetime
    expires_at: dt.datetime | None
    revoked_at: dt.datetime | None
    last_used_at: dt.datetime | None
    is_valid: bool


class Housekeeping:
    """The questions, over a pool."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._queries = load_queries("tokens")

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator[Self]:
        """Open the pool; connections are made when first needed."""
        pool = await asyncpg.create_pool(
            url,
            min_size=0,
            max_size=CONNECTIONS,
            timeout=TIMEOUT,
            command_timeout=TIMEOUT,
            max_inactive_connection_lifetime=60,
            server_settings={
                "application_name": "ingest housekeeping",
                "search_path": "ingest",
                "jit": "off",
            },
        )
        try:
            yield cls(pool)
        finally:
            pool.terminate()  # nothing of worth is under way, and a dead server must not hold up the end

    async def schema_version(self) -> int:
        """One round trip to the database."""
        rows = await self._fetch("schema_version")
        version: int = rows[0]["version"]
        return version

    async def find_token(self, token_hash: bytes) -> FoundToken | None:
        rows = await self._fetch("find_token", token_hash)
        return FoundToken(**rows[0]) if rows else None

    async def create_session(self, session_hash: bytes, token_id: uuid.UUID, seconds: float) -> None:
        """Let a browser act for this token, for so long at most."""
        await self._fetch("create_session", session_hash, token_id, seconds)

    async def find_session(self, session_hash: bytes) -> FoundToken | None:
        """The token behind a session, if both are valid."""
        rows = await self._fetch("find_session", session_hash)
        return FoundToken(**rows[0]) if rows else None

    async def delete_session(self, session_hash: bytes) -> None:
        await self._fetch("delete_session", session_hash)

    async def has_valid_token(self) -> bool:
        rows = await self._fetch("has_valid_token")
        return bool(rows[0][0])

    async def create_token(
        self, token_id: uuid.UUID, name: str, role: str, token_hash: bytes, expires_at: dt.datetime | None
    ) -> None:
        await self._fetch("create_token", token_id, name, role, token_hash, expires_at)

    async def list_tokens(self) -> list[TokenRow]:
        return [TokenRow(**row) for row in await self._fetch("list_tokens")]

    async def revoke_tokens(self, id_or_name: str) -> list[tuple[uuid.UUID, str, str]]:
        """Revoke the token of this id, or all of this name; returns id, name and role of each."""
        return [tuple(row) for row in await self._fetch("revoke_token", id_or_name)]

    async def delete_token(self, token_id: uuid.UUID) -> None:
        """Delete a token that was made for one purpose, which is over."""
        await self._fetch("delete_token", token_id)

    async def _fetch(self, query: str, *arguments: object) -> list[Any]:
        try:
            async with self._pool.acquire(timeout=TIMEOUT) as connection:
                rows: list[Any] = await connection.fetch(self._queries[query], *arguments)
                return rows
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise (translated(error) if isinstance(error, asyncpg.PostgresError) else _gone(error)) from error


def _gone(error: BaseException) -> DatabaseUnavailable:
    return DatabaseUnavailable(str(error) or type(error).__name__)
