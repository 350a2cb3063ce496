"""Reading the tables of an MLflow server's database: SQLite or PostgreSQL, by queries of `mlflow_source.sql`. Nothing is written."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import unquote, urlsplit, urlunsplit

import asyncpg

from ingest.transfer.source_errors import BadSource
from ingest_schema.sql import load_queries

__all__ = ["Rows", "is_database_url", "open_rows"]

_SQL: Final = load_queries("mlflow_source")
_ROWS: Final = 10_000
"""Rows fetched at a time."""
_TIMEOUT: Final = 300.0
"""Seconds that one statement may take."""


class Rows(Protocol):
    """A database. Queries may be read inside of each other."""

    tables: str
    """The query that lists the tables."""

    def read(self, query: str, *arguments: Any) -> AsyncIterator[Mapping[str, Any]]:
        """Rows of a query, a few at a time."""

    async def close(self) -> None:
        """Give the connections back."""


def is_database_url(place: str) -> bool:
    """Whether this names a database that can be read."""
    return urlsplit(place).scheme.partition("+")[0] in {"sqlite", "postgresql", "postgres"}


def open_rows(url: str) -> Rows:
    """The database at a URL that an MLflow server can be started with.

    Raises:
        BadSource: There is no such file.
    """
    return _Sqlite(url) if urlsplit(url).scheme.startswith("sqlite") else _Postgres(url)


class _Sqlite:
    """Rows of a SQLite file."""

    tables = "sqlite_tables"

    def __init__(self, url: str) -> None:
        # sqlite:///relative.db and sqlite:////absolute.db, as SQLAlchemy has it
        path = Path(unquote(urlsplit(url).path.removeprefix("/")))
        if not path.is_file():
            raise BadSource(f"there is no database file {path}")
        self._connection = sqlite3.connect(f"file:{path.resolve()}?mode=ro", uri=True, timeout=30)
        self._connection.row_factory = sqlite3.Row

    async def read(self, query: str, *arguments: Any) -> AsyncIterator[Mapping[str, Any]]:
        """Rows of a query, a few at a time."""
        try:
            cursor = self._connection.execute(_SQL[query].replace("$", "?"), arguments)
            while rows := cursor.fetchmany(_ROWS):
                for row in rows:
                    yield row
                await asyncio.sleep(0)
        except sqlite3.Error as error:
            raise BadSource(f"this is no database of an MLflow server: {error}") from error

    async def close(self) -> None:
        """Close the file."""
        self._connection.close()


class _Postgres:
    """Rows of a PostgreSQL database: a connection for each query under way, kept for the next."""

    tables = "postgres_tables"

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._url = urlunsplit(parts._replace(scheme="postgresql"))  # without SQLAlchemy's +driver
        self._idle: list[Any] = []

    async def read(self, query: str, *arguments: Any) -> AsyncIterator[Mapping[str, Any]]:
        """Rows of a query, a few at a time."""
        try:
            connection = (
                self._idle.pop()
                if self._idle
                else await asyncpg.connect(self._url, timeout=10, command_timeout=_TIMEOUT)
            )
            is_whole = False
            try:
                async with connection.transaction(readonly=True):
                    async for row in connection.cursor(_SQL[query], *arguments, prefetch=_ROWS):
                        yield row
                is_whole = True
            finally:
                if is_whole:
                    self._idle.append(connection)
                else:
                    connection.terminate()
        except (asyncpg.PostgresError, OSError, TimeoutError) as error:
            raise BadSource(f"MLflow's database can't be read: {error or type(error).__name__}") from error

    async def close(self) -> None:
        """End the connections."""
        while self._idle:
            self._idle.pop().terminate()
