"""The dashboard at `/`: one page for all its addresses, and its files, which browsers may keep for ever.

The page holds nothing about runs, and neither do the files, so both are open: somebody without a token has to see where to
enter one. What the page shows comes over the API, with the API's rules.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from ingest.dashboard.assets import Asset, load_dashboard
from ingest.web.problems import Problem
from ingest.web.routes import SERVICES, Route

__all__ = ["PAGES", "ROUTES"]

PAGES: Final = (
    "/",
    "/experiments",
    "/experiments/{experiment_id}",
    "/runs",
    "/runs/{run_id}",
    "/compare",
    "/models",
    "/models/{model}",
    "/sql",
    "/operations",
    "/login",
)
"""Addresses that the page's own router knows (dashboard/js/pages.js); the rest stays a 404 of the service."""
_FOR_EVER: Final = "public, max-age=31536000, immutable"


async def page(request: web.Request) -> web.Response:
    """The dashboard's page, whichever of its addresses is asked for."""
    request.app[SERVICES].charts.wake()
    dashboard = load_dashboard()
    return _respond(
        request,
        dashboard.page,
        {"Cache-Control": "no-cache", "Content-Security-Policy": dashboard.policy},
    )


async def static_file(request: web.Request) -> web.Response:
    """A file of the dashboard; its address changes whenever any of them does."""
    dashboard = load_dashboard()
    path, digest = request.match_info["path"], request.match_info["digest"]
    asset = dashboard.assets.get(path)
    if asset is None or digest != dashboard.digest:
        raise Problem(
            404,
            "not_found",
            f"there is no file {path[:100]!r} in this release of the dashboard.",
            hint="reload the page",
        )
    return _respond(request, asset, {"Cache-Control": _FOR_EVER})


def _respond(request: web.Request, asset: Asset, headers: dict[str, str]) -> web.Response:
    headers = {**headers, "ETag": asset.etag, "Vary": "Accept-Encoding"}
    if asset.etag in request.headers.get("If-None-Match", ""):
        return web.Response(status=304, headers=headers)
    headers["Content-Type"] = asset.content_type
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        return web.Response(body=asset.gzipped, headers={**headers, "Content-Encoding": "gzip"})
    return web.Response(body=asset.body, headers=headers)


ROUTES = (
    *(Route("GET", address, page, access="open", answer="text/html") for address in PAGES),
    Route(
        "GET",
        "/static/{digest:[0-9a-f]+}/{path:.+}",
        static_file,
        access="open",
        answer="application/octet-stream",
    ),
)
