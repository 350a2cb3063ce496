"""What `ingest serve` does by itself: compaction, and runs whose writers fell silent."""

import asyncio
import json
import time
import uuid

import pytest

from ingest.compaction import worker
from ingest.compaction.upkeep import _one_round, upkeep
from ingest.compaction.worker import Progress, compact_all
from ingest.store.compaction import Compaction
from tests.conftest import run_ingest


async def until(condition, timeout=60.0):
    deadline = time.monotonic() + timeout
    while not await condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def status(store, run_id):
    return await store.connection.fetchval("SELECT status FROM runs WHERE run_id = $1", run_id)


async def look(store, lost_after=60.0):
    async with Compaction.open(store.url) as compaction:
        assert compaction is not None
        return await compaction.look_for_silence(lost_after)


async def silence(store, seconds):
    """As if the service had not heard of anybody for so long."""
    await store.connection.execute(
        "UPDATE writers SET heartbeat_at = heartbeat_at - make_interval(secs => $1)", seconds
    )


async def test_a_run_whose_writers_fell_silent_is_lost_and_late_data_revives_it(store, run_id):
    await store.log(run_id, (1, 1, 1.0))
    assert await look(store) == ([], [])
    await silence(store, 100.0)
    assert await look(store) == ([run_id], [])
    assert await status(store, run_id) == "LOST"
    seen = await store.connection.fetchrow(
        "SELECT r.heartbeat_at = w.heartbeat_at AS same FROM runs AS r JOIN writers AS w USING (run_id)"
    )
    assert seen["same"]
    assert await look(store) == ([], [])

    await store.log(run_id, (2, 2, 1.0))
    assert await look(store) == ([], [run_id])
    assert await status(store, run_id) == "RUNNING"


async def test_one_living_rank_keeps_the_run_alive(store, run_id):
    await store.log(run_id, (1, 1, 1.0))
    await silence(store, 100.0)
    await store.log(run_id, (1, 1, 1.0), writer=2, rank=1)
    assert await look(store) == ([], [])


async def test_an_ended_run_is_not_lost(store, run_id):
    await store.log(run_id, (1, 1, 1.0))
    await store.end(run_id)
    await silence(store, 100.0)
    assert await look(store) == ([], [])


async def test_the_service_looks_for_silence_by_itself(store, run_id, monkeypatch):
    monkeypatch.setattr("ingest.compaction.upkeep.PAUSE", 0.05)
    await store.log(run_id, (1, 1, 1.0))
    await silence(store, 100.0)
    async with upkeep(store.url, compacts=False, lost_after=60.0):

        async def is_lost():
            return await status(store, run_id) == "LOST"

        async def is_back():
            return await status(store, run_id) == "RUNNING"

        await until(is_lost)
        await store.log(run_id, (2, 2, 1.0))
        await until(is_back)


async def test_a_backlog_does_not_keep_it_from_looking(store, run_id, monkeypatch):
    """Two looks in one round: the first finds nobody silent, the one between two series does."""
    monkeypatch.setattr("ingest.compaction.upkeep.PAUSE", 0.0)
    await store.log(run_id, (1, 1, 1.0))
    backlog = uuid.uuid4()
    for key in ("a", "b", "c"):
        await store.log(backlog, (1, 1, 1.0), key=key)
        await store.log(backlog, (2, 2, 1.0), key=key)
    await store.end(backlog)
    compact_one, compacted = worker._compact_one, []

    async def compact(compaction, series, *rest, **options):
        compacted.append(series.key)
        if len(compacted) == 1:
            await silence(store, 100.0)
        elif len(compacted) == 2:
            assert await status(store, run_id) == "LOST"
        await compact_one(compaction, series, *rest, **options)

    monkeypatch.setattr(worker, "_compact_one", compact)
    async with Compaction.open(store.url) as compaction:
        assert compaction is not None
        await _one_round(compaction, compacts=True, lost_after=60.0)
    assert compacted == ["a", "b", "c"]


async def test_the_service_compacts_in_the_background(store, run_id):
    await store.log(run_id, *[(i, i, 1.0) for i in range(3_000)])
    await store.end(run_id)

    async def is_packed():
        return await store.connection.fetchval("SELECT count(*) = 0 FROM metric_chunks")

    async with upkeep(store.url, compacts=True, lost_after=90.0):
        await until(is_packed)
    assert len(await store.rows(run_id)) == 3_000


async def test_upkeep_outlives_its_connection(store, run_id):
    """PostgreSQL ends the connection in the middle; the next round has a new one."""
    async with upkeep(store.url, compacts=True, lost_after=90.0):

        async def is_ended():
            return await store.connection.fetchval(
                "SELECT count(pg_terminate_backend(pid)) > 0 FROM pg_stat_activity"
                " WHERE application_name LIKE 'ingest compaction%' AND datname = current_database()"
            )

        await until(is_ended)
        await store.log(run_id, *[(i, i, 1.0) for i in range(10_000)])

        async def is_packed():
            return await store.connection.fetchval("SELECT count(*) > 0 FROM packed_chunks")

        await until(is_packed)


async def test_one_run_can_be_compacted_alone(store, run_id):
    import uuid

    other = uuid.uuid4()
    for one in (run_id, other):
        await store.log(one, *[(i, i, 1.0) for i in range(10)])
    progress = Progress()
    async with Compaction.open(store.url) as compaction:
        assert compaction is not None
        await compact_all(compaction, progress, run_id=run_id, everything=True)
    assert (progress.series, progress.points) == (1, 10)


@pytest.mark.slow
async def test_compacting_by_hand(store, run_id, database_url):
    await store.log(run_id, *[(i, i, 1.0) for i in range(5_000)])
    command = await asyncio.to_thread(
        run_ingest, "compact", run_id.hex, "--json", "--database-url", database_url
    )
    assert command.returncode == 0, command.stderr
    done = json.loads(command.stdout)
    assert (done["points"], done["series"]) == (5_000, 1)
    assert done["plain_bytes"] < 100_000


async def test_sealing_and_upkeep_tell_how_far_they_are(store, run_id):
    """What searches and charts have to read row by row shows in /metrics."""
    from ingest.sealing import _seal_all
    from ingest.store.sealing import Sealing
    from ingest.telemetry import REGISTRY

    def value(name):
        found = REGISTRY.get_sample_value(name)
        assert found is not None
        return found

    await store.log(run_id, *((i, i, 1.0) for i in range(40)))
    async with Compaction.open(store.url) as compaction:
        assert compaction is not None
        await compact_all(compaction, Progress())
    assert value("ingest_compaction_waiting_points") == 40
    await store.end(run_id)
    await _seal_all(store.url, Sealing())  # it ended just now: too early
    assert value("ingest_unsealed_runs") == 1
    before = value("ingest_sealed_runs_total")
    await _seal_all(store.url, Sealing(quiet=-1, patience=-1, min_runs=1))
    assert value("ingest_unsealed_runs") == 0
    assert value("ingest_sealed_runs_total") == before + 1
    began = time.time()
    async with upkeep(store.url, compacts=True, lost_after=60.0):
        await until(lambda: asyncio.sleep(0, value("ingest_compaction_round_timestamp_seconds") >= began))
    assert value("ingest_compaction_waiting_points") == 0
