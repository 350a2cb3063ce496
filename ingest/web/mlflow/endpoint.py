"""From a parser and an action to routes: every endpoint stands under /api/… and /ajax-api/…, with the same handler.

    endpoint("POST", "runs/delete", read_run_id, delete_run)

The parser gets the object in the body, or in the query of a GET, with the parameters of the path put in, and returns a request; the action gets the services and
that request, and returns what is answered: an object, JSON that is made already, or a response of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Any, Final, Literal, TypeVar

import orjson
from aiohttp import web

from ingest.mlflow.bodies import body_object, check_content_type
from ingest.mlflow.fields import Table, query_object
from ingest.services import Services
from ingest.web.problems import retry_later
from ingest.web.routes import SERVICES, Access, Handler, Route

__all__ = ["Answer", "endpoint"]

Request = TypeVar("Request")
Answer = dict[str, Any] | bytes
Method = Literal["GET", "POST", "PATCH", "DELETE"]

PREFIXES: Final = ("/api/{version}/mlflow/", "/ajax-api/{version}/mlflow/")
_LARGE_BYTES: Final = 64 * 1024
"""Bodies from here on take a ticket of the intake before they are read, as batches do."""


def endpoint(
    method: Method,
    path: str,
    read: Callable[[Any], Request],
    act: Callable[[Services, Request], Awaitable[Answer]],
    *,
    query: Table | None = None,
    access: Access = "write",
    version: str = "2.0",
) -> tuple[Route, ...]:
    """The routes of one endpoint.

    Args:
        read: Raises MlflowError for a request that is refused.
        act: Its docstring describes the endpoint.
        query: For a GET: the fields, of which some may be lists.
        access: What a token must allow.
    """

    async def handle(request: web.Request) -> web.StreamResponse:
        services = request.app[SERVICES]
        if access == "write" and services.lifecycle.is_draining:
            raise retry_later("shutting_down", "The service is stopping; nothing was stored.")
        if query is not None:
            given = query_object(query, request.query.items())
        else:
            given = await _body(request, services)
        sent = read({**given, **request.match_info} if request.match_info else given)
        answer = await act(services, sent)
        body = answer if isinstance(answer, bytes) else orjson.dumps(answer)
        return web.Response(body=body, content_type="application/json")

    return routes(method, path, handle, access=access, about=act.__doc__, version=version)


def routes(
    method: Method, path: str, handler: Handler, *, access: Access, about: str | None, version: str = "2.0"
) -> tuple[Route, ...]:
    """A handler under both prefixes. about: a sentence on what it does."""
    handler.__doc__ = f"MLflow: {about}"
    body = None if method == "GET" else "application/json"
    return tuple(
        Route(method, prefix.format(version=version) + path, handler, access=access, body=body)
        for prefix in PREFIXES
    )


async def _body(request: web.Request, services: Services) -> dict[str, Any]:
    check_content_type(
        request.headers.get("Content-Type"), has_body=request.body_exists or request.method == "POST"
    )
    size_bytes = request.content_length
    large = size_bytes is None or size_bytes >= _LARGE_BYTES
    with services.intake.admit(size_bytes) if large else nullcontext():
        return body_object(await request.read())
