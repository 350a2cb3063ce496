"""Requests that search: runs and experiments. The grammar of filter and order is `ingest.search`'s."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from ingest.mlflow.errors import refused
from ingest.mlflow.experiments import experiment_number
from ingest.mlflow.fields import Field, Table, enum, int32, int64, read, string, wrong_type

__all__ = [
    "LIST_EXPERIMENTS",
    "SEARCH_EXPERIMENTS",
    "SEARCH_RUNS",
    "SearchExperiments",
    "SearchRuns",
    "ViewType",
    "read_list_experiments",
    "read_search_experiments",
    "read_search_runs",
]

MAX_RESULTS: Final = 50_000
DEFAULT_RUNS: Final = 1_000

ViewType = Literal["ACTIVE_ONLY", "DELETED_ONLY", "ALL"]
VIEW_TYPES: Final = {"ACTIVE_ONLY": 1, "DELETED_ONLY": 2, "ALL": 3}

SEARCH_RUNS = Table(
    Field("experiment_ids", string, repeated=True),
    Field("filter", string),
    Field("run_view_type", enum(VIEW_TYPES)),
    Field("max_results", int32),
    Field("order_by", string, repeated=True),
    Field("page_token", string),
)
SEARCH_EXPERIMENTS = Table(
    Field("max_results", int64),
    Field("page_token", string),
    Field("filter", string),
    Field("order_by", string, repeated=True),
    Field("view_type", enum(VIEW_TYPES)),
)

LIST_EXPERIMENTS = Table(
    Field("view_type", enum(VIEW_TYPES)), Field("max_results", int64), Field("page_token", string)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchExperiments:
    """page_token: "" for the first page."""

    filter: str
    view_type: ViewType
    max_results: int
    order_by: tuple[str, ...]
    page_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRuns(SearchExperiments):
    """A request of runs/search, of the experiments named."""

    experiment_ids: tuple[int, ...]


def read_search_runs(body: Any) -> SearchRuns:
    """A request of runs/search."""
    fields = read(SEARCH_RUNS, body)
    max_results = fields.integer("max_results", DEFAULT_RUNS)
    if max_results > MAX_RESULTS:
        raise wrong_type("max_results", max_results)
    if max_results <= 0:
        raise refused(_not_positive(max_results))
    return SearchRuns(
        experiment_ids=tuple(experiment_number(text) for text in fields.texts("experiment_ids")),
        filter=fields.text("filter"),
        view_type=cast("ViewType", fields.text("run_view_type", "ACTIVE_ONLY")),
        max_results=max_results,
        order_by=tuple(fields.texts("order_by")),
        page_token=fields.text("page_token"),
    )


def read_search_experiments(body: Any) -> SearchExperiments:
    """A request of experiments/search."""
    fields = read(SEARCH_EXPERIMENTS, body)
    return SearchExperiments(
        filter=fields.text("filter"),
        view_type=cast("ViewType", fields.text("view_type", "ACTIVE_ONLY")),
        # Absent is 0 and refused: the reference server asks for it.
        max_results=_page_of_experiments(fields.integer("max_results")),
        order_by=tuple(fields.texts("order_by")),
        page_token=fields.text("page_token"),
    )


def read_list_experiments(body: Any) -> SearchExperiments:
    """A request of experiments/list, which MLflow 1 asks in place of a search: all of a stage, newest first."""
    fields = read(LIST_EXPERIMENTS, body)
    return SearchExperiments(
        filter="",
        view_type=cast("ViewType", fields.text("view_type", "ACTIVE_ONLY")),
        max_results=_page_of_experiments(fields.integer("max_results", MAX_RESULTS)),
        order_by=(),
        page_token=fields.text("page_token"),
    )


def _page_of_experiments(max_results: int) -> int:
    """max_results, if a page can have so many."""
    if max_results <= 0:
        raise refused(_not_positive(max_results))
    if max_results > MAX_RESULTS:
        raise refused(
            f"Invalid value {max_results} for parameter 'max_results' supplied. It must be at most {MAX_RESULTS}"
        )
    return max_results


def _not_positive(number: int) -> str:
    return f"Invalid value {number} for parameter 'max_results' supplied. It must be a positive integer"
