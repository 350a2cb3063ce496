"""Entities as MLflow's client expects them, by protobuf's JSON rules: int64 as numbers, NaN and the infinities as texts.

Lists that PostgreSQL made as JSON go into the answer as they are (`orjson.Fragment`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

__all__ = ["API_VERSION", "SERVER_INFO", "experiment", "metric_objects", "run", "run_info"]

API_VERSION: Final = "3.18.0"
"""Of MLflow, whose REST API this is."""

SERVER_INFO: Final[Mapping[str, Any]] = {
    "store_type": "SqlStore",
    "workspaces_enabled": False,
    "trace_archival_enabled": False,
    "multipart_uploads_enabled": False,
    "multipart_downloads_enabled": False,
    "artifact_serving_enabled": True,
    "artifacts_presigned_only": False,
}
"""False keeps the client at plain uploads and downloads through the service, which takes any size. URLs of the store itself are
there for who asks for them; the client would insist on them once it is told, and the store may be out of its reach."""

_STATUSES: Final = frozenset({"RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"})


def experiment(
    *,
    experiment_id: int,
    name: str,
    artifact_location: str,
    lifecycle: str,
    created_at_ms: int,
    updated_at_ms: int,
    tags: Mapping[str, str],
) -> dict[str, Any]:
    """An `Experiment`."""
    found: dict[str, Any] = {
        "experiment_id": str(experiment_id),
        "name": name,
        "artifact_location": artifact_location,
        "lifecycle_stage": lifecycle,
        "last_update_time": updated_at_ms,
        "creation_time": created_at_ms,
    }
    if tags:
        found["tags"] = [{"key": key, "value": value} for key, value in tags.items()]
    found["workspace"] = "default"
    return found


def run_info(
    *,
    run_id: str,
    experiment_id: int,
    name: str,
    user_name: str,
    status: str,
    lifecycle: str,
    start_time_ms: int,
    end_time_ms: int | None,
    artifact_uri: str,
) -> dict[str, Any]:
    """A `RunInfo`. A run whose writers fell silent is LOST to us; MLflow has no such word, so it is FAILED there."""
    info: dict[str, Any] = {
        "run_uuid": run_id,
        "experiment_id": str(experiment_id),
        "run_name": name,
        "user_id": user_name,
        "status": status if status in _STATUSES else "FAILED",
        "start_time": start_time_ms,
    }
    if end_time_ms is not None:
        info["end_time"] = end_time_ms
    return {**info, "artifact_uri": artifact_uri, "lifecycle_stage": lifecycle, "run_id": run_id}


def run(
    info: Mapping[str, Any],
    *,
    metrics: str | None,
    params: str | None,
    tags: str | None,
    dataset_inputs: str | None,
    model_inputs: str | None,
    model_outputs: str | None,
) -> dict[str, Any]:
    """A `Run`. Each list is a JSON array as text, or None where it would be empty."""
    return {
        "info": info,
        "data": _present(metrics=_signed(metrics), params=params, tags=tags),
        "inputs": _present(dataset_inputs=dataset_inputs, model_inputs=model_inputs),
        "outputs": _present(model_outputs=model_outputs),
    }


def _signed(metrics: str | None) -> str | None:
    """PostgreSQL writes a negative zero as -0, which Python's json reads as an integer, without its sign."""
    return metrics and metrics.replace('"value" : -0,', '"value" : -0.0,')


def _present(**lists: str | None) -> dict[str, orjson.Fragment]:
    return {name: orjson.Fragment(text) for name, text in lists.items() if text is not None}


def metric_objects(
    key: str,
    steps: Sequence[int],
    times_ms: Sequence[int],
    values: Sequence[float],
    run_id: str | None = None,
) -> bytes:
    """`Metric` objects as JSON, joined by commas, without brackets. run_id: for the forms that name it."""
    shown: Sequence[float | str] = values
    if not all(map(math.isfinite, values)):
        shown = [value if math.isfinite(value) else _name_of(value) for value in values]
    columns = zip(shown, times_ms, steps, strict=True)
    if run_id is None:
        objects = [{"key": key, "value": v, "timestamp": t, "step": s} for v, t, s in columns]
    else:
        objects = [
            {"key": key, "value": v, "timestamp": t, "step": s, "run_id": run_id} for v, t, s in columns
        ]
    return orjson.dumps(objects)[1:-1]


def _name_of(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
