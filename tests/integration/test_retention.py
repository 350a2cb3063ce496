"""Rules of retention: what is due is hidden or thinned, everything else is left alone, and no extreme is lost."""

from __future__ import annotations

import asyncio
import json
import math

import asyncpg
import numpy as np
import pytest

from ingest.compaction.retention import apply_rules, preview_rules
from ingest.compaction.upkeep import upkeep
from ingest.store.commit import commit_batches
from ingest.store.compaction import Compaction
from ingest.store.connections import connect_writer
from ingest.store.outcomes import Stored
from ingest_schema.events import Event
from ingest_schema.ids import new_id
from ingest_schema.wire import Batch
from tests.conftest import run_ingest, wait_until

POINTS = 20_000
RULE = {"delete_after_days": None, "thin_after_days": 30, "thin_to": 100, "keep_tag": "ingest.keep"}


@pytest.fixture
async def db(services):
    connection = await asyncpg.connect(services.database_url, server_settings={"search_path": "ingest"})
    yield connection
    await connection.close()


@pytest.fixture
async def writer(services):
    connection = await connect_writer(services.database_url)
    yield connection
    await connection.close()


def wild(rng, n, first_step=0):
    """Points with a spike, a dip, a NaN and both infinities somewhere."""
    values = rng.standard_normal(n)
    for value in (1e9, -1e9, math.nan, math.inf, -math.inf):
        values[rng.integers(n)] = value
    steps = first_step + rng.permutation(n)
    return [
        ("loss", int(step), 1_000 + i, float(value))
        for i, (step, value) in enumerate(zip(steps, values, strict=True))
    ]


async def make_run(writer, points, *, status="FINISHED", tags=None, resume=None, run_id=None):
    run_id, writer_id = run_id or new_id(), new_id()
    begun = 1_000 if resume is None else 3_000
    start = {"experiment": "old", "name": "r", "start_time_ms": begun}
    start |= {} if resume is None else {"resume_from_step": resume}
    events = [Event("run_start", 0, start), Event("tags", 0, tags or {})]
    if status is not None:
        events.append(Event("run_end", 0, {"status": status, "end_time_ms": begun + 1_000}))
    half = len(points) // 2
    for seq, some in enumerate((points[:half], points[half:]), start=1):
        batch = Batch.of_points(run_id, writer_id, seq, some, events=events if seq == 1 else ())
        (stored,) = await commit_batches(writer, [batch])
        assert stored == Stored(len(some))
    return run_id


async def age(db, days):
    for table in ("runs", "writers"):
        await db.execute(f"UPDATE {table} SET heartbeat_at = heartbeat_at - make_interval(days => $1)", days)


async def apply(services, action=apply_rules):
    async with Compaction.open(services.database_url) as compaction:
        assert compaction is not None
        return [one async for one in action(compaction)]


async def set_rule(web_client, **changes):
    answer = await web_client.patch("/api/v1/experiments/1", json={"retention": RULE | changes})
    assert answer.status == 200, await answer.text()
    return (await answer.json())["retention"]


async def points_of(db, run_id):
    rows = await db.fetch("SELECT step, time_ms, value, attempt FROM metrics WHERE run_id = $1", run_id)
    return [(r["step"], r["time_ms"], r["value"], r["attempt"]) for r in rows]


def bits(points):
    return {(step, time_ms, np.float64(value).tobytes()) for step, time_ms, value, *_ in points}


async def test_the_api_sets_shows_and_takes_away_a_rule(services, web_client, writer, db):
    await make_run(writer, [])
    assert (await (await web_client.get("/api/v1/experiments/1")).json())["retention"] is None
    assert await set_rule(web_client, delete_after_days=90) == RULE | {"delete_after_days": 90}
    await web_client.patch("/api/v1/experiments/1", json={"tags": {"a": "b"}})
    listed = (await (await web_client.get("/api/v1/experiments")).json())["experiments"]
    assert listed[1]["retention"] == RULE | {"delete_after_days": 90}
    for wrong in (
        {"days": 1},
        {},
        {"thin_after_days": 0},
        {"thin_after_days": True},
        {"thin_after_days": 1, "thin_to": 1},
        7,
    ):
        answer = await web_client.patch("/api/v1/experiments/1", json={"retention": wrong})
        assert (answer.status, (await answer.json())["code"]) == (400, "bad_request"), wrong
    answer = await web_client.patch("/api/v1/experiments/1", json={"retention": None})
    assert (await answer.json())["retention"] is None


