"""The database of an MLflow server, read directly: SQLite or PostgreSQL, MLflow 2 and 3. Nothing is written to it.

Points of a metric come in the order of (time, step, value), which is the order MLflow's primary key has them in: it keeps no
other. It stores ±Inf as ±1.797e308, and that is what arrives.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit

import asyncpg

from ingest.transfer.mlflow_source import Point, SourceExperiment, SourceRun
from ingest.transfer.source_errors import BadSource
from ingest_schema.sql import load_queries

__all__ = ["SqlStore", "is_database_url"]

_SQL: Final = load_queries("mlflow_source")
_ROWS: Final = 10_000
"""Rows fetched at a time."""
_TIMEOUT: Final = 300.0
"""Seconds that one statement may take."""


def is_database_url(place: str) -> bool:
    """Whether this names a database that `SqlStore` can read."""
    return urlsplit(place).scheme.partition("+")[0] in {"sqlite", "postgresql", "postgres"}


class SqlStore:
    """The database behind an MLflow server, by the URL that the server was started with.

    Raises:
        BadSource: There is no such file, or it can't be reached.
    """

    def __init__(self, url: str) -> None:
        self._rows = _Sqlite(url) if urlsplit(url).scheme.startswith("sqlite") else _Postgres(url)

    async def experiments(self) -> AsyncIterator[SourceExperiment]:
        """All, deleted ones too."""
        async for row in self._rows.read("experiments"):
            tags = await self._texts("experiment_tags", row["experiment_id"])
            yield SourceExperiment(
                source_id=str(row["experiment_id"]),
                name=row["name"],
                is_deleted=row["lifecycle_stage"] == "deleted",
                tags=tags,
            )

    async def runs(self, experiment: SourceExperiment) -> AsyncIterator[SourceRun]:
        """All runs of one, deleted ones too."""
        async for row in self._rows.read("runs", int(experiment.source_id)):
            run_id = row["run_uuid"]
            yield SourceRun(
                run_id=run_id,
                name=row["name"] or None,
                user=row["user_id"] or None,
                status=row["status"] or "RUNNING",
                start_time_ms=row["start_time"],
                end_time_ms=row["end_time"],
                is_deleted=row["lifecycle_stage"] == "deleted",
                artifact_uri=row["artifact_uri"],
                params=await self._texts("params", run_id),
                tags=await self._texts("tags", run_id),
            )

    async def points(self, run: SourceRun) -> AsyncIterator[Point]:
        """All points of a run, metric after metric."""
        async for row in self._rows.read("metrics", run.run_id):
            value = float("nan") if row["is_nan"] else float(row["value"])
            yield row["key"], row["step"], row["timestamp"], value

    async def _texts(self, query: str, of: Any) -> dict[str, str]:
        return {row["key"]: row["value"] or "" async for row in self._rows.read(query, of)}


class _Sqlite:
    """Rows of a SQLite file."""

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
            cursor = self._connection.execute(_SQL[query].replace("$1", "?1"), arguments)
            while rows := cursor.fetchmany(_ROWS):
                for row in rows:
                    yield row
                await asyncio.sleep(0)
        except sqlite3.Error as error:
            raise BadSource(f"this is no database of an MLflow server: {error}") from error


class _Postgres:
    """Rows of a PostgreSQL database, each query over a connection of its own."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._url = urlunsplit(parts._replace(scheme="postgresql"))  # without SQLAlchemy's +driver

    async def read(self, query: str, *arguments: Any) -> AsyncIterator[Mapping[str, Any]]:
        """Rows of a query, a few at a time."""
        try:
            connection = await asyncpg.connect(self._url, timeout=10, command_timeout=_TIMEOUT)
            try:
                async with connection.transaction(readonly=True):
                    async for row in connection.cursor(_SQL[query], *arguments, prefetch=_ROWS):
                        yield row
            finally:
                connection.terminate()
        except (asyncpg.PostgresError, OSError, TimeoutError) as error:
            raise BadSource(f"MLflow's database can't be read: {error or type(error).__name__}") from error
