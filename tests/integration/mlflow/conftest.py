"""Small clients of MLflow's REST API: in the test's own loop on a database of its own, and by plain HTTP to a service that the
tests of a module share."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
from aiohttp.test_utils import TestClient

from tests.conftest import migrated_database, serving


class Rest:
    """Calls endpoints; what is not 200 is returned as its error code and message."""

    def __init__(self, client: TestClient[Any, Any]) -> None:
        self.client = client

    async def call(self, method: str, path: str, **options: Any) -> Any:
        async with self.client.request(method, f"/api/2.0/mlflow/{path}", **options) as response:
            body = orjson.loads(await response.read())
            return body if response.status == 200 else (response.status, body["error_code"], body["message"])

    async def post(self, path: str, **body: Any) -> Any:
        return await self.call("POST", path, json=body)

    async def get(self, path: str, **query: Any) -> Any:
        return await self.call("GET", path, params=query)

    async def new_run(self, **more: Any) -> str:
        run_id: str = (await self.post("runs/create", **more))["run"]["info"]["run_id"]
        return run_id


@pytest.fixture
def rest(web_client: TestClient[Any, Any]) -> Rest:
    return Rest(web_client)


@dataclass(frozen=True)
class Answered:
    """One answer as it came."""

    status: int
    headers: http.client.HTTPMessage
    content: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.content)


class Api:
    """MLflow's REST API of a service process, by plain HTTP, for tables that share the service: no request takes long."""

    def __init__(self, url: str) -> None:
        self._host = url.removeprefix("http://")

    def send(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answered:
        """path: whole, or below /api/2.0/mlflow/."""
        sent = dict(headers or {})
        if json is not None:
            body, sent["Content-Type"] = orjson.dumps(json), "application/json"
        target = path if path.startswith("/") else f"/api/2.0/mlflow/{path}"
        with contextlib.closing(http.client.HTTPConnection(self._host, timeout=60)) as connection:
            connection.request(method, target, body=body, headers=sent)
            response = connection.getresponse()
            return Answered(response.status, response.headers, response.read())

    def post(self, path: str, /, **fields: Any) -> Any:
        return self._told(self.send("POST", path, json=fields))

    def get(self, path: str, /, **query: Any) -> Any:
        return self._told(self.send("GET", f"{path}?{urlencode(query, doseq=True)}"))

    def new_run(self, **more: Any) -> str:
        run_id: str = self.post("runs/create", **more)["run"]["info"]["run_id"]
        return run_id

    @staticmethod
    def _told(answer: Answered) -> Any:
        """The object of a 200; of anything else status, code and message."""
        found = answer.json
        return found if answer.status == 200 else (answer.status, found["error_code"], found["message"])


@pytest.fixture(scope="module")
def api(bundled_postgres: str, _template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """One `ingest serve` for the whole module: its tests keep out of each other's way by names of their own."""
    home = tmp_path_factory.mktemp("service")
    with migrated_database(bundled_postgres, _template) as database, serving(database, home) as url:
        yield Api(url)
