"""Runs at rest are sealed, whoever touches one breaks its seal, and no search ever sees the difference."""

from __future__ import annotations

import asyncio
import random
import struct
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from ingest.store.commit import commit_batches
from ingest.store.connections import connect_writer
from ingest.store.sealing import Sealing, seal_some
from ingest.store.search import RunQuery, search_runs
from ingest_schema.events import Event
from ingest_schema.ids import new_id
from ingest_schema.wire import Batch

AT_ONCE = Sealing(quiet=-1, patience=-1, min_runs=1)
"""Quiet since a second from now: a run that was heard of this instant is at rest."""


class Writer:
    """A writer of one run: each call makes its next batch."""

    def __init__(self, run_id: UUID | None = None) -> None:
        self.run_id = run_id or new_id()
        self.writer_id = new_id()
        self.seq = 0

    def batch(self, *events: Event, value: float | None = None, step: int = 0) -> Batch:
        self.seq += 1
        n = 0 if value is None else 1
        return Batch(
            run_id=self.run_id, writer_id=self.writer_id, seq=self.seq, sent_ms=1, events=list(events),
            keys=["m"] * n, counts=struct.pack("<I", 1) * n, steps=struct.pack("<q", step) * n, times_ms=struct.pack("<q", 1) * n,
            values=struct.pack("<d", value or 0.0) * n,
        )  # fmt: skip

    def start(self, value: float = 1.0) -> Batch:
        return self.batch(
            Event("run_start", 1, {"experiment": "e", "name": "r", "start_time_ms": 1}), value=value
        )

    def end(self, time_ms: int = 2) -> Batch:
        return self.batch(Event("run_end", time_ms, {"status": "FINISHED", "end_time_ms": time_ms}))


@pytest.fixture
async def lane(database_url: str) -> Any:
    connection = await connect_writer(database_url)
    yield connection
    await connection.close()


async def found(connection: Any, text: str) -> list[UUID]:
    return (await search_runs(connection, RunQuery(filter=text), limit=100)).run_ids


async def sealed(connection: Any) -> int:
    return int(await connection.fetchval("SELECT count(*) FROM runs WHERE segment_id IS NOT NULL"))


async def ended_run(lane: Any) -> Writer:
    writer = Writer()
    await commit_batches(lane, [writer.start()])
    await commit_batches(lane, [writer.end()])
    return writer


async def test_a_run_at_rest_is_sealed_and_found(lane: Any) -> None:
    writer = await ended_run(lane)

    assert await seal_some(lane, AT_ONCE) == 1
    assert await sealed(lane) == 1
    assert await found(lane, "metrics.m = 1") == [writer.run_id]
    assert await seal_some(lane, AT_ONCE) == 0


async def test_a_running_run_is_not_sealed(lane: Any) -> None:
    await commit_batches(lane, [Writer().start()])

    assert await seal_some(lane, AT_ONCE) == 0


@pytest.mark.parametrize("again", [1, 2, 3])
async def test_points_of_a_sealed_run_break_its_seal(lane: Any, again: int) -> None:
    """Late data of a known writer moves no row of runs: the writer's own row has to tell."""
    writer = await ended_run(lane)
    for value in range(2, 2 + again):
        assert await seal_some(lane, AT_ONCE) == 1
        await commit_batches(lane, [writer.batch(value=float(value), step=value)])

        assert await found(lane, f"metrics.m = {value}") == [writer.run_id]
        assert await found(lane, "metrics.m = 1") == []
        assert await sealed(lane) == 0


async def test_a_tag_or_a_new_writer_breaks_the_seal(lane: Any) -> None:
    writer = await ended_run(lane)
    await seal_some(lane, AT_ONCE)
    await commit_batches(lane, [writer.batch(Event("tags", 3, {"t": "x"}))])
    assert await found(lane, "tags.t = 'x'") == [writer.run_id]

    await seal_some(lane, AT_ONCE)
    await commit_batches(lane, [Writer(writer.run_id).start(value=9.0)])
    assert await sealed(lane) == 0


async def test_small_segments_grow_together(lane: Any) -> None:
    """Otherwise a search over experiments that grow run by run would read a segment a run."""
    for _ in range(12):
        await ended_run(lane)
        assert await seal_some(lane, AT_ONCE) == 1

    assert await lane.fetchval("SELECT sum(runs) FROM search_segments") == 12
    assert await lane.fetchval("SELECT count(*) FROM search_segments") <= 4
    assert len(await found(lane, "")) == len(set(await found(lane, "metrics.m = 1"))) == 12


async def test_the_places_of_broken_seals_vanish_when_segments_merge(lane: Any) -> None:
    writers = [await ended_run(lane) for _ in range(4)]
    await seal_some(lane, AT_ONCE)
    await commit_batches(lane, [writers[0].batch(value=5.0, step=5)])
    await seal_some(lane, AT_ONCE)

    assert await lane.fetchval("SELECT sum(cardinality(run_id)) FROM search_segments") in {4, 5}
    assert sorted(await found(lane, "")) == sorted(writer.run_id for writer in writers)
    assert await found(lane, "metrics.m > 4") == [writers[0].run_id]


async def test_sealing_never_waits_for_a_writer(lane: Any, database_url: str) -> None:
    """A writer in the middle of its transaction keeps its run open."""
    writer = await ended_run(lane)
    other = await asyncpg.connect(database_url, server_settings={"search_path": "ingest"})
    try:
        async with other.transaction():
            await other.execute("UPDATE writers SET points = points WHERE writer_id = $1", writer.writer_id)
            assert await asyncio.wait_for(seal_some(lane, AT_ONCE), 60) == 0
        assert await seal_some(lane, AT_ONCE) == 1
    finally:
        await other.close()


async def test_searches_agree_with_series_while_writers_and_the_sealer_race(database_url: str) -> None:
    """Twelve runs get late points in random order while everything is sealed as fast as it can be."""
    draw = random.Random(7)
    lanes = [await connect_writer(database_url) for _ in range(3)]
    sealer = await asyncpg.connect(database_url, server_settings={"search_path": "ingest"})
    groups = [[await ended_run(lane) for _ in range(4)] for lane in lanes]
    done = asyncio.Event()

    async def write(lane: Any, writers: list[Writer]) -> None:
        for step in range(60):
            writer = draw.choice(writers)
            if draw.random() < 0.2:  # a new process logs to the run, and ends it
                late = Writer(writer.run_id)
                await commit_batches(lane, [late.start(value=float(step))])
                await commit_batches(lane, [late.end(time_ms=step + 3)])
            await commit_batches(lane, [writer.batch(value=float(step), step=step)])

    async def seal() -> int:
        count = 0
        while not done.is_set():
            count += await seal_some(sealer, AT_ONCE)
        return count

    try:
        sealing = asyncio.create_task(seal())
        await asyncio.gather(*(write(lane, writers) for lane, writers in zip(lanes, groups, strict=True)))
        done.set()
        assert await sealing > 12
        while await seal_some(sealer, AT_ONCE):
            pass
        expected = await sealer.fetch("SELECT run_id, last_value FROM series WHERE key = 'm'")
        for row in expected:
            assert row["run_id"] in await found(sealer, f"metrics.m = {row['last_value']}")
        assert len(await found(sealer, "")) == 12
    finally:
        await asyncio.gather(*(connection.close() for connection in (*lanes, sealer)))
