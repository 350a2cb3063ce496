"""Files of logged models and of versions, as the client lists them and the user interface fetches them."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from ingest.artifacts import addresses
from ingest.artifacts.errors import ArtifactUnknown
from ingest.artifacts.paths import check_path, check_prefix, join, model_prefix, parse_place
from ingest.mlflow.fields import query_object
from ingest.mlflow.logged_models import ARTIFACT_FILE, DIRECTORY, read_artifact_file, read_directory
from ingest.mlflow.model_sources import parse_source
from ingest.mlflow.model_versions import ARTIFACT_FILE as VERSION_FILE
from ingest.mlflow.model_versions import read_artifact_file as read_version_file
from ingest.service.locations import model_location
from ingest.service.logged_models import get_place
from ingest.service.model_versions import get_version
from ingest.web.mlflow.artifacts import page_of_files
from ingest.web.mlflow.endpoint import routes
from ingest.web.routes import SERVICES, Route
from ingest.web.transfers import answer_file

__all__ = ["ROUTES"]

_FILE: Final = "application/octet-stream"


async def list_of_model(request: web.Request) -> web.Response:
    """One directory of a logged model: paths relative to the model, and sizes of files."""
    services = request.app[SERVICES]
    asked = query_object(DIRECTORY, request.query.items())
    model_id, path, token = read_directory({**asked, **request.match_info})
    directory = check_prefix(path)
    place = await get_place(services.database, model_id)
    return await page_of_files(
        services.artifacts,
        model_prefix(place.experiment_id, model_id),
        directory,
        model_location(place.experiment_id, place.artifact_location, model_id),
        token,
    )


async def file_of_model(request: web.Request) -> web.StreamResponse:
    """A file of a logged model, as the user interface asks for it."""
    services = request.app[SERVICES]
    asked = query_object(ARTIFACT_FILE, request.query.items())
    model_id, path = read_artifact_file({**asked, **request.match_info})
    check_path(path)
    place = await get_place(services.database, model_id)
    target = join(model_prefix(place.experiment_id, model_id), path)
    return await answer_file(request, services.artifacts, target, may_show=False)


async def file_of_version(request: web.Request) -> web.StreamResponse:
    """MLflow: A file of a version of a registered model, as the user interface asks for it."""
    services = request.app[SERVICES]
    version, path = read_version_file(query_object(VERSION_FILE, request.query.items()))
    check_path(path)
    found = await get_version(services.database, *version)
    source = parse_source(found.storage_location)
    stored = source.name if source.kind == "proxied" else addresses.path_below(found.storage_location)
    place = parse_place(stored) if stored is not None else None
    if place is None:  # its files are somewhere that the service does not read
        raise ArtifactUnknown(path)
    return await answer_file(request, services.artifacts, join(place.path, path), may_show=False)


ROUTES = (
    *routes(
        "GET", "logged-models/{model_id}/artifacts/directories", list_of_model,
        access="read", about=list_of_model.__doc__,
    ),
    *routes(
        "GET", "logged-models/{model_id}/artifacts/files", file_of_model,
        access="read", about=file_of_model.__doc__,
    ),
    Route("GET", "/model-versions/get-artifact", file_of_version, access="read", answer=_FILE),
)  # fmt: skip
