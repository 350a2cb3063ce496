"""MLflow's model registry store, with our addresses and after what was logged."""

from __future__ import annotations

import functools
from typing import Any

from mlflow.store.model_registry.rest_store import RestStore

from ingest_client.mlflow_plugin._addresses import outgoing, root_of, show_addresses
from ingest_client.mlflow_plugin._runs import shared_runs
from ingest_client.mlflow_plugin._store import credentials

__all__ = ["IngestRegistryStore"]


class IngestRegistryStore(RestStore):  # type: ignore[misc]  # mlflow is not there when this is checked
    """One for each service."""

    def __init__(self, store_uri: str) -> None:
        super().__init__(functools.partial(credentials, store_uri))
        self._root = root_of(store_uri)
        self._runs = shared_runs(store_uri)

    def _call_endpoint(self, api: Any, json_body: str | None, *arguments: Any, **named: Any) -> Any:
        self._runs.flush()
        answer = super()._call_endpoint(api, outgoing(json_body, self._root), *arguments, **named)
        return show_addresses(answer, self._root)
