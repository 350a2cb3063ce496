"""A run to keep files, the HTTP client to move them, and every kind of store, each with a root of its own."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from aiohttp.test_utils import TestClient

from ingest.artifacts.library import Artifacts
from ingest.artifacts.opening import open_store
from ingest.artifacts.store import Store
from ingest.services import Services
from tests.integration.artifacts import emulators
from tests.integration.artifacts.emulators import BUCKET, Server

Client = TestClient[Any, Any]

KINDS = ("local", "s3", "gcs", "azure", "sftp")
SERVERS: dict[str, Callable[[Path], Server]] = {
    "s3": emulators.s3_server,
    "gcs": emulators.gcs_server,
    "azure": emulators.azure_server,
    "sftp": emulators.sftp_server,
}
SCHEMES = {"s3": "s3", "gcs": "gs", "azure": "az"}


@pytest.fixture
async def run_id(web_client: Client) -> str:
    """A run of experiment 0."""
    async with web_client.post("/api/2.0/mlflow/runs/create", json={}) as response:
        found: str = (await response.json())["run"]["info"]["run_id"]
        return found


@pytest.fixture
def run_directory(services: Services, run_id: str) -> Path:
    """Where that run's files lie on the disk."""
    return Path(services.settings.artifact_location) / "0" / UUID(run_id).hex / "artifacts"


@pytest.fixture(scope="session")
def store_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Server]]:
    """A function from a kind to its server, started when it is first asked for."""
    running: dict[str, Server] = {}
    directory = tmp_path_factory.mktemp("stores")

    def server_of(kind: str) -> Server:
        if kind not in running:
            running[kind] = SERVERS[kind](directory)
        return running[kind]

    yield server_of
    for server in running.values():
        server.kill()


def root_on(kind: str, server: Server, directory: Path) -> str:
    """A root of its own on a server."""
    if kind == "sftp":
        import getpass

        return f"sftp://{getpass.getuser()}@127.0.0.1:{server.port}{directory}/artifacts"
    return f"{SCHEMES[kind]}://{BUCKET}/{uuid.uuid4().hex}/root"


class Place:
    """Where a store of some kind is; it may be opened more than once, as several processes do."""

    def __init__(self, kind: str, server: Server | None, root: str, directory: Path) -> None:
        self.kind = kind
        self.server = server
        self.root = root
        self.directory = directory

    @property
    def options(self) -> dict[str, str]:
        return self.server.options if self.server is not None else {}

    def open(self) -> Store:
        return open_store(self.root, self.options)

    def unfinished(self) -> int:
        """Files that were begun and given up, and still take room; -1 where nobody can say."""
        if self.kind in {"local", "sftp"}:
            work = self.directory / "artifacts" / ".uploads"
            return len(list(work.glob("tmp-*"))) if work.exists() else 0
        if self.kind in {"s3", "gcs"}:
            assert self.server is not None
            return emulators.s3_unfinished(self.server)
        return -1


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, store_server: Callable[[str], Server], scratch: Path) -> Place:
    """Every kind of store in turn."""
    kind: str = request.param
    if kind == "local":
        return Place(kind, None, str(scratch / "artifacts"), scratch)
    server = store_server(kind)
    return Place(kind, server, root_on(kind, server, scratch), scratch)


@pytest.fixture
async def store(place: Place) -> AsyncIterator[Store]:
    opened = place.open()
    yield opened
    await opened.close()


@pytest.fixture
async def artifacts(store: Store) -> Artifacts:
    return Artifacts(store, transfers_num=8)
