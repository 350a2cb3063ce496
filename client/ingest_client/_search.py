"""`search_runs`: runs as a DataFrame, by the grammar of docs/search.md, with MLflow's names for columns and arguments.

Reads over HTTP, page by page; nothing of the logging path is touched. pandas is imported when a DataFrame is wanted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, overload
from urllib.parse import urlsplit

from ingest_client._fluent import current_experiment, get_tracking_uri
from ingest_client._settings import Settings
from ingest_client.errors import SearchFailed

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["search_runs"]

_PAGE_ROWS: Final = 1_000
_TIMEOUT: Final = 60.0
"""Seconds for one page."""
_VIEWS: Final = {
    1: "active",
    2: "deleted",
    3: "all",
    "ACTIVE_ONLY": "active",
    "DELETED_ONLY": "deleted",
    "ALL": "all",
}
"""MLflow's ViewType, by number and by name."""
_RUN_COLUMNS: Final = ("run_id", "experiment_id", "status", "artifact_uri", "start_time", "end_time")
_READ: Final = ("experiment_id", "status", "artifact_uri", "start_time", "end_time", "run_name")


@overload
def search_runs(
    experiment_ids: Sequence[str | int] | None = None,
    filter_string: str = "",
    run_view_type: int | str = 1,
    max_results: int = 100_000,
    order_by: Sequence[str] | None = None,
    output_format: Literal["pandas"] = "pandas",
    search_all_experiments: bool = False,
    experiment_names: Sequence[str] | None = None,
    *,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame: ...


@overload
def search_runs(
    experiment_ids: Sequence[str | int] | None = None,
    filter_string: str = "",
    run_view_type: int | str = 1,
    max_results: int = 100_000,
    order_by: Sequence[str] | None = None,
    *,
    output_format: Literal["list"],
    search_all_experiments: bool = False,
    experiment_names: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
) -> list[dict[str, Any]]: ...


def search_runs(  # noqa: PLR0917 - the order of MLflow's arguments is kept
    experiment_ids: Sequence[str | int] | None = None,
    filter_string: str = "",
    run_view_type: int | str = 1,
    max_results: int = 100_000,
    order_by: Sequence[str] | None = None,
    output_format: Literal["pandas", "list"] = "pandas",
    search_all_experiments: bool = False,
    experiment_names: Sequence[str] | None = None,
    *,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame | list[dict[str, Any]]:
    """Runs that a filter finds.

    Args:
        experiment_ids, experiment_names: Where to look; by default in the experiment that runs would be started in.
        filter_string: MLflow's grammar and more: `metrics.loss < 0.1 AND (params.lr = '0.01' OR NOT tags.team = 'a')`.
        run_view_type: MLflow's ViewType: active runs (1), deleted ones (2), or all (3).
        max_results: Most runs.
        order_by: Fields such as `metrics.loss DESC`; by default the run that started last comes first.
        output_format: `pandas`, or `list` for one dict a run.
        search_all_experiments: Look everywhere if no experiment is named.
        columns: Read only these params, tags and metrics, such as `params.lr` and `min(metrics.loss)`. Default: all params and
            tags, and the latest value of each metric.

    Returns:
        A row for each run: run_id, experiment_id, status, artifact_uri, start_time, end_time, then metrics.x, params.y,
        tags.z, and summaries such as `min(metrics.x)`; what a run lacks is NaN among metrics and None elsewhere.

    Raises:
        SearchFailed: The service can't be reached, or refuses the question; the message says which.
        ImportError: There is no pandas.
    """
    if run_view_type not in _VIEWS:
        raise ValueError(
            f"run_view_type is {run_view_type!r}; it must be one of {', '.join(map(str, _VIEWS))}"
        )
    question: dict[str, Any] = {
        "filter": filter_string,
        "order_by": list(order_by or []),
        "view": _VIEWS[run_view_type],
    }
    experiments = _experiments(experiment_ids, experiment_names, everywhere=search_all_experiments)
    if experiments is not None:
        question["experiments"] = experiments
    if columns is not None:
        question["columns"] = [*_READ, *columns]
    found = [_row(run) for run in _pages(question, max_results)]
    if output_format == "list":
        return found
    return _frame(found)


def _experiments(
    ids: Sequence[str | int] | None, names: Sequence[str] | None, *, everywhere: bool
) -> list[str | int] | None:
    chosen: list[str | int] = [*(int(i) for i in ids or ()), *(names or ())]
    if chosen or everywhere:
        return chosen or None
    return [current_experiment()]


def _pages(question: dict[str, Any], limit: int) -> Iterator[dict[str, Any]]:
    settings = Settings.read(tracking_uri=get_tracking_uri())
    token = None
    while limit > 0:
        page = _ask(settings, {**question, "limit": min(_PAGE_ROWS, limit), "page_token": token})
        yield from page["runs"]
        limit -= len(page["runs"])
        token = page["next_page_token"]
        if token is None:
            return


def _ask(settings: Settings, question: dict[str, Any]) -> Any:
    """One page.

    Raises:
        SearchFailed: See `search_runs`.
    """
    import ssl
    import urllib.error
    import urllib.request

    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if settings.token:
        headers["Authorization"] = f"Bearer {settings.token}"
    url = settings.tracking_uri + "/api/v1/runs/search"
    request = urllib.request.Request(url, data=json.dumps(question).encode(), headers=headers)  # noqa: S310  http(s) only: Settings
    is_secure = urlsplit(url).scheme == "https"
    context = ssl.create_default_context(cafile=settings.ca_file) if is_secure else None
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT, context=context) as answer:  # noqa: S310  same
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        raise SearchFailed(_explained(error.code, error.read())) from error
    except (OSError, ValueError) as error:  # the network's errors are OSErrors; no JSON is a ValueError
        raise SearchFailed(f"{settings.tracking_uri} does not answer: {error}") from error


def _explained(status: int, body: bytes) -> str:
    """The service's own words, with the place in the filter if it named one."""
    try:
        problem = json.loads(body)
        detail = str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        return f"the service answered {status}: {body[:200]!r}"
    return f"{detail}\n{problem['text']}" if problem.get("text") else detail


def _row(run: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "run_id": run["run_id"],
        "experiment_id": str(run["experiment_id"]),
        "status": run["status"],
        "artifact_uri": run.get("artifact_uri"),
        "start_time": run["start_time_ms"],
        "end_time": run["end_time_ms"],
    }
    row |= {f"metrics.{key}": _number(value) for key, value in run.get("metrics", {}).items()}
    for summary, values in run.get("summaries", {}).items():
        row |= {f"{summary}(metrics.{key})": _number(value) for key, value in values.items()}
    row |= {f"params.{key}": value for key, value in run.get("params", {}).items()}
    row |= {f"tags.{key}": value for key, value in run.get("tags", {}).items()}
    if name := run.get("name"):
        row.setdefault("tags.mlflow.runName", name)
    return row


def _number(value: float | str | None) -> float:
    """JSON has no NaN and no infinities: they come as texts."""
    return float("nan") if value is None else float(value)


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(
            "search_runs makes a DataFrame, which needs pandas: pip install 'metric-ingest[pandas]', "
            "or ask for output_format='list'"
        ) from error
    keys = {key for row in rows for key in row} - set(_RUN_COLUMNS)
    by_kind = sorted(keys, key=lambda key: (_KINDS.get(key.partition(".")[0], 1), key))
    columns: dict[str, Any] = {name: [row.get(name) for row in rows] for name in (*_RUN_COLUMNS, *by_kind)}
    for name in ("start_time", "end_time"):
        columns[name] = pd.to_datetime(
            pd.Series(columns[name], dtype="Int64"), unit="ms", utc=True, errors="coerce"
        )
    for key in by_kind:
        if key.partition(".")[0] not in {"params", "tags"}:
            columns[key] = pd.Series([row.get(key) for row in rows], dtype="float64")
    return pd.DataFrame(columns)


_KINDS: Final = {"metrics": 0, "params": 2, "tags": 3}
