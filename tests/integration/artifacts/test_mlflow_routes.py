"""MLflow's artifact endpoints by plain HTTP: the proxy by location, lists by run, errors in MLflow's words."""

from __future__ import annotations

import asyncio
import io
import os
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pytest
from aiohttp.test_utils import TestClient

from ingest.services import Services
from ingest.web.mlflow import artifacts as routes

Client = TestClient[Any, Any]

PROXY = "/api/2.0/mlflow-artifacts/artifacts"
MODEL = "m-" + "ab" * 16


async def call(client: Client, method: str, url: str, **options: Any) -> tuple[int, Any]:
    async with client.request(method, url, **options) as response:
        body = await response.read()
        if response.content_type == "application/json" and body:
            return response.status, await response.json()
        return response.status, body


@pytest.mark.parametrize("prefix", ["/api", "/ajax-api"])
async def test_a_file_goes_up_and_comes_down(web_client: Client, run_id: str, prefix: str):
    url = f"{prefix}/2.0/mlflow-artifacts/artifacts/0/{run_id}/artifacts/" + quote("d/ä b%.txt")
    content = os.urandom(2**21)
    assert await call(web_client, "PUT", url, data=io.BytesIO(content)) == (200, b"")
    async with web_client.get(url) as response:
        assert await response.read() == content
        assert response.headers["Content-Disposition"].startswith('attachment; filename="')
        assert response.content_type == "text/plain"
    assert (await call(web_client, "GET", url, headers={"Range": "bytes=1-3"})) == (206, content[1:4])
    assert await call(web_client, "DELETE", url) == (200, {})
    assert await call(web_client, "DELETE", url) == (200, {}), "what is not there is deleted already"
    status, error = await call(web_client, "GET", url)
    assert (status, error["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert error["message"].startswith("No such artifact: '0/")


async def test_lists_have_base_names_and_lists_of_runs_have_paths(web_client: Client, run_id: str):
    root = f"0/{run_id}/artifacts"
    for path in ("b.txt", "a/1", "a/2/x"):
        await call(web_client, "PUT", f"{PROXY}/{root}/{path}", data=b"12")

    assert await call(web_client, "GET", PROXY, params={"path": root}) == (
        200, {"files": [{"path": "a", "is_dir": True}, {"path": "b.txt", "is_dir": False, "file_size": 2}]},
    )  # fmt: skip
    assert await call(web_client, "GET", PROXY, params={"path": root + "/b.txt"}) == (200, {})
    for nowhere in ("", "0", "nothing", f"{root}/nothing", f"1/{run_id}/artifacts", ".uploads"):
        assert await call(web_client, "GET", PROXY, params={"path": nowhere}) == (200, {}), nowhere
    status, listed = await call(
        web_client, "GET", "/api/2.0/mlflow/artifacts/list", params={"run_id": run_id, "path": "a"}
    )
    assert (status, listed) == (
        200,
        {
            "root_uri": f"mlflow-artifacts:/{root}",
            "files": [{"path": "a/1", "is_dir": False, "file_size": 2}, {"path": "a/2", "is_dir": True}],
        },
    )
    assert (await call(web_client, "GET", "/get-artifact", params={"run_id": run_id, "path": "a/1"})) == (
        200,
        b"12",
    )


async def test_long_lists_are_whole(web_client: Client, run_id: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(routes, "MAX_LIST", 4)
    names = [f"{i:02}" for i in range(12)]
    for i, name in enumerate(names):
        await call(web_client, "PUT", f"{PROXY}/0/{run_id}/artifacts/{name}", data=b"1")
        if i in {3, 6, 7, 11}:
            listed = await call(web_client, "GET", PROXY, params={"path": f"0/{run_id}/artifacts"})
            assert [one["path"] for one in listed[1]["files"]] == names[: i + 1]
    found: list[str] = []
    token: str | None = ""
    while token is not None:
        query = {"run_id": run_id, "page_token": token}
        _, page = await call(web_client, "GET", "/ajax-api/2.0/mlflow/artifacts/list", params=query)
        found += [one["path"] for one in page["files"]]
        token = page.get("next_page_token")
    assert found == names


async def test_a_model_keeps_files_beside_its_run(web_client: Client):
    made = await call(
        web_client, "POST", "/api/2.0/mlflow/logged-models", json={"experiment_id": "0", "name": "m"}
    )
    model_id = made[1]["model"]["info"]["model_id"]
    url = f"{PROXY}/0/models/{model_id}/artifacts/MLmodel"
    for nobody in (f"{PROXY}/0/models/{MODEL}/artifacts/f", url.replace("/0/models", "/1/models")):
        assert (await call(web_client, "PUT", nobody, data=b"x"))[0] == 404
    assert (await call(web_client, "PUT", url, data=b"flavors: {}")) == (200, b"")
    assert await call(web_client, "GET", url) == (200, b"flavors: {}")


@pytest.mark.parametrize(
    "path",
    ["x", "0/x", "0/models/x/artifacts/f", ".uploads/x", "0/{run}/other/f", "0/{run}/artifacts", "0/{run}/artifacts/", "0/{run}/artifacts/d/"],
)  # fmt: skip
async def test_no_client_chooses_a_place(web_client: Client, run_id: str, path: str):
    status, error = await call(web_client, "PUT", f"{PROXY}/{path.format(run=run_id)}", data=b"x")
    assert (status, error["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert error["message"].startswith("Invalid path")


async def test_a_place_needs_its_run(web_client: Client, run_id: str):
    for place in (f"0/{'0' * 32}", f"1/{run_id}"):
        for method in ("PUT", "DELETE"):
            status, error = await call(web_client, method, f"{PROXY}/{place}/artifacts/f", data=b"x")
            assert (status, error["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
            assert "not found" in error["message"]


async def test_a_whole_experiment_is_not_deleted_by_its_path(web_client: Client, run_id: str):
    await call(web_client, "PUT", f"{PROXY}/0/{run_id}/artifacts/f", data=b"x")
    for path in ("0", f"0/{run_id}"):
        assert (await call(web_client, "DELETE", f"{PROXY}/{path}"))[0] == 400
    assert (await call(web_client, "GET", f"{PROXY}/0/{run_id}/artifacts/f"))[0] == 200
    assert (await call(web_client, "DELETE", f"{PROXY}/0/{run_id}/artifacts"))[0] == 200, "a run's own"
    assert (await call(web_client, "GET", f"{PROXY}/0/{run_id}/artifacts/f"))[0] == 404


@pytest.mark.parametrize(
    "path", ["../../x", "%2e%2e/x", "%252e%252e/x", "0/{run}/artifacts/..%2f..%2fx", "a%5cb", "%2fetc%2fpasswd", "x%00y", "C%3A/x", "a%2523b"]
)  # fmt: skip
async def test_unsafe_paths_are_refused_in_mlflows_words(web_client: Client, run_id: str, path: str):
    path = path.format(run=run_id)
    host = urlsplit(str(web_client.make_url("/"))).netloc
    for method in ("GET", "PUT", "DELETE"):
        reader, writer = await asyncio.open_connection(*host.split(":"))
        writer.write(
            f"{method} {PROXY}/{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx".encode()
        )
        answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 400 "), answer
        assert b'"message":"Invalid path' in answer
    for url in (PROXY, "/api/2.0/mlflow/artifacts/list", "/get-artifact"):
        query = {"run_id": run_id, "path": unquote(path)}
        status, error = await call(web_client, "GET", url, params=query)
        assert (status, error["message"][:12]) == (400, "Invalid path"), url


async def test_what_is_not_offered_says_so_in_the_words_that_the_client_knows(
    web_client: Client, run_id: str
):
    await call(web_client, "PUT", f"{PROXY}/0/{run_id}/artifacts/f", data=b"x")
    base = "/api/2.0/mlflow-artifacts"
    for what in ("create", "complete", "abort"):
        status, error = await call(
            web_client, "POST", f"{base}/mpu/{what}/0/{run_id}/artifacts", json={"path": "f"}
        )
        assert (status, error["error_code"]) == (501, "NOT_IMPLEMENTED")
        assert error["message"].startswith(
            "Multipart upload is not supported for the current artifact repository"
        )
    status, error = await call(web_client, "GET", f"{base}/presigned/0/{run_id}/artifacts/f")
    assert (status, error["error_code"]) == (501, "NOT_IMPLEMENTED")
    assert (await call(web_client, "GET", f"{base}/presigned/0/{run_id}/artifacts/no"))[0] == 404


async def test_the_user_interface_uploads_small_files(web_client: Client, run_id: str):
    url = "/ajax-api/2.0/mlflow/upload-artifact"

    async def message(data: bytes = b"x", **query: str) -> str:
        status, answer = await call(web_client, "POST", url, params=query, data=io.BytesIO(data))
        return answer["message"] if status == 400 else str(status)

    assert await message(run_uuid=run_id, path="d/f") == "200"
    assert (await call(web_client, "GET", f"{PROXY}/0/{run_id}/artifacts/d/f")) == (200, b"x")
    assert await message(path="f") == "Request must specify run_id or run_uuid."
    assert await message(run_uuid=run_id) == "Request must specify path."
    assert (
        await message(bytes(10 * 2**20 + 1), run_uuid=run_id, path="f")
        == "Artifact size is too large. Max size is 10MB."
    )
    status, answer = await call(web_client, "POST", url, params={"run_uuid": run_id, "path": "f"})
    assert (status, answer["message"]) == (400, "Request must specify data.")


async def test_nothing_is_taken_while_the_service_drains(web_client: Client, run_id: str, services: Services):
    services.lifecycle.is_draining = True
    for method, url in (
        ("PUT", f"{PROXY}/0/{run_id}/artifacts/f"),
        ("DELETE", f"{PROXY}/0/{run_id}/artifacts/f"),
    ):
        status, error = await call(web_client, method, url, data=b"x")
        assert (status, error["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
