"""Commit groups on a real PostgreSQL: exactly once, no deadlock, summaries true, a guilty batch alone refused."""

from __future__ import annotations

import asyncio
import math
import random
import struct
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from ingest.store.connections import connect_writer
from ingest.store.errors import DatabaseUnavailable
from ingest.store.outcomes import Gap, Refused, Repeated, Stored
from ingest.write.lanes import BatchWriter
from ingest_schema.events import Event
from ingest_schema.ids import new_id
from ingest_schema.wire import Batch

STARTED_MS = 1_700_000_000_000
Point = tuple[str, int, int, float]


class Watcher:
    """Counts what lanes do."""

    def __init__(self) -> None:
        self.groups: list[int] = []
        self.retries: Counter[str] = Counter()

    def committed(self, batches: int, seconds: float) -> None:
        self.groups.append(batches)

    def retried(self, reason: str) -> None:
        self.retries[reason] += 1


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(database_url, server_settings={"search_path": "ingest"})
    yield connection
    await connection.close()


@pytest.fixture
async def open_writer(database_url: str) -> AsyncIterator[Any]:
    """A function that starts one more BatchWriter, as one more service process has it."""
    running: list[asyncio.Task[None]] = []

    def start(lanes: int = 2, url: str = database_url) -> tuple[BatchWriter, Watcher]:
        watcher = Watcher()
        writer = BatchWriter(lambda: connect_writer(url), lanes=lanes, observer=watcher)
        running.append(asyncio.create_task(writer.run()))
        return writer, watcher

    yield start
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


class Sender:
    """One writer of a run, which numbers its batches."""

    def __init__(self, run_id: UUID | None = None) -> None:
        self.run_id, self.writer_id, self.seq = run_id or new_id(), new_id(), 0

    def batch(self, points: list[Point], *events: Event) -> Batch:
        self.seq += 1
        if self.seq == 1:
            start = {"experiment": "tests", "name": "a run", "start_time_ms": STARTED_MS}
            events = (Event("run_start", STARTED_MS, start), *events)
        return Batch.of_points(self.run_id, self.writer_id, self.seq, points, events=events)


async def commit(writer: BatchWriter, batch: Batch) -> Any:
    return await writer.commit(batch, 24 * batch.point_count + 100)


async def test_every_value_comes_back_bit_for_bit(open_writer, db):
    """Binary COPY as PostgreSQL reads it: extremes, NaN, infinities, long and wide keys, all sizes of chunks."""
    rng = random.Random(1)
    odd_ints = [-(2**63), 2**63 - 1, 0, -1]
    odd_floats = [math.nan, math.inf, -math.inf, -0.0, 5e-324, 1.7976931348623157e308]
    keys = ["a", "𝛼" * 250, "x" * 1000, "loss/train %", *(f"k{i}" for i in range(40))]
    points = [
        (rng.choice(keys), rng.choice([*odd_ints, rng.randrange(9)]), rng.choice(odd_ints), rng.choice([*odd_floats, rng.random()]))
        for _ in range(3_000)
    ] + [("long", i, i, float(i)) for i in range(2_500)]  # fmt: skip
    sender = Sender()

    assert await commit(open_writer()[0], sender.batch(points)) == Stored(len(points))

    rows = await db.fetch("SELECT key, step, time_ms, value FROM metrics WHERE run_id = $1", sender.run_id)
    assert Counter((k, s, t, struct.pack("d", v)) for k, s, t, v in rows) == Counter(
        (k, s, t, struct.pack("d", v)) for k, s, t, v in points
    )


async def test_repeats_are_acknowledged_and_gaps_are_told_the_number(open_writer, db):
    writer, _ = open_writer()
    sender = Sender()
    first, second, third = (sender.batch([("a", i, i, 1.0)]) for i in range(3))

    assert await commit(writer, second) == Gap(expected_seq=1)
    assert await commit(writer, first) == Stored(1)
    assert await commit(writer, first) == Repeated(1)
    assert await commit(writer, third) == Gap(expected_seq=2)
    assert await commit(writer, second) == Stored(1)
    assert await commit(writer, third) == Stored(1)
    assert await db.fetchval("SELECT count(*) FROM metrics") == 3


