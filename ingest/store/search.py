"""Searches on the database: runs and experiments by filter, order and page; what runs differ in.

The grammar and the SQL are `ingest.search`'s; this module runs the statements and fetches what the found runs hold, a
few round trips a page whatever its length. Every function takes a `Reader`: anything with a `fetch` such as the service's
`Database`, which also translates the driver's errors.

Errors: FilterError (filter, order or column), BadSearchToken, and the reader's own.
Units: ms since the Unix epoch in names ending in _ms; limits count rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from uuid import UUID

import asyncpg

from ingest.search.dialect import EXPERIMENTS, RUNS, Dialect
from ingest.search.errors import FilterError
from ingest.search.experiments import ExperimentSearch, list_experiments
from ingest.search.listing import Listing, Statement
from ingest.search.nodes import Field
from ingest.search.parser import parse_field, parse_filter, parse_order
from ingest.search.runs import RunSearch, View, list_runs
from ingest_schema.sql import load_queries

__all__ = [
    "Columns",
    "ExperimentPage",
    "FoundRun",
    "Reader",
    "RunPage",
    "RunQuery",
    "count_runs",
    "fetch_runs",
    "find_experiments",
    "search_experiments",
    "search_runs",
    "summary_of",
]

_SQL: Final = load_queries("search")
MAX_VALUE_CHARS: Final = 1_000_000
"""Of a param or tag in an answer; more than a value may have bytes."""
FETCH_AT_ONCE: Final = 500
"""Runs whose params, tags and metrics are fetched in one go, so that a page of thousands needs bounded memory."""


class Reader(Protocol):
    """Where statements run."""

    async def fetch(self, query: str, *arguments: object) -> list[Any]:
        """All rows of the query."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQuery:
    """A search of runs as users write it. experiment_ids: None for all experiments."""

    filter: str = ""
    order_by: Sequence[str] = ()
    experiment_ids: Sequence[int] | None = None
    view: View = "ACTIVE_ONLY"
    dialect: Dialect = RUNS

    def listing(self) -> Listing:
        """Its statements.

        Raises:
            FilterError: The filter or the order can't be read.
        """
        ids = None if self.experiment_ids is None else tuple(self.experiment_ids)
        search = RunSearch(
            condition=parse_filter(self.filter, self.dialect),
            order=parse_order(self.order_by, self.dialect),
            experiment_ids=ids,
            view=self.view,
            is_mlflow=self.dialect.strict,
        )
        return list_runs(search)


@dataclass(frozen=True, slots=True)
class RunPage:
    """Ids in their order. count: of all runs that the search finds, if it was asked for."""

    run_ids: list[UUID]
    next_page_token: str | None
    count: int | None = None


@dataclass(frozen=True, slots=True)
class ExperimentPage:
    """Ids in their order."""

    experiment_ids: list[int]
    next_page_token: str | None