async def test_only_what_is_old_at_rest_and_untagged_is_due(services, web_client, writer, db):
    due = await make_run(writer, [("a", 1, 1, 1.0)])
    await make_run(writer, [("a", 1, 1, 1.0)], status=None)  # it runs
    await make_run(writer, [("a", 1, 1, 1.0)], tags={"ingest.keep": "please"})
    silent = await make_run(writer, [("a", 1, 1, 1.0)], status=None)
    await db.execute("UPDATE runs SET status = 'LOST' WHERE run_id = $1", silent)
    await age(db, 31)
    await make_run(writer, [("a", 1, 1, 1.0)])  # too young
    await set_rule(web_client, delete_after_days=30, thin_after_days=None)
    assert {one.run.run_id for one in await apply(services, preview_rules)} == {due, silent}
    assert await db.fetchval("SELECT count(*) FROM runs WHERE lifecycle = 'deleted'") == 0
    assert {(one.run.run_id, one.action) for one in await apply(services)} == {
        (due, "delete"),
        (silent, "delete"),
    }
    hidden = await db.fetch("SELECT run_id FROM runs WHERE lifecycle = 'deleted' AND deleted_at IS NOT NULL")
    assert {row["run_id"] for row in hidden} == {due, silent}
    assert await apply(services) == []


async def test_thinning_keeps_every_extreme_and_says_that_it_was_there(services, web_client, writer, db):
    logged = wild(np.random.default_rng(7), POINTS)
    run_id = await make_run(writer, logged)
    small = [("loss", i, i, float(i)) for i in range(500)]
    short = await make_run(writer, small)
    await age(db, 31)
    summary = await db.fetchrow("SELECT * FROM series WHERE run_id = $1", run_id)
    await set_rule(web_client)
    found = {one.run.run_id: one for one in await apply(services)}
    assert found[run_id].before == POINTS
    assert found[run_id].after <= 8 * 100 + 8

    left = await points_of(db, run_id)
    assert len(left) == found[run_id].after
    assert bits(left) <= bits([point[1:] for point in logged])  # nothing but what was logged, bit for bit
    values = [value for _, _, value, _ in left]
    assert {1e9, -1e9, math.inf, -math.inf} <= set(values)
    assert sum(math.isnan(value) for value in values) == 1
    assert {min(p[0] for p in left), max(p[0] for p in left)} == {0, POINTS - 1}
    assert await db.fetchrow("SELECT * FROM series WHERE run_id = $1", run_id) == summary
    by_step = {step: value for step, _, value, _ in left}
    assert by_step[summary["last_step"]] == summary["last_value"]
    assert by_step[summary["min_step"]] == summary["min_value"]
    assert by_step[summary["max_step"]] == summary["max_value"]
    assert by_step[summary["first_step"]] == summary["first_value"]
    assert await db.fetchval("SELECT sum(stands_for) FROM packed_chunks WHERE run_id = $1", run_id) == POINTS

    run = await (await web_client.get(f"/api/v1/runs/{run_id.hex}")).json()
    assert run["thinned_at"] is not None
    assert await db.fetchval("SELECT thinned_at IS NOT NULL FROM runs_wide WHERE run_id = $1", run_id)
    chart = await (await web_client.get(f"/api/v1/runs/{run_id.hex}/series/loss?buckets=20")).json()
    assert max(value for value in chart["columns"]["max"] if value is not None) == 1e9
    assert len(await points_of(db, short)) == 500  # nothing to gain


async def test_the_service_applies_the_rules_by_itself(services, web_client, writer, db, monkeypatch):
    """Soon after its start, as it does once an hour."""
    monkeypatch.setattr("ingest.compaction.upkeep.RETENTION_PAUSE", 0.0)
    run_id = await make_run(writer, wild(np.random.default_rng(7), POINTS))
    await age(db, 31)
    await set_rule(web_client)
    async with upkeep(services.database_url, compacts=False, lost_after=60.0):
        thinned = "SELECT thinned_at IS NOT NULL FROM runs WHERE run_id = $1"
        await wait_until(lambda: db.fetchval(thinned, run_id))
    assert len(await points_of(db, run_id)) <= 8 * 100 + 8


