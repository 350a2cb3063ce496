"""Series in a real database: written as the service writes them, compacted as it compacts."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from ingest.settings import Settings
from ingest.store.charts import Charts
from ingest.store.commit import commit_batches
from ingest.store.compaction import Compaction, Merged
from ingest.store.connections import connect_writer
from ingest.web.chart_worker import create_chart_app
from ingest_schema import Batch, Event

Point = tuple[int, int, float]
FIRST = (uuid.UUID(int=0), "")


@dataclass
class Store:
    """Writes batches of points, one writer at a time, and compacts."""

    url: str
    connection: Any
    seqs: dict[uuid.UUID, int] = field(default_factory=dict)

    async def log(
        self,
        run_id: uuid.UUID,
        *points: Point,
        key: str = "loss",
        writer: int = 1,
        rank: int = 0,
        resume: int | None = None,
    ) -> None:
        """One batch; a writer's first begins with its start."""
        writer_id = uuid.UUID(int=writer + run_id.int)
        seq = self.seqs[writer_id] = self.seqs.get(writer_id, 0) + 1
        events: list[Event] = []
        if seq == 1:
            start = {"experiment": "charts", "name": "r", "start_time_ms": 1_000 * writer}
            start |= {"resume_from_step": resume} if resume is not None else {}
            events = [
                Event("run_start", 0, start),
                Event("writer", 0, {"rank": rank, "host": "h", "pid": 1, "client": "ingest/0"}),
            ]
        named = [(key, *point) for point in points]
        await commit_batches(self.connection, [Batch.of_points(run_id, writer_id, seq, named, events=events)])

    async def end(self, run_id: uuid.UUID, *, writer: int = 1) -> None:
        writer_id = uuid.UUID(int=writer + run_id.int)
        self.seqs[writer_id] += 1
        event = Event("run_end", 0, {"status": "FINISHED", "end_time_ms": 10**15})
        await commit_batches(
            self.connection, [Batch.of_points(run_id, writer_id, self.seqs[writer_id], [], events=[event])]
        )

    async def compact(self) -> list[Merged]:
        """Everything that is worth it."""
        async with Compaction.open(self.url) as compaction:
            assert compaction is not None
            found, after = await compaction.waiting(FIRST)
            assert after is None
            return [merged for series in found async for merged in compaction.compact(series)]

    async def rows(self, run_id: uuid.UUID, key: str = "loss") -> Sequence[Any]:
        """The points as SQL shows them."""
        sql = "SELECT step, time_ms, value, rank, attempt FROM metrics WHERE run_id = $1 AND key = $2"
        rows: Sequence[Any] = await self.connection.fetch(sql, run_id, key)
        return rows


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    connection = await connect_writer(database_url)
    yield Store(database_url, connection)
    await connection.close()


@pytest.fixture
async def charts(database_url: str) -> AsyncIterator[Charts]:
    async with Charts.open(database_url, connections=2, timeout=30) as opened:
        yield opened


@pytest.fixture
async def chart_client(charts: Charts) -> AsyncIterator[TestClient[Any, Any]]:
    """An HTTP client of what the chart process answers, in the test's own process: quick, and without the edge."""
    async with TestClient(TestServer(create_chart_app(charts, Settings()))) as client:
        yield client


@pytest.fixture
def run_id() -> uuid.UUID:
    return uuid.uuid4()
