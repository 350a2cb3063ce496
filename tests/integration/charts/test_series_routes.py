"""The routes of charts: forms, bounds and errors, as the process that draws answers them."""

import math

import msgpack
import numpy as np
import pytest


@pytest.fixture
async def logged(store, run_id):
    """3,000 points of loss with one NaN, as many of lr, and a short metric; the run started at 1,000 ms."""
    await store.log(
        run_id, *[(i, 1_000 + 2 * i, math.nan if i == 70 else float(i % 10)) for i in range(3_000)]
    )
    await store.log(run_id, *[(i, 1_000 + 2 * i, float(3_000 - i)) for i in range(2_990)], key="opt/lr é")
    await store.log(run_id, (0, 5, -math.inf), (1, 6, math.nan), key="short")
    return f"/api/v1/runs/{run_id.hex}/series"


async def get(client, path, status=200, **query):
    answer = await client.get(path, params=query)
    assert answer.status == status, await answer.text()
    return await answer.json()


async def test_a_chart_says_how_many_points_it_shows(chart_client, logged):
    body = await get(chart_client, f"{logged}/loss", buckets=30)
    columns = body["columns"]
    assert body["told"] == "3,000 points in 30 buckets"
    assert body["form"] == "buckets"
    assert (sum(columns["n"]), sum(columns["non_finite"])) == (3_000, 1)
    assert columns["max"] == [9.0] * 30
    assert columns["x_low"][0] == 0
    assert columns["x_high"][-1] == 2_999


async def test_few_points_come_raw_with_their_nan(chart_client, logged):
    body = await get(chart_client, f"{logged}/short")
    assert body["told"] == "2 points"
    assert body["columns"] == {"x": [0, 1], "step": [0, 1], "time_ms": [5, 6], "value": ["-Infinity", "NaN"]}


async def test_a_bucket_without_a_finite_value_has_no_least_one(chart_client, logged):
    body = await get(chart_client, f"{logged}/short", buckets=1)
    assert body["columns"]["min"] == [None]
    assert body["columns"]["first"] == ["-Infinity"]


async def test_time_relative_to_the_start(chart_client, logged):
    body = await get(chart_client, f"{logged}/loss", x="relative", **{"from": 100, "to": 119})
    assert body["columns"]["x"] == list(range(100, 120, 2))
    assert body["columns"]["step"] == list(range(50, 60))


async def test_one_metric_over_another(chart_client, logged):
    body = await get(chart_client, f"{logged}/loss", x="metric:opt/lr é", buckets=5_000)
    assert body["n"] == 2_990
    assert body["unplaced"] == 10
    assert body["columns"]["x"] == [float(x) for x in range(11, 3_001)]
    buckets = await get(chart_client, f"{logged}/loss", x="metric:opt/lr é", buckets=10)
    assert sum(buckets["columns"]["n"]) == 2_990


async def test_msgpack_gives_columns_as_bytes(chart_client, logged):
    answer = await chart_client.get(
        f"{logged}/loss", params={"buckets": 7}, headers={"Accept": "application/msgpack"}
    )
    body = msgpack.unpackb(await answer.read())
    assert np.frombuffer(body["columns"]["n"], body["dtypes"]["n"]).sum() == 3_000


async def test_the_etag_changes_with_the_points(chart_client, logged, store, run_id):
    first = await chart_client.get(f"{logged}/loss")
    tag = {"If-None-Match": first.headers["ETag"]}
    assert (await chart_client.get(f"{logged}/loss", headers=tag)).status == 304
    assert (await chart_client.get(f"{logged}/loss?buckets=5", headers=tag)).status == 200
    await store.log(run_id, (3_000, 0, 1.0))
    assert (await chart_client.get(f"{logged}/loss", headers=tag)).status == 200


async def test_many_series_come_in_one_answer(chart_client, logged, run_id):
    question = {"runs": [run_id.hex], "keys": ["loss", "absent", "opt/lr é"], "buckets": 10}
    answer = await chart_client.post("/api/v1/series/query", json=question)
    body = await answer.json()
    assert [one["key"] for one in body["series"]] == ["loss", "opt/lr é"]
    assert body["missing"] == [{"run_id": run_id.hex, "key": "absent"}]


async def test_aggregates_equal_those_of_pandas(chart_client, store):
    import uuid

    import pandas as pd

    dice = np.random.default_rng(1)
    frames, run_ids = [], [uuid.uuid4() for _ in range(5)]
    for run_id in run_ids:
        steps = dice.integers(-20, 300, 900)
        values = dice.normal(1e6, 1, 900)
        values[dice.integers(0, 900, 20)] = np.nan
        await store.log(run_id, *zip(steps.tolist(), range(900), values.tolist(), strict=True))
        frames.append(pd.DataFrame({"step": steps, "value": values}))
    expected = pd.concat(frames).groupby("step").value.agg(["count", "mean", "std", "min", "max"])
    question = {"runs": [run_id.hex for run_id in run_ids], "key": "loss"}
    columns = (await (await chart_client.post("/api/v1/series/aggregate", json=question)).json())["columns"]
    assert columns["first_step"] == columns["last_step"] == expected.index.tolist()
    for name in ("count", "min", "max"):
        assert columns[name] == expected[name].tolist()
    np.testing.assert_allclose(columns["mean"], expected["mean"], rtol=1e-12)
    np.testing.assert_allclose(
        columns["std"], expected["std"], rtol=1e-9
    )  # of values of 1e6: 1e-12 of the values


@pytest.mark.parametrize(
    "query",
    [{"buckets": 0}, {"buckets": "x"}, {"x": "metric:"}, {"x": "steps"}, {"from": 5, "to": 4}, {"colour": "red"},
     {"from": "nan"}, {"rank": "a"}, {"attempt": -1}],
)  # fmt: skip
async def test_a_question_that_makes_no_sense_is_refused_with_its_reason(chart_client, logged, query):
    body = await get(chart_client, f"{logged}/loss", 400, **query)
    assert body["code"] == "bad_request"


async def test_an_absent_metric_is_not_found(chart_client, logged):
    assert (await get(chart_client, f"{logged}/absent", 404))["code"] == "not_found"


async def test_an_answer_has_a_bound(chart_client, logged, run_id):
    question = {"runs": [run_id.hex], "keys": [f"k{i}" for i in range(2_001)]}
    answer = await chart_client.post("/api/v1/series/query", json=question)
    assert (answer.status, (await answer.json())["code"]) == (422, "too_much")
