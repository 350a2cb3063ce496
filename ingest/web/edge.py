"""What holds for every request, in one middleware: an id, Host and Origin, the token, errors in one shape, a log line.

One function in place of a chain of them, because this runs for every batch. Order matters: nothing of a request is
trusted before its Host is, nothing is read before its sender is known, and every way out passes the same end, where the
answer gets its request id and is counted.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Awaitable, Callable
from functools import cache

from aiohttp import web
from prometheus_client import Counter, Histogram

from ingest.auth import Forbidden, Unauthenticated
from ingest.logs import bind, current_context
from ingest.services import Services
from ingest.telemetry import AUTH_FAILURES, REQUEST_SECONDS, REQUESTS
from ingest.web import sessions
from ingest.web.hosts import HostRules, origin_matches
from ingest.web.mlflow.shape import mlflow_problem, speaks_mlflow
from ingest.web.problems import REQUEST_ID, Problem, answer_logged, problem_of
from ingest.web.routes import Handler, Route, RouteTable

logger = logging.getLogger("ingest.http")

_ACCEPTABLE_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
"""Set where the handler has not said otherwise; a page brings a policy of its own."""


def make_edge(
    services: Services, table: RouteTable, hosts: HostRules
) -> Callable[..., Awaitable[web.StreamResponse]]:
    """The middleware for these services and routes."""
    authenticator = services.authenticator
    settings = services.settings

    async def admit(request: web.Request, route: Route | None) -> None:
        host = request.headers.get("Host")
        if not hosts.host_is_allowed(host):
            raise _refused("host", 421, "host_not_allowed", f"This service is not {host or 'unnamed'}.")
        origin = request.headers.get("Origin")
        if origin is not None and not origin_matches(origin, host or ""):
            raise _refused(
                "origin", 403, "origin_not_allowed", f"Pages of {origin} may not use this service."
            )
        if route is None:
            return
        try:
            await authenticator.check(
                request.headers.get("Authorization"), route.access, session=sessions.of_request(request)
            )
        except sessions.NotOurPage as error:
            raise _refused("origin", 403, "origin_missing", str(error)) from None
        except Unauthenticated as error:
            raise _refused(
                "token",
                401,
                "unauthenticated",
                str(error),
                headers={"WWW-Authenticate": 'Bearer realm="ingest"'},
            ) from None
        except Forbidden as error:
            raise _refused("role", 403, "forbidden", str(error)) from None

    @web.middleware
    async def edge(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.perf_counter()
        request_id = _request_id(request)
        with bind(request=request_id):
            route = table.matched(request)
            try:
                await admit(request, route)
                response = await handler(request)
            except Exception as error:  # noqa: BLE001  # whatever it is becomes an answer, and a log line if it is ours
                response = _answer_error(request, error, request_id)
            if not response.prepared:
                response.headers[REQUEST_ID] = request_id
            seconds = time.perf_counter() - started
            name = route.plain_path if route is not None else "unmatched"
            _request_counter(request.method if route is not None else "other", name, response.status).inc()
            _request_timer(name).observe(seconds)
            if settings.access_log or logger.isEnabledFor(logging.DEBUG):
                _log_access(request, response.status, seconds, always=settings.access_log)
            return response

    return edge


# Looking a label up costs as much as counting; there are as many as routes, methods and statuses.
@cache
def _request_counter(method: str, route: str, status: int) -> Counter:
    return REQUESTS.labels(method, route, str(status))


@cache
def _request_timer(route: str) -> Histogram:
    return REQUEST_SECONDS.labels(route)


def _refused(
    reason: str, status: int, code: str, detail: str, *, headers: dict[str, str] | None = None
) -> Problem:
    AUTH_FAILURES.labels(reason).inc()
    hints = {
        "host": "name it in the setting allowed_hosts (INGEST_ALLOWED_HOSTS)",
        "token": "send Authorization: Bearer TOKEN; ingest token create makes one. Browsers log in at /login",
    }
    return Problem(status, code, detail, hint=hints.get(reason), headers=headers)


def _request_id(request: web.Request) -> str:
    """The caller's, so that logs of both sides can be joined; a new one if it is missing or odd."""
    given = request.headers.get(REQUEST_ID)
    return given if given is not None and _ACCEPTABLE_ID.fullmatch(given) else os.urandom(8).hex()


def _answer_error(request: web.Request, error: Exception, request_id: str) -> web.Response:
    problem = mlflow_problem(error, request) if speaks_mlflow(request.path) else problem_of(error)
    return answer_logged(request, problem, error, request_id)


def _log_access(request: web.Request, status: int, seconds: float, *, always: bool) -> None:
    level = logging.INFO if always else logging.DEBUG
    logger.log(
        level,
        "%s %s %d in %.1f ms from %s",
        request.method,
        request.path,
        status,
        seconds * 1000,
        request.remote,
    )


async def add_common_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Signal handler, so that streamed answers get them too, and the request's id with them."""
    del request
    headers = response.headers
    if REQUEST_ID not in headers and "request" in (context := current_context()):
        headers[REQUEST_ID] = str(context["request"])
    for name, value in SECURITY_HEADERS.items():
        if name not in headers:
            headers[name] = value
    headers["Server"] = "ingest"  # in place of aiohttp's, which tells its version and Python's