@dataclass(slots=True)
class FoundRun:
    """A run and what was asked for of it. metrics: by (key, summary)."""

    row: Mapping[str, Any]
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[tuple[str, str], float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Columns:
    """What of the runs to read. Each of params, tags: keys, or None for all. metrics: None for the latest of all."""

    fields: tuple[Field, ...] | None = None

    @classmethod
    def of(cls, names: Iterable[str], dialect: Dialect = RUNS) -> Columns:
        """Columns by their names in the grammar of filters.

        Raises:
            FilterError: One of them is no field.
        """
        fields = tuple(dict.fromkeys(parse_field(name, dialect) for name in names))
        if any(f.kind == "dataset" for f in fields):
            raise FilterError("datasets can be searched for, and are no column")
        return cls(fields)

    def keys(self, kind: str) -> list[str] | None:
        """The keys wanted of a kind; None for all."""
        if self.fields is None:
            return None
        return list(dict.fromkeys(f.name for f in self.fields if f.kind == kind))

    @property
    def only_latest(self) -> bool:
        """Whether no summary but the last value is wanted."""
        return self.fields is None or all(f.summary == "last" for f in self.fields if f.kind == "metric")


async def search_runs(
    reader: Reader, query: RunQuery, *, limit: int, page_token: str | None = None, with_count: bool = False
) -> RunPage:
    """One page of the runs that the query finds.

    Args:
        limit: Rows, at least 1.
        page_token: Of the page before; "" and None begin at the beginning.
        with_count: Also count all of them; a second statement, at the same time.
    """
    listing = query.listing()
    page = listing.page(limit + 1, page_token or None)
    if with_count:
        rows, count = await asyncio.gather(_run(reader, page), count_runs(reader, query))
    else:
        rows, count = await _run(reader, page), None
    is_more = len(rows) > limit
    token = listing.token_after(rows[limit - 1]) if is_more else None
    return RunPage([row["id"] for row in rows[:limit]], token, count)


async def count_runs(reader: Reader, query: RunQuery) -> int:
    """How many runs the query finds."""
    return int((await _run(reader, query.listing().count()))[0][0])


async def search_experiments(
    reader: Reader,
    *,
    filter: str = "",  # noqa: A002  the word of the API
    order_by: Sequence[str] = (),
    view: View = "ACTIVE_ONLY",
    limit: int,
    page_token: str | None = None,
    dialect: Dialect = EXPERIMENTS,
) -> ExperimentPage:
    """One page of the experiments that the filter finds."""
    search = ExperimentSearch(parse_filter(filter, dialect), parse_order(order_by, dialect), view)
    listing = list_experiments(search)
    rows = await _run(reader, listing.page(limit + 1, page_token or None))
    token = listing.token_after(rows[limit - 1]) if len(rows) > limit else None
    return ExperimentPage([row["id"] for row in rows[:limit]], token)


async def find_experiments(reader: Reader, names: Sequence[str]) -> dict[str, int]:
    """The ids of the experiments called so; those that are not there are left out."""
    rows = await reader.fetch(_SQL["experiments_by_names"], names)
    return {row["name"]: row["experiment_id"] for row in rows}


async def fetch_runs(reader: Reader, run_ids: Sequence[UUID], columns: Columns) -> list[FoundRun]:
    """The runs with what was asked for, in the order of the ids; those that are gone are left out."""
    found: list[FoundRun] = []
    for start in range(0, len(run_ids), FETCH_AT_ONCE):
        found += await _fetch_some(reader, run_ids[start : start + FETCH_AT_ONCE], columns)
    return found


async def _fetch_some(reader: Reader, run_ids: Sequence[UUID], columns: Columns) -> list[FoundRun]:
    runs = {row["run_id"]: FoundRun(row) for row in await reader.fetch(_SQL["run_rows"], run_ids)}
    for kind, query in (("param", "params"), ("tag", "tags")):
        keys = columns.keys(kind)
        if keys == []:
            continue
        for row in await reader.fetch(_SQL[query], run_ids, keys, MAX_VALUE_CHARS):
            if (run := runs.get(row["run_id"])) is not None:
                texts = run.params if kind == "param" else run.tags
                texts.update(zip(row["keys"], row["values"], strict=True))
    await _fetch_metrics(reader, run_ids, columns, runs)
    return list(runs.values())


async def _fetch_metrics(
    reader: Reader, run_ids: Sequence[UUID], columns: Columns, runs: Mapping[UUID, FoundRun]
) -> None:
    keys = columns.keys("metric")
    if keys == []:
        return
    if columns.only_latest:
        for row in await reader.fetch(_SQL["latest"], run_ids, keys):
            if (run := runs.get(row["run_id"])) is not None:
                run.metrics.update(
                    ((key, "last"), value) for key, value in zip(row["keys"], row["values"], strict=True)
                )
        return
    wanted = [f for f in columns.fields or () if f.kind == "metric"]
    for row in await reader.fetch(_SQL["summaries"], run_ids, keys):
        if (run := runs.get(row["run_id"])) is not None:
            for f in wanted:
                if f.name == row["key"]:
                    run.metrics[f.name, f.summary] = summary_of(row, f.summary)


_SUMMARY_COLUMNS: Final = {
    "last": "last_value",
    "min": "min_value",
    "max": "max_value",
    "first": "first_value",
    "sum": "sum_value",
    "count": "n",
    "nonfinite": "non_finite",
    "argmin": "min_step",
    "argmax": "max_step",
    "last_step": "last_step",
}


def summary_of(row: Mapping[str, Any], summary: str) -> float | None:
    """A summary in terms of a row of `series`."""
    if summary == "mean":
        finite = row["n"] - row["non_finite"]
        return row["sum_value"] / finite if finite else None
    value: float | None = row[_SUMMARY_COLUMNS[summary]]
    return value


async def _run(reader: Reader, statement: Statement) -> list[Any]:
    try:
        return await reader.fetch(statement.sql, *statement.values)
    except Exception as error:
        cause = error if isinstance(error, asyncpg.PostgresError) else error.__cause__
        if isinstance(cause, asyncpg.InvalidRegularExpressionError):
            raise FilterError(str(cause)) from error
        raise
