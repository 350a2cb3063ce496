"""Reads of our own API: experiments, runs, summaries of series, raw points. Every listing comes in pages.

A pool of its own with a time-out, in read-only transactions: readers never take a connection or a lock of the writers.

Errors: NotFound, BadPageToken, DatabaseUnavailable, Contention (a read that ran out of time).
Units: ms since the Unix epoch in names ending in _ms; limits count rows or points.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Literal, NamedTuple, Self
from uuid import UUID

from ingest.store.connections import open_reader_pool, snapshot
from ingest.store.errors import DATABASE_ERRORS, NotFound, translated
from ingest.store.history import PointPage, read_points
from ingest.store.keys import KeyMatch
from ingest.store.pages import BadPageToken, decode_token, encode_token
from ingest.store.retention import Rule
from ingest_schema.limits import INT64_MAX
from ingest_schema.sql import load_queries

__all__ = ["Lifecycle", "Page", "Reads", "RunDetail"]

_SQL: Final = load_queries("read")
Row = Mapping[str, Any]
Lifecycle = Literal["active", "deleted", "all"]
_LIFECYCLES: Final[Mapping[str, list[str]]] = {
    "active": ["active"],
    "deleted": ["deleted"],
    "all": ["active", "deleted"],
}

DETAIL_MAX_ROWS: Final = 10_000
"""Params, tags and writers of one run in its detail, each: SQL answers about more."""


class Page(NamedTuple):
    """Rows, and where the next page begins; None after the last."""

    rows: Sequence[Row]
    next_page_token: str | None


class RunDetail(NamedTuple):
    """Everything about a run but its points."""

    run: Row
    params: dict[str, str]
    tags: dict[str, str]
    writers: Sequence[Row]


class Reads:
    """The reads, over a pool. `open` makes one."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, *, connections: int, timeout: float) -> AsyncIterator[Self]:
        """Reads for as long as the block; connections are made when first needed.

        Args:
            timeout: Seconds that one read may take.
        """
        pool = await open_reader_pool(url, size=connections, timeout=timeout)
        try:
            yield cls(pool)
        finally:
            pool.terminate()

    async def _fetch(self, name: str, *arguments: object) -> list[Row]:
        try:
            rows: list[Row] = await self._pool.fetch(_SQL[name], *arguments)
        except DATABASE_ERRORS as error:
            raise translated(error) from error
        return rows

    async def experiments(
        self, *, limit: int, page_token: str | None, lifecycle: Lifecycle = "active"
    ) -> Page:
        """Experiments in the order of their ids, each with its tags."""
        after = decode_token("experiments", page_token, [int])[0] if page_token else -1
        rows = await self._fetch("experiments", after, limit + 1, _LIFECYCLES[lifecycle])
        page = _page(rows, limit, lambda row: encode_token("experiments", row["experiment_id"]))
        return page._replace(rows=await self._with_tags(page.rows))

    async def experiment(self, experiment_id: int) -> Row:
        """One experiment with its tags and its rule of retention."""
        rows = await self._fetch("experiment", experiment_id) if 0 <= experiment_id <= INT64_MAX else []
        if not rows:
            raise NotFound(f"there is no experiment {experiment_id}")
        return (await self._with_tags(rows))[0]

    async def _with_tags(self, rows: Sequence[Row]) -> list[Row]:
        found = await self._fetch("experiment_tags", [row["experiment_id"] for row in rows])
        tags: dict[int, dict[str, str]] = {row["experiment_id"]: {} for row in rows}
        for tag in found:
            tags[tag["experiment_id"]][tag["key"]] = tag["value"]
        rules = {
            row["experiment_id"]: {name: row[name] for name in Rule.__slots__}
            for row in await self._fetch("rules_of_experiments", list(tags))
        }
        return [
            {**row, "tags": tags[row["experiment_id"]], "retention": rules.get(row["experiment_id"])}
            for row in rows
        ]

    async def experiment_id(self, name: str) -> int:
        """The id of the experiment called so."""
        rows = await self._fetch("experiment_id_by_name", name)
        if not rows:
            raise NotFound(f"there is no experiment called {name[:200]!r}")
        return int(rows[0]["experiment_id"])

    async def runs(
        self,
        *,
        experiment_id: int | None,
        limit: int,
        page_token: str | None,
        lifecycle: Lifecycle = "active",
    ) -> Page:
        """Runs, the one that started last first; of one experiment, or of all."""
        before_ms, run_id = INT64_MAX, UUID(int=0)
        if page_token:
            before_ms, raw_id = decode_token("runs", page_token, [int, bytes])
            run_id = _uuid(raw_id)
        arguments = [before_ms, run_id, limit + 1, _LIFECYCLES[lifecycle]]
        if experiment_id is None:
            rows = await self._fetch("newest_runs", *arguments)
        else:
            rows = await self._fetch("newest_runs_of_experiment", *arguments, experiment_id)
        return _page(rows, limit, lambda row: encode_token("runs", row["start_time_ms"], row["run_id"].bytes))

    async def run(self, run_id: UUID) -> RunDetail:
        """One run with its params, tags and writers."""
        async with snapshot(self._pool) as connection:
            run = await connection.fetchrow(_SQL["run"], run_id)
            if run is None:
                raise _no_run(run_id)
            params = await connection.fetch(_SQL["params_of_run"], run_id, DETAIL_MAX_ROWS)
            tags = await connection.fetch(_SQL["tags_of_run"], run_id, DETAIL_MAX_ROWS)
            writers = await connection.fetch(_SQL["writers_of_run"], run_id, DETAIL_MAX_ROWS)
        return RunDetail(run, dict(params), dict(tags), writers)

    async def series(
        self, run_id: UUID, *, limit: int, page_token: str | None, match: KeyMatch | None = None
    ) -> Page:
        """The summaries of a run's series, in the order of their keys (by bytes); of those keys that match."""
        after = decode_token("series", page_token, [str])[0] if page_token else ""
        like, regex = (match.like, match.regex) if match is not None else (None, None)
        rows = await self._fetch("series_of_run", run_id, after, limit + 1, like, regex)
        if not rows:
            await self._check_run(run_id)
        return _page(rows, limit, lambda row: encode_token("series", row["key"]))

    async def points(self, run_id: UUID, key: str, *, limit: int, page_token: str | None) -> PointPage:
        """Raw points of one series, at most `limit`, in the order of (step, time, value)."""
        async with snapshot(self._pool) as connection:
            series = await connection.fetchrow(_SQL["series"], run_id, key)
            if series is not None:
                return await read_points(connection, run_id, key, limit=limit, page_token=page_token)
        await self._check_run(run_id)
        raise NotFound(f"run {run_id.hex} has no metric {key[:200]!r}")

    async def _check_run(self, run_id: UUID) -> None:
        rows = await self._fetch("run_exists", run_id)
        if not rows[0]["exists"]:
            raise _no_run(run_id)


def _page(rows: Sequence[Row], limit: int, token_of: Any) -> Page:
    """The first `limit` of the rows; one more was asked for, to know whether there is a next page."""
    kept = rows[:limit]
    return Page(kept, token_of(kept[-1]) if len(rows) > limit else None)


def _no_run(run_id: UUID) -> NotFound:
    return NotFound(f"there is no run {run_id.hex}")


def _uuid(raw: bytes) -> UUID:
    if len(raw) != 16:
        raise BadPageToken("the page token holds no run id")
    return UUID(bytes=raw)
