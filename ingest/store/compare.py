"""What runs differ in: params, tags and summaries of metrics of up to some hundred runs, in a few statements.

A key differs if two of the runs have other values, or one has it and another lacks it; NaN is equal to NaN.
Errors: those of the reader, and TooMuchToCompare.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from ingest.search.nodes import Summary
from ingest.store.search import Columns, FoundRun, Reader, fetch_runs, summary_of
from ingest_schema.sql import load_queries

__all__ = ["SUMMARIES", "Comparison", "TooMuchToCompare", "compare_runs"]

_SQL: Final = load_queries("search")
MAX_CELLS: Final = 500_000
"""Runs x different metrics of one answer, each with nine summaries: half a second, 50 MB."""
SUMMARIES: Final[tuple[Summary, ...]] = (
    "last",
    "min",
    "max",
    "first",
    "mean",
    "count",
    "nonfinite",
    "argmin",
    "argmax",
)


class TooMuchToCompare(ValueError):
    """The runs have more metrics together than one answer can hold."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Every list has one entry for each run, in their order; None where the run lacks the key.

    metrics: by key, then by summary.
    """

    runs: list[FoundRun]
    params: dict[str, list[str | None]]
    tags: dict[str, list[str | None]]
    metrics: dict[str, dict[str, list[float | None]]]


async def compare_runs(reader: Reader, run_ids: Sequence[UUID], *, everything: bool = False) -> Comparison:
    """Compare the runs that are there. everything: also keys in which they do not differ."""
    (counted,) = await reader.fetch(_SQL["distinct_keys"], run_ids)
    if (cells := counted["keys"] * len(run_ids)) > MAX_CELLS:
        raise TooMuchToCompare(
            f"{len(run_ids)} runs with {counted['keys']} different metrics make {cells} entries, over the limit of "
            f"{MAX_CELLS}; compare fewer runs"
        )
    runs = await fetch_runs(reader, run_ids, Columns())
    places = {run.row["run_id"]: i for i, run in enumerate(runs)}
    series: dict[str, list[Mapping[str, Any] | None]] = {}
    for row in await reader.fetch(_SQL["summaries"], run_ids, None):
        if (place := places.get(row["run_id"])) is not None:
            series.setdefault(row["key"], [None] * len(runs))[place] = row
    metrics: dict[str, dict[str, list[float | None]]] = {}
    for key, rows in sorted(series.items()):
        lists: dict[str, list[float | None]] = {
            name: [None if row is None else summary_of(row, name) for row in rows] for name in SUMMARIES
        }
        if everything or any(map(_differ, lists.values())):
            metrics[key] = lists
    return Comparison(
        runs,
        _by_key([run.params for run in runs], everything=everything),
        _by_key([run.tags for run in runs], everything=everything),
        metrics,
    )


def _by_key(runs: Sequence[Mapping[str, str]], *, everything: bool) -> dict[str, list[str | None]]:
    keys = sorted({key for run in runs for key in run})
    lists = {key: [run.get(key) for run in runs] for key in keys}
    return {key: values for key, values in lists.items() if everything or _differ(values)}


def _differ(values: Iterable[object]) -> bool:
    """Whether not all are equal. NaN, the only thing that is not equal to itself, counts as equal to NaN."""
    return len({"NaN" if value != value else (value,) for value in values}) > 1  # noqa: PLR0124  NaN
