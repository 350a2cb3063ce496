"""Entities as MLflow's client expects them, by protobuf's JSON rules: int64 as numbers, NaN and the infinities as texts.

Lists that PostgreSQL made as JSON go into the answer as they are (`orjson.Fragment`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson

__all__ = ["API_VERSION", "SERVER_INFO", "experiment", "metric_objects", "run", "run_info"]

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]

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
    metrics: Sequence[tuple[str, float, int, int]],
    params: Sequence[tuple[str, str]],
    tags: Sequence[tuple[str, str]],
    links: Mapping[str, str],
) -> dict[str, Any]:
    """A `Run`. A list that would be empty is left out.

    Args:
        metrics: Key, value, time in ms, step of each.
        links: JSON arrays as text, by name: dataset_inputs, model_inputs, model_outputs.
    """
    data: dict[str, Any] = {}
    if metrics:
        data["metrics"] = [
            {
                "key": key,
                "value": value if math.isfinite(value) else _name_of(value),
                "timestamp": time_ms,
                "step": step,
            }
            for key, value, time_ms, step in metrics
        ]
    if params:
        data["params"] = _labels(params)
    if tags:
        data["tags"] = _labels(tags)
    inputs: dict[str, orjson.Fragment] = {}
    outputs: dict[str, orjson.Fragment] = {}
    for name, texts in links.items():
        (outputs if name == "model_outputs" else inputs)[name] = orjson.Fragment(texts)
    return {"info": info, "data": data, "inputs": inputs, "outputs": outputs}


def _labels(pairs: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in pairs]


def metric_objects(
    key: str, steps: Int64s, times_ms: Int64s, values: Float64s, run_id: str | None = None
) -> bytes:
    """`Metric` objects as JSON, joined by commas, without brackets; there is one at least. run_id: for the forms that name it.

    Columns are written as texts and woven with what stands between them: an object for each point took three times as long.
    """
    end = b"}" if run_id is None else b',"run_id":' + orjson.dumps(run_id) + b"}"
    begin = b'{"key":' + orjson.dumps(key) + b',"value":'
    pieces = [b"", b',"timestamp":', b"", b',"step":', b"", end + b"," + begin] * len(values)
    pieces[0::6], pieces[2::6], pieces[4::6] = _texts(values), _texts(times_ms), _texts(steps)
    pieces[-1] = end
    is_odd = ~np.isfinite(values)
    if is_odd.any():
        for i in np.flatnonzero(is_odd).tolist():
            pieces[6 * i] = orjson.dumps(_name_of(float(values[i])))
    return begin + b"".join(pieces)


def _texts(column: Int64s | Float64s) -> list[bytes]:
    """Each number as JSON."""
    return orjson.dumps(np.ascontiguousarray(column), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")


def _name_of(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
