"""Endpoints of registered models."""

from __future__ import annotations

from typing import Any

from ingest.mlflow import model_answers
from ingest.mlflow import registry as requests
from ingest.search import MLFLOW_REGISTERED_MODELS, FilterError, parse_filter, parse_order
from ingest.search.models import list_registered_models
from ingest.search.paging import BadSearchToken
from ingest.service import model_versions as versions
from ingest.service import registry as service
from ingest.service.errors import RegisteredUnknown
from ingest.services import Services
from ingest.web.mlflow.endpoint import Answer, endpoint
from ingest.web.mlflow.logged_models import search_refused

__all__ = ["ROUTES", "version_answer"]


def version_answer(found: versions.ModelVersion) -> dict[str, Any]:
    """The entity that MLflow's client expects."""
    return model_answers.model_version(
        name=found.name,
        version=found.version,
        description=found.description,
        user_name=found.user_name,
        source=found.source,
        run_id=found.run_id,
        run_link=found.run_link,
        model_id=found.model_id,
        stage=found.stage,
        created_at_ms=found.created_at_ms,
        updated_at_ms=found.updated_at_ms,
        tags=found.tags,
        aliases=found.aliases,
    )


async def _answers(services: Services, found: list[service.Registered]) -> list[dict[str, Any]]:
    latest = await versions.latest_versions(services.database, [one.name for one in found], requests.STAGES)
    return [
        model_answers.registered_model(
            name=one.name,
            description=one.description,
            created_at_ms=one.created_at_ms,
            updated_at_ms=one.updated_at_ms,
            tags=one.tags,
            aliases=one.aliases,
            latest_versions=[version_answer(version) for version in latest.get(one.name, ())],
        )
        for one in found
    ]


async def _answer(services: Services, name: str) -> Answer:
    found = await service.get_registered(services.database, name)
    return {"registered_model": (await _answers(services, [found]))[0]}


async def create(services: Services, sent: requests.CreateRegistered) -> Answer:
    """Register a model's name."""
    await service.create_registered(services.database, sent.name, sent.description, sent.tags)
    return await _answer(services, sent.name)


async def get(services: Services, name: str) -> Answer:
    """One registered model, with the newest version of each stage."""
    return await _answer(services, name)


async def update(services: Services, sent: tuple[str, str | None]) -> Answer:
    """Change a registered model's description."""
    await service.update_registered(services.database, *sent)
    return await _answer(services, sent[0])


async def rename(services: Services, sent: tuple[str, str]) -> Answer:
    """Rename a registered model, with its versions."""
    await service.rename_registered(services.database, *sent)
    return await _answer(services, sent[1])


async def delete(services: Services, name: str) -> Answer:
    """Delete a registered model with its versions."""
    await service.delete_registered(services.database, name)
    return {}


async def search(services: Services, sent: requests.SearchRegistry) -> Answer:
    """Registered models by filter, in order, page by page."""
    try:
        listing = list_registered_models(
            parse_filter(sent.filter, MLFLOW_REGISTERED_MODELS),
            parse_order(sent.order_by, MLFLOW_REGISTERED_MODELS),
        )
        found, token = await service.search_registered(
            services.database, listing, limit=sent.max_results, page_token=sent.page_token
        )
    except (FilterError, BadSearchToken) as error:
        raise search_refused(error) from error
    answer: dict[str, Any] = {"registered_models": await _answers(services, found)} if found else {}
    return answer | ({"next_page_token": token} if token is not None else {})


async def latest(services: Services, sent: tuple[str, tuple[str, ...]]) -> Answer:
    """The newest version of a registered model for each stage."""
    name, stages = sent
    found = (await versions.latest_versions(services.database, [name], stages)).get(name)
    if not found:
        await service.get_registered(services.database, name)
        return {}
    return {"model_versions": [version_answer(one) for one in found]}


async def set_tag(services: Services, sent: tuple[str, str, str]) -> Answer:
    """Set a tag of a registered model."""
    await service.set_tag(services.database, *sent)
    return {}


async def delete_tag(services: Services, sent: tuple[str, str]) -> Answer:
    """Delete a tag of a registered model."""
    await service.delete_tag(services.database, *sent)
    return {}


async def set_alias(services: Services, sent: tuple[str, str, int]) -> Answer:
    """Let an alias stand for a version."""
    await service.set_alias(services.database, *sent)
    return {}


async def get_alias(services: Services, sent: tuple[str, str]) -> Answer:
    """The version that an alias stands for."""
    name, alias = sent
    if alias.lower() == "latest":
        found = await versions.latest_versions(services.database, [name], requests.STAGES)
        if name not in found:
            raise RegisteredUnknown(name)
        return {"model_version": version_answer(max(found[name], key=lambda one: one.version))}
    version = await service.version_of_alias(services.database, name, alias)
    return {"model_version": version_answer(await versions.get_version(services.database, name, version))}


async def delete_alias(services: Services, sent: tuple[str, str]) -> Answer:
    """Delete an alias."""
    await service.delete_alias(services.database, *sent)
    return {}


ROUTES = (
    *endpoint("POST", "registered-models/create", requests.read_create, create),
    *endpoint(
        "GET", "registered-models/get", requests.read_name, get, query=requests.NAME, access="read"
    ),
    *endpoint("PATCH", "registered-models/update", requests.read_update, update),
    *endpoint("POST", "registered-models/rename", requests.read_rename, rename),
    *endpoint("DELETE", "registered-models/delete", requests.read_name, delete),
    *endpoint(
        "GET", "registered-models/search", requests.read_search, search, query=requests.SEARCH, access="read"
    ),
    *endpoint("POST", "registered-models/get-latest-versions", requests.read_latest, latest, access="read"),
    *endpoint(
        "GET", "registered-models/get-latest-versions", requests.read_latest, latest,
        query=requests.LATEST, access="read",
    ),
    *endpoint("POST", "registered-models/set-tag", requests.read_set_tag, set_tag),
    *endpoint("DELETE", "registered-models/delete-tag", requests.read_delete_tag, delete_tag),
    *endpoint("POST", "registered-models/alias", requests.read_set_alias, set_alias),
    *endpoint(
        "GET", "registered-models/alias", requests.read_alias, get_alias, query=requests.ALIAS, access="read"
    ),
    *endpoint("DELETE", "registered-models/alias", requests.read_alias, delete_alias),
)  # fmt: skip
