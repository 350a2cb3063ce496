"""Keys to choose from and runs per experiment: what the dashboard asks before anybody searches; columns of charts by name."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.search.test_http import log


@pytest.fixture
async def two(web_client: Any) -> list[str]:
    first = await log(
        web_client,
        "first",
        params={"lr": "0.1"},
        metrics={"loss": [1.0], "val/loss": [2.0]},
        experiment="keys",
    )
    second = await log(
        web_client, "second", params={"lr": "0.2", "depth": "3"}, metrics={"loss": [3.0]}, experiment="keys"
    )
    return [first.hex, second.hex]


async def keys(web_client: Any, status: int = 200, **body: object) -> Any:
    response = await web_client.post("/api/v1/keys", json=body)
    assert response.status == status, await response.text()
    return await response.json()


async def test_keys_of_runs_come_with_how_many_have_them(web_client, two):
    found = await keys(web_client, runs=two)
    assert found["metrics"] == [{"key": "loss", "runs": 2}, {"key": "val/loss", "runs": 1}]
    assert found["params"] == [{"key": "depth", "runs": 1}, {"key": "lr", "runs": 2}]


async def test_keys_of_an_experiment_are_those_of_its_newest_runs(web_client, two):
    experiments = (await (await web_client.get("/api/v1/experiments")).json())["experiments"]
    (own,) = [one["experiment_id"] for one in experiments if one["name"] == "keys"]
    assert (await keys(web_client, experiments=[own], kinds=["metric"], match="val*"))["metrics"] == [
        {"key": "val/loss", "runs": 1}
    ]
    assert (await keys(web_client, experiments=[own + 1_000]))["metrics"] == []


async def test_too_many_keys_are_cut_and_it_is_said(web_client, two):
    found = await keys(web_client, runs=two, kinds=["metric"], limit=1)
    assert [one["key"] for one in found["metrics"]] == ["loss"]
    assert found["truncated"] is True


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"kinds": ["artifact"]}, "kinds must be"),
        ({"runs": ["nonsense"]}, "runs:"),
        ({"experiments": ["1"]}, "list of ids"),
        ({"limit": 0}, "limit must be"),
        ({"match": "/(/"}, "match:"),
        ({"wrong": 1}, "no field 'wrong'"),
    ],
)
async def test_what_can_not_be_asked_is_refused_with_its_reason(web_client, two, body, says):
    assert says in (await keys(web_client, 400, **body))["detail"]


async def test_the_overview_counts_active_runs(web_client, two):
    await web_client.patch(f"/api/v1/runs/{two[0]}", json={"lifecycle": "deleted"})
    counts = (await (await web_client.get("/api/v1/overview")).json())["experiments"]
    assert [one["runs"] for one in counts] == [1]


async def test_charts_leave_out_columns_that_nobody_asked_for(web_client, two):
    body = {"runs": two, "keys": ["loss"], "columns": ["x", "value"]}
    answer = await (await web_client.post("/api/v1/series/query", json=body)).json()
    assert [set(one["columns"]) for one in answer["series"]] == [{"x", "value"}] * 2
