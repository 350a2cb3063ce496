"""Endpoints of experiments."""

from __future__ import annotations

from typing import Any

from ingest.mlflow import answers
from ingest.mlflow import experiments as requests
from ingest.mlflow.errors import MlflowError
from ingest.service import datasets
from ingest.service import experiments as service
from ingest.service.errors import ExperimentDeleted
from ingest.service.locations import experiment_location
from ingest.services import Services
from ingest.web.mlflow.endpoint import Answer, endpoint

__all__ = ["ROUTES", "experiment_answer"]


def experiment_answer(found: service.Experiment) -> dict[str, Any]:
    """The entity that MLflow's client expects."""
    return answers.experiment(
        experiment_id=found.experiment_id,
        name=found.name,
        artifact_location=experiment_location(found.experiment_id, found.artifact_location),
        lifecycle=found.lifecycle,
        created_at_ms=found.created_at_ms,
        updated_at_ms=found.updated_at_ms,
        tags=found.tags,
    )


async def create(services: Services, sent: requests.CreateExperiment) -> Answer:
    """Make an experiment."""
    experiment_id = await service.create_experiment(services.database, sent.name, dict(sent.tags))
    return {"experiment_id": str(experiment_id)}


async def get(services: Services, experiment_id: int) -> Answer:
    """One experiment, deleted ones too."""
    return {"experiment": experiment_answer(await service.get_experiment(services.database, experiment_id))}


async def get_by_name(services: Services, name: str) -> Answer:
    """One experiment by its name, deleted ones too."""
    return {"experiment": experiment_answer(await service.get_experiment_by_name(services.database, name))}


async def update(services: Services, sent: requests.RenameExperiment) -> Answer:
    """Rename an experiment."""
    try:
        await service.rename_experiment(services.database, sent.experiment_id, sent.new_name)
    except ExperimentDeleted as error:
        raise MlflowError("INVALID_STATE", "Cannot rename a non-active experiment.") from error
    return {}


async def delete(services: Services, experiment_id: int) -> Answer:
    """Delete an experiment and its runs; they can be restored."""
    await service.set_lifecycle(services.database, experiment_id, "deleted")
    return {}


async def restore(services: Services, experiment_id: int) -> Answer:
    """Restore an experiment and its runs."""
    await service.set_lifecycle(services.database, experiment_id, "active")
    return {}


async def set_tag(services: Services, sent: tuple[int, str, str]) -> Answer:
    """Set a tag of an experiment."""
    await service.set_tag(services.database, *sent)
    return {}


async def delete_tag(services: Services, sent: tuple[int, str]) -> Answer:
    """Delete a tag of an experiment."""
    await service.delete_tag(services.database, *sent)
    return {}


async def search_datasets(services: Services, experiment_ids: list[int]) -> Answer:
    """The datasets that runs of experiments read."""
    found = await datasets.summaries(services.database, experiment_ids)
    summaries = []
    for one in found:
        summary = {"experiment_id": str(one.experiment_id), "name": one.name, "digest": one.digest}
        if one.context is not None:
            summary["context"] = one.context
        summaries.append(summary)
    return {"dataset_summaries": summaries} if summaries else {}


ROUTES = (
    *endpoint("POST", "experiments/create", requests.read_create, create),
    *endpoint("GET", "experiments/get", requests.read_id, get, query=requests.EXPERIMENT_ID, access="read"),
    *endpoint(
        "GET", "experiments/get-by-name", requests.read_name, get_by_name,
        query=requests.EXPERIMENT_NAME, access="read",
    ),
    *endpoint("POST", "experiments/update", requests.read_rename, update),
    *endpoint("POST", "experiments/delete", requests.read_id, delete),
    *endpoint("POST", "experiments/restore", requests.read_id, restore),
    *endpoint("POST", "experiments/set-experiment-tag", requests.read_set_tag, set_tag),
    *endpoint("POST", "experiments/delete-experiment-tag", requests.read_delete_tag, delete_tag),
    *endpoint(
        "POST", "experiments/search-datasets", requests.read_search_datasets, search_datasets, access="read"
    ),
)  # fmt: skip
