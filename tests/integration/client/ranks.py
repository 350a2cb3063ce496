"""What tests of several ranks share: their environment, and a look into the database."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tests.conftest import ServiceProcess, run_apart


def ask(database_url: str, sql: str) -> list[tuple[Any, ...]]:
    from ingest.store.connect import connect

    async def query() -> list[tuple[Any, ...]]:
        async with connect(database_url, purpose="test") as connection:
            await connection.execute("SET search_path = ingest")
            return [tuple(row) for row in await connection.fetch(sql)]

    return run_apart(query)


def environment(service: ServiceProcess, spool: Path, **variables: str) -> dict[str, str]:
    """Of a rank; its end waits for a service that is busy, since the tests look at once."""
    env = {
        "INGEST_TRACKING_URI": service.url,
        "INGEST_SPOOL_DIR": str(spool),
        "INGEST_SHUTDOWN_TIMEOUT": "60",
    }
    return {**os.environ, **env, **variables}
