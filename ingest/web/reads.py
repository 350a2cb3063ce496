"""GET of experiments, runs, summaries of series and raw points, in pages.

Answers are JSON; NaN and the infinities stand as "NaN", "Infinity", "-Infinity", since JSON has none. Points can be asked for
as msgpack (`Accept: application/msgpack`): then steps, times_ms (int64) and values (float64) are little-endian columns.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast
from uuid import UUID

import msgpack
import numpy as np
import orjson
from aiohttp import web

from ingest.store.errors import ContentRefused
from ingest.store.history import PointPage
from ingest.store.keys import KeyMatch
from ingest.store.pages import BadPageToken
from ingest.store.reads import Lifecycle, Page, Reads
from ingest.web.problems import Problem
from ingest.web.routes import SERVICES, Query, Route
from ingest_schema.ids import parse_id

__all__ = ["ROUTES"]

_MSGPACK: Final = "application/msgpack"
_LIMIT = Query("limit", "Most entries of one page.", "integer")
_MATCH = Query("match", "Only metrics whose key has this piece, or fits a glob, or a /regular expression/.")
_TOKEN = Query("page_token", "next_page_token of the page before.")
_LIFECYCLE = Query("lifecycle", "active (default), deleted or all.")


async def list_experiments(request: web.Request) -> web.Response:
    """Experiments, in the order of their ids."""
    limit = _limit(request, default=100, most=1_000)
    page = await _paged(
        _reads(request).experiments(limit=limit, page_token=_token(request), lifecycle=_lifecycle(request))
    )
    return _page_response("experiments", page)


async def get_experiment(request: web.Request) -> web.Response:
    """One experiment with its tags."""
    experiment_id = _integer(request.match_info["experiment_id"], "experiment_id")
    return _json(_shown(await _reads(request).experiment(experiment_id)))


async def list_runs(request: web.Request) -> web.Response:
    """Runs, the one that started last first."""
    reads = _reads(request)
    experiment_id: int | None = None
    if name := request.query.get("experiment"):
        experiment_id = await reads.experiment_id(name)
    elif given := request.query.get("experiment_id"):
        experiment_id = _integer(given, "experiment_id")
    page = await _paged(
        reads.runs(
            experiment_id=experiment_id,
            limit=_limit(request, default=100, most=1_000),
            page_token=_token(request),
            lifecycle=_lifecycle(request),
        )
    )
    return _page_response("runs", page)


async def get_run(request: web.Request) -> web.Response:
    """One run with its params, tags and writers."""
    found = await _reads(request).run(_run_id(request))
    return _json(
        {
            **_shown(found.run),
            "params": found.params,
            "tags": found.tags,
            "writers": [{**_shown(row), "stats": orjson.Fragment(row["stats"])} for row in found.writers],
        }
    )


async def list_series(request: web.Request) -> web.Response:
    """What each metric of a run amounts to: latest, first, least and greatest value, and more."""
    match = request.query.get("match")
    try:
        page = await _paged(
            _reads(request).series(
                _run_id(request),
                limit=_limit(request, default=1_000, most=10_000),
                page_token=_token(request),
                match=KeyMatch.of(match) if match else None,
            )
        )
    except ContentRefused as error:  # PostgreSQL read the pattern, and could not
        raise Problem(400, "bad_request", f"match: {error}.") from error
    return _page_response("series", page)


async def get_points(request: web.Request) -> web.Response:
    """Raw points of one metric, exactly as they were logged."""
    key = request.match_info["key"]
    page = await _paged(
        _reads(request).points(
            _run_id(request),
            key,
            limit=_limit(request, default=10_000, most=100_000),
            page_token=_token(request),
        )
    )
    if _MSGPACK in request.headers.get("Accept", ""):
        return web.Response(body=_points_as_msgpack(key, page), content_type=_MSGPACK)
    return _json(_points_as_json(key, page))


def _points_as_msgpack(key: str, page: PointPage) -> bytes:
    body = {
        "key": key,
        "n": len(page.steps),
        "steps": page.steps.astype("<i8", copy=False).tobytes(),
        "times_ms": page.times_ms.astype("<i8", copy=False).tobytes(),
        "values": page.values.astype("<f8", copy=False).tobytes(),
        "next_page_token": page.next_page_token,
    }
    return bytes(msgpack.packb(body))


def _points_as_json(key: str, page: PointPage) -> dict[str, Any]:
    values: Any = np.ascontiguousarray(page.values)
    if not np.isfinite(values).all():
        values = [_number(value) for value in values.tolist()]
    return {
        "key": key,
        "n": len(page.steps),
        "steps": np.ascontiguousarray(page.steps),
        "times_ms": np.ascontiguousarray(page.times_ms),
        "values": values,
        "next_page_token": page.next_page_token,
    }


# --- what the handlers share ------------------------------------------------------------------------------------------


def _reads(request: web.Request) -> Reads:
    return request.app[SERVICES].reads


async def _paged(page: Any) -> Any:
    """Wait for the page; a bad token is the caller's fault."""
    try:
        return await page
    except BadPageToken as error:
        raise Problem(400, "bad_request", f"page_token: {error}.") from error


