"""The routes of charts as the serving process has them: each request goes on to the process that draws (`ingest.chart_process`)."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import wraps
from typing import Final

from aiohttp import web
from yarl import URL

from ingest.chart_process import ChartsUnavailable
from ingest.logs import current_context
from ingest.web import series
from ingest.web.problems import REQUEST_ID, retry_later
from ingest.web.routes import SERVICES, Route

__all__ = ["ROUTES"]

_TOLD: Final[tuple[str, ...]] = ("Accept", "Content-Type", "If-None-Match")
_TOLD_BACK: Final[tuple[str, ...]] = ("Content-Type", "ETag", "Cache-Control", "Vary", "Retry-After")


async def hand_on(request: web.Request) -> web.Response:
    """The answer of the process that draws."""
    started = time.perf_counter()
    headers = {name: request.headers[name] for name in _TOLD if name in request.headers}
    headers[REQUEST_ID] = str(current_context().get("request", ""))
    url = URL.build(
        scheme="http",
        host="charts",
        path=request.rel_url.raw_path,
        query_string=request.rel_url.raw_query_string,
        encoded=True,
    )
    method = "GET" if request.method == "HEAD" else request.method
    body = await request.read() if request.can_read_body else None
    try:
        status, answered, content = await request.app[SERVICES].charts.ask(
            method, url, headers=headers, body=body
        )
    except ChartsUnavailable as error:
        raise retry_later("charts_unavailable", f"{str(error)[:1].upper()}{str(error)[1:]}.") from error
    response = web.Response(
        status=status,
        body=content,
        headers={name: answered[name] for name in _TOLD_BACK if name in answered},
    )
    milliseconds = (time.perf_counter() - started) * 1000
    response.headers["Server-Timing"] = (
        f"{answered.get('Server-Timing', '')}, total;dur={milliseconds:.2f}".lstrip(", ")
    )
    return response


def _handed_on(route: Route) -> Route:
    @wraps(route.handler)  # for its docstring, which the documentation of the API shows
    async def handler(request: web.Request) -> web.Response:
        return await hand_on(request)

    return replace(route, handler=handler)


ROUTES: Final = tuple(_handed_on(route) for route in series.ROUTES)
