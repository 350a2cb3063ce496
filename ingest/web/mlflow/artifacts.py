"""MLflow's artifacts: the proxy that `mlflow-artifacts:` locations lead to, lists by run, and what the user interface calls.

A location `mlflow-artifacts:/5/RUN/artifacts` becomes requests for `…/mlflow-artifacts/artifacts/5/RUN/artifacts/…`; such a
path is taken apart, and what belongs to no run and no model is not there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal
from uuid import UUID

import orjson
from aiohttp import web

from ingest.artifacts.errors import ArtifactUnknown, UnsafePath, Unsupported
from ingest.artifacts.library import Artifacts
from ingest.artifacts.paths import Place, check_path, check_prefix, join, parse_place, run_prefix
from ingest.artifacts.store import Entry
from ingest.mlflow.errors import refused
from ingest.mlflow.fields import Field, Table, query_object, read, string
from ingest.mlflow.logged_models import model_not_found
from ingest.mlflow.runs import RUN_FIELDS, run_id_text, run_not_found
from ingest.service.documents import RunInfo, get_info
from ingest.service.locations import run_location
from ingest.service.logged_models import get_place
from ingest.services import Services
from ingest.web.mlflow.endpoint import routes
from ingest.web.problems import retry_later
from ingest.web.routes import SERVICES, Access, Handler, Route
from ingest.web.transfers import answer_file, body_of
from ingest_schema.ids import parse_id

__all__ = ["ROUTES", "page_of_files"]

MAX_LIST: Final = 10_000
"""Entries of one page of `artifacts/list`."""
MAX_FORM_BYTES: Final = 10 * 1024 * 1024
"""Of `upload-artifact`, as MLflow has it."""
URL_SECONDS: Final = 900
NO_PARTS: Final = "Multipart upload is not supported for the current artifact repository"
NO_URLS: Final = "Multipart download is not supported for the current artifact repository"
"""The client looks for these words before it falls back to plain requests."""


# --- by location ------------------------------------------------------------------------------------------------------


def _place(path: str) -> Place:
    place = parse_place(path)
    if place is None:
        raise ArtifactUnknown(path)
    return place


async def _place_to_write(request: web.Request) -> Place:
    """The place that the path names, of a run or a logged model that is there."""
    services = request.app[SERVICES]
    if services.lifecycle.is_draining:
        raise retry_later("shutting_down", "The service is stopping; nothing was stored.")
    path = request.match_info["path"]
    place = parse_place(path)
    if place is None:
        raise UnsafePath(
            path, "artifacts are at EXPERIMENT/RUN/artifacts/… or EXPERIMENT/models/MODEL/artifacts/…"
        )
    if place.run_id is not None:
        run = await get_info(services.database, place.run_id)
        if run.experiment_id != place.experiment_id:
            raise run_not_found(place.run_id.hex)
    elif place.model_id is not None:
        model = await get_place(services.database, place.model_id)
        if model.experiment_id != place.experiment_id:
            raise model_not_found(place.model_id)
    return place


async def put_artifact(request: web.Request) -> web.Response:
    """Store a file from the body, as it comes."""
    path = check_path(request.match_info["path"])
    place = await _place_to_write(request)
    if not place.rest:
        raise UnsafePath(path, "it is the directory of a run or a model, not a file in it")
    artifacts = request.app[SERVICES].artifacts
    await artifacts.receive(place.path, body_of(request), size_bytes=request.content_length)
    return web.Response(content_type="application/json")


async def get_artifact(request: web.Request) -> web.StreamResponse:
    """A file, or a range of it."""
    path = request.match_info["path"]
    if not path:
        return await list_artifacts(request)
    return await answer_file(
        request, request.app[SERVICES].artifacts, _place(check_path(path)).path, may_show=False
    )


async def delete_artifact(request: web.Request) -> web.Response:
    """Delete a file, or a directory with its content; one that is not there is deleted already."""
    place = await _place_to_write(request)
    artifacts = request.app[SERVICES].artifacts
    if not (place.rest and await artifacts.store.remove(place.path)):
        async for _ in artifacts.remove_tree(place.path):
            pass
    return _json({})


async def list_artifacts(request: web.Request) -> web.StreamResponse:
    """One directory: names, and sizes of files."""
    place = parse_place(request.query.get("path", ""))
    if place is None:
        return _json({})
    return await _answer_list(request, request.app[SERVICES].artifacts, place.path)


async def _answer_list(request: web.Request, artifacts: Artifacts, directory: str) -> web.StreamResponse:
    """All of it: this API has no pages. A long one is sent as it is read."""
    pieces: list[bytes] = []
    response: web.StreamResponse | None = None
    async for entry in artifacts.store.entries(directory):
        pieces.append(orjson.dumps(_file_info(entry, entry.name)))
        if len(pieces) < MAX_LIST:
            continue
        opening = b","
        if response is None:
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            await response.prepare(request)
            opening = b'{"files":['
        await response.write(opening + b",".join(pieces))
        pieces.clear()
    if response is None:
        body = b'{"files":[' + b",".join(pieces) + b"]}" if pieces else b"{}"
        return web.Response(body=body, content_type="application/json")
    await response.write(b"".join(b"," + piece for piece in pieces) + b"]}")
    await response.write_eof()
    return response


def _file_info(entry: Entry, path: str) -> dict[str, Any]:
    info: dict[str, Any] = {"path": path, "is_dir": entry.is_dir}
    if not entry.is_dir:
        info["file_size"] = entry.size_bytes
    return info


async def no_multipart(request: web.Request) -> web.Response:
    """Not offered: parts go through the plain PUT, which has no limit."""
    check_path(request.match_info["path"])
    raise Unsupported(NO_PARTS)


async def presigned(request: web.Request) -> web.Response:
    """A URL of the store itself for a file, where the store has such URLs."""
    place = _place(check_path(request.match_info["path"]))
    store = request.app[SERVICES].artifacts.store
    found = await store.find(place.path)
    if found is None or found.is_dir:
        raise ArtifactUnknown(place.path)
    url = await store.sign(place.path, URL_SECONDS)
    if url is None:
        raise Unsupported(NO_URLS)
    return _json({"url": url, "headers": {}, "file_size": found.size_bytes})


# --- by run -----------------------------------------------------------------------------------------------------------

_LIST: Final = Table(*RUN_FIELDS, Field("path"), Field("page_token", string))


async def _run(services: Services, text: str) -> RunInfo:
    try:
        run_id: UUID = parse_id(text)
    except ValueError:
        raise run_not_found(text) from None
    return await get_info(services.database, run_id)


async def list_of_run(request: web.Request) -> web.Response:
    """One directory of a run: paths relative to the run, and sizes of files."""
    services = request.app[SERVICES]
    said = read(_LIST, query_object(_LIST, request.query.items()))
    wanted = run_id_text(said)
    directory = check_prefix(said.text("path"))
    run = await _run(services, wanted)
    prefix = run_prefix(run.experiment_id, run.run_id)
    root_uri = run_location(run.experiment_id, run.artifact_location, run.run_id)
    return await page_of_files(services.artifacts, prefix, directory, root_uri, said.text("page_token"))


async def page_of_files(
    artifacts: Artifacts, prefix: str, directory: str, root_uri: str, token: str
) -> web.Response:
    """One directory below a prefix of the store, page by page; paths are relative to the prefix.

    Args:
        root_uri: What clients call the prefix. token: Of the page before, or "".
    """
    found = await artifacts.store.page(join(prefix, directory), after=token.encode(), limit=MAX_LIST + 1)
    answer: dict[str, Any] = {"root_uri": root_uri}
    if files := found[:MAX_LIST]:
        answer["files"] = [_file_info(entry, entry.path.removeprefix(prefix + "/")) for entry in files]
    if len(found) > MAX_LIST:
        last = found[MAX_LIST - 1]
        answer["next_page_token"] = last.name + "/" * last.is_dir
    return _json(answer)


async def get_by_run(request: web.Request) -> web.StreamResponse:
    """MLflow: A file of a run, as its user interface asks for it."""
    services = request.app[SERVICES]
    query = request.query
    wanted, path = query.get("run_id") or query.get("run_uuid"), query.get("path")
    if not wanted:
        raise refused("Request must specify run_id or run_uuid.")
    if not path:
        raise refused("Request must specify path.")
    check_path(path)
    run = await _run(services, wanted)
    target = join(run_prefix(run.experiment_id, run.run_id), path)
    return await answer_file(request, services.artifacts, target, may_show=False)


async def upload_by_run(request: web.Request) -> web.Response:
    """Store a small file of a run, as the user interface sends it."""
    services = request.app[SERVICES]
    if services.lifecycle.is_draining:
        raise retry_later("shutting_down", "The service is stopping; nothing was stored.")
    wanted, path = request.query.get("run_uuid") or request.query.get("run_id"), request.query.get("path")
    if not wanted:
        raise refused("Request must specify run_id or run_uuid.")
    if not path:
        raise refused("Request must specify path.")
    if (request.content_length or 0) > MAX_FORM_BYTES:
        raise refused("Artifact size is too large. Max size is 10MB.")
    check_path(path)
    if not request.body_exists:
        raise refused("Request must specify data.")
    run = await _run(services, wanted)
    target = join(run_prefix(run.experiment_id, run.run_id), path)
    await services.artifacts.receive(target, _at_most(body_of(request), MAX_FORM_BYTES))
    return _json({})


async def _at_most(source: Any, limit_bytes: int) -> Any:
    size_bytes = 0
    async for piece in source:
        size_bytes += len(piece)
        if size_bytes > limit_bytes:
            raise refused("Artifact size is too large. Max size is 10MB.")
        yield piece


def _json(answer: object) -> web.Response:
    return web.Response(body=orjson.dumps(answer), content_type="application/json")


# --- routes -----------------------------------------------------------------------------------------------------------


def _proxy(
    method: Literal["GET", "POST", "PUT", "DELETE"],
    path: str,
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    access: Access,
) -> tuple[Route, ...]:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await handler(request)

    handle.__doc__ = f"MLflow: {handler.__doc__}"
    handle.__name__ = handler.__name__
    entry: Handler = handle
    body = "application/octet-stream" if method == "PUT" else None
    return tuple(
        Route(method, f"/{prefix}/2.0/mlflow-artifacts/{path}", entry, access=access, body=body)
        for prefix in ("api", "ajax-api")
    )


ROUTES = (
    *_proxy("GET", "artifacts", list_artifacts, "read"),
    *_proxy("GET", "artifacts/{path:.*}", get_artifact, "read"),
    *_proxy("PUT", "artifacts/{path:.+}", put_artifact, "write"),
    *_proxy("DELETE", "artifacts/{path:.+}", delete_artifact, "write"),
    *_proxy("POST", "mpu/create/{path:.+}", no_multipart, "write"),
    *_proxy("POST", "mpu/complete/{path:.+}", no_multipart, "write"),
    *_proxy("POST", "mpu/abort/{path:.+}", no_multipart, "write"),
    *_proxy("GET", "presigned/{path:.+}", presigned, "read"),
    *routes("GET", "artifacts/list", list_of_run, access="read", about=list_of_run.__doc__),
    *routes("POST", "upload-artifact", upload_by_run, access="write", about=upload_by_run.__doc__),
    Route("GET", "/get-artifact", get_by_run, access="read", answer="application/octet-stream"),
)