async def test_the_same_batch_sent_to_many_processes_at_once_is_stored_once(open_writer, db):
    writers = [open_writer(1)[0] for _ in range(6)]
    sender = Sender()
    for _ in range(10):
        batch = sender.batch([("a", 1, 1, 1.0), ("b", 1, 1, 2.0)])
        outcomes = await asyncio.gather(*(commit(writer, batch) for writer in writers for _ in range(3)))
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Repeated"] * 17 + ["Stored"]
    assert await db.fetchval("SELECT count(*) FROM metrics") == 20
    assert await db.fetchval("SELECT sum(points) FROM writers") == 20


async def test_several_batches_of_one_writer_in_one_group_keep_their_order(open_writer, db):
    writer, watcher = open_writer()
    sender = Sender()
    batches = [sender.batch([("a", i, i, float(i))]) for i in range(30)]

    outcomes = await asyncio.gather(*(commit(writer, batch) for batch in batches))

    assert outcomes == [Stored(1)] * 30
    assert len(watcher.groups) < 30
    assert await db.fetchval("SELECT last_seq FROM writers") == 30


async def test_many_processes_on_one_run_never_deadlock_and_the_series_are_true(open_writer, db):
    """8 processes, 24 ranks, keys shuffled and overlapping; then each summary is computed again from the points."""
    fleet = [open_writer(2) for _ in range(8)]
    runs = [new_id() for _ in range(2)]
    rng = random.Random(7)
    keys = [f"m{i}" for i in range(400)]
    values = [math.nan, math.inf, -math.inf, 0.0, *(rng.uniform(-9, 9) for _ in range(20))]

    async def rank(i: int) -> None:
        sender = Sender(runs[i % 2])
        for turn in range(8):
            chosen = rng.sample(keys, rng.choice([5, 100, 380]))
            points = [
                (key, rng.randrange(-5, 5), rng.randrange(3), rng.choice(values))
                for key in chosen
                for _ in range(rng.choice([1, 2]))
            ]
            tags = {key: rng.choice(["1", None]) for key in rng.sample("abcdefgh", 4)}
            batch = sender.batch(points, Event("tags", 0, tags), Event("heartbeat", 0, {"accepted": turn}))
            outcome = await commit(fleet[(i + turn) % len(fleet)][0], batch)
            assert isinstance(outcome, Stored)

    await asyncio.gather(*(rank(i) for i in range(24)))

    assert sum((watcher.retries for _, watcher in fleet), Counter()) == Counter()
    assert await db.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0
    assert await db.fetch(SERIES_THAT_LIE) == []
    assert (
        await db.fetchval("SELECT sum(n) FROM series")
        == await db.fetchval("SELECT count(*) FROM metrics")
        > 0
    )


SERIES_THAT_LIE = """
    WITH points AS (
        SELECT *, value NOT IN ('NaN', 'Infinity', '-Infinity') AS finite, COALESCE(NULLIF(value, 'NaN'), 0) AS number
        FROM metrics
    ), model AS (
        SELECT run_id, key, count(*) AS n, count(*) FILTER (WHERE NOT finite) AS non_finite,
               min(step) AS first_step, max(step) AS last_step,
               min(value) FILTER (WHERE finite) AS min_value, max(value) FILTER (WHERE finite) AS max_value,
               COALESCE(sum(value) FILTER (WHERE finite), 0) AS sum_value,
               (array_agg(time_ms ORDER BY step, time_ms))[1] AS first_time_ms,
               (array_agg(time_ms ORDER BY step DESC, time_ms DESC))[1] AS last_time_ms,
               (array_agg(number ORDER BY step DESC, time_ms DESC, number DESC))[1] AS last_number
        FROM points GROUP BY run_id, key
    ), extremes AS (
        SELECT p.run_id, p.key, min(p.step) FILTER (WHERE p.value = m.min_value) AS min_step,
               min(p.step) FILTER (WHERE p.value = m.max_value) AS max_step
        FROM points AS p JOIN model AS m USING (run_id, key) GROUP BY p.run_id, p.key
    )
    SELECT s.key FROM series AS s FULL JOIN model AS m USING (run_id, key) FULL JOIN extremes AS e USING (run_id, key)
    WHERE (s.n, s.non_finite, s.first_step, s.first_time_ms, s.last_step, s.last_time_ms,
           COALESCE(NULLIF(s.last_value, 'NaN'), 0), s.min_value, s.max_value, s.min_step, s.max_step)
       IS DISTINCT FROM
          (m.n, m.non_finite, m.first_step, m.first_time_ms, m.last_step, m.last_time_ms, m.last_number,
           m.min_value, m.max_value, e.min_step, e.max_step)
       OR abs(s.sum_value - m.sum_value) > 1e-6
"""


