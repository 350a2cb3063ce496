"""After a resume the latest values are those of the points that count, also when late points of the old attempt come in."""

import math

import pytest

from ingest.store.compaction import Compaction


async def settle(store):
    async with Compaction.open(store.url) as compaction:
        assert compaction is not None
        return await compaction.settle_attempts()


async def series(store, run_id, key="loss"):
    return await store.connection.fetchrow("SELECT * FROM series WHERE run_id = $1 AND key = $2", run_id, key)


@pytest.mark.parametrize("compacted", [False, True])
async def test_a_resume_takes_superseded_points_off_the_series(store, run_id, compacted):
    await store.log(run_id, *[(i, 5 * i, -1.0 if i == 1_500 else float(i)) for i in range(2_000)])
    await store.log(run_id, (0, 0, 3.0), (1, 5, math.nan), key="epoch")
    if compacted:
        await store.end(run_id)
        await store.compact()
    await store.log(run_id, (1, 20_000, 0.5), key="epoch", writer=2, resume=1_000)
    assert await settle(store) == 1

    row = await series(store, run_id)
    assert (row["n"], row["last_step"], row["last_time_ms"], row["last_value"]) == (
        1_001,
        1_000,
        5_000,
        1_000.0,
    )
    assert (row["min_value"], row["max_value"], row["sum_value"]) == (0.0, 1_000.0, 500_500.0)
    assert (row["first_step"], row["first_value"]) == (0, 0.0)
    assert (await series(store, run_id, "epoch"))["n"] == 3
    assert await settle(store) == 0

    await store.log(run_id, (1_001, 30_000, 7.0), writer=2)
    row = await series(store, run_id)
    assert (row["n"], row["last_step"], row["last_value"]) == (1_002, 1_001, 7.0)


async def test_late_points_of_the_old_attempt_do_not_become_the_latest(store, run_id):
    await store.log(run_id, *[(i, i, 1.0) for i in range(100)])
    await store.log(run_id, *[(i, i, 2.0) for i in range(51, 80)], writer=2, resume=50)
    await settle(store)
    await store.log(run_id, *[(i, i, 3.0) for i in range(100, 200)])  # its spool, delivered at last
    assert await settle(store) == 1
    row = await series(store, run_id)
    assert (row["n"], row["last_step"], row["last_value"], row["max_value"]) == (80, 79, 2.0, 2.0)
    assert len(await store.rows(run_id)) == 229


async def test_a_metric_without_a_point_that_counts_comes_back_with_the_next(store, run_id):
    await store.log(run_id, (60, 0, 1.0), key="late")
    await store.log(run_id, (0, 0, 1.0), writer=2, resume=50)
    await settle(store)
    assert await series(store, run_id, "late") is None
    await store.log(run_id, (55, 0, 2.0), key="late", writer=2)
    row = await series(store, run_id, "late")
    assert (row["n"], row["last_step"], row["last_value"]) == (1, 55, 2.0)


async def test_of_equal_steps_and_times_the_greatest_value_is_the_latest(store, run_id):
    """As MLflow has it, with NaN as 0."""
    await store.log(run_id, (5, 5, 2.0), (5, 5, math.nan), (5, 5, -1.0), (9, 9, 9.0))
    await store.log(run_id, (7, 7, 1.0), key="other", writer=2, resume=5)
    await settle(store)
    assert (await series(store, run_id))["last_value"] == 2.0
