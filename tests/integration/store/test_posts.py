"""Posts: all or nothing, each point once, whoever sends what twice."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from ingest.services import Services
from ingest.store.connect import connect
from ingest.store.outcomes import Stored
from ingest.store.posts import ParamChange, ParamsChanged, Post, RunDeleted, RunUnknown
from ingest_schema.events import Event
from ingest_schema.ids import new_id
from ingest_schema.wire import Batch

Point = tuple[str, int, int, float]


def post_of(run_id: UUID, points: list[Point], **more: Any) -> Post:
    """A post of different points."""
    batch = Batch.of_points(run_id, run_id, 1, points)
    return Post(
        run_id=run_id, keys=batch.keys, counts=batch.counts, steps=batch.steps, times_ms=batch.times_ms,
        values=batch.values, **more,
    )  # fmt: skip


@pytest.fixture
async def db(services: Services) -> AsyncIterator[Any]:
    async with connect(services.database_url, purpose="test") as connection:
        await connection.execute("SET search_path = ingest")
        yield connection


@pytest.fixture
async def run_id(db: Any) -> UUID:
    run = new_id()
    await db.execute("INSERT INTO runs (run_id, experiment_id, start_time_ms) VALUES ($1, 0, 1)", run)
    return run


async def stored(db: Any, run_id: UUID) -> list[str]:
    """The points as texts, since NaN differs from itself."""
    rows = await db.fetch("SELECT key, step, time_ms, value FROM metrics WHERE run_id = $1", run_id)
    return sorted(repr(tuple(row)) for row in rows)


def expected(points: set[Point] | list[Point]) -> list[str]:
    return sorted(map(repr, points))


async def test_a_post_is_stored_whole_and_counted(services, db, run_id):
    points = [("a", 0, 5, 1.0), ("a", 1, 6, math.nan), ("b/c", -(2**63), 0, math.inf)]
    outcome = await services.intake.post(
        post_of(run_id, points, params={"p": "1"}, tags={"t": "2"}, name="n")
    )
    assert outcome == Stored(3)
    assert await stored(db, run_id) == expected(points)
    assert await db.fetchval("SELECT points FROM writers WHERE run_id = $1", run_id) == 3
    assert await db.fetchval("SELECT name FROM runs WHERE run_id = $1", run_id) == "n"
    assert await db.fetchval("SELECT value FROM params WHERE run_id = $1", run_id) == "1"
    assert await db.fetchval("SELECT value FROM tags WHERE run_id = $1", run_id) == "2"


async def test_nothing_is_stored_for_a_run_that_is_unknown_or_deleted(services, db, run_id):
    assert await services.intake.post(post_of(new_id(), [("a", 0, 0, 0.0)])) == RunUnknown()
    await db.execute("UPDATE runs SET lifecycle = 'deleted' WHERE run_id = $1", run_id)
    assert await services.intake.post(post_of(run_id, [("a", 0, 0, 0.0)], tags={"t": "1"})) == RunDeleted()
    assert await stored(db, run_id) == []
    assert await db.fetchval("SELECT count(*) FROM tags WHERE run_id = $1", run_id) == 0


async def test_a_changed_param_leaves_nothing_of_its_post_behind(services, db, run_id):
    await services.intake.post(post_of(run_id, [], params={"p": "1"}))
    outcome = await services.intake.post(
        post_of(run_id, [("a", 0, 0, 0.0)], params={"p": "2", "q": "1"}, tags={"t": "1"})
    )
    assert outcome == ParamsChanged((ParamChange("p", "1", "2"),))
    assert await stored(db, run_id) == []
    assert await db.fetch("SELECT key FROM params WHERE run_id = $1", run_id) == [("p",)]
    assert await services.intake.post(post_of(run_id, [("a", 0, 0, 0.0)], params={"p": "1"})) == Stored(1)


async def test_of_posts_that_wait_together_the_first_param_wins_and_the_others_points_go_on(
    services, db, run_id
):
    """They share a transaction; one that is refused must not take the others with it."""
    posts = [post_of(run_id, [("a", i, 0, 0.0)], params={"p": str(i)}) for i in range(4)]
    posts += [post_of(run_id, [("a", 9, 0, 0.0)]), post_of(new_id(), [("a", 0, 0, 0.0)])]
    outcomes = await asyncio.gather(*(services.intake.post(post) for post in posts))
    winners = [i for i in range(4) if outcomes[i] == Stored(1)]
    assert len(winners) == 1
    assert outcomes[4:] == [Stored(1), RunUnknown()]
    assert await stored(db, run_id) == expected([("a", winners[0], 0, 0.0), ("a", 9, 0, 0.0)])


async def test_many_single_points_at_once_share_transactions_and_are_all_there(services, db, run_id):
    points = [(f"k{i % 7}", i, i, i / 3) for i in range(200)]
    outcomes = await asyncio.gather(*(services.intake.post(post_of(run_id, [point])) for point in points))
    assert outcomes == [Stored(1)] * 200
    assert await stored(db, run_id) == expected(points)
    assert await db.fetchval("SELECT sum(n) FROM series WHERE run_id = $1", run_id) == 200
    assert await db.fetchval("SELECT last_seq FROM writers WHERE run_id = $1", run_id) < 200


@pytest.mark.parametrize("seed", range(3))
async def test_repeats_of_any_kind_are_stored_once(services, db, run_id, seed):
    """Against a set: steps in any order, batches that overlap, resends at the same time, NaN, zeros of both signs."""
    rng = random.Random(seed)
    values = [0.0, 1.0, math.nan, math.inf, -math.inf, 2.5]
    wanted: set[Point] = set()
    for _ in range(12):
        points: set[Point] = {
            (rng.choice("ab"), rng.randint(-3, 3), rng.randint(0, 2), rng.choice(values))
            for _ in range(rng.randint(1, 30))
        }  # one math.nan: equal to itself in a set
        times_sent = rng.choice([1, 1, 2])
        outcomes = await asyncio.gather(
            *(services.intake.post(post_of(run_id, sorted(points, key=repr))) for _ in range(times_sent))
        )
        assert sum(outcome.points for outcome in outcomes) == len(points - wanted)
        wanted |= points
    assert await stored(db, run_id) == expected(wanted)
    assert await db.fetchval("SELECT points FROM writers WHERE run_id = $1", run_id) == len(wanted)
    assert await db.fetchval("SELECT sum(n) FROM series WHERE run_id = $1", run_id) == len(wanted)


async def test_a_repeat_of_a_point_from_the_runs_own_client_is_known(services, db):
    run_id, writer = new_id(), new_id()
    start = Event("run_start", 1, {"experiment": "e", "name": "r", "start_time_ms": 1})
    points = [("a", 0, 0, 1.0), ("a", 1, 1, 2.0)]
    batch = Batch.of_points(run_id, writer, 1, points, events=[start])
    with services.intake.admit(100) as ticket:
        await services.intake.commit(batch, ticket)
    assert await services.intake.post(post_of(run_id, [*points, ("a", 2, 2, 3.0)])) == Stored(1)
    assert len(await stored(db, run_id)) == 3


async def test_the_latest_value_stays_when_older_points_arrive(services, db, run_id):
    for point in [("a", 5, 5, 1.0), ("a", 3, 9, 7.0), ("a", 5, 5, 0.5), ("a", 5, 5, math.nan)]:
        await services.intake.post(post_of(run_id, [point]))
    row = await db.fetchrow(
        "SELECT last_step, last_time_ms, last_value, n FROM series WHERE run_id = $1", run_id
    )
    assert tuple(row) == (5, 5, 1.0, 4)


async def test_a_repeat_of_a_superseded_point_is_known_too(services, db):
    """After a resume the latest value is of the new attempt, while the older points are still stored."""
    run_id = new_id()
    for attempt, points in enumerate([[("a", 0, 0, 1.0), ("a", 9, 9, 9.0)], [("a", 1, 10, 2.0)]]):
        body: dict[str, Any] = {"experiment": "e", "name": "r", "start_time_ms": attempt}
        if attempt:
            body["resume_from_step"] = 0
        batch = Batch.of_points(run_id, new_id(), 1, points, events=[Event("run_start", attempt, body)])
        with services.intake.admit(100) as ticket:
            await services.intake.commit(batch, ticket)
    assert await services.intake.post(post_of(run_id, [("a", 9, 9, 9.0)])) == Stored(0)


async def test_a_post_is_seen_by_the_next_search_of_runs_at_rest(services, db, run_id):
    """A run that was sealed for searches is opened by its first post, and by each after it was sealed again."""
    from ingest.store.sealing import Sealing, seal_some

    await db.execute("UPDATE runs SET status = 'FINISHED', end_time_ms = 2 WHERE run_id = $1", run_id)
    for value in (1.0, 2.0):
        await seal_some(db, Sealing(quiet=0, patience=0, min_runs=1))
        assert await db.fetchval("SELECT segment_id FROM runs WHERE run_id = $1", run_id) is not None
        await services.intake.post(post_of(run_id, [("a", 0, 0, value)]))
        assert await db.fetchval("SELECT segment_id FROM runs WHERE run_id = $1", run_id) is None
