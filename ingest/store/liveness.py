"""Dead writers: a run whose writers all fell silent is LOST, with the time it was last heard of; late data revives it.

By the service's clock, since clients' clocks may be wrong. Nothing of this is in the write path: batches move
`writers.heartbeat_at` anyway, and this looks at it every few seconds. A run that ends in between keeps the status of its end.
"""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from ingest_schema.sql import load_queries

__all__ = ["look_for_silence"]

_SQL: Final = load_queries("liveness")
MAX_RUNS: Final = 1_000
"""Runs that one look changes."""


async def look_for_silence(connection: Any, lost_after: float) -> tuple[list[UUID], list[UUID]]:
    """Mark and revive; returns the runs that are lost now, and those that are back.

    Args:
        lost_after: Seconds of silence.
    """
    async with connection.transaction():
        back = await connection.fetch(_SQL["revive"], lost_after, MAX_RUNS)
        lost = await connection.fetch(_SQL["mark_lost"], lost_after, MAX_RUNS)
        if changed := [row["run_id"] for row in (*back, *lost)]:
            await connection.execute(_SQL["unseal"], changed)
    return [row["run_id"] for row in lost if row["status"] == "LOST"], [row["run_id"] for row in back]
