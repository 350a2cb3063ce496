"""What holds for every route: one shape of error, Host and Origin, tokens, request ids, limits, security headers."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from ingest.auth import ROLES, hash_token, new_token
from ingest.services import Services, open_services
from ingest.settings import Settings
from ingest.web.app import ALL_ROUTES, create_app
from ingest.web.edge import SECURITY_HEADERS
from ingest.web.mlflow.shape import speaks_mlflow
from ingest.web.problems import Problem
from ingest.web.routes import SERVICES, Route, RouteTable
from ingest_schema.ids import new_id

Client = TestClient[Any, Any]

OWN_ROUTES = [route for route in ALL_ROUTES if not speaks_mlflow(route.path)]
"""Those with errors of our own form; the others are walked over in mlflow/test_shape.py."""

PROBLEM_MEMBERS = {"type", "title", "status", "detail", "code", "request_id"}


def concrete(route: Route) -> str:
    """A path that matches the route; what it names does not exist."""
    path = route.plain_path
    for name in route.path_parameters:
        path = path.replace(f"{{{name}}}", "0" * 32)
    return path


async def problem_of(response: aiohttp.ClientResponse) -> dict[str, Any]:
    assert response.content_type == "application/problem+json"
    problem: dict[str, Any] = await response.json()
    assert problem.keys() >= PROBLEM_MEMBERS
    assert problem["status"] == response.status
    assert problem["request_id"] == response.headers["X-Request-Id"]
    return problem


def assert_secured(response: aiohttp.ClientResponse) -> None:
    assert set(SECURITY_HEADERS) <= set(response.headers)
    assert response.headers["Server"] == "ingest"


@pytest.fixture
async def guarded_client(database_url: str, scratch: Path) -> AsyncIterator[Client]:
    """The application where tokens are needed."""
    settings = Settings(database_url=database_url, data_dir=scratch, require_token=True)
    async with (
        open_services(settings, database_url) as services,
        TestClient(TestServer(create_app(services))) as client,
    ):
        yield client


async def make_token(client: Client, role: str) -> str:
    token = new_token()
    server = client.server
    assert isinstance(server, TestServer)
    services = server.app[SERVICES]
    await services.housekeeping.create_token(new_id(), role, role, hash_token(token), None)
    return token


# ------------------------------------------------------------------------------------------- over the whole table


# One application for all routes: making one for each would take longer than the requests.


async def test_every_route_refuses_a_foreign_host_and_a_foreign_origin(web_client: Client) -> None:
    for route in OWN_ROUTES:
        for headers, status, code in (
            ({"Host": "evil.example"}, 421, "host_not_allowed"),
            ({"Host": ""}, 421, "host_not_allowed"),
            ({"Origin": "http://evil.example"}, 403, "origin_not_allowed"),
            ({"Origin": "null"}, 403, "origin_not_allowed"),
        ):
            response = await web_client.request(route.method, concrete(route), headers=headers)
            assert (response.status, (await problem_of(response))["code"]) == (status, code), route
            assert_secured(response)


async def test_every_route_answers_a_body_that_is_garbage_in_one_shape(web_client: Client) -> None:
    for route in OWN_ROUTES:
        response = await web_client.request(route.method, concrete(route), data=b"\xc1garbage")

        assert response.status < 500, route
        assert_secured(response)
        if response.status >= 400:
            await problem_of(response)


async def test_every_route_refuses_other_methods(web_client: Client) -> None:
    for route in OWN_ROUTES:
        response = await web_client.request("PROPFIND", concrete(route))

        assert (response.status, (await problem_of(response))["code"]) == (405, "method_not_allowed"), route
        assert route.method in response.headers["Allow"]


async def test_every_route_keeps_its_access_rule(guarded_client: Client) -> None:
    tokens = {role: await make_token(guarded_client, role) for role in ROLES}

    async def status_with(route: Route, token: str | None) -> int:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        response = await guarded_client.request(route.method, concrete(route), headers=headers)
        if response.status == 401 and route in OWN_ROUTES:
            assert (await problem_of(response))["code"] == "unauthenticated"
            assert response.headers["WWW-Authenticate"].startswith("Bearer")
        return response.status

    for route in ALL_ROUTES:
        if route.access == "open":
            assert await status_with(route, None) not in {401, 403}, route
            continue
        assert await status_with(route, None) == 401, route
        assert await status_with(route, new_token()) == 401, route
        for role, token in tokens.items():
            status = await status_with(route, token)
            assert (status == 403) is (role not in {route.access, "admin"}), (route, role)
            assert status != 401, (route, role)


def test_every_route_is_described_and_stands_once() -> None:
    assert len({(route.method, route.path) for route in ALL_ROUTES}) == len(ALL_ROUTES)
    assert [route.path for route in ALL_ROUTES if not (route.handler.__doc__ or "").strip()] == []


async def test_a_route_past_the_table_is_refused(services: Services) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response()

    app = create_app(services)
    app.router.add_get("/sneaky", handler)
    table = RouteTable(())
    request = await _resolved(app, "/sneaky")

    with pytest.raises(RuntimeError, match="added past the table"):
        table.matched(request)


async def _resolved(app: web.Application, path: str) -> web.Request:
    from aiohttp.test_utils import make_mocked_request

    request = make_mocked_request("GET", path, app=app)
    match = await app.router.resolve(request)
    request._match_info = match  # what aiohttp's own dispatcher does
    return request


# ---------------------------------------------------------------------------------------------------- unknown routes


@pytest.mark.parametrize("path", ["/nope", "/api/v1/nope", "/api/v2/runs", "/healthz/"])
async def test_an_unknown_route_is_404(path: str, web_client: Client) -> None:
    response = await web_client.get(path)

    assert (response.status, (await problem_of(response))["code"]) == (404, "not_found")
    assert_secured(response)


# ----------------------------------------------------------------------------------------------- tokens for other tools


async def test_basic_auth_carries_a_token_too(guarded_client: Client) -> None:
    token = await make_token(guarded_client, "read")
    for user, password in (("mlflow", token), (token, "")):
        value = base64.b64encode(f"{user}:{password}".encode()).decode()
        response = await guarded_client.get("/metrics", headers={"Authorization": f"Basic {value}"})
        assert response.status == 200


# --------------------------------------------------------------------------------------- the edge, on routes of its own


async def fail(request: web.Request) -> web.Response:
    """Fail as nobody foresaw."""
    raise ZeroDivisionError("secret of the inside")


async def refuse(request: web.Request) -> web.Response:
    """Refuse with everything that a problem can carry."""
    raise Problem(409, "sequence_gap", "a gap", hint="count", headers={"Retry-After": "3"}, expected_seq=7)


async def read(request: web.Request) -> web.Response:
    """Read the body."""
    return web.Response(text=str(len(await request.read())))


async def stream(request: web.Request) -> web.StreamResponse:
    """Answer in pieces."""
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"x")
    return response


async def slow(request: web.Request) -> web.Response:
    """Take too long."""
    async with asyncio.timeout(0.01):
        await asyncio.sleep(5)
    return web.Response()


@pytest.fixture
async def edge_client(services: Services) -> AsyncIterator[Client]:
    routes = [
        Route("POST", f"/{handler.__name__}", handler, access="write")
        for handler in (fail, refuse, read, stream, slow)
    ]
    async with TestClient(TestServer(create_app(services, routes))) as client:
        yield client


async def test_an_unforeseen_error_tells_nothing_of_the_inside_but_logs_it(
    edge_client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    response = await edge_client.post("/fail", headers={"X-Request-Id": "abc-1"})

    problem = await problem_of(response)
    assert (response.status, problem["code"], problem["request_id"]) == (500, "internal_error", "abc-1")
    assert "secret" not in str(problem)
    assert "secret of the inside" in caplog.text


async def test_a_problem_carries_its_members_and_headers(edge_client: Client) -> None:
    response = await edge_client.post("/refuse")

    problem = await problem_of(response)
    assert (problem["expected_seq"], problem["hint"], response.headers["Retry-After"]) == (7, "count", "3")


async def test_a_time_out_is_503_with_retry_after(edge_client: Client) -> None:
    response = await edge_client.post("/slow")

    assert (response.status, (await problem_of(response))["code"]) == (503, "timeout")
    assert response.headers["Retry-After"] == "1"


async def test_a_body_over_the_limit_is_413(edge_client: Client, services: Services) -> None:
    size = services.settings.max_body_bytes
    assert await (await edge_client.post("/read", data=io.BytesIO(bytes(size)))).text() == str(size)

    response = await edge_client.post("/read", data=io.BytesIO(bytes(size + 1)))
    assert (response.status, (await problem_of(response))["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(("given", "kept"), [("abc-1", True), ("x" * 65, False), ("a b", False), ("", False)])
async def test_a_request_id_is_kept_if_it_is_sane(given: str, kept: bool, edge_client: Client) -> None:
    response = await edge_client.post("/read", headers={"X-Request-Id": given})

    assert (response.headers["X-Request-Id"] == given) is kept


async def test_a_streamed_answer_is_secured_too(edge_client: Client) -> None:
    response = await edge_client.post("/stream")

    assert_secured(response)
    assert response.headers["X-Request-Id"]


# ------------------------------------------------------------------------------------------------------ own routes


async def test_readiness_says_what_is_wrong(web_client: Client, services: Services) -> None:
    ready = await web_client.get("/readyz")
    body = await ready.json()
    assert (ready.status, body["status"]) == (200, "ready")
    assert body["checks"]["database"]["latency_ms"] > 0

    services.lifecycle.is_draining = True
    draining = await web_client.get("/readyz")
    assert draining.status == 503
    assert (await draining.json())["checks"]["lifecycle"]["ok"] is False


async def test_metrics_count_requests_by_route_and_not_by_path(web_client: Client) -> None:
    await web_client.get("/nope/1")
    await web_client.get("/healthz")

    text = await (await web_client.get("/metrics")).text()

    assert 'ingest_http_requests_total{method="GET",route="/healthz",status="200"}' in text
    assert 'route="unmatched",status="404"' in text
    assert "/nope" not in text


async def test_the_description_names_every_route(web_client: Client) -> None:
    described = await (await web_client.get("/api/v1/openapi.json")).json()

    assert described["openapi"].startswith("3.1")
    for route in ALL_ROUTES:
        operation = described["paths"][route.plain_path][route.method.lower()]
        assert operation["x-access"] == route.access
        assert ("security" in operation) is (route.access != "open")
