"""Runs and experiments as the service has them, in MLflow's shape: `run.info.run_id`, `run.data.metrics` and so on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from ingest_client._fluent import Experiment
from ingest_client._history import history
from ingest_client._reading import Reading, deliver_own, reading
from ingest_client.errors import NotFound
from ingest_schema.ids import parse_id

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "RunData",
    "StoredRun",
    "StoredRunInfo",
    "get_experiment",
    "get_experiment_by_name",
    "get_run",
    "search_experiments",
]

_REST: Final = "/api/2.0/mlflow"
_PAGE: Final = 1_000
_VIEWS: Final = {
    1: "ACTIVE_ONLY",
    2: "DELETED_ONLY",
    3: "ALL",
    "ACTIVE_ONLY": "ACTIVE_ONLY",
    "DELETED_ONLY": "DELETED_ONLY",
    "ALL": "ALL",
}
"""MLflow's ViewType, by number and by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRunInfo:
    """What a run is. Times are milliseconds since the Unix epoch."""

    run_id: str
    run_name: str
    experiment_id: str
    user_id: str
    status: str
    start_time: int
    end_time: int | None
    lifecycle_stage: str
    artifact_uri: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunData:
    """What was logged: the latest value of each metric, params and tags."""

    metrics: Mapping[str, float]
    params: Mapping[str, str]
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """A run as the service had it when it was asked."""

    info: StoredRunInfo
    data: RunData

    def history(self, keys: str | Sequence[str] | None = None, **options: Any) -> pd.DataFrame:
        """All points of its metrics; see `Run.history`."""
        frame: pd.DataFrame = history(self.info.run_id, keys, **options)
        return frame


def get_run(run_id: str) -> StoredRun:
    """A run with the latest value of each metric, its params and tags.

    Raises:
        NotFound: There is no such run.
        ReadFailed: The service can't be reached, or refuses.
        ValueError: run_id is no run's id.
    """
    run = parse_id(run_id)
    deliver_own(run)
    with reading() as service:
        found = service.json("GET", f"{_REST}/runs/get?{urlencode({'run_id': run.hex})}")["run"]
    return _run(found)


def get_experiment(experiment_id: str | int) -> Experiment:
    """An experiment by its number.

    Raises:
        NotFound: There is none.
        ReadFailed: The service can't be reached, or refuses.
    """
    query = urlencode({"experiment_id": str(experiment_id)})
    with reading() as service:
        return _experiment(service.json("GET", f"{_REST}/experiments/get?{query}")["experiment"])


def get_experiment_by_name(name: str) -> Experiment | None:
    """An experiment by its name; None if there is none.

    Raises:
        ReadFailed: The service can't be reached, or refuses.
    """
    query = urlencode({"experiment_name": name})
    with reading() as service:
        try:
            found = service.json("GET", f"{_REST}/experiments/get-by-name?{query}")
        except NotFound:
            return None
    return _experiment(found["experiment"])


def search_experiments(
    view_type: int | str = 1,
    max_results: int | None = None,
    filter_string: str | None = None,
    order_by: Sequence[str] | None = None,
) -> list[Experiment]:
    """Experiments that a filter finds, in MLflow's grammar: `name LIKE 'vision%' AND tags.team = 'a'`.

    Args:
        view_type: MLflow's ViewType: active ones (1), deleted ones (2), or all (3).
        max_results: Most experiments; None for all.
        filter_string: Default: all.
        order_by: Fields such as `name ASC`; by default the one made last comes first.

    Raises:
        ReadFailed: The service can't be reached, or refuses the question; the message says which.
    """
    if view_type not in _VIEWS:
        raise ValueError(f"view_type is {view_type!r}; it must be one of {', '.join(map(str, _VIEWS))}")
    question: dict[str, Any] = {"view_type": _VIEWS[view_type]}
    if filter_string:
        question["filter"] = filter_string
    if order_by:
        question["order_by"] = list(order_by)
    with reading() as service:
        return [_experiment(found) for found in _experiments(service, question, max_results)]


def _experiments(service: Reading, question: dict[str, Any], limit: int | None) -> Iterator[dict[str, Any]]:
    token: str | None = None
    while limit is None or limit > 0:
        asked = {**question, "max_results": _PAGE if limit is None else min(_PAGE, limit)}
        page = service.json(
            "POST", f"{_REST}/experiments/search", {**asked, **({"page_token": token} if token else {})}
        )
        found = page.get("experiments", [])
        yield from found
        limit = None if limit is None else limit - len(found)
        token = page.get("next_page_token")
        if not token:
            return


def _run(found: dict[str, Any]) -> StoredRun:
    info, data = found["info"], found.get("data", {})
    end_time = info.get("end_time")
    return StoredRun(
        info=StoredRunInfo(
            run_id=info["run_id"],
            run_name=info.get("run_name", ""),
            experiment_id=str(info["experiment_id"]),
            user_id=info.get("user_id", ""),
            status=info["status"],
            start_time=int(info["start_time"]),
            end_time=None if end_time is None else int(end_time),
            lifecycle_stage=info.get("lifecycle_stage", "active"),
            artifact_uri=info.get("artifact_uri", ""),
        ),
        data=RunData(
            metrics={one["key"]: float(one["value"]) for one in data.get("metrics", [])},
            params=_texts(data.get("params", [])),
            tags=_texts(data.get("tags", [])),
        ),
    )


def _experiment(found: dict[str, Any]) -> Experiment:
    return Experiment(
        name=found["name"],
        experiment_id=str(found["experiment_id"]),
        artifact_location=found.get("artifact_location"),
        lifecycle_stage=found.get("lifecycle_stage", "active"),
        creation_time=found.get("creation_time"),
        last_update_time=found.get("last_update_time"),
        tags=_texts(found.get("tags", [])),
    )


def _texts(pairs: Sequence[dict[str, str]]) -> dict[str, str]:
    return {pair["key"]: pair["value"] for pair in pairs}
