"""What the dashboard offers to choose from: keys of runs, for columns, charts and completion; runs per experiment."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

import orjson
from aiohttp import web

from ingest.store.browse import KEY_KINDS, KeyKind, experiment_counts, keys_of, newest_runs, ranks_of
from ingest.store.errors import ContentRefused
from ingest.store.keys import KeyMatch
from ingest.web.problems import Problem
from ingest.web.routes import SERVICES, Route
from ingest_schema.ids import parse_id

__all__ = ["ROUTES"]

MAX_RUNS: Final = 200
MAX_KEYS: Final = 50_000
"""Of one answer and kind: a page of one run's metrics, 3 MB."""


async def post_keys(request: web.Request) -> web.Response:
    """Which keys runs have, by kind: of the runs given, with the ranks of those that have several, or of the newest runs of experiments."""
    body = await _body(request)
    reader = request.app[SERVICES].database
    limit, match = _limit(body), _match(body)
    run_ids = _run_ids(body) if "runs" in body else await newest_runs(reader, _experiments(body))
    answer: dict[str, Any] = {"runs": len(run_ids)}
    try:
        for kind in _kinds(body):
            found = await keys_of(reader, run_ids, kind, match=match, after="", limit=limit + 1)
            answer[f"{kind}s"] = [{"key": key, "runs": runs} for key, runs in found[:limit]]
            if len(found) > limit:
                answer["truncated"] = True
        if "runs" in body:
            answer["ranks"] = {run_id.hex: ranks for run_id, ranks in await ranks_of(reader, run_ids)}
    except ContentRefused as error:  # PostgreSQL read the pattern, and could not
        raise Problem(400, "bad_request", f"match: {error}.") from error
    return web.Response(body=orjson.dumps(answer), content_type="application/json")


async def get_overview(request: web.Request) -> web.Response:
    """How many runs each experiment has, how many of them run, and when the last one started."""
    counts = await experiment_counts(request.app[SERVICES].database)
    return web.Response(body=orjson.dumps({"experiments": counts}), content_type="application/json")


# --- requests ---------------------------------------------------------------------------------------------------------


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = orjson.loads(await request.read() or b"{}")
    except orjson.JSONDecodeError as error:
        raise Problem(400, "bad_request", f"the body is no JSON: {error}.") from error
    known = {"runs", "experiments", "kinds", "match", "limit"}
    if not isinstance(body, dict) or (unknown := sorted(body.keys() - known)):
        what = (
            f"there is no field {unknown[0][:40]!r}; there are "
            if isinstance(body, dict)
            else "the body must be an object of "
        )
        raise Problem(400, "bad_request", f"{what}{', '.join(sorted(known))}.")
    return body


def _run_ids(body: dict[str, Any]) -> list[UUID]:
    given = body["runs"]
    if not isinstance(given, list) or len(given) > MAX_RUNS:
        raise Problem(400, "bad_request", f"runs must be a list of at most {MAX_RUNS} run ids.")
    try:
        return [parse_id(text) for text in given]
    except (ValueError, TypeError, AttributeError) as error:
        raise Problem(400, "bad_request", f"runs: {error}.") from error


def _experiments(body: dict[str, Any]) -> list[int] | None:
    given = body.get("experiments")
    if given is None:
        return None
    if not isinstance(given, list) or not all(type(one) is int and 0 <= one < 2**63 for one in given):
        raise Problem(400, "bad_request", "experiments must be a list of ids.")
    return given


def _kinds(body: dict[str, Any]) -> list[KeyKind]:
    given = body.get("kinds", KEY_KINDS)
    if not isinstance(given, list | tuple) or not given or any(one not in KEY_KINDS for one in given):
        raise Problem(400, "bad_request", f"kinds must be some of {', '.join(KEY_KINDS)}.")
    return list(dict.fromkeys(given))


def _match(body: dict[str, Any]) -> KeyMatch:
    given = body.get("match", "")
    if not isinstance(given, str) or len(given) > 1_000:
        raise Problem(400, "bad_request", "match must be a text of at most 1,000 characters.")
    return KeyMatch.of(given) if given else KeyMatch()


def _limit(body: dict[str, Any]) -> int:
    limit = body.get("limit", 1_000)
    if type(limit) is not int or not 1 <= limit <= MAX_KEYS:
        raise Problem(400, "bad_request", f"limit must be an integer from 1 to {MAX_KEYS:,}.")
    return limit


ROUTES = (
    Route("POST", "/api/v1/keys", post_keys, access="read", body="application/json"),
    Route("GET", "/api/v1/overview", get_overview, access="read"),
)
