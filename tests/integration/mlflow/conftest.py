"""A small client of MLflow's REST API, in the test's own loop."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from aiohttp.test_utils import TestClient


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
