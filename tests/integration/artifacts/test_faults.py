"""Things break in the middle of a file: the client, the service, the store, the disk. Nothing half-written is ever seen."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import os
import resource
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

from ingest.artifacts.errors import ArtifactError, StoreUnavailable
from ingest.artifacts.library import Artifacts
from ingest.artifacts.opening import open_store
from ingest.services import open_services
from ingest.settings import Settings
from ingest.web.app import create_app
from tests.conftest import ServiceProcess, StartService
from tests.integration.artifacts.conftest import SERVERS, root_on
from tests.integration.artifacts.emulators import Server

pytestmark = pytest.mark.timeout(600)  # the first time, the emulators are installed

WaitFor = Callable[..., Awaitable[Any]]

MIB = 1024 * 1024


def call(url: str, method: str = "GET", body: Any = None) -> tuple[int, Any]:
    """Status and answer, read as JSON if it is some."""
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    headers = {
        "Content-Type": "application/json" if not isinstance(body, bytes) else "application/octet-stream"
    }
    request = urllib.request.Request(url, data=data, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            content, status = response.read(), response.status
    except urllib.error.HTTPError as error:
        with error:
            content, status = error.read(), error.code
    try:
        return status, json.loads(content)
    except ValueError:
        return status, content


def new_run(service: ServiceProcess) -> str:
    run_id: str = call(f"{service.url}/api/2.0/mlflow/runs/create", "POST", {})[1]["run"]["info"]["run_id"]
    return run_id


def half_an_upload(service: ServiceProcess, run_id: str, path: str, whole: int, sent: int) -> socket.socket:
    """A connection that has sent a part of a file and is silent now."""
    host = urlsplit(service.url).netloc
    connection = socket.create_connection(host.split(":"))  # type: ignore[arg-type]  # host and port
    head = f"PUT /api/v1/runs/{run_id}/artifacts/{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {whole}\r\n\r\n"
    connection.sendall(head.encode() + bytes(sent))
    return connection


def scratch_files(root: Path) -> list[Path]:
    """Those with something in them; they come and go."""
    found = []
    for path in (root / ".uploads").glob("tmp-*"):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > 0:
                found.append(path)
    return found


async def test_a_service_killed_in_the_middle_of_a_file_shows_nothing_of_it(
    start_service: StartService, database_url: str, scratch: Path, wait_for: WaitFor
):
    arguments = ("--database-url", database_url, "--artifact-root", str(scratch / "files"))
    service = start_service(*arguments)
    run_id = new_run(service)
    url = f"{service.url}/api/v1/runs/{run_id}/artifacts"
    assert call(f"{url}/f", "PUT", b"old")[0] == 200
    with (
        half_an_upload(service, run_id, "f", 40 * MIB, 20 * MIB),
        half_an_upload(service, run_id, "g", 9 * MIB, 8 * MIB),
    ):
        await wait_for(lambda: len(scratch_files(scratch / "files")) == 2)
        service.kill()

    service = start_service(*arguments)
    url = f"{service.url}/api/v1/runs/{run_id}/artifacts"
    assert [one["path"] for one in call(url)[1]["files"]] == ["f"]
    assert call(f"{url}/f") == (200, b"old")
    left = scratch_files(scratch / "files")
    assert len(left) == 2, "they may belong to another process, for all this one knows"
    for path in left:
        os.utime(path, (1, 1))
    service.stop()
    start_service(*arguments)
    await wait_for(lambda: not scratch_files(scratch / "files"))


def test_an_upload_in_parts_survives_the_kill(start_service: StartService, database_url: str, scratch: Path):
    arguments = ("--database-url", database_url, "--artifact-root", str(scratch / "files"))
    service = start_service(*arguments)
    run_id = new_run(service)
    content = os.urandom(40 * MIB)
    said = {"path": "big", "size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    begun = call(f"{service.url}/api/v1/runs/{run_id}/uploads", "POST", said)[1]
    size = begun["part_bytes"]
    upload = f"/api/v1/runs/{run_id}/uploads/{begun['upload_id']}"
    assert call(f"{service.url}{upload}/1", "PUT", content[size : 2 * size])[0] == 200
    service.kill()

    service = start_service(*arguments)
    again = call(f"{service.url}/api/v1/runs/{run_id}/uploads", "POST", said)[1]
    assert again == {**begun, "received": [1]}
    for number in (0, 2):
        part = content[number * size : (number + 1) * size]
        assert call(f"{service.url}{upload}/{number}", "PUT", part)[0] == 200
    assert call(f"{service.url}{upload}/complete", "POST") == (200, said)
    assert call(f"{service.url}/api/v1/runs/{run_id}/artifacts/big") == (200, content)


async def test_a_full_disk_is_said_and_leaves_nothing(
    start_service: StartService, database_url: str, scratch: Path, wait_for: WaitFor
):
    """The limit is on the size of a file, which fails the same system call with the same consequences."""
    service = start_service("--database-url", database_url, "--artifact-root", str(scratch / "files"))
    run_id = new_run(service)
    url = f"{service.url}/api/v1/runs/{run_id}/artifacts"
    resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (8 * MIB, 8 * MIB))

    status, problem = await asyncio.to_thread(call, f"{url}/large", "PUT", bytes(12 * MIB))
    assert (status, problem["code"]) == (507, "store_full")
    assert "nothing of this file was kept" in problem["detail"]
    proxy = f"{service.url}/api/2.0/mlflow-artifacts/artifacts/0/{run_id}/artifacts/large"
    status, error = await asyncio.to_thread(call, proxy, "PUT", bytes(12 * MIB))
    assert (status, error["error_code"]) == (507, "INTERNAL_ERROR")
    assert call(url)[1]["files"] == []
    await wait_for(lambda: not list((scratch / "files" / ".uploads").iterdir()))
    assert call(f"{url}/small", "PUT", bytes(4 * MIB))[0] == 200, "what fits is taken"


async def test_a_service_that_is_told_to_stop_finishes_the_file(
    start_service: StartService, database_url: str, scratch: Path, wait_for: WaitFor
):
    service = start_service("--database-url", database_url, "--artifact-root", str(scratch / "files"))
    run_id = new_run(service)
    with half_an_upload(service, run_id, "f", 20 * MIB, 10 * MIB) as connection:
        await wait_for(lambda: scratch_files(scratch / "files"))
        service.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.5)
        connection.sendall(bytes(10 * MIB))
        answer = await asyncio.to_thread(connection.recv, 100)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert service.process.wait(60) == 0
    assert (scratch / "files" / "0" / run_id / "artifacts" / "f").stat().st_size == 20 * MIB


# --- the store goes away ----------------------------------------------------------------------------------------------


@pytest.fixture(params=["s3", "azure", "sftp"])
def mortal(request: pytest.FixtureRequest, scratch: Path) -> Iterator[tuple[Server, str]]:
    """A server of one kind, to be killed, and a root on it."""
    kind: str = request.param
    server = SERVERS[kind](scratch)
    yield server, root_on(kind, server, scratch)
    server.kill()


async def test_a_store_that_dies_while_it_is_written_to(
    mortal: tuple[Server, str], monkeypatch: pytest.MonkeyPatch
):
    server, root = mortal
    store = open_store(root, server.options)
    artifacts = Artifacts(store, transfers_num=4)
    path = f"1/{'0' * 32}/artifacts/f"

    async def content(kill_after: int) -> AsyncIterator[bytes]:
        for i in range(60):
            if i == kill_after:
                server.kill()
            yield bytes(MIB)

    started = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await artifacts.receive(path, content(30))
    assert time.monotonic() - started < 90, "every wait ends"
    with pytest.raises(StoreUnavailable):
        await store.find(path)
    if "sftp" in root:  # its files are still there; the others kept theirs in memory
        server.start()
        assert await store.find(path) is None
        await artifacts.receive(path, content(-1))
        found = await store.find(path)
        assert found is not None
        assert found.size_bytes == 60 * MIB
        assert await store.sweep(older_than=-60) == 1, "what the dead server could not be told to remove"
    await store.close()


async def test_a_store_that_dies_while_it_is_read_breaks_the_connection(
    mortal: tuple[Server, str], database_url: str, scratch: Path
):
    """The client must not take the first half for the whole."""
    server, root = mortal
    settings = Settings(
        database_url=database_url,
        data_dir=scratch / "data",
        artifact_root=root,
        artifact_options=server.options,
    )
    async with (
        open_services(settings, database_url) as services,
        TestClient(TestServer(create_app(services))) as client,
    ):
        async with client.post("/api/2.0/mlflow/runs/create", json={}) as response:
            run_id = (await response.json())["run"]["info"]["run_id"]
        url = f"/api/v1/runs/{run_id}/artifacts"
        body = io.BytesIO(bytes(60 * MIB))
        async with client.put(f"{url}/f", data=body) as response:
            assert response.status == 200
        async with client.get(f"{url}/f") as response:
            assert response.status == 200
            await response.content.readexactly(2 * MIB)
            server.kill()
            with pytest.raises(aiohttp.ClientError):
                await response.read()
        for method, path in (("GET", f"{url}/f"), ("PUT", f"{url}/g"), ("GET", url)):
            async with client.request(method, path, data=b"x" if method == "PUT" else None) as response:
                assert (response.status, (await response.json())["code"]) == (503, "store_unavailable")
                assert response.headers["Retry-After"]
        async with client.get("/readyz") as response:
            assert response.status == 200, "metrics are taken without it"


async def test_a_store_that_is_not_there_at_the_start_holds_nothing_up(database_url: str, scratch: Path):
    options = {
        "endpoint": "http://127.0.0.1:9",
        "access_key_id": "a",
        "secret_access_key": "b",
        "region": "us-east-1",
    }
    settings = Settings(
        database_url=database_url, data_dir=scratch, artifact_root="s3://b/p", artifact_options=options
    )
    started = time.monotonic()
    async with open_services(settings, database_url) as services:
        assert time.monotonic() - started < 20
        with pytest.raises(ArtifactError):
            await services.artifacts.store.find("x")


# --- too much at once -------------------------------------------------------------------------------------------------


async def test_more_transfers_than_places_wait_and_are_then_told_to_come_again(
    services, web_client, run_id, wait_for
):
    from ingest.artifacts.library import Transfers

    services.artifacts.uploading = Transfers(1, patience=0.2)
    gate = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"x"
        await gate.wait()

    url = f"/api/v1/runs/{run_id}/artifacts"
    first = asyncio.create_task(web_client.put(f"{url}/slow", data=slow()))
    await wait_for(services.artifacts.uploading._places.locked)
    async with web_client.put(f"{url}/f", data=b"x") as response:
        assert (response.status, (await response.json())["code"]) == (429, "too_many_transfers")
        assert response.headers["Retry-After"]
    gate.set()
    assert (await first).status == 200
    async with web_client.put(f"{url}/f", data=b"x") as response:
        assert response.status == 200
