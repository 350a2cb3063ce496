"""Posts that go forward in one statement: the same rows as the long way, and nothing at all of any other."""

from __future__ import annotations

import math
import random
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from ingest.store.commit import commit_group
from ingest.store.connections import connect_writer
from ingest.store.forward import post_forward
from ingest.store.outcomes import Stored
from ingest.store.posts import Post
from ingest_schema.ids import new_id
from tests.integration.store.test_posts import Point
from tests.integration.store.test_posts import post_of as post_of_points

SERIES = (
    "SELECT key, n, non_finite, first_step, first_time_ms, first_value, last_step, last_time_ms, last_value, min_value, max_value, \
min_step, max_step, sum_value FROM series WHERE run_id = $1 ORDER BY key"
)
CHUNKS = (
    "SELECT key, seq, lo_step, hi_step, lo_time_ms, hi_time_ms, first_value, last_value, min_value, max_value, min_step, max_step, \
sum_value, n, non_finite, steps, times_ms, values FROM metric_chunks WHERE run_id = $1 ORDER BY seq, key"
)


def post_of(run_id: UUID, *points: Point, **more: Any) -> Post:
    return post_of_points(run_id, list(points), **more)


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Any]:
    connection = await connect_writer(database_url)
    yield connection
    await connection.close()


async def new_run(db: Any, *, is_open: bool = True) -> UUID:
    """A run, and if it is open a first post to it, which always goes the long way."""
    run_id = new_id()
    await db.execute("INSERT INTO runs (run_id, experiment_id, start_time_ms) VALUES ($1, 0, 1)", run_id)
    if is_open:
        await commit_group(db, [], [post_of(run_id, ("first", 0, 0, 0.0))])
    return run_id


async def rows(db: Any, query: str, run_id: UUID) -> str:
    """As text, since NaN differs from itself."""
    return repr([tuple(row) for row in await db.fetch(query, run_id)])


async def test_it_stores_what_the_long_way_stores(db: Any) -> None:
    """Both are given the same posts; afterwards no column of any row tells which run went which way."""
    rng = random.Random(1)
    short, long = [await new_run(db) for _ in range(2)]
    step = 0
    for _ in range(40):
        points: list[Point] = []
        for key in rng.sample(["a", "b/c", "ünï"], rng.randint(1, 3)):
            for _ in range(rng.randint(1, 4)):
                step += 1
                value = rng.choice([0.5, -1.5, math.nan, math.inf, -math.inf, 1e300, 5e-324, 0.1, -0.0])
                points.append((key, step, 1_000 + step // 2, value))
            rng.shuffle(points)
        assert await post_forward(db, [post_of(short, *points)]) == [Stored(len(points))]
        assert (await commit_group(db, [], [post_of(long, *points, tags={"the": "long way"})]))[1] == [
            Stored(len(points))
        ]
    assert await rows(db, SERIES, short) == await rows(db, SERIES, long)
    assert await rows(db, CHUNKS, short) == await rows(db, CHUNKS, long)
    writers = "SELECT last_seq, points, client FROM writers WHERE run_id = $1"
    assert await rows(db, writers, short) == await rows(db, writers, long)


async def test_posts_of_several_runs_are_stored_together_and_equal_points_of_two_once(db: Any) -> None:
    one, other = [await new_run(db) for _ in range(2)]
    posts = [
        post_of(one, ("a", 1, 1, 0.5)),
        post_of(other, ("a", 1, 1, 0.5), ("b", 1, 1, 0.5)),
        post_of(one, ("a", 1, 1, 0.5), ("a", 2, 2, 1.5)),
    ]
    assert await post_forward(db, posts) == [Stored(1), Stored(2), Stored(1)]
    counts = "SELECT run_id, sum(points)::int FROM writers GROUP BY run_id"
    assert dict(await db.fetch(counts)) == {one: 3, other: 3}


async def test_what_does_not_only_go_forward_is_left_whole_to_the_long_way(db: Any) -> None:
    """Of a group with one such post nothing is stored, also not of the others."""
    run_id, fine = await new_run(db), await new_run(db)
    assert await post_forward(db, [post_of(run_id, ("a", 5, 5, 1.0))]) == [Stored(1)]
    deleted = await new_run(db)
    await db.execute("UPDATE runs SET lifecycle = 'deleted' WHERE run_id = $1", deleted)
    sealed = await new_run(db)
    await db.execute("UPDATE writers SET is_sealed = true WHERE run_id = $1", sealed)
    resumed = await new_run(db)
    await db.execute("INSERT INTO writers (run_id, writer_id, resume_from_step) VALUES ($1, $1, 3)", resumed)
    before = await db.fetchval("SELECT array_agg(w ORDER BY w.run_id)::text FROM writers AS w")
    for post in (
        post_of(run_id, ("a", 5, 5, 1.0)),
        post_of(run_id, ("a", 5, 5, 2.0)),
        post_of(run_id, ("b", 9, 9, 1.0), ("a", 4, 9, 1.0)),
        post_of(new_id(), ("a", 9, 9, 1.0)),
        post_of(await new_run(db, is_open=False), ("a", 9, 9, 1.0)),
        post_of(deleted, ("a", 9, 9, 1.0)),
        post_of(sealed, ("a", 9, 9, 1.0)),
        post_of(resumed, ("a", 9, 9, 1.0)),
        post_of(run_id, ("a", 9, 9, 1.0), tags={"t": "1"}),
        post_of(run_id, ("a", 9, 9, 1.0), params={"p": "1"}),
        post_of(run_id, ("a", 9, 9, 1.0), name="n"),
        post_of(run_id, *(("a", 9 + i, 9, 1.0) for i in range(300))),
    ):
        assert await post_forward(db, [post_of(fine, ("a", 1, 1, 1.0)), post]) is None
    assert await db.fetchval("SELECT array_agg(w ORDER BY w.run_id)::text FROM writers AS w") == before
    assert await db.fetchval("SELECT count(*) FROM metric_chunks WHERE key = 'a'") == 1
