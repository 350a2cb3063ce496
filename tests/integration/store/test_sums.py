"""Sums beyond float64: PostgreSQL's + refuses them, and no point may be refused for what its metric sums up to."""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from ingest.store.commit import commit_group
from ingest.store.connections import connect_writer
from ingest.store.outcomes import Stored
from ingest_schema.ids import new_id
from ingest_schema.wire import Batch
from tests.integration.store.test_forward import new_run, post_of

MAX = sys.float_info.max
TINY = 5e-324
EDGES = [0.0, -0.0, 1.0, TINY, -TINY, 1e289, 1e290, 8e307, MAX / 2, np.nextafter(MAX / 2, MAX), MAX - 2.0**970, MAX, 2.0**969, 2.0**970,
         math.inf, math.nan]  # fmt: skip


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Any]:
    connection = await connect_writer(database_url)
    yield connection
    await connection.close()


async def test_sums_are_those_of_ieee_754(db):
    random = np.random.default_rng(5)
    bits = [struct.unpack("d", random.bytes(8))[0] for _ in range(4_000)]
    near = (random.uniform(0.25, 1.0, 2_000) * MAX * random.choice([-1.0, 1.0], 2_000)).tolist()
    edges = [*EDGES, *(-edge for edge in EDGES)]
    pairs = [(a, b) for a in edges for b in edges]
    for column in (bits, near):
        pairs += list(zip(column[::2], column[1::2], strict=True))
    a, b = (np.array(column, np.float64) for column in zip(*pairs, strict=True))
    found = await db.fetch(
        "SELECT ingest.ieee_sum(a, b) AS sum FROM unnest($1::float8[], $2::float8[]) WITH ORDINALITY AS q (a, b, i) ORDER BY i",
        a.tolist(), b.tolist(),
    )  # fmt: skip
    with np.errstate(over="ignore", invalid="ignore"):
        expected = a + b
    np.testing.assert_array_equal(np.array([row["sum"] for row in found]), expected)


async def test_batches_whose_sum_is_beyond_float64_are_stored(db):
    run_id, writer_id = new_id(), new_id()
    for seq, value in enumerate((MAX, MAX, -1.0), 1):
        batch = Batch.of_points(
            run_id, writer_id, seq, [("large", seq, seq, value), ("small", seq, seq, TINY)]
        )
        outcomes, _ = await commit_group(db, [batch], [])
        assert outcomes == [Stored(2)]
    rows = await db.fetch(
        "SELECT key, n, sum_value, last_value FROM series WHERE run_id = $1 ORDER BY key", run_id
    )
    assert [tuple(row) for row in rows] == [("large", 3, math.inf, -1.0), ("small", 3, 3 * TINY, TINY)]


async def test_posts_whose_sum_is_beyond_float64_are_stored(db):
    run_id = await new_run(db)
    for step in (1, 2, 3):
        _, outcomes = await commit_group(db, [], [post_of(run_id, ("large", step, step, -MAX))])
        assert outcomes == [Stored(1)]
    row = await db.fetchrow(
        "SELECT n, sum_value, min_value FROM series WHERE run_id = $1 AND key = 'large'", run_id
    )
    assert tuple(row) == (3, -math.inf, -MAX)
