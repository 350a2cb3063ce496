"""The MLflow plug-in: `MLFLOW_TRACKING_URI=ingest://host:port` gives stock `import mlflow` code the path of our client.

What a run logs (metrics, params, tags, its start and its end, its artifacts) goes through the spool of `ingest_client`: no
call waits for the service, nothing is lost by SIGKILL, nothing is stored twice. Everything else goes to the service's REST by
MLflow's own stores, after what this process has logged has arrived: reads see writes.

    ingest://host:port, ingests://host:port   the service at http://host:port, https://host:port

Loaded by MLflow through entry points (pyproject.toml); nothing else imports it, and it is the only place that imports mlflow.

    _store       tracking: `mlflow.tracking_store`
    _runs        the runs of this process, by id
    _registry    the model registry: `mlflow.model_registry_store`
    _artifacts   files: `mlflow.artifact_repository`
    _addresses   what is called how on which side
"""

from __future__ import annotations

from typing import Any

__all__ = ["artifact_repository", "registry_store", "tracking_store"]


def tracking_store(store_uri: str, artifact_uri: str | None = None) -> Any:
    """MLflow's tracking store for a URI `ingest://…`."""
    from ingest_client.mlflow_plugin._store import IngestStore

    del artifact_uri
    return IngestStore(store_uri)


def registry_store(store_uri: str, tracking_uri: str | None = None) -> Any:
    """MLflow's model registry store for a URI `ingest://…`."""
    from ingest_client.mlflow_plugin._registry import IngestRegistryStore

    del tracking_uri
    return IngestRegistryStore(store_uri)


def artifact_repository(artifact_uri: str, *arguments: Any, **named: Any) -> Any:
    """MLflow's artifact repository for a URI `ingest://…`."""
    from ingest_client.mlflow_plugin._artifacts import IngestArtifactRepository

    del arguments, named
    return IngestArtifactRepository(artifact_uri)
