"""POST /api/v1/sql: one SQL statement of the user's, answered as JSON. Rules and value forms: `ingest.store.user_sql`.

A statement whose asker has gone is given up, so that closing a page or cancelling a request ends the work in PostgreSQL.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

import orjson
from aiohttp import web

from ingest.store.user_sql import UserSql
from ingest.web.health import json_response
from ingest.web.problems import Problem
from ingest.web.routes import SERVICES, Route

__all__ = ["ROUTES"]

T = TypeVar("T")

_MAX_BODY_BYTES: Final = 1024 * 1024
_THREAD_MIN_ROWS: Final = 1_000
"""From this size on the answer is written in a thread, so that batches need not wait for it."""

_LOOK_SECONDS: Final = 0.2
"""How often to look whether the asker of a slow statement is still there."""


async def run_sql(request: web.Request) -> web.Response:
    """Run one SQL statement that reads, within bounds of time, rows and bytes."""
    user_sql, settings = _user_sql(request), request.app[SERVICES].settings
    body = await _body(request)
    answer = await _while_asked(
        request,
        user_sql.run(
            body["sql"],
            max_rows=min(body.get("max_rows", settings.sql_max_rows), settings.sql_max_rows),
            timeout=min(body.get("timeout", settings.sql_timeout), settings.sql_timeout),
        ),
    )
    shown = {
        "columns": answer.columns,
        "rows": answer.rows,
        "row_count": len(answer.rows),
        "truncated": answer.truncated,
    }
    if len(answer.rows) < _THREAD_MIN_ROWS:
        encoded = orjson.dumps(shown)
    else:
        encoded = await asyncio.to_thread(orjson.dumps, shown)
    return web.Response(body=encoded, content_type="application/json")


async def get_schema(request: web.Request) -> web.Response:
    """Tables and views that SQL can read, with their columns and what these mean."""
    timeout = request.app[SERVICES].settings.read_timeout
    return json_response({"relations": await _user_sql(request).schema(timeout=timeout)})


def _user_sql(request: web.Request) -> UserSql:
    services = request.app[SERVICES]
    if services.user_sql is None:
        raise Problem(
            503,
            "sql_unavailable",
            f"SQL over HTTP is off: {services.reader_access.problem}",
            hint="run: ingest migrate",
        )
    return services.user_sql


async def _while_asked(request: web.Request, work: Coroutine[Any, Any, T]) -> T:
    """The work's outcome; it is cancelled if the connection closes, which aiohttp does not tell handlers by itself."""
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=_LOOK_SECONDS))[0]:
            if request.transport is None or request.transport.is_closing():
                raise Problem(408, "client_closed", "The asker went away; the statement was cancelled.")
        return task.result()
    finally:
        task.cancel()


async def _body(request: web.Request) -> dict[str, Any]:
    """The request's JSON: {"sql": text, "max_rows"?: integer from 1, "timeout"?: seconds}."""
    if request.content_length is not None and request.content_length > _MAX_BODY_BYTES:
        raise Problem(413, "body_too_large", f"A statement may have {_MAX_BODY_BYTES:,} bytes.")
    try:
        body = orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise Problem(400, "bad_request", f"The body is not JSON: {error}") from error
    if not isinstance(body, dict) or not isinstance(body.get("sql"), str) or "\0" in body["sql"]:
        raise Problem(
            400, "bad_request", 'The body must be {"sql": "…", "max_rows"?: n, "timeout"?: seconds}.'
        )
    if unknown := body.keys() - {"sql", "max_rows", "timeout"}:
        raise Problem(400, "bad_request", f"Unknown field {min(unknown)!r}.")
    max_rows, timeout = body.get("max_rows", 1), body.get("timeout", 1)
    if type(max_rows) is not int or max_rows < 1:
        raise Problem(400, "bad_request", f"max_rows must be an integer from 1, not {max_rows!r:.40}.")
    if type(timeout) not in {int, float} or not timeout > 0:
        raise Problem(
            400, "bad_request", f"timeout must be a number of seconds above 0, not {timeout!r:.40}."
        )
    return body


ROUTES = (
    Route("POST", "/api/v1/sql", run_sql, access="read", body="application/json"),
    Route("GET", "/api/v1/sql/schema", get_schema, access="read"),
)
