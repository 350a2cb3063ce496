"""Compaction changes where points are, and nothing else: not one point, not their order, not a summary."""

import asyncio
import math
import random
import struct
import subprocess
import sys
import textwrap
import time
from collections import Counter
from itertools import pairwise

import pytest

from ingest.store.charts import ChartQuestion
from ingest.store.compaction import Compaction
from ingest.store.packs import PACK_POINTS


def bits(row):
    return row["step"], row["time_ms"], struct.pack(">d", row["value"]), row["rank"], row["attempt"]


async def fill(store, run_id, *, batches=60, points=100, seed=1, writer=1):
    """Steps rise, fall, repeat; times jump; values are anything."""
    dice = random.Random(seed)
    for i in range(batches):
        await store.log(
            run_id,
            *[
                (
                    dice.choice([i * points + j, dice.randrange(50), -(2**63), 2**63 - 1]),
                    dice.choice([1_000 * i + j, dice.randrange(10**12), -(2**63)]),
                    dice.choice([dice.gauss(0, 1), math.nan, -math.inf, -0.0]),
                )
                for j in range(points)
            ],
            writer=writer,
            rank=writer,
        )


async def test_every_point_stays_bit_for_bit_and_the_series_as_it_was(store, run_id):
    await fill(store, run_id)
    await fill(store, run_id, writer=2, seed=2)
    await store.end(run_id)
    before = Counter(bits(row) for row in await store.rows(run_id))
    series = await store.connection.fetch("SELECT * FROM series")
    merged = await store.compact()

    assert sum(one.points for one in merged) == 12_000
    assert Counter(bits(row) for row in await store.rows(run_id)) == before
    assert await store.connection.fetch("SELECT * FROM series") == series


async def test_rows_are_full_and_sorted(store, run_id):
    await store.log(run_id, *[(i, 10 * i, 1.0) for i in range(20_000)])
    await store.end(run_id)
    await store.compact()
    rows = await store.connection.fetch(
        "SELECT n, lo_step, hi_step, step_gap, steps, times_ms FROM packed_chunks ORDER BY lo_step"
    )
    assert all(row["n"] > 0.95 * PACK_POINTS for row in rows)
    assert all(row["step_gap"] == 1 and row["steps"] is None and row["times_ms"] is None for row in rows)
    assert all(a["hi_step"] < b["lo_step"] for a, b in pairwise(rows))


async def test_points_of_equal_step_and_time_keep_their_order(store, charts, run_id):
    """Arrival is known by nothing but the order in which compaction lays points down, merge after merge."""
    count = 0
    for _ in range(4):
        for _ in range(130):
            await store.log(run_id, *[(7, 7, float(count + j)) for j in range(3)])
            count += 3
        await store.compact()
    assert await store.connection.fetchval("SELECT sum(n) FROM packed_chunks") == count
    async with charts.snapshot() as reader:
        (facts,) = await reader.facts([(run_id, "loss")])
        question = ChartQuestion(run_id=run_id, key="loss", buckets=10_000)
        (answer,) = [one async for one in reader.charts([(question, facts)])]
    assert answer.parts.first_value.tolist() == [float(i) for i in range(count)]


async def test_a_live_series_is_left_until_it_is_worth_it(store, run_id):
    await store.log(run_id, *[(i, i, 1.0) for i in range(500)])
    assert await store.compact() == []
    await store.end(run_id)
    assert [one.points for one in await store.compact()] == [500]


async def test_only_one_compacts_at_a_time(database_url):
    async with Compaction.open(database_url) as first, Compaction.open(database_url) as second:
        assert first is not None
        assert second is None


async def test_readers_and_a_writer_go_on_meanwhile(store, charts, run_id, database_url):
    """Each answer holds as many points as the series had when the snapshot was taken, whatever compaction does."""
    total = 0

    async def write():
        nonlocal total
        for i in range(150):
            await store.log(run_id, *[(i * 200 + j, j, 1.0) for j in range(200)])
            total += 200

    async def read(stop):
        while not stop.is_set():
            async with charts.snapshot() as reader:
                (facts,) = await reader.facts([(run_id, "loss")])
                question = ChartQuestion(run_id=run_id, key="loss", buckets=20)
                (answer,) = [one async for one in reader.charts([(question, facts)])]
            assert answer.point_count == facts.n

    async def compact(stop):
        while not stop.is_set():
            await store.compact()
            await asyncio.sleep(0.01)

    await store.log(run_id, (-1, 0, 1.0))
    stop = asyncio.Event()
    others = [asyncio.create_task(read(stop)), asyncio.create_task(compact(stop))]
    await write()
    stop.set()
    await asyncio.gather(*others)
    assert await store.connection.fetchval("SELECT count(*) FROM packed_chunks") > 0
    assert len(await store.rows(run_id)) == total + 1


COMPACT_FOREVER = """
    import asyncio, sys, uuid
    from ingest.store.compaction import Compaction

    async def main():
        async with Compaction.open(sys.argv[1]) as compaction:
            print("begun", flush=True)
            while True:
                found, _ = await compaction.waiting((uuid.UUID(int=0), ""))
                for series in found:
                    async for _ in compaction.compact(series):
                        pass

    asyncio.run(main())
"""


@pytest.mark.chaos
async def test_killed_in_the_middle_nothing_is_lost_or_doubled(store, run_id, database_url):
    """SIGKILL at random moments; the next one takes the lock as soon as PostgreSQL sees the first one gone."""
    dice = random.Random(5)
    before: Counter[object] = Counter()
    for round_number in range(6):
        await fill(store, run_id, batches=130, points=80, seed=round_number)
        before = Counter(bits(row) for row in await store.rows(run_id))
        process = subprocess.Popen(  # noqa: ASYNC220  # its first line is waited for, nothing else happens meanwhile
            [sys.executable, "-c", textwrap.dedent(COMPACT_FOREVER), database_url], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        await asyncio.sleep(dice.uniform(0, 0.05))
        process.kill()
        process.wait(60)
        process.stdout.close()
        assert Counter(bits(row) for row in await store.rows(run_id)) == before
    deadline = time.monotonic() + 60
    while True:
        async with Compaction.open(database_url) as compaction:
            if compaction is not None:
                break
        assert time.monotonic() < deadline, "the lock of a killed process is still held"
        await asyncio.sleep(0.05)
    await store.end(run_id)
    await store.compact()
    assert Counter(bits(row) for row in await store.rows(run_id)) == before
    assert await store.connection.fetchval("SELECT count(*) FROM metric_chunks") == 0
