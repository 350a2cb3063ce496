"""MLflow's artifact repository: files that runs of this process log go through the spool; the rest through the service's REST."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository

from ingest_client._run import Run
from ingest_client.mlflow_plugin._addresses import as_http
from ingest_client.mlflow_plugin._runs import shared_runs

__all__ = ["IngestArtifactRepository"]

_BASE = "/api/2.0/mlflow-artifacts/artifacts"


class IngestArtifactRepository(HttpArtifactRepository):  # type: ignore[misc]  # mlflow is not there when this is checked
    """A place of the service: `ingest://host:port/<experiment>/<run>/artifacts/…`, or one of a model."""

    def __init__(self, artifact_uri: str) -> None:
        parts = urlsplit(artifact_uri)
        super().__init__(f"{as_http(artifact_uri)}{_BASE}{parts.path}".rstrip("/"))
        self._runs = shared_runs(artifact_uri)
        self._token = self._runs.settings.token
        self._path = parts.path.strip("/")

    @property
    def _host_creds(self) -> Any:
        given = super()._host_creds
        if given.token is None and given.username is None:
            given.token = self._token
        return given

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        run, prefix = self._spooled()
        if run is None:
            self._runs.flush()
            super().log_artifact(local_file, artifact_path)
        else:
            run.log_artifact(local_file, _joined(prefix, artifact_path))

    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> None:
        run, prefix = self._spooled()
        if run is None:
            self._runs.flush()
            super().log_artifacts(local_dir, artifact_path)
        elif any(files for _, _, files in os.walk(local_dir)):
            run.log_artifacts(Path(local_dir), _joined(prefix, artifact_path))

    def list_artifacts(self, path: str | None = None) -> Any:
        self._runs.flush()
        return super().list_artifacts(path)

    def download_artifacts(self, artifact_path: str, *arguments: Any, **named: Any) -> Any:
        self._runs.flush()
        return super().download_artifacts(artifact_path, *arguments, **named)

    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        self._runs.flush()
        super().delete_artifacts(artifact_path)

    def _spooled(self) -> tuple[Run | None, str]:
        """The run of this process whose place this is, and the directory in it."""
        experiment, _, rest = self._path.partition("/")
        run_id, _, rest = rest.partition("/")
        kind, _, prefix = rest.partition("/")
        is_run = experiment.isdecimal() and kind == "artifacts"
        return (self._runs.find(run_id), prefix) if is_run else (None, "")


def _joined(prefix: str, path: str | None) -> str | None:
    return "/".join(part for part in (prefix, path) if part) or None
