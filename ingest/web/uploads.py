"""Uploads in parts, our own API: begin, send the parts in any order, complete. See `ingest.artifacts.uploads`."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from ingest.artifacts.paths import check_path, join
from ingest.artifacts.uploads import Plan, Uploads, plan_of
from ingest.web.artifacts import announced_sha256, prefix_of, run_to_write
from ingest.web.health import json_response
from ingest.web.problems import Problem
from ingest.web.routes import SERVICES, Route
from ingest.web.transfers import body_of

__all__ = ["ROUTES"]

MAX_SIZE_BYTES = 2**50


async def begin_upload(request: web.Request) -> web.Response:
    """Begin an upload in parts, or find the open one of the same path, size and SHA-256 and what has arrived of it."""
    path, size_bytes, sha256 = _said(await request.read())
    run = await run_to_write(request)
    plan = plan_of(join(prefix_of(run), path), size_bytes, sha256)
    received = await _uploads(request).begin(plan)
    return json_response({"upload_id": plan.upload_id, "part_bytes": plan.part_bytes, "received": received})


async def put_part(request: web.Request) -> web.Response:
    """Store one part of an upload; parts count from 0, and all but the last have part_bytes."""
    plan = await _plan(request)
    given = request.match_info["number"]
    if not given.isascii() or not given.isdigit() or len(given) > 9:
        raise Problem(400, "bad_request", f"A part's number is an integer from 0, not {given[:40]!r}.")
    await _uploads(request).put(plan, int(given), body_of(request), request.content_length)
    return json_response({"number": int(given), "size_bytes": plan.bytes_of(int(given))})


async def complete_upload(request: web.Request) -> web.Response:
    """Make the file of its parts. Answers as a PUT of the file; the same again when it is asked again."""
    plan = await _plan(request)
    received = await _uploads(request).complete(plan)
    prefix = prefix_of(await run_to_write(request))
    return json_response(
        {
            "path": received.path.removeprefix(prefix + "/"),
            "size_bytes": received.size_bytes,
            "sha256": received.sha256,
        }
    )


async def abort_upload(request: web.Request) -> web.Response:
    """Forget an upload and its parts."""
    plan = await _plan(request)
    await _uploads(request).abort(plan.upload_id)
    return json_response({})


def _uploads(request: web.Request) -> Uploads:
    return Uploads(request.app[SERVICES].artifacts)


async def _plan(request: web.Request) -> Plan:
    run = await run_to_write(request)
    upload_id = request.match_info["upload_id"]
    if not upload_id.isalnum() or len(upload_id) != 32:
        raise Problem(404, "upload_unknown", f"{upload_id[:40]!r} is no upload's id.")
    return await _uploads(request).find(upload_id, prefix_of(run))


def _said(body: bytes) -> tuple[str, int, str]:
    """Path, size and SHA-256 in the body."""
    try:
        said: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Problem(400, "bad_request", f"The body is not JSON: {error}.") from error
    if not isinstance(said, dict):
        raise Problem(400, "bad_request", "The body is an object with path, size_bytes and sha256.")
    path, size_bytes, sha256 = said.get("path"), said.get("size_bytes"), said.get("sha256")
    if not isinstance(path, str):
        raise Problem(400, "bad_request", "path must be a text.")
    if type(size_bytes) is not int or not 0 <= size_bytes <= MAX_SIZE_BYTES:
        raise Problem(400, "bad_request", f"size_bytes must be an integer from 0 to {MAX_SIZE_BYTES}.")
    if not isinstance(sha256, str):
        raise Problem(
            400, "bad_request", "sha256 must be a text of 64 hex digits: by it an upload is found again."
        )
    return check_path(path), size_bytes, announced_sha256(sha256) or ""


_UPLOAD = "/api/v1/runs/{run_id}/uploads/{upload_id}"
ROUTES = (
    Route("POST", "/api/v1/runs/{run_id}/uploads", begin_upload, access="write", body="application/json"),
    Route("PUT", _UPLOAD + "/{number}", put_part, access="write", body="application/octet-stream"),
    Route("POST", _UPLOAD + "/complete", complete_upload, access="write"),
    Route("DELETE", _UPLOAD, abort_upload, access="write"),
)
