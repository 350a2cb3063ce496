"""What holds for every endpoint of MLflow's: errors in its form, both prefixes, nothing that makes its client repeat."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from ingest.web.mlflow import ROUTES
from ingest.web.mlflow.shape import speaks_mlflow
from ingest.web.routes import Route

Client = TestClient[Any, Any]

MLFLOW_ROUTES = [route for route in ROUTES if speaks_mlflow(route.path)]


def concrete(route: Route) -> str:
    path = route.plain_path
    for name in route.path_parameters:
        path = path.replace(f"{{{name}}}", "x")
    return path


async def error_of(response: Any) -> str:
    assert response.content_type == "application/json"
    body = await response.json()
    assert {"error_code", "message"} == set(body)
    code: str = body["error_code"]
    return code


async def test_a_foreign_host_and_garbage_are_refused_in_mlflows_form(web_client: Client):
    for route in MLFLOW_ROUTES:
        path = concrete(route)
        response = await web_client.request(route.method, path, headers={"Host": "evil.example"})
        assert (response.status, await error_of(response)) == (421, "BAD_REQUEST"), route
        response = await web_client.request(
            route.method, path, data=b"\xc1garbage", headers={"Content-Type": "application/json"}
        )
        assert response.status < 500 or response.status == 501, route
        if response.status >= 400:
            await error_of(response)


def test_every_endpoint_stands_under_both_prefixes():
    paths = {(route.method, route.path) for route in MLFLOW_ROUTES}
    assert {
        (method, "/ajax-api" + path.removeprefix("/api"))
        for method, path in paths
        if path.startswith("/api/")
    } <= paths


@pytest.mark.parametrize(
    ("method", "path", "said"),
    [
        ("POST", "/api/2.0/mlflow/nonsense", "no endpoint"),
        ("GET", "/api/2.0/mlflow/runs/create", "no endpoint"),
        ("POST", "/ajax-api/2.0/mlflow/runs/create-promptlab-run", "no endpoint"),
        ("POST", "/api/3.0/mlflow/traces/search", "GenAI"),
        ("GET", "/ajax-api/3.0/mlflow/scorers/list", "GenAI"),
        ("POST", "/api/2.0/mlflow/gateway/endpoints", "GenAI"),
        ("POST", "/v1/traces", "GenAI"),
        ("POST", "/graphql", "GenAI"),
    ],
)
async def test_what_is_not_there_is_404_and_never_repeated(web_client: Client, method, path, said):
    response = await web_client.request(method, path, json={})
    assert response.status == 404
    body = await response.json()
    assert body["error_code"] == "ENDPOINT_NOT_FOUND"
    assert said in body["message"]


@pytest.mark.parametrize(
    ("content_type", "body", "message"),
    [
        ("text/plain", b"{}", "Bad Request. Content-Type must be one of ['application/json']."),
        ("application/json; charset=utf-8", b"{bad", "Missing value for required parameter 'name'."),
        ("application/json", b'"{\\"name\\": \\"\\"}"', "Missing value for required parameter 'name'."),
    ],
)
async def test_bodies_follow_mlflows_rules(web_client: Client, content_type, body, message):
    response = await web_client.post(
        "/api/2.0/mlflow/experiments/create", data=body, headers={"Content-Type": content_type}
    )
    assert response.status == 400
    assert message in (await response.json())["message"]


async def test_a_post_without_a_content_type_is_told_so(web_client: Client):
    response = await web_client.post("/api/2.0/mlflow/experiments/create", skip_auto_headers=["Content-Type"])
    assert "Content-Type header is missing" in (await response.json())["message"]


async def test_the_probes_answer_as_mlflows_client_expects(web_client: Client):
    assert await (await web_client.get("/health")).text() == "OK"
    assert await (await web_client.get("/version")).text() == "3.18.0"
    as_json = await (await web_client.get("/version", headers={"Accept": "application/json"})).json()
    assert as_json["service"] == "ingest"
    for prefix in ("/api", "/ajax-api"):
        info = await (await web_client.get(f"{prefix}/3.0/mlflow/server-info")).json()
        assert (info["store_type"], info["workspaces_enabled"]) == ("SqlStore", False)


async def test_writes_are_turned_away_while_the_service_drains(web_client: Client, services):
    services.lifecycle.is_draining = True
    response = await web_client.post("/api/2.0/mlflow/runs/create", json={})
    assert (response.status, await error_of(response)) == (503, "TEMPORARILY_UNAVAILABLE")
    assert response.headers["Retry-After"] == "1"
