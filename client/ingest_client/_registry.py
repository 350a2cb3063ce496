"""Registering a model: a name with numbered versions, over MLflow's REST. The caller waits; trouble raises."""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import urlencode

from ingest_client._artifacts_read import ArtifactReader
from ingest_client._artifacts_uris import OfRun, resolve
from ingest_client._fluent import get_tracking_uri
from ingest_client._settings import Settings
from ingest_client.errors import ArtifactError

__all__ = ["register_model"]

_REST: Final = "/api/2.0/mlflow"


def register_model(model_uri: str, name: str, *, tags: dict[str, Any] | None = None) -> dict[str, Any]:
    """Make a logged model the next version of a name, which is made if there is none.

    Args:
        model_uri: `runs:/<run_id>/<path>`, or another address of a model.
        name: The registered model.
        tags: Of the version.

    Returns:
        The version, as the registry gives it: `name`, `version`, `source`, `run_id`, …

    Raises:
        ArtifactNotFound, ArtifactError: There is no such run, or the service can't be reached or refuses.
    """
    reader = ArtifactReader(Settings.read(tracking_uri=get_tracking_uri()))
    try:
        try:
            _post(reader, "registered-models/create", {"name": name})
        except ArtifactError as error:
            if "already exists" not in str(error):
                raise
        place = resolve(model_uri, reader) if model_uri.startswith("runs:") else None
        question: dict[str, Any] = {"name": name, "source": model_uri}
        if isinstance(place, OfRun):
            query = urlencode({"run_id": place.run_id.hex})
            run = reader.ask("GET", f"{_REST}/runs/get?{query}")["run"]["info"]
            question |= {"run_id": place.run_id.hex, "source": f"{run['artifact_uri']}/{place.path}"}
        if tags:
            question["tags"] = [{"key": str(key), "value": str(value)} for key, value in tags.items()]
        version: dict[str, Any] = _post(reader, "model-versions/create", question)["model_version"]
        return version
    finally:
        reader.close()


def _post(reader: ArtifactReader, what: str, document: dict[str, Any]) -> dict[str, Any]:
    return reader.ask("POST", f"{_REST}/{what}", json.dumps(document).encode())
