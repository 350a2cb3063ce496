"""Endpoints of runs, but for their metrics."""

from __future__ import annotations

import functools
import json
from typing import Any, Final
from uuid import UUID

import orjson

from ingest.mlflow import answers, inputs
from ingest.mlflow import runs as requests
from ingest.mlflow.errors import refused
from ingest.service import datasets, documents
from ingest.service import runs as service
from ingest.service.errors import ParamsDiffer
from ingest.service.locations import run_location
from ingest.service.logging import log
from ingest.services import Services
from ingest.store.posts import Post
from ingest.web.mlflow.endpoint import Answer, endpoint

__all__ = ["ROUTES", "post_of_labels", "run_answer"]

MODEL_HISTORY_TAG: Final = "mlflow.log-model.history"


def run_answer(document: documents.RunDocument) -> dict[str, Any]:
    """The entity that MLflow's client expects."""
    return answers.run(
        _info_answer(document.info),
        metrics=document.metrics,
        params=document.params,
        tags=_tags(document),
        links=document.links,
    )


def _tags(document: documents.RunDocument) -> list[tuple[str, str]]:
    """The tags with those that are columns here: the run's name, and its parent where no tag names one."""
    tags = document.tags
    found = {key: value for key, value in tags if key != service.NAME_TAG}
    if document.info.name:
        found[service.NAME_TAG] = document.info.name
    if document.parent_run_id is not None:
        found.setdefault(service.PARENT_TAG, document.parent_run_id.hex)
    return sorted(found.items())


def _info_answer(info: documents.RunInfo) -> dict[str, Any]:
    return answers.run_info(
        run_id=info.run_id.hex,
        experiment_id=info.experiment_id,
        name=info.name,
        user_name=info.user_name,
        status=info.status,
        lifecycle=info.lifecycle,
        start_time_ms=info.start_time_ms,
        end_time_ms=info.end_time_ms,
        artifact_uri=run_location(info.experiment_id, info.artifact_location, info.run_id),
    )


def post_of_labels(run_id: UUID, params: dict[str, str], tags: dict[str, str], **points: Any) -> Post:
    """A post of params and tags, and perhaps points. The tag that is the run's name goes where it belongs."""
    name = tags.pop(service.NAME_TAG, None) or None  # an empty one changes nothing, as in runs/update
    return Post(run_id=run_id, params=params, tags=tags, name=name, **points)


async def _answer_run(services: Services, run_id: UUID) -> Answer:
    return {"run": run_answer(await documents.get_document(services.database, run_id))}


async def create(services: Services, sent: requests.CreateRun) -> Answer:
    """Start a run."""
    run_id = await service.create_run(
        services.database,
        experiment_id=sent.experiment_id,
        name=sent.name or "",
        user_name=sent.user_name,
        start_time_ms=sent.start_time_ms,
        parent_run_id=sent.parent_run_id,
        tags=dict(sent.tags),
    )
    return await _answer_run(services, run_id)


async def get(services: Services, run_id: UUID) -> Answer:
    """One run with its latest metrics, params, tags, inputs and outputs."""
    return await _answer_run(services, run_id)


async def update(services: Services, sent: requests.UpdateRun) -> Answer:
    """Change a run's status, end or name."""
    await service.update_run(
        services.database, sent.run_id, status=sent.status, end_time_ms=sent.end_time_ms, name=sent.name
    )
    return {"run_info": _info_answer(await documents.get_info(services.database, sent.run_id))}


async def delete(services: Services, run_id: UUID) -> Answer:
    """Delete a run; it can be restored."""
    await service.set_lifecycle(services.database, run_id, "deleted")
    return {}


async def restore(services: Services, run_id: UUID) -> Answer:
    """Restore a run."""
    await service.set_lifecycle(services.database, run_id, "active")
    return {}


async def log_parameter(services: Services, sent: tuple[UUID, str, str]) -> Answer:
    """Log a param, which is written once."""
    run_id, key, value = sent
    try:
        await log(services.intake, post_of_labels(run_id, {key: value}, {}))
    except ParamsDiffer as error:
        change = error.changes[0]
        raise refused(
            f"Changing param values is not allowed. Param with key='{key}' was already logged with "
            f"value='{change.old_value}' for run ID='{run_id.hex}'. Attempted logging new value '{change.new_value}'."
        ) from error
    return {}


async def set_tag(services: Services, sent: tuple[UUID, str, str]) -> Answer:
    """Set a tag of a run."""
    run_id, key, value = sent
    await log(services.intake, post_of_labels(run_id, {}, {key: value}))
    return {}


async def delete_tag(services: Services, sent: tuple[UUID, str]) -> Answer:
    """Delete a tag of a run."""
    await service.delete_tag(services.database, *sent)
    return {}


async def log_inputs(services: Services, sent: inputs.LogInputs) -> Answer:
    """Say which datasets and models a run read."""
    found = [
        datasets.Dataset(
            name=one.name, digest=one.digest, source_type=one.source_type, source=one.source,
            schema=one.schema, profile=one.profile, tags=dict(one.tags),
        )
        for one in sent.datasets
    ]  # fmt: skip
    await datasets.log_inputs(services.database, sent.run_id, found, sent.model_ids)
    return {}


async def outputs(services: Services, sent: tuple[UUID, tuple[inputs.ModelOutput, ...]]) -> Answer:
    """Say which models a run made."""
    run_id, models = sent
    await datasets.log_outputs(services.database, run_id, [(model.model_id, model.step) for model in models])
    return {}


async def log_model(services: Services, sent: requests.LogModel) -> Answer:
    """Add a model to the run's history of models, as clients of MLflow 2 do."""
    append = functools.partial(_with_model, model=sent.model)
    await service.change_tag(services.database, sent.run_id, MODEL_HISTORY_TAG, append)
    return {}


def _with_model(history: str | None, model: dict[str, Any]) -> str:
    try:
        models = orjson.loads(history) if history else []
    except orjson.JSONDecodeError:
        models = []
    return json.dumps([*models, model] if isinstance(models, list) else [model])


ROUTES = (
    *endpoint("POST", "runs/create", requests.read_create, create),
    *endpoint("GET", "runs/get", requests.read_run_id, get, query=requests.RUN, access="read"),
    *endpoint("POST", "runs/update", requests.read_update, update),
    *endpoint("POST", "runs/delete", requests.read_run_id, delete),
    *endpoint("POST", "runs/restore", requests.read_run_id, restore),
    *endpoint("POST", "runs/log-parameter", requests.read_log_param, log_parameter),
    *endpoint("POST", "runs/set-tag", requests.read_set_tag, set_tag),
    *endpoint("POST", "runs/delete-tag", requests.read_delete_tag, delete_tag),
    *endpoint("POST", "runs/log-inputs", inputs.read_log_inputs, log_inputs),
    *endpoint("POST", "runs/outputs", inputs.read_outputs, outputs),
    *endpoint("POST", "runs/log-model", requests.read_log_model, log_model),
)
