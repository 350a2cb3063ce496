"""What MLflow's client asks before it works: is it there, which version, what can it do."""

from __future__ import annotations

import orjson
from aiohttp import web

from ingest.mlflow.answers import SERVER_INFO
from ingest.web.mlflow.endpoint import routes
from ingest.web.routes import Route

__all__ = ["ROUTES"]


async def health(request: web.Request) -> web.Response:
    """MLflow: whether the service answers, as a text."""
    del request
    return web.Response(text="OK")


async def server_info(request: web.Request) -> web.Response:
    """What the server offers beyond the least."""
    del request
    return web.Response(body=orjson.dumps(SERVER_INFO), content_type="application/json")


ROUTES = (
    Route("GET", "/health", health, access="open", answer="text/plain"),
    *routes("GET", "server-info", server_info, access="open", about=server_info.__doc__, version="3.0"),
)