async def test_a_refused_batch_does_not_hold_up_the_others(open_writer, db):
    """Not even one that only PostgreSQL objects to, so that nobody knows which it is."""
    await db.execute("ALTER TABLE metric_chunks ADD CHECK (key <> 'guilty')")
    writer, _ = open_writer(1)
    guilty = Sender()
    innocent = [Sender() for _ in range(10)]

    batches = [*(s.batch([("a", 1, 1, 1.0)]) for s in innocent), guilty.batch([("guilty", 1, 1, 1.0)])]
    *good, check_failed = await asyncio.gather(*(commit(writer, batch) for batch in batches))

    assert good == [Stored(1)] * 10
    assert isinstance(check_failed, Refused)
    guilty.seq = 0  # its number is free again
    assert await commit(writer, guilty.batch([("b", 1, 1, 1.0)])) == Stored(1)


async def test_a_caller_that_goes_away_does_not_break_its_group(open_writer, db):
    writer, _ = open_writer(1)
    senders = [Sender() for _ in range(6)]
    tasks = [asyncio.create_task(commit(writer, s.batch([("a", 1, 1, 1.0)]))) for s in senders]
    await asyncio.sleep(0)
    tasks[2].cancel()

    outcomes = await asyncio.gather(*tasks, return_exceptions=True)

    assert sum(outcome == Stored(1) for outcome in outcomes) == 5
    await writer.drain()
    assert await db.fetchval("SELECT count(*) FROM writers") == 6


OUR_WRITERS = (
    "FROM pg_stat_activity WHERE application_name = 'ingest writer' AND datname = current_database()"
)
"""A server of the tests may have other services' databases, too."""


async def test_a_lost_connection_is_said_and_mended(open_writer, db, wait_for):
    writer, _ = open_writer(1)
    sender = Sender()
    await commit(writer, sender.batch([("a", 1, 1, 1.0)]))
    async with db.transaction():
        await db.execute("LOCK TABLE series IN ACCESS EXCLUSIVE MODE")
        batch = sender.batch([("a", 2, 2, 2.0)])
        waiting = asyncio.create_task(commit(writer, batch))
        stuck = f"SELECT pid {OUR_WRITERS} AND wait_event_type = 'Lock'"
        pid = await wait_for(lambda: db.fetchval(stuck))
        await db.execute("SELECT pg_terminate_backend($1)", pid)
        with pytest.raises(DatabaseUnavailable):
            await waiting

    await wait_for(lambda: writer.is_available)
    assert await commit(writer, batch) == Stored(1)
    assert await commit(writer, batch) == Repeated(1)
    assert await db.fetchval("SELECT count(*) FROM metrics") == 2


async def test_a_connection_that_broke_while_idle_costs_nobody_an_error(open_writer, db, wait_for):
    writer, _ = open_writer(1)
    sender = Sender()
    await commit(writer, sender.batch([("a", 1, 1, 1.0)]))
    await db.execute(f"SELECT pg_terminate_backend(pid) {OUR_WRITERS}")
    (lane,) = writer._lanes
    await wait_for(lane._connection.is_closed)

    assert await commit(writer, sender.batch([("a", 2, 2, 2.0)])) == Stored(1)


