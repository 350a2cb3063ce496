"""Where artifacts go, by the settings: roots that work, roots that can't, and what MLflow's clients are told."""

from __future__ import annotations

import asyncio
import io
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from ingest.artifacts.errors import StoreMisconfigured
from ingest.artifacts.object_options import read_root
from ingest.artifacts.opening import open_store
from ingest.services import open_services
from ingest.settings import Settings
from ingest.web.app import create_app
from tests.conftest import StartService
from tests.integration.artifacts.conftest import root_on
from tests.integration.artifacts.emulators import Server

pytestmark = pytest.mark.timeout(600)  # the first time, the emulators are installed


@pytest.mark.parametrize(
    ("root", "options", "says"),
    [
        ("ftp://host/dir", {}, "ftp:// is no kind of store"), ("s3://", {}, "s3://BUCKET/PREFIX"), ("s3://key:secret@bucket", {}, "s3://BUCKET/PREFIX"),
        ("s3://bucket/../x", {}, "artifact_root"), ("s3://b", {"nonsense": "1"}, "nonsense"), ("file://host/x", {}, "file:///directory"),
        ("sftp://host", {}, "sftp://USER@HOST:PORT/DIRECTORY"), ("sftp://u:secret@host/d", {}, "password belongs into artifact_options"),
        ("sftp://host/d", {"strict": "no"}, "sftp has no strict"), ("/proc/nothing", {}, "no files can be written in /proc/nothing"),
    ],
)  # fmt: skip
def test_a_root_that_can_not_work_is_refused_at_the_start(root: str, options: dict[str, str], says: str):
    with pytest.raises(StoreMisconfigured) as caught:
        open_store(root, options)
    assert says in str(caught.value)
    assert "secret" not in str(caught.value).replace("secret_access_key", "")


def test_the_service_says_so_and_does_not_start(
    start_service: StartService, database_url: str, scratch: Path
):
    for arguments, says in (
        (("--artifact-root", "ftp://x/y"), "is no kind of store"),
        (("--artifact-mode", "direct"), "artifact_mode: direct works only where"),
        (("--artifact-root", "/proc/x"), "no files can be written"),
    ):
        service = start_service("--database-url", database_url, *arguments, wait=False)
        assert service.process.wait(60) == 1
        assert says in service.output()
        assert "Traceback" not in service.output()


@pytest.mark.parametrize(
    ("url", "options", "environment", "expected"),
    [
        ("s3://b/p/q/", {}, {}, "s3://b/p/q"), ("s3a://b", {}, {}, "s3://b"), ("gs://b/p", {}, {}, "gs://b/p"),
        ("az://c/p", {}, {"AZURE_STORAGE_ACCOUNT_NAME": "acc"}, "wasbs://c@acc.blob.core.windows.net/p"), ("az://c", {}, {}, None),
        ("az://c", {"account_name": "acc"}, {}, "wasbs://c@acc.blob.core.windows.net"),
    ],
)  # fmt: skip
def test_how_clients_name_a_root(
    url: str, options: dict[str, str], environment: dict[str, str], expected: str | None
):
    assert read_root(url, options, environment).client_uri == expected


def test_plain_http_is_allowed_by_naming_it():
    by_option = read_root("s3://b", {"endpoint": "http://minio:9000"}, {})
    by_variable = read_root("s3://b", {}, {"AWS_ENDPOINT_URL": "http://minio:9000"})
    assert by_option.client_options["allow_http"] is True
    assert by_variable.client_options["allow_http"] is True
    assert "allow_http" not in read_root("s3://b", {"endpoint": "https://minio"}, {}).client_options
    assert "secret" not in repr(read_root("s3://b", {"secret_access_key": "secret"}, {}))


async def test_in_direct_mode_clients_are_told_the_store(
    store_server: Callable[[str], Server], database_url: str, scratch: Path
):
    server = store_server("s3")
    root = root_on("s3", server, scratch)
    settings = Settings(
        database_url=database_url,
        data_dir=scratch,
        artifact_root=root,
        artifact_options=server.options,
        artifact_mode="direct",
    )
    async with (
        open_services(settings, database_url) as services,
        TestClient(TestServer(create_app(services))) as client,
    ):

        async def call(method: str, path: str, **options: Any) -> Any:
            async with client.request(method, path, **options) as response:
                assert response.status == 200, await response.text()
                return await response.json()

        mlflow = "/api/2.0/mlflow"
        found = await call("GET", f"{mlflow}/experiments/get", params={"experiment_id": "0"})
        assert found["experiment"]["artifact_location"] == f"{root}/0"
        run = (await call("POST", f"{mlflow}/runs/create", json={}))["run"]["info"]
        assert run["artifact_uri"] == f"{root}/0/{run['run_id']}/artifacts"
        search = {"experiment_ids": ["0"], "filter": f"attributes.artifact_uri LIKE '{root}%'"}
        assert len((await call("POST", f"{mlflow}/runs/search", json=search))["runs"]) == 1
        search["filter"] = "attributes.artifact_uri LIKE 'mlflow-artifacts:%'"
        assert "runs" not in await call("POST", f"{mlflow}/runs/search", json=search)

        # A client with credentials of its own writes there, and the service finds it.
        key = f"{server.url}/{run['artifact_uri'].removeprefix('s3://')}/by-client"
        put = urllib.request.Request(
            key, data=b"direct", method="PUT", headers={"Content-Type": "text/plain"}
        )
        with await asyncio.to_thread(urllib.request.urlopen, put, timeout=10) as response:
            assert response.status == 200
        async with client.get(f"/api/v1/runs/{run['run_id']}/artifacts/by-client") as response:
            assert await response.read() == b"direct"
        listed = await call("GET", f"{mlflow}/artifacts/list", params={"run_id": run["run_id"]})
        assert listed["root_uri"] == run["artifact_uri"]
        assert [one["path"] for one in listed["files"]] == ["by-client"]
        place = run["artifact_uri"].removeprefix(root + "/")
        signed = await call("GET", f"/api/2.0/mlflow-artifacts/presigned/{place}/by-client")
        with await asyncio.to_thread(urllib.request.urlopen, signed["url"], timeout=10) as response:
            assert response.read() == b"direct"


async def test_the_api_over_an_object_store(
    store_server: Callable[[str], Server], database_url: str, scratch: Path
):
    server = store_server("s3")
    settings = Settings(
        database_url=database_url,
        data_dir=scratch,
        artifact_root=root_on("s3", server, scratch),
        artifact_options=server.options,
    )
    async with (
        open_services(settings, database_url) as services,
        TestClient(TestServer(create_app(services))) as client,
    ):
        async with client.post("/api/2.0/mlflow/runs/create", json={}) as response:
            run = (await response.json())["run"]["info"]
        assert run["artifact_uri"].startswith("mlflow-artifacts:/0/")
        url = f"/api/v1/runs/{run['run_id']}/artifacts/d/f"
        async with client.put(url, data=io.BytesIO(bytes(20 * 2**20))) as response:
            assert response.status == 200
        async with client.get(url, headers={"Range": "bytes=10000000-10000009"}) as response:
            assert (response.status, await response.read()) == (206, bytes(10))
            etag = response.headers["ETag"]
        async with client.get(url, headers={"If-None-Match": etag}) as response:
            assert response.status == 304
        async with client.delete(url) as response:
            assert (await response.json())["deleted"] == 1
