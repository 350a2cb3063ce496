"""The description of the API, made from the table of routes, so that it can't fall behind."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from ingest.web.health import json_response, service_version
from ingest.web.problems import CONTENT_TYPE as PROBLEM_TYPE
from ingest.web.routes import Route, RouteTable

TABLE: web.AppKey[RouteTable] = web.AppKey("routes")

PROBLEM_SCHEMA = {
    "type": "object",
    "description": "RFC 9457; `code` is stable and meant for programs.",
    "required": ["type", "title", "status", "detail", "code", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "hint": {"type": "string"},
        "request_id": {"type": "string"},
    },
}


def describe(routes: Sequence[Route]) -> dict[str, object]:
    """An OpenAPI 3.1 document."""
    paths: dict[str, dict[str, object]] = {}
    for route in routes:
        paths.setdefault(route.plain_path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "ingest", "version": service_version(), "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {
            "schemas": {"Problem": PROBLEM_SCHEMA},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route) -> dict[str, object]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in route.path_parameters
    ] + [
        {"name": query.name, "in": "query", "description": query.description, "schema": {"type": query.type}}
        for query in route.query
    ]
    operation: dict[str, object] = {
        "operationId": getattr(route.handler, "__name__", "handler"),
        "summary": route.summary,
        "x-access": route.access,
        "responses": {
            "200": {"description": "Done.", "content": {route.answer: {}}},
            "default": {
                "description": "An error.",
                "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
            },
        },
    }
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": {route.body: {}}}
    if route.access != "open":
        operation["security"] = [{"token": []}]
    return operation


async def openapi(request: web.Request) -> web.Response:
    """This description of the API, as OpenAPI 3.1."""
    return json_response(describe(request.app[TABLE].routes))


ROUTES = (Route("GET", "/api/v1/openapi.json", openapi, access="open"),)