def _run_id(request: web.Request) -> UUID:
    try:
        return parse_id(request.match_info["run_id"])
    except ValueError as error:
        raise Problem(400, "bad_request", f"run_id: {error}.") from error


def _token(request: web.Request) -> str | None:
    return request.query.get("page_token") or None


def _lifecycle(request: web.Request) -> Lifecycle:
    given = request.query.get("lifecycle", "active")
    if given not in {"active", "deleted", "all"}:
        raise Problem(400, "bad_request", f"lifecycle must be active, deleted or all, not {given[:40]!r}.")
    return cast("Lifecycle", given)


def _limit(request: web.Request, *, default: int, most: int) -> int:
    """How many entries the page may have; more than `most` is cut to it, as the next_page_token then says."""
    given = request.query.get("limit")
    limit = default if given is None else _integer(given, "limit")
    if limit < 1:
        raise Problem(400, "bad_request", f"limit must be at least 1, not {limit}.")
    return min(limit, most)


def _integer(text: str, name: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Problem(400, "bad_request", f"{name} must be an integer from 0, not {text[:40]!r}.")
    return int(text)


def _number(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with ids as 32 hex digits and numbers that JSON lacks as strings."""
    shown = dict(row)
    for name, value in shown.items():
        if isinstance(value, UUID):
            shown[name] = value.hex
        elif isinstance(value, float):
            shown[name] = _number(value)
    return shown


def _page_response(name: str, page: Page) -> web.Response:
    rows: Sequence[dict[str, Any]] = [_shown(row) for row in page.rows]
    return _json({name: rows, "next_page_token": page.next_page_token})


def _json(body: object) -> web.Response:
    return web.Response(
        body=orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY), content_type="application/json"
    )


ROUTES = (
    Route("GET", "/api/v1/experiments", list_experiments, access="read", query=(_LIMIT, _TOKEN, _LIFECYCLE)),
    Route("GET", "/api/v1/experiments/{experiment_id}", get_experiment, access="read"),
    Route(
        "GET",
        "/api/v1/runs",
        list_runs,
        access="read",
        query=(
            Query("experiment", "Only runs of the experiment called so."),
            Query("experiment_id", "Only runs of this experiment.", "integer"),
            _LIMIT,
            _TOKEN,
            _LIFECYCLE,
        ),
    ),
    Route("GET", "/api/v1/runs/{run_id}", get_run, access="read"),
    Route("GET", "/api/v1/runs/{run_id}/series", list_series, access="read", query=(_MATCH, _LIMIT, _TOKEN)),
    Route(
        "GET", "/api/v1/runs/{run_id}/series/{key}/points", get_points, access="read", query=(_LIMIT, _TOKEN)
    ),
)
