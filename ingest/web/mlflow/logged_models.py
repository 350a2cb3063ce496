"""Endpoints of logged models. Their files are in `artifacts`."""

from __future__ import annotations

import orjson

from ingest.mlflow import logged_models as requests
from ingest.mlflow import model_answers
from ingest.mlflow.errors import MlflowError, refused
from ingest.search import MLFLOW_LOGGED_MODELS, FilterError, parse_filter
from ingest.search.models import LoggedModelSearch, MetricOrder, list_logged_models, parse_model_field
from ingest.search.paging import BadSearchToken
from ingest.service import logged_models as service
from ingest.service.locations import model_location
from ingest.services import Services
from ingest.web.mlflow.endpoint import Answer, endpoint

__all__ = ["ROUTES", "search_refused"]


def _model_answer(found: service.LoggedModel) -> dict[str, object]:
    return model_answers.logged_model(
        model_id=found.model_id,
        experiment_id=found.experiment_id,
        name=found.name,
        model_type=found.model_type,
        source_run_id=found.source_run_id,
        status=found.status,
        status_message=found.status_message,
        created_at_ms=found.created_at_ms,
        updated_at_ms=found.updated_at_ms,
        artifact_uri=model_location(found.experiment_id, found.artifact_location, found.model_id),
        params=found.params,
        tags=found.tags,
        registrations=found.registrations,
        metrics=found.metrics,
    )


async def _answer_model(services: Services, model_id: str) -> Answer:
    return {"model": _model_answer(await service.get_model(services.database, model_id))}


async def create(services: Services, sent: requests.CreateModel) -> Answer:
    """Make a logged model, whose files are to come."""
    model_id = await service.create_model(
        services.database,
        experiment_id=sent.experiment_id,
        name=sent.name or "",
        model_type=sent.model_type,
        source_run_id=sent.source_run_id,
        params=sent.params,
        tags=sent.tags,
    )
    return await _answer_model(services, model_id)


async def get(services: Services, sent: tuple[str, bool]) -> Answer:
    """One logged model with its params, tags and all its metrics."""
    model_id, deleted_too = sent
    found = await service.get_model(services.database, model_id, deleted_too=deleted_too)
    return {"model": _model_answer(found)}


async def finalize(services: Services, sent: tuple[str, str]) -> Answer:
    """Say whether a logged model's files are there."""
    await service.set_status(services.database, *sent)
    return await _answer_model(services, sent[0])


async def delete(services: Services, model_id: str) -> Answer:
    """Delete a logged model."""
    await service.delete_model(services.database, model_id)
    return {}


async def set_tags(services: Services, sent: tuple[str, dict[str, str]]) -> Answer:
    """Set tags of a logged model."""
    await service.set_tags(services.database, *sent)
    return await _answer_model(services, sent[0])


async def delete_tag(services: Services, sent: tuple[str, str]) -> Answer:
    """Delete a tag of a logged model."""
    await service.delete_tag(services.database, *sent)
    return {}


async def log_params(services: Services, sent: tuple[str, dict[str, str]]) -> Answer:
    """Add params to a logged model."""
    await service.add_params(services.database, *sent)
    return {}


async def search(services: Services, sent: requests.SearchModels) -> Answer:
    """Logged models by filter, in order, page by page."""
    try:
        listing = list_logged_models(
            LoggedModelSearch(
                condition=parse_filter(sent.filter, MLFLOW_LOGGED_MODELS),
                experiment_ids=sent.experiment_ids,
                order=tuple(
                    MetricOrder(parse_model_field(key.field), key.descending, key.dataset)
                    for key in sent.order_by
                ),
                datasets=sent.datasets,
            )
        )
        found, token = await service.search_models(
            services.database, listing, limit=sent.max_results, page_token=sent.page_token
        )
    except (FilterError, BadSearchToken) as error:
        raise search_refused(error) from error
    parts = (
        [b'"models":[' + b",".join(orjson.dumps(_model_answer(one)) for one in found) + b"]"] if found else []
    )
    if token is not None:
        parts.append(b'"next_page_token":' + orjson.dumps(token))
    return b"{" + b",".join(parts) + b"}"


def search_refused(error: FilterError | BadSearchToken) -> MlflowError:
    """The answer about a search that can't be done."""
    if isinstance(error, FilterError):
        return refused(error.message)
    return refused(f"Invalid page token: {error}")


ROUTES = (
    *endpoint("POST", "logged-models", requests.read_create, create),
    *endpoint("POST", "logged-models/search", requests.read_search, search, access="read"),
    *endpoint("GET", "logged-models/{model_id}", requests.read_get, get, query=requests.GET, access="read"),
    *endpoint("PATCH", "logged-models/{model_id}", requests.read_finalize, finalize),
    *endpoint("DELETE", "logged-models/{model_id}", requests.read_id, delete),
    *endpoint("PATCH", "logged-models/{model_id}/tags", requests.read_labels, set_tags),
    *endpoint("DELETE", "logged-models/{model_id}/tags/{key:.+}", requests.read_delete_tag, delete_tag),
    *endpoint("POST", "logged-models/{model_id}/params", requests.read_labels, log_params),
)
