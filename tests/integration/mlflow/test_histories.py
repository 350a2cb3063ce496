"""Histories: every point once, in the order of time, however it came and however it is asked for."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest

from ingest.compaction.worker import Progress, compact_all
from ingest.services import Services
from ingest.store.compaction import Compaction
from ingest.store.connect import connect
from tests.integration.mlflow.conftest import Rest

NAMES = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def order(metric: dict[str, Any]) -> tuple[Any, ...]:
    value = NAMES.get(metric["value"], metric["value"])
    return (metric["timestamp"], metric["step"], value != value, value if value == value else 0)  # noqa: PLR0124  # NaN


async def log_shuffled(rest: Rest, run_id: str, seed: int, number: int = 400) -> list[dict[str, Any]]:
    """Batches of points in any order, with equal times and steps; what a history has to give."""
    rng = random.Random(seed)
    points = {
        (rng.randint(0, 30), rng.randint(-5, 5), rng.choice([0.5, 1.5, "NaN", "Infinity", "-Infinity"]))
        for _ in range(number)
    }
    shuffled = sorted(points, key=repr)
    rng.shuffle(shuffled)
    metrics = [
        {"key": "k", "value": value, "timestamp": time_ms, "step": step} for time_ms, step, value in shuffled
    ]
    for begin in range(0, len(metrics), 37):
        assert await rest.post("runs/log-batch", run_id=run_id, metrics=metrics[begin : begin + 37]) == {}
    return sorted(metrics, key=order)


@pytest.mark.parametrize("page", [1_000, 7])
async def test_pages_put_together_are_the_whole(rest: Rest, page: int):
    run_id = await rest.new_run()
    wanted = await log_shuffled(rest, run_id, seed=page)
    assert (await rest.get("metrics/get-history", run_id=run_id, metric_key="k"))["metrics"] == wanted
    found, token = [], ""
    while True:
        answer = await rest.get(
            "metrics/get-history", run_id=run_id, metric_key="k", max_results=page, page_token=token
        )
        found += answer["metrics"]
        assert len(answer["metrics"]) <= page
        token = answer.get("next_page_token", "")
        if not token:
            break
    assert found == wanted


async def test_unknown_runs_and_metrics_have_no_points_and_are_no_error(rest: Rest):
    run_id = await rest.new_run()
    for run in (run_id, "0" * 32, "no such run"):
        assert await rest.get("metrics/get-history", run_id=run, metric_key="k") == {}
        assert await rest.get("metrics/get-history", run_id=run, metric_key="k", max_results=5) == {}
        assert await rest.get("metrics/get-history-bulk", run_id=run, metric_key="k") == {"metrics": []}
        assert await rest.get("metrics/get-history-bulk-interval", run_ids=run, metric_key="k") == {}


async def test_bulk_gives_run_after_run_and_is_cut_in_all(rest: Rest):
    runs = sorted([await rest.new_run(), await rest.new_run()])
    wanted = [
        {**metric, "run_id": run}
        for run in runs
        for metric in await log_shuffled(rest, run, seed=1, number=20)
    ]
    path = "metrics/get-history-bulk?" + "&".join(f"run_id={run}" for run in reversed(runs)) + "&metric_key=k"
    assert (await rest.call("GET", path))["metrics"] == wanted
    assert (await rest.call("GET", path + "&max_results=25"))["metrics"] == wanted[:25]


async def test_an_interval_with_room_for_every_step_gives_every_point(rest: Rest):
    run_id = await rest.new_run()
    wanted = [{**metric, "run_id": run_id} for metric in await log_shuffled(rest, run_id, seed=3)]
    interval = "metrics/get-history-bulk-interval"
    assert (await rest.get(interval, run_ids=run_id, metric_key="k", max_results=20))["metrics"] == wanted


async def test_an_interval_keeps_about_as_many_steps_as_asked_and_each_runs_last(rest: Rest):
    runs = [await rest.new_run(), await rest.new_run()]
    for run, last in zip(runs, (500, 333), strict=True):
        metrics = [{"key": "k", "value": i, "timestamp": i, "step": i} for i in range(last + 1)]
        await rest.post("runs/log-batch", run_id=run, metrics=metrics)
    path = (
        "metrics/get-history-bulk-interval?"
        + "&".join(f"run_ids={run}" for run in runs)
        + "&metric_key=k&max_results=10"
    )
    metrics = (await rest.call("GET", path))["metrics"]
    steps = {run: [m["step"] for m in metrics if m["run_id"] == run] for run in runs}
    assert len(steps[runs[0]]) == 10
    assert (steps[runs[0]][0], steps[runs[0]][-1], steps[runs[1]][-1]) == (0, 500, 333)
    assert set(steps[runs[1]][:-1]) <= set(steps[runs[0]]), "the same steps, to compare curves"
    ranged = (await rest.call("GET", path + "&start_step=100&end_step=104"))["metrics"]
    assert {m["step"] for m in ranged} == {100, 101, 102, 103, 104}


@pytest.mark.parametrize("spread", [1, 977])
async def test_compacted_points_are_given_and_known(rest: Rest, services: Services, spread: int):
    """Compaction moves points to another table and leaves out what it can compute: evenly spread steps and times."""
    run_id = await rest.new_run()
    metrics = [
        {"key": "k", "value": i / 3, "timestamp": i * 10, "step": i * spread % 1000} for i in range(1000)
    ]
    for begin in range(0, 1000, 50):
        await rest.post("runs/log-batch", run_id=run_id, metrics=metrics[begin : begin + 50])
    await rest.post("runs/update", run_id=run_id, status="FINISHED", end_time=1)
    async with connect(services.database_url, purpose="test") as connection:
        async with Compaction.open(services.database_url) as compaction:
            assert compaction is not None
            await compact_all(compaction, Progress(), everything=True)
        assert await connection.fetchval("SELECT count(*) FROM ingest.metric_chunks") == 0
        assert await connection.fetchval("SELECT count(*) FROM ingest.packed_chunks") > 0
        answer = await rest.get("metrics/get-history", run_id=run_id, metric_key="k", max_results=600)
        rest_of_it = await rest.get(
            "metrics/get-history", run_id=run_id, metric_key="k", page_token=answer["next_page_token"]
        )
        assert answer["metrics"] + rest_of_it["metrics"] == metrics
        interval = "metrics/get-history-bulk-interval"
        whole = await rest.get(interval, run_ids=run_id, metric_key="k", max_results=1000)
        assert [{**metric, "run_id": run_id} for metric in metrics] == whole["metrics"]
        few = await rest.get(interval, run_ids=run_id, metric_key="k", max_results=10)
        steps = sorted(i * spread % 1000 for i in range(1000))
        assert sorted(metric["step"] for metric in few["metrics"]) == [steps[i * 999 // 9] for i in range(10)]
        assert [metric for metric in whole["metrics"] if metric in few["metrics"]] == few["metrics"]
        assert await rest.post("runs/log-batch", run_id=run_id, metrics=metrics) == {}
        assert await connection.fetchval("SELECT count(*) FROM ingest.metrics") == 1000


async def test_a_series_in_more_pieces_than_steps_are_asked_for_gives_a_point_of_as_many(
    rest: Rest, services: Services
):
    """Its own points, spread over all of it, and its last one, as it came and compacted; no more of it is read than that."""
    run_id, number = await rest.new_run(), 12_000
    for begin in range(0, number, 1_000):
        metrics = [
            {"key": "k", "value": i / 3, "timestamp": 2 * i, "step": i} for i in range(begin, begin + 1_000)
        ]
        await rest.post("runs/log-batch", run_id=run_id, metrics=metrics)

    async def check(steps_num: int, first: int = 0, last: int = number - 1) -> None:
        found = (
            await rest.get(
                "metrics/get-history-bulk-interval",
                run_ids=run_id, metric_key="k", max_results=steps_num, start_step=first, end_step=last,
            )
        )["metrics"]  # fmt: skip
        steps = [one["step"] for one in found]
        assert found == [
            {"key": "k", "value": i / 3, "timestamp": 2 * i, "step": i, "run_id": run_id} for i in steps
        ]
        assert steps == sorted(set(steps))
        assert steps_num * 0.8 <= len(steps) <= steps_num + 4
        assert (steps[0], steps[-1]) == (first, last)
        gap = (last - first) / steps_num
        assert max(b - a for a, b in pairwise(steps)) < 3 * gap + 256

    for steps_num, *span in ((40,), (12, 3_001, 9_002)):
        await check(steps_num, *span)
    await rest.post("runs/update", run_id=run_id, status="FINISHED", end_time=1)
    async with Compaction.open(services.database_url) as compaction:
        assert compaction is not None
        await compact_all(compaction, Progress(), everything=True)
    for steps_num, *span in ((60,), (12, 3_001, 9_002)):
        await check(steps_num, *span)
