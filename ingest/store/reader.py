"""The role that may only read: made by `ingest migrate`, used by `POST /api/v1/sql`, by psql and by Grafana.

What a user's SQL may touch is decided by privileges, so it has to run on a connection that *logged in* as a role
without others. Running it as the owner after SET ROLE would not do: `SELECT set_config('role', 'none', false)`, inside
the very statement that was to be confined, brings the owner back. Therefore there is no such fallback. Without a
reader role the endpoint is off and says what to do.

The role's password is random and lies in `ingest.secrets`, which only the owner can read; so every service on the
database finds it without another setting.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg

from ingest.store.connect import connect
from ingest.store.errors import StoreError
from ingest_schema.sql import load_queries

if TYPE_CHECKING:
    from asyncpg import Connection

logger = logging.getLogger(__name__)

MAX_NAME_BYTES = 63
"""Of a PostgreSQL identifier."""
SECRET_NAME = "reader_password"  # noqa: S105  # the row's name in ingest.secrets, not the password

_QUERIES = load_queries("reader")


@dataclass(frozen=True, slots=True)
class ReaderRole:
    """The outcome of making the role: its name, and why it can't be used if it can't."""

    name: str
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class ReaderAccess:
    """How users' SQL reaches the database: a URL that logs in as the reader, or the reason why there is none."""

    url: str | None
    problem: str | None = None

    def __repr__(self) -> str:
        return f"ReaderAccess(url={'…' if self.url else None}, problem={self.problem!r})"


def default_role_name(database: str) -> str:
    """`<database>_reader`, shortened if need be. Roles are shared by all databases of a server: hence the name."""
    name = f"{database}_reader"
    if len(name.encode()) > MAX_NAME_BYTES:
        digest = hashlib.sha256(database.encode()).hexdigest()[:12]
        name = f"{database.encode()[:43].decode(errors='ignore')}_{digest}_reader"
    return name


async def grant_reader(connection: Connection, role: str | None) -> ReaderRole:
    """Make the reader role if we may, and give it exactly the public tables and views.

    Called in the migration runner's transaction. Lacking the right to make roles is no error: reading by SQL is then
    off until somebody makes the role and names it by `reader_database_url`.
    """
    name = role or default_role_name(await connection.fetchval(_QUERIES["database_name"]))
    password = "" if role else await _stored_password(connection) or secrets.token_urlsafe(32)
    try:
        async with connection.transaction():
            if password:
                await connection.execute(_QUERIES["store_password"], SECRET_NAME, password)
            await connection.execute(_QUERIES["set_names"], name, password)
            await connection.execute(_QUERIES["make_and_grant"])
    except (asyncpg.InsufficientPrivilegeError, asyncpg.UndefinedObjectError) as error:
        problem = (
            f"no reader role: {error}. Let an administrator run CREATE ROLE \"{name}\" LOGIN PASSWORD '…', set "
            "reader_database_url to log in as that role, and run ingest migrate again"
        )
        return ReaderRole(name, problem)
    return ReaderRole(name)


async def _stored_password(connection: Connection) -> str | None:
    value: str | None = await connection.fetchval(_QUERIES["stored_password"], SECRET_NAME)
    return value


async def find_reader(connection: Connection, url: str, reader_database_url: str | None) -> ReaderAccess:
    """The URL for users' SQL, tried and checked: it logs in as a role that can only read what is public."""
    if reader_database_url is None:
        password = await _stored_password(connection)
        if password is None:
            return ReaderAccess(
                None, "there is no reader role; run ingest migrate, or set reader_database_url"
            )
        role = default_role_name(await connection.fetchval(_QUERIES["database_name"]))
        reader_database_url = with_login(url, role, password)
    try:
        async with connect(reader_database_url, purpose="check") as reader:
            unfit = await reader.fetchval(_QUERIES["unfit"])
            readable = await reader.fetchval(_QUERIES["may_read"])
    except (StoreError, asyncpg.PostgresError) as error:
        return ReaderAccess(None, f"the reader role can't be used: {error}")
    if unfit is not None:
        return ReaderAccess(
            None, f"the reader may act as {unfit}, which can do more than read the public tables"
        )
    if not readable:
        return ReaderAccess(None, "the reader may not read the public tables; run ingest migrate")
    return ReaderAccess(reader_database_url)


def with_login(url: str, user: str, password: str) -> str:
    """The same database, as somebody else."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    kept = [
        item
        for item in parts.query.split("&")
        if item and item.split("=")[0] not in {"user", "password", "passfile"}
    ]
    login = f"{quote(user, safe='')}:{quote(password, safe='')}@{host}"
    return urlunsplit((parts.scheme, login, parts.path, "&".join(kept), parts.fragment))