async def test_without_a_database_batches_are_turned_away_at_once(open_writer):
    writer, _ = open_writer(1, "postgresql://nobody@127.0.0.1:9/none")
    with pytest.raises(DatabaseUnavailable):
        await commit(writer, Sender().batch([("a", 1, 1, 1.0)]))
    assert not writer.is_available
    with pytest.raises(DatabaseUnavailable):
        await commit(writer, Sender().batch([("a", 1, 1, 1.0)]))


async def test_the_life_of_a_run_follows_its_events(open_writer, db):
    writer, _ = open_writer()
    sender = Sender()
    late = Sender(sender.run_id)
    state = "SELECT status, end_time_ms FROM runs"

    params = Event("params", 0, {"lr": "0.1"})
    facts = Event("writer", 0, {"rank": 3, "host": "h", "pid": 7, "world_size": 8})
    await commit(writer, sender.batch([], params, facts, Event("tags", 0, {"t": "1"})))
    assert tuple(await db.fetchrow("SELECT rank, host, pid, world_size, attempt FROM writers")) == (
        3,
        "h",
        7,
        8,
        1,
    )

    end = Event("run_end", 0, {"status": "FAILED", "end_time_ms": STARTED_MS + 50})
    stored = await commit(writer, sender.batch([], Event("params", 0, {"lr": "9", "n": "1"}), end))
    assert [part.key for part in stored.rejected] == ["lr"]
    assert tuple(await db.fetchrow(state)) == ("FAILED", STARTED_MS + 50)

    await commit(writer, late.batch([("a", 1, 1, 1.0)]))  # another rank's start, delivered after the end
    assert (await db.fetchrow(state))["status"] == "FAILED"

    again = {"experiment": "tests", "name": None, "start_time_ms": STARTED_MS + 60, "resume_from_step": 10}
    resumed = Batch(
        run_id=sender.run_id, writer_id=new_id(), seq=1, sent_ms=0,
        events=[Event("run_start", 0, again), Event("writer", 0, {"rank": 3, "host": "h", "pid": 8})],
    )  # fmt: skip
    await commit(writer, resumed)
    assert tuple(await db.fetchrow(state)) == ("RUNNING", None)
    assert await db.fetchval("SELECT attempt FROM writers WHERE writer_id = $1", resumed.writer_id) == 2

    await commit(writer, sender.batch([], end))  # the dead attempt's end, delivered late
    assert tuple(await db.fetchrow(state)) == ("RUNNING", None)


async def test_a_run_whose_start_was_never_seen_is_kept_and_marked(open_writer, db):
    batch = Batch.of_points(new_id(), new_id(), 1, [("a", 1, 1, 1.0)], sent_ms=77)
    assert await commit(open_writer()[0], batch) == Stored(1)
    assert tuple(await db.fetchrow("SELECT experiment_id, start_time_ms FROM runs")) == (0, 77)
    assert await db.fetchval("SELECT key FROM tags") == "ingest.start_missing"


async def test_a_start_in_an_experiment_that_is_not_there_loses_nothing(open_writer, db):
    """The run goes to Default, whole and marked, and its writer is told; a second rank's wrong start moves nothing."""
    writer, _ = open_writer()
    run_id = new_id()
    start = {"experiment_id": 999, "name": "stray", "start_time_ms": 5}
    events = [Event("run_start", 0, start), Event("params", 0, {"lr": "0.1"})]
    for rank in range(2):
        batch = Batch.of_points(run_id, new_id(), 1, [("a", rank, 1, 1.0)], events=events)
        stored = await commit(writer, batch)
        assert stored.points == 1
        assert [(part.key, part.reason) for part in stored.rejected] == [("999", "experiment_unknown")]
    run = await db.fetchrow("SELECT experiment_id, name, start_time_ms FROM runs")
    assert tuple(run) == (0, "stray", 5)
    assert await db.fetchval("SELECT value FROM params") == "0.1"
    assert await db.fetchval("SELECT key FROM tags") == "ingest.start_missing"
    assert await db.fetchval("SELECT sum(n) FROM series") == 2
