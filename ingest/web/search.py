"""Searches over HTTP: runs by filter and order, in pages; what runs differ in. The grammar: docs/search.md.

NaN and the infinities stand as "NaN", "Infinity", "-Infinity", since JSON has none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import orjson
from aiohttp import web

from ingest.search.errors import FilterError
from ingest.search.nodes import Field
from ingest.search.paging import BadSearchToken
from ingest.search.runs import View
from ingest.service.locations import run_location
from ingest.store.compare import Comparison, TooMuchToCompare, compare_runs
from ingest.store.search import Columns, FoundRun, RunQuery, fetch_runs, find_experiments, search_runs
from ingest.web.problems import Problem
from ingest.web.routes import SERVICES, Route
from ingest_schema.ids import parse_id
from ingest_schema.limits import INT64_MAX

__all__ = ["ROUTES"]

DEFAULT_ROWS: Final = 100
MAX_ROWS: Final = 10_000
MAX_COMPARED: Final = 200
_VIEWS: Final[dict[str, View]] = {"active": "ACTIVE_ONLY", "deleted": "DELETED_ONLY", "all": "ALL"}
_MEMBERS: Final = {
    "run_name": "name",
    "user_id": "user_name",
    "start_time": "start_time_ms",
    "end_time": "end_time_ms",
    "duration": "duration_ms",
}
"""Attributes of the grammar that are called otherwise in our answers."""
_DEFAULT_MEMBERS: Final = (
    "run_id", "experiment_id", "experiment", "name", "user_name", "status", "lifecycle", "parent_run_id",
    "start_time_ms", "end_time_ms", "artifact_uri",
)  # fmt: skip


async def post_search(request: web.Request) -> web.Response:
    """Runs that a filter finds, in an order, with the columns asked for."""
    body = await _body(
        request, {"filter", "order_by", "experiments", "view", "columns", "limit", "page_token", "count"}
    )
    reader = request.app[SERVICES].database
    columns_asked = _texts(body, "columns") if body.get("columns") is not None else None
    try:
        query = RunQuery(
            filter=_text(body, "filter"),
            order_by=_texts(body, "order_by"),
            experiment_ids=await _experiments(request, body),
            view=_view(body),
        )
        columns = Columns() if columns_asked is None else Columns.of(columns_asked)
        page = await search_runs(
            reader,
            query,
            limit=_limit(body),
            page_token=_text(body, "page_token"),
            with_count=body.get("count") is True,
        )
        runs = await fetch_runs(reader, page.run_ids, columns)
    except FilterError as error:
        raise _refused(error) from error
    except BadSearchToken as error:
        raise Problem(400, "bad_page_token", f"page_token: {error}.") from error
    answer: dict[str, Any] = {
        "runs": [_run(run, columns) for run in runs],
        "next_page_token": page.next_page_token,
    }
    if page.count is not None:
        answer["count"] = page.count
    return _json(answer)


async def post_compare(request: web.Request) -> web.Response:
    """What up to 200 runs differ in: params, tags and summaries of metrics."""
    body = await _body(request, {"run_ids", "all"})
    run_ids = [_run_id(text) for text in dict.fromkeys(_texts(body, "run_ids"))]
    if not 1 <= len(run_ids) <= MAX_COMPARED:
        raise Problem(400, "bad_request", f"run_ids must name 1 to {MAX_COMPARED} runs, not {len(run_ids)}.")
    try:
        found = await compare_runs(
            request.app[SERVICES].database, run_ids, everything=body.get("all") is True
        )
    except TooMuchToCompare as error:
        raise Problem(400, "too_much_to_compare", f"{error}.") from error
    there = {run.row["run_id"] for run in found.runs}
    if missing := [run_id for run_id in run_ids if run_id not in there]:
        raise Problem(404, "not_found", f"there is no run {missing[0].hex}.")
    return _json(_comparison(found))


def _comparison(found: Comparison) -> dict[str, Any]:
    return {
        "runs": [_attributes(run, _DEFAULT_MEMBERS) for run in found.runs],
        "params": found.params,
        "tags": found.tags,
        "metrics": {
            key: {name: [_number(value) for value in values] for name, values in lists.items()}
            for key, lists in found.metrics.items()
        },
    }


# --- answers ----------------------------------------------------------------------------------------------------------


def _run(run: FoundRun, columns: Columns) -> dict[str, Any]:
    if columns.fields is None:
        members: Sequence[str] = _DEFAULT_MEMBERS
    else:
        named = [_MEMBERS.get(f.name, f.name) for f in columns.fields if f.kind == "attribute"]
        members = list(dict.fromkeys(["run_id", *named]))
    shown = _attributes(run, members)
    for kind, values in (("param", run.params), ("tag", run.tags)):
        if columns.keys(kind) != []:
            shown[f"{kind}s"] = values
    if columns.keys("metric") != []:
        shown["metrics"] = {k: _number(v) for (k, summary), v in run.metrics.items() if summary == "last"}
    if summaries := _summaries(run, columns.fields or ()):
        shown["summaries"] = summaries
    return shown


def _summaries(run: FoundRun, fields: Sequence[Field]) -> dict[str, dict[str, Any]]:
    """Other summaries than the last value: by summary, then by key."""
    found: dict[str, dict[str, Any]] = {}
    for f in fields:
        if f.kind == "metric" and f.summary != "last":
            values = found.setdefault(f.summary, {})
            if (f.name, f.summary) in run.metrics:
                values[f.name] = _number(run.metrics[f.name, f.summary])
    return found


def _attributes(run: FoundRun, members: Sequence[str]) -> dict[str, Any]:
    row = run.row
    shown: dict[str, Any] = {}
    for name in members:
        if name == "duration_ms":
            end_ms = row["end_time_ms"]
            shown[name] = None if end_ms is None else end_ms - row["start_time_ms"]
        elif name == "artifact_uri":
            shown[name] = run_location(row["experiment_id"], row["artifact_location"], row["run_id"])
        else:
            shown[name] = row[name]
    return {name: value.hex if isinstance(value, UUID) else value for name, value in shown.items()}


def _number(value: float | None) -> float | str | None:
    if value is None or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _json(answer: object) -> web.Response:
    return web.Response(body=orjson.dumps(answer), content_type="application/json")


def _refused(error: FilterError) -> Problem:
    """The sentence is the detail; where it points to goes below, as it is shown to people."""
    extra: dict[str, Any] = {} if error.column is None else {"column": error.column, "text": error.pointed()}
    hint = "the grammar is described in docs/search.md"
    return Problem(400, "bad_filter", error.sentence, hint=hint, **extra)


# --- requests ---------------------------------------------------------------------------------------------------------


async def _body(request: web.Request, known: set[str]) -> dict[str, Any]:
    try:
        body = orjson.loads(await request.read() or b"{}")
    except orjson.JSONDecodeError as error:
        raise Problem(400, "bad_request", f"the body is no JSON: {error}.") from error
    if not isinstance(body, dict):
        raise Problem(400, "bad_request", "the body must be a JSON object.")
    if unknown := sorted(body.keys() - known):
        raise Problem(
            400,
            "bad_request",
            f"there is no field {unknown[0][:40]!r}; there are {', '.join(sorted(known))}.",
        )
    return body


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise Problem(400, "bad_request", f"{name} must be a string.")
    return value or ""


def _texts(body: dict[str, Any], name: str) -> list[str]:
    value = body.get(name)
    if isinstance(value, str):
        return [value]
    if value is not None and (not isinstance(value, list) or not all(isinstance(x, str) for x in value)):
        raise Problem(400, "bad_request", f"{name} must be a list of strings.")
    return value or []


def _view(body: dict[str, Any]) -> View:
    view = _VIEWS.get(_text(body, "view") or "active")
    if view is None:
        raise Problem(400, "bad_request", "view must be active, deleted or all.")
    return view


def _limit(body: dict[str, Any]) -> int:
    limit = body.get("limit")
    if limit is None:
        return DEFAULT_ROWS
    if type(limit) is not int or not 1 <= limit <= MAX_ROWS:
        raise Problem(400, "bad_request", f"limit must be an integer from 1 to {MAX_ROWS}.")
    return limit


async def _experiments(request: web.Request, body: dict[str, Any]) -> list[int] | None:
    """Ids of the experiments, which are given by id (a number) or by name (a string); None for all."""
    given = body.get("experiments")
    if given is None:
        return None
    if not isinstance(given, list) or not all(type(x) in {int, str} for x in given):
        raise Problem(400, "bad_request", "experiments must be a list of names (strings) or ids (integers).")
    ids = [x for x in given if isinstance(x, int) and 0 <= x <= INT64_MAX]
    if names := [x for x in given if isinstance(x, str)]:
        found = await find_experiments(request.app[SERVICES].database, names)
        if missing := [name for name in names if name not in found]:
            raise Problem(404, "not_found", f"there is no experiment called {missing[0][:200]!r}.")
        ids += found.values()
    return ids


def _run_id(text: str) -> UUID:
    try:
        return parse_id(text)
    except ValueError as error:
        raise Problem(400, "bad_request", f"run_ids: {error}.") from error


ROUTES = (
    Route("POST", "/api/v1/runs/search", post_search, access="read", body="application/json"),
    Route("POST", "/api/v1/runs/compare", post_compare, access="read", body="application/json"),
)
