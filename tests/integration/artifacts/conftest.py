"""A run to keep files, and the HTTP client to move them."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from aiohttp.test_utils import TestClient

from ingest.services import Services

Client = TestClient[Any, Any]


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
