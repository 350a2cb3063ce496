"""Logged models, registered models and versions as MLflow's client expects them. Lists come as JSON texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

__all__ = ["logged_model", "model_version", "registered_model"]


def logged_model(
    *,
    model_id: str,
    experiment_id: int,
    name: str,
    model_type: str | None,
    source_run_id: str | None,
    status: str,
    status_message: str,
    created_at_ms: int,
    updated_at_ms: int,
    artifact_uri: str,
    params: str | None,
    tags: str | None,
    registrations: str | None,
    metrics: str | None,
) -> dict[str, Any]:
    """A `LoggedModel`."""
    prefix = "LOGGED_MODEL_STATUS_" if status == "UNSPECIFIED" else "LOGGED_MODEL_"
    info: dict[str, Any] = {
        "model_id": model_id,
        "experiment_id": str(experiment_id),
        "name": name,
        "creation_timestamp_ms": created_at_ms,
        "last_updated_timestamp_ms": updated_at_ms,
        "artifact_uri": artifact_uri,
        "status": prefix + status,
    }
    if model_type is not None:
        info["model_type"] = model_type
    if source_run_id is not None:
        info["source_run_id"] = source_run_id
    if status_message:
        info["status_message"] = status_message
    return {
        "info": {**info, **_lists(tags=tags, registrations=registrations)},
        "data": _lists(params=params, metrics=metrics),
    }


def model_version(
    *,
    name: str,
    version: int,
    description: str | None,
    user_name: str,
    source: str,
    run_id: str | None,
    run_link: str | None,
    model_id: str | None,
    stage: str,
    created_at_ms: int,
    updated_at_ms: int,
    tags: str | None,
    aliases: str | None,
) -> dict[str, Any]:
    """A `ModelVersion`; ready at once, since there is nothing to wait for."""
    found: dict[str, Any] = {
        "name": name,
        "version": str(version),
        "creation_timestamp": created_at_ms,
        "last_updated_timestamp": updated_at_ms,
        "current_stage": stage,
        "source": source,
        "run_id": run_id or "",
        "status": "READY",
    }
    optional = {
        "description": description,
        "user_id": user_name or None,
        "run_link": run_link,
        "model_id": model_id,
    }
    found |= {field: value for field, value in optional.items() if value is not None}
    return {**found, **_lists(tags=tags, aliases=aliases)}


def registered_model(
    *,
    name: str,
    description: str | None,
    created_at_ms: int,
    updated_at_ms: int,
    tags: str | None,
    aliases: str | None,
    latest_versions: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """A `RegisteredModel`."""
    found: dict[str, Any] = {
        "name": name,
        "creation_timestamp": created_at_ms,
        "last_updated_timestamp": updated_at_ms,
    }
    if description is not None:
        found["description"] = description
    if latest_versions:
        found["latest_versions"] = list(latest_versions)
    return {**found, **_lists(tags=tags, aliases=aliases)}


def _lists(**lists: str | None) -> dict[str, orjson.Fragment]:
    return {name: orjson.Fragment(text) for name, text in lists.items() if text is not None}