async def test_late_points_of_a_thinned_run_are_thinned_by_themselves(services, web_client, writer, db):
    run_id = await make_run(writer, wild(np.random.default_rng(8), POINTS))
    await age(db, 31)
    await set_rule(web_client)
    await apply(services)
    first = await points_of(db, run_id)
    assert await apply(services) == []
    late = wild(np.random.default_rng(9), POINTS, first_step=POINTS)
    await commit_batches(writer, [Batch.of_points(run_id, new_id(), 1, late)])
    assert await apply(services) == []  # too young
    await age(db, 31)
    await db.execute("UPDATE runs SET thinned_at = thinned_at - interval '60 days'")
    (again,) = await apply(services)
    assert again.before == POINTS
    both = await points_of(db, run_id)
    assert bits(first) < bits(both)
    assert len(both) == len(first) + again.after


async def test_an_interrupted_thinning_goes_on_and_thins_nothing_twice(services, web_client, writer, db):
    logged = [*wild(np.random.default_rng(10), POINTS), *(("other", i, i, float(i)) for i in range(POINTS))]
    run_id = await make_run(writer, logged)
    await age(db, 31)
    await set_rule(web_client)
    async with Compaction.open(services.database_url) as compaction:
        assert compaction is not None
        from ingest.compaction.worker import Progress, compact_all

        await compact_all(compaction, Progress(), everything=True)
        async for _ in compaction.thin_run(run_id, 100):
            break  # killed here, with the second metric still whole
    half = await points_of(db, run_id)
    assert POINTS < len(half) < POINTS + 900
    (one,) = await apply(services)
    assert one.before == POINTS
    assert bits(half) > bits(await points_of(db, run_id))


async def test_the_part_of_an_old_attempt_that_counts_keeps_its_extremes(services, web_client, writer, db):
    """The greatest value before the resume must not give way to a greater one that was superseded."""
    old = [("loss", i, i, 5.0 if i == 9_990 else 9.0 if i == 10_010 else 1.0) for i in range(POINTS)]
    run_id = await make_run(writer, old)
    await make_run(writer, [("loss", i, i, 1.0) for i in range(10_001, POINTS)], run_id=run_id, resume=10_000)
    await age(db, 31)
    await set_rule(web_client)
    await apply(services)
    chart = await (await web_client.get(f"/api/v1/runs/{run_id.hex}/series/loss?buckets=10")).json()
    assert max(value for value in chart["columns"]["max"] if value is not None) == 5.0
    assert 9.0 in [value for _, _, value, _ in await points_of(db, run_id)]


async def test_a_run_that_runs_again_is_left_alone(services, web_client, writer, db):
    run_id = await make_run(writer, wild(np.random.default_rng(11), POINTS))
    await age(db, 31)
    await set_rule(web_client)
    async with Compaction.open(services.database_url) as compaction:
        assert compaction is not None
        (due,) = [run async for run in compaction.due_to_thin(None)]
        await db.execute("UPDATE runs SET status = 'RUNNING'")
        from ingest.compaction.retention import _thin

        assert await _thin(compaction, due, None) is None
    assert len(await points_of(db, run_id)) == POINTS


async def test_the_commands(services, web_client, writer, db):
    await make_run(writer, wild(np.random.default_rng(12), POINTS))
    await age(db, 31)
    where = ("--database-url", services.database_url, "--data-dir", str(services.settings.data_dir))

    async def ingest(*arguments):
        done = await asyncio.to_thread(run_ingest, "retention", *arguments, *where)
        return done.returncode, done.stdout, done.stderr

    code, out, _ = await ingest("set", "old", "--thin-after", "30", "--thin-to", "100", "--json")
    assert (code, json.loads(out)) == (0, [RULE | {"experiment_id": 1, "experiment": "old"}])
    code, out, _ = await ingest("show", "--json")
    assert json.loads(out) == [RULE | {"experiment_id": 1, "experiment": "old"}]
    code, out, _ = await ingest("run", "--dry-run", "--json")
    assert (json.loads(out)["thinned"], json.loads(out)["is_dry_run"]) == (1, True)
    code, out, _ = await ingest("run", "old", "--json")
    done = json.loads(out)
    assert (code, done["thinned"], done["points_before"]) == (0, 1, POINTS)
    code, out, _ = await ingest("clear", "1", "--json")
    assert json.loads(out) == []
    assert (await ingest("set", "old"))[0] == 2
    assert (await ingest("set", "nowhere", "--thin-after", "1"))[
        2
    ] == "error: there is no experiment 'nowhere'\n"
