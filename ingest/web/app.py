"""The application: all routes, behind one edge. Made anew for each process and each test."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from ingest.services import Services
from ingest.web import (
    artifacts,
    batches,
    browse,
    charts,
    dashboard,
    edits,
    health,
    login,
    mlflow,
    openapi,
    operations,
    reads,
    saved_queries,
    search,
    sql,
    stream,
    uploads,
)
from ingest.web.edge import add_common_headers, make_edge
from ingest.web.hosts import HostRules, own_addresses
from ingest.web.mlflow.ui import ui_routes
from ingest.web.routes import SERVICES, Route, RouteTable

ALL_ROUTES: tuple[Route, ...] = (
    *health.ROUTES,
    *openapi.ROUTES,
    *batches.ROUTES,
    *reads.ROUTES,
    *edits.ROUTES,
    *search.ROUTES,
    *browse.ROUTES,
    *charts.ROUTES,
    *stream.ROUTES,
    *artifacts.ROUTES,
    *uploads.ROUTES,
    *sql.ROUTES,
    *saved_queries.ROUTES,
    *operations.ROUTES,
    *login.ROUTES,
    *mlflow.ROUTES,
    *dashboard.ROUTES,
)
"""Every route of the service. A module that brings routes joins its list to this one."""


def create_app(services: Services, routes: Sequence[Route] = ALL_ROUTES) -> web.Application:
    """The application for these services.

    Args:
        services: Opened, and open for as long as the application runs.
        routes: Others than the service's own; for tests of the edge.
    """
    settings = services.settings
    table = RouteTable([*routes, *(ui_routes() if settings.mlflow_ui else ())])
    hosts = HostRules(allowed=settings.allowed_hosts, bound=settings.host, addresses=own_addresses())
    app = web.Application(
        middlewares=[make_edge(services, table, hosts)],
        client_max_size=settings.max_body_bytes,
        # Left to itself aiohttp undoes Content-Encoding before any handler can bound what comes out, and a batch that
        # says zstd would be undone twice. Handlers that take compressed bodies do it: see ingest.write.decompress.
        handler_args={"auto_decompress": False},
    )
    app[SERVICES] = services
    app[openapi.TABLE] = table
    app.on_response_prepare.append(add_common_headers)
    table.register(app)
    return app
