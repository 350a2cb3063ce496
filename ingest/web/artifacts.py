"""A run's artifacts, our own API: files up and down, lists, deletion, a whole directory as a zip archive.

The run comes from the database; what the client names is the path below it, and `ingest.artifacts.paths` judges that.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, Final
from uuid import UUID

from aiohttp import web

from ingest.artifacts.archive import zipped
from ingest.artifacts.library import Artifacts
from ingest.artifacts.paths import check_path, check_prefix, join, name_of, run_prefix
from ingest.artifacts.store import Entry, in_order
from ingest.service.documents import RunInfo, get_info, is_gone
from ingest.service.errors import RunUnknown
from ingest.web.content import content_headers
from ingest.web.health import json_response
from ingest.web.problems import Problem, retry_later
from ingest.web.routes import SERVICES, Query, Route
from ingest.web.transfers import answer_file, body_of, send
from ingest_schema.ids import parse_id

__all__ = ["ROUTES", "announced_sha256", "prefix_of", "run_of", "run_to_write"]

SHA256_HEADER: Final = "Ingest-Sha256"
MAX_PAGE: Final = 10_000
SHA256: Final = re.compile(r"[0-9a-f]{64}")


async def run_of(request: web.Request) -> RunInfo:
    """The run that the path names."""
    try:
        run_id: UUID = parse_id(request.match_info["run_id"])
    except ValueError as error:
        raise Problem(400, "bad_request", f"run_id: {error}.") from error
    try:
        return await get_info(request.app[SERVICES].database, run_id)
    except RunUnknown as error:
        raise Problem(
            404, "not_found", f"There is no run {run_id.hex}.",
            hint="flush the run first: its start may still be on the way",
        ) from error  # fmt: skip


async def run_to_write(request: web.Request) -> RunInfo:
    """The same, if it may be written to now."""
    if request.app[SERVICES].lifecycle.is_draining:
        raise retry_later("shutting_down", "The service is stopping; nothing was stored.")
    try:
        run = await run_of(request)
    except Problem as problem:
        # A client whose run is not known yet comes again; one whose run is gone need not.
        if problem.status == 404 and await is_gone(
            request.app[SERVICES].database, parse_id(request.match_info["run_id"])
        ):
            raise Problem(
                410, "run_gone", "The run was deleted for good; nothing is stored for it any more."
            ) from problem
        raise
    if run.lifecycle == "deleted":
        raise Problem(409, "run_deleted", f"The run {run.run_id.hex} is deleted.", hint="restore it first")
    return run


def prefix_of(run: RunInfo) -> str:
    """Where its files are in the store."""
    return run_prefix(run.experiment_id, run.run_id)


def announced_sha256(text: str | None) -> str | None:
    """The SHA-256 that a client announced."""
    if text is not None and not SHA256.fullmatch(text := text.lower()):
        raise Problem(400, "bad_request", f"{text[:80]!r} is no SHA-256: 64 hex digits.")
    return text


def _artifacts(request: web.Request) -> Artifacts:
    return request.app[SERVICES].artifacts


async def put_artifact(request: web.Request) -> web.Response:
    """Store a file of a run from the body, as it comes; a file that is there is replaced.

    The header Ingest-Sha256 may say what the bytes must hash to.
    """
    path = check_path(request.match_info["path"])
    sha256 = announced_sha256(request.headers.get(SHA256_HEADER))
    run = await run_to_write(request)
    received = await _artifacts(request).receive(
        join(prefix_of(run), path), body_of(request), sha256=sha256, size_bytes=request.content_length
    )
    return json_response({"path": path, "size_bytes": received.size_bytes, "sha256": received.sha256})


async def get_artifact(request: web.Request) -> web.StreamResponse:
    """A file of a run, or a range of it."""
    path = check_path(request.match_info["path"])
    run = await run_of(request)
    return await answer_file(request, _artifacts(request), join(prefix_of(run), path), may_show=True)


async def get_frame(request: web.Request) -> web.StreamResponse:
    """An HTML file of a run as a page for a frame: sandboxed, with its own styles, without scripts and requests."""
    path = check_path(request.match_info["path"])
    if not path.lower().endswith((".html", ".htm")):
        raise Problem(
            415, "not_a_page", f"{name_of(path)[:200]} is no HTML file; only those are shown in a frame.",
            hint="get it as an artifact",
        )  # fmt: skip
    run = await run_of(request)
    place = join(prefix_of(run), path)
    return await answer_file(request, _artifacts(request), place, may_show=True, is_framed=True)


async def delete_artifact(request: web.Request) -> web.Response:
    """Delete a file of a run, or a directory with all that is in it."""
    path = check_path(request.match_info["path"])
    run = await run_to_write(request)
    artifacts = _artifacts(request)
    target = join(prefix_of(run), path)
    removed = int(await artifacts.store.remove(target))
    if not removed:
        async for step in artifacts.remove_tree(target):
            removed += step
    return json_response({"deleted": removed})


async def list_artifacts(request: web.Request) -> web.Response:
    """Files and directories of a run, one directory at a time."""
    directory = check_prefix(request.query.get("path", ""))
    limit = _limit(request)
    after = _after(request.query.get("page_token"))
    run = await run_of(request)
    prefix = prefix_of(run)
    found = await _artifacts(request).store.page(join(prefix, directory), after=after, limit=limit + 1)
    more, found = len(found) > limit, found[:limit]
    return json_response(
        {
            "files": [_shown(entry, prefix) for entry in found],
            "next_page_token": _token(in_order(found[-1])) if more else None,
        }
    )


async def get_archive(request: web.Request) -> web.StreamResponse:
    """A run's files, or one directory of them, as a zip archive."""
    directory = check_prefix(request.query.get("path", ""))
    run = await run_of(request)
    artifacts = _artifacts(request)
    name = (name_of(directory) or run.name or run.run_id.hex) + ".zip"
    response = web.StreamResponse(headers=content_headers(name, may_show=False))
    async with artifacts.downloading.place():
        if request.method == "HEAD":
            return response
        return await send(request, response, zipped(artifacts.store, join(prefix_of(run), directory)))


