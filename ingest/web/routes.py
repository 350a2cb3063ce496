"""The table of routes. A route can't be added without saying who may use it: `access` has no default.

Each module of handlers lists its own:

    ROUTES = (
        Route("POST", "/api/v1/batches", store_batch, access="write", body="application/msgpack"),
    )

and `ingest/web/app.py` joins the lists. Tests walk over the whole table; `openapi` describes it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

from aiohttp import web

if TYPE_CHECKING:
    from ingest.services import Services

Access = Literal["open", "read", "write", "admin"]
"""Who may use a route where tokens are needed: anybody; or holders of a token of that role, or of an admin's."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SERVICES: web.AppKey[Services] = web.AppKey("services")
"""What handlers work with: `request.app[SERVICES]`."""

_PATH_PARAMETER = re.compile(r"\{(\w+)(?::[^}]*)?\}")


@dataclass(frozen=True, slots=True)
class Query:
    """One parameter of the query string, for the description of the API."""

    name: str
    description: str
    type: Literal["string", "integer", "number", "boolean"] = "string"


@dataclass(frozen=True, slots=True)
class Route:
    """One route: a method, a path as aiohttp writes it, its handler and who may use it."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    handler: Handler
    access: Access
    query: tuple[Query, ...] = ()
    body: str | None = None
    """Media type of the request's body."""
    answer: str = "application/json"
    """Media type of the answer."""

    @property
    def summary(self) -> str:
        """The first line of the handler's docstring."""
        return (inspect.getdoc(self.handler) or self.handler.__name__).splitlines()[0]

    @property
    def path_parameters(self) -> tuple[str, ...]:
        return tuple(_PATH_PARAMETER.findall(self.path))

    @property
    def plain_path(self) -> str:
        """The path without the patterns of its parameters, as OpenAPI and the metrics show it."""
        return _plain(self.path)


@cache  # asked for with every request
def _plain(path: str) -> str:
    return _PATH_PARAMETER.sub(r"{\1}", path)


class RouteTable:
    """All routes of an application, and the access rule of whichever one matched."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = tuple(routes)
        self._by_handler: dict[int, Route] = {}

    def register(self, app: web.Application) -> None:
        for route in self.routes:
            entry = app.router.add_route(route.method, route.path, route.handler)
            self._by_handler[id(entry)] = route
            if route.method == "GET":
                entry = app.router.add_route("HEAD", route.path, route.handler)
                self._by_handler[id(entry)] = route

    def matched(self, request: web.Request) -> Route | None:
        """The route of this request; None when nothing matched and aiohttp answers 404 or 405."""
        route = request.match_info.route
        found = self._by_handler.get(id(route))
        if found is None and request.match_info.http_exception is None:
            raise RuntimeError(f"{route} was added past the table of routes, so nobody knows who may use it")
        return found
