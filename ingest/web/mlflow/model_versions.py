"""Endpoints of versions of registered models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ingest.mlflow import model_versions as requests
from ingest.mlflow.errors import refused
from ingest.mlflow.model_sources import Source, lies_below, not_contained, parse_source
from ingest.mlflow.registry import SearchRegistry, version_number
from ingest.mlflow.runs import run_not_found
from ingest.search import MLFLOW_MODEL_VERSIONS, FilterError, parse_filter, parse_order
from ingest.search.models import list_model_versions
from ingest.search.paging import BadSearchToken
from ingest.service import documents, logged_models, registry
from ingest.service import model_versions as service
from ingest.service.locations import model_location, run_location
from ingest.services import Services
from ingest.web.mlflow.endpoint import Answer, endpoint
from ingest.web.mlflow.logged_models import search_refused
from ingest.web.mlflow.registry import version_answer
from ingest_schema.ids import parse_id

__all__ = ["ROUTES"]


async def _answer(services: Services, version: requests.Version) -> Answer:
    return {"model_version": version_answer(await service.get_version(services.database, *version))}


# --- what a version is made of ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where the files are, and the run that made them if that is known."""

    location: str
    run_id: str | None


async def _origin(services: Services, sent: requests.CreateVersion) -> _Origin:
    """MLflow contract, section 10, rules 6 and 7.

    Raises:
        MlflowError: The source is not what the request's run or model made.
    """
    model = None
    if sent.model_id is not None:
        model = await logged_models.get_place(services.database, sent.model_id)
    run_id = sent.run_id or (model.source_run_id if model is not None else None)
    source = parse_source(sent.source)
    match source.kind:
        case "elsewhere":
            return _Origin(sent.source, run_id)
        case "model" if model is not None and sent.model_id == source.name:
            root = model_location(model.experiment_id, model.artifact_location, source.name)
            return _Origin(root, run_id)
        case "version" | "alias":
            return _Origin(await _copied_location(services, source), run_id)
        case "run" if sent.run_id is not None and source.name == sent.run_id:
            path = sent.source.split(source.name, 1)[1].strip("/")
            return _Origin(f"{await _run_root(services, sent.run_id)}/{path}".rstrip("/"), run_id)
        case "proxied" | "local":
            roots = []
            if sent.run_id is not None:
                roots.append(await _run_root(services, sent.run_id))
            if model is not None and sent.model_id is not None:
                roots.append(model_location(model.experiment_id, model.artifact_location, sent.model_id))
            if any(lies_below(source, root) for root in roots):
                return _Origin(sent.source, run_id)
    raise not_contained(sent.source, source.kind)


async def _run_root(services: Services, text: str) -> str:
    try:
        run_id = parse_id(text)
    except ValueError:
        raise run_not_found(text[:100]) from None
    run = await documents.get_info(services.database, run_id)
    return run_location(run.experiment_id, run.artifact_location, run.run_id)


async def _copied_location(services: Services, source: Source) -> str:
    if source.kind == "alias":
        number = await registry.version_of_alias(services.database, source.name, source.version)
    elif source.version.isascii() and source.version.isdecimal():
        number = version_number(source.version)
    else:
        raise refused(
            f"A version can be made of models:/NAME/NUMBER or models:/NAME@ALIAS, not of '{source.version[:100]}'."
        )
    return (await service.get_version(services.database, source.name, number)).storage_location


# --- endpoints --------------------------------------------------------------------------------------------------------


async def create(services: Services, sent: requests.CreateVersion) -> Answer:
    """Make the next version of a registered model."""
    await registry.get_registered(services.database, sent.name)
    origin = await _origin(services, sent)
    version = await service.create_version(
        services.database,
        service.NewVersion(
            name=sent.name,
            description=sent.description,
            source=sent.source,
            storage_location=origin.location,
            run_id=origin.run_id,
            run_link=sent.run_link,
            model_id=sent.model_id,
            tags=sent.tags,
        ),
    )
    return await _answer(services, (sent.name, version))


async def get(services: Services, version: requests.Version) -> Answer:
    """One version."""
    return await _answer(services, version)


async def get_download_uri(services: Services, version: requests.Version) -> Answer:
    """Where a version's files are."""
    return {"artifact_uri": (await service.get_version(services.database, *version)).storage_location}


async def update(services: Services, sent: tuple[requests.Version, str | None]) -> Answer:
    """Change a version's description."""
    await service.update_version(services.database, *sent)
    return await _answer(services, sent[0])


async def transition(services: Services, sent: requests.Transition) -> Answer:
    """Move a version to another stage."""
    await service.set_stage(services.database, sent.version, sent.stage, archive_others=sent.archive_others)
    return await _answer(services, sent.version)


async def delete(services: Services, version: requests.Version) -> Answer:
    """Delete a version."""
    await service.delete_version(services.database, version)
    return {}


async def search(services: Services, sent: SearchRegistry) -> Answer:
    """Versions by filter, in order, page by page."""
    try:
        listing = list_model_versions(
            parse_filter(sent.filter, MLFLOW_MODEL_VERSIONS),
            parse_order(sent.order_by, MLFLOW_MODEL_VERSIONS),
        )
        found, token = await service.search_versions(
            services.database, listing, limit=sent.max_results, page_token=sent.page_token
        )
    except (FilterError, BadSearchToken) as error:
        raise search_refused(error) from error
    answer: dict[str, Any] = {"model_versions": [version_answer(one) for one in found]} if found else {}
    return answer | ({"next_page_token": token} if token is not None else {})


async def set_tag(services: Services, sent: tuple[requests.Version, str, str]) -> Answer:
    """Set a tag of a version."""
    await service.set_tag(services.database, *sent)
    return {}


async def delete_tag(services: Services, sent: tuple[requests.Version, str]) -> Answer:
    """Delete a tag of a version."""
    await service.delete_tag(services.database, *sent)
    return {}


ROUTES = (
    *endpoint("POST", "model-versions/create", requests.read_create, create),
    *endpoint(
        "GET", "model-versions/get", requests.read_version, get, query=requests.VERSION, access="read"
    ),
    *endpoint(
        "GET", "model-versions/get-download-uri", requests.read_version, get_download_uri,
        query=requests.VERSION, access="read",
    ),
    *endpoint("PATCH", "model-versions/update", requests.read_update, update),
    *endpoint("POST", "model-versions/transition-stage", requests.read_transition, transition),
    *endpoint("DELETE", "model-versions/delete", requests.read_version, delete),
    *endpoint(
        "GET", "model-versions/search", requests.read_search, search, query=requests.SEARCH, access="read"
    ),
    *endpoint("POST", "model-versions/set-tag", requests.read_set_tag, set_tag),
    *endpoint("DELETE", "model-versions/delete-tag", requests.read_delete_tag, delete_tag),
)  # fmt: skip