def _shown(entry: Entry, prefix: str) -> dict[str, Any]:
    shown: dict[str, Any] = {"path": entry.path.removeprefix(prefix + "/"), "is_dir": entry.is_dir}
    if not entry.is_dir:
        shown |= {"size_bytes": entry.size_bytes, "modified_ms": entry.modified_ms}
    return shown


def _limit(request: web.Request) -> int:
    given = request.query.get("limit", "1000")
    if not given.isascii() or not given.isdigit() or int(given[:10]) < 1:
        raise Problem(400, "bad_request", f"limit must be an integer from 1, not {given[:40]!r}.")
    return min(int(given[:10]), MAX_PAGE)


def _token(key: bytes) -> str:
    return base64.urlsafe_b64encode(key).decode()


def _after(token: str | None) -> bytes:
    try:
        return base64.urlsafe_b64decode(token or "")
    except (binascii.Error, ValueError) as error:
        raise Problem(400, "bad_request", "page_token is none that this service gave.") from error


_PATH: Final = "/api/v1/runs/{run_id}/artifacts/{path:.+}"
ROUTES = (
    Route(
        "GET",
        "/api/v1/runs/{run_id}/artifacts",
        list_artifacts,
        access="read",
        query=(
            Query("path", "The directory; the run's own if it is not given."),
            Query("limit", "Most entries of one page.", "integer"),
            Query("page_token", "next_page_token of the page before."),
        ),
    ),
    Route(
        "GET",
        "/api/v1/runs/{run_id}/artifacts.zip",
        get_archive,
        access="read",
        query=(Query("path", "The directory; the run's own if it is not given."),),
        answer="application/zip",
    ),
    Route("PUT", _PATH, put_artifact, access="write", body="application/octet-stream"),
    Route("GET", _PATH, get_artifact, access="read", answer="application/octet-stream"),
    Route("GET", "/api/v1/runs/{run_id}/frames/{path:.+}", get_frame, access="read", answer="text/html"),
    Route("DELETE", _PATH, delete_artifact, access="write"),
)
