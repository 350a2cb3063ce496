"""Saved queries over HTTP: listed, kept by name, deleted."""

from __future__ import annotations

from typing import Final

import orjson
from aiohttp import web

from ingest.service import saved_queries
from ingest.web import sessions
from ingest.web.health import json_response
from ingest.web.problems import Problem
from ingest.web.routes import SERVICES, Route
from ingest_schema.errors import SchemaError
from ingest_schema.values import check_key

__all__ = ["ROUTES"]

MAX_SQL_BYTES: Final = 100_000


async def list_saved(request: web.Request) -> web.Response:
    """Queries that the team keeps, by name."""
    return json_response({"queries": await saved_queries.list_queries(request.app[SERVICES].database)})


async def put_saved(request: web.Request) -> web.Response:
    """Keep {"sql": "…"} under a name, in place of what is there."""
    name, sql = _name(request), await _sql(request)
    services = request.app[SERVICES]
    who = await services.authenticator.identify(
        request.headers.get("Authorization"), session=sessions.of_request(request)
    )
    saved = await saved_queries.save_query(services.database, name, sql, by=who.name)
    if saved is None:
        most = saved_queries.MAX_QUERIES
        raise Problem(409, "too_many_queries", f"There are {most} saved queries.", hint="delete one first")
    return json_response(saved)


async def delete_saved(request: web.Request) -> web.Response:
    """Delete a saved query."""
    name = _name(request)
    if not await saved_queries.delete_query(request.app[SERVICES].database, name):
        raise Problem(404, "not_found", f"There is no saved query {name[:100]!r}.")
    return web.Response(status=204)


def _name(request: web.Request) -> str:
    name = request.match_info["name"]
    try:
        check_key(name, "saved query")
    except SchemaError as error:
        raise Problem(400, "bad_request", f"{error}.") from error
    if not name.strip():
        raise Problem(400, "bad_request", "the name of a saved query may not be blank.")
    return name


async def _sql(request: web.Request) -> str:
    try:
        body = orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise Problem(400, "bad_request", f"The body is not JSON: {error}") from error
    sql = body.get("sql") if isinstance(body, dict) else None
    if not isinstance(sql, str) or not sql.strip() or "\0" in sql:
        raise Problem(400, "bad_request", 'The body must be {"sql": "…"}.')
    if len(sql.encode(errors="replace")) > MAX_SQL_BYTES:
        raise Problem(413, "body_too_large", f"A saved query may have {MAX_SQL_BYTES:,} bytes.")
    return sql


_PATH: Final = "/api/v1/saved-queries/{name:.+}"
ROUTES = (
    Route("GET", "/api/v1/saved-queries", list_saved, access="read"),
    Route("PUT", _PATH, put_saved, access="write", body="application/json"),
    Route("DELETE", _PATH, delete_saved, access="write"),
)
