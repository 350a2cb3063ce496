"""Where artifacts are, as clients are told. The service makes every location; no client names one.

An experiment without a location of its own has the service's: `mlflow-artifacts:/<id>`, which MLflow's client turns into
requests to the service that it talks to anyway; or the store's own address, where clients write to it themselves.
"""

from __future__ import annotations

from uuid import UUID

from ingest.artifacts import addresses

__all__ = ["experiment_location", "model_location", "run_location"]


def experiment_location(experiment_id: int, stored: str) -> str:
    """The root of an experiment's artifacts. stored: `experiments.artifact_location`."""
    return stored or f"{addresses.base()}{experiment_id}"


def run_location(experiment_id: int, stored: str, run_id: UUID) -> str:
    """The root of a run's artifacts."""
    return f"{experiment_location(experiment_id, stored).rstrip('/')}/{run_id.hex}/artifacts"


def model_location(experiment_id: int, stored: str, model_id: str) -> str:
    """The root of a logged model's artifacts."""
    return f"{experiment_location(experiment_id, stored).rstrip('/')}/models/{model_id}/artifacts"
