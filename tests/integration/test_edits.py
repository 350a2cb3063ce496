"""What people change by hand, over HTTP: all or nothing, and seen by the next read and search."""

from __future__ import annotations

import uuid

import pytest

from ingest_schema.events import Event
from ingest_schema.wire import Batch, encode_batch


@pytest.fixture
async def run_id(web_client):
    run, writer = uuid.uuid4(), uuid.uuid4()
    start = Event("run_start", 1000, {"experiment": "edited", "name": "first", "start_time_ms": 1000})
    end = Event("run_end", 2000, {"status": "FINISHED", "end_time_ms": 2000})
    batch = Batch.of_points(run, writer, 1, [("loss", 1, 1, 0.5)], events=(start, end))
    answer = await web_client.post(
        "/api/v1/batches", data=encode_batch(batch), headers={"Content-Type": "application/msgpack"}
    )
    assert answer.status == 200, await answer.text()
    return run.hex


async def found(web_client, **question):
    answer = await web_client.post("/api/v1/runs/search", json=question)
    return [run["run_id"] for run in (await answer.json())["runs"]]


async def test_a_run_is_renamed_tagged_and_untagged(web_client, run_id):
    answer = await web_client.patch(
        f"/api/v1/runs/{run_id}", json={"name": "second", "tags": {"team": "vision", "note": "x"}}
    )
    assert answer.status == 200
    run = await answer.json()
    assert (run["name"], run["tags"]) == ("second", {"team": "vision", "note": "x"})
    run = await (await web_client.patch(f"/api/v1/runs/{run_id}", json={"tags": {"note": None}})).json()
    assert (run["name"], run["tags"]) == ("second", {"team": "vision"})
    assert await found(web_client, filter="tags.team = 'vision' AND name = 'second'") == [run_id]


async def test_a_deleted_run_is_hidden_and_comes_back(web_client, run_id):
    url = f"/api/v1/runs/{run_id}"
    assert (await (await web_client.patch(url, json={"lifecycle": "deleted"})).json())[
        "lifecycle"
    ] == "deleted"
    assert await found(web_client) == []
    refused = await web_client.patch(url, json={"name": "third"})
    assert (refused.status, (await refused.json())["code"]) == (409, "is_deleted")
    answer = await web_client.patch(url, json={"name": "third", "lifecycle": "active"})
    assert (await answer.json())["name"] == "third"
    assert await found(web_client, filter="name = 'third'") == [run_id]


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"names": "x"},
        {"name": ""},
        {"name": " "},
        {"name": 5},
        {"tags": []},
        {"tags": {"a": 1}},
        {"tags": {"": "x"}},
        {"tags": {"mlflow.runName": "x"}},
        {"lifecycle": "gone"},
    ],
)
async def test_a_bad_edit_changes_nothing_and_says_what_is_wrong(web_client, run_id, body):
    url = f"/api/v1/runs/{run_id}"
    before = await (await web_client.get(url)).json()
    answer = await web_client.patch(url, json=body)
    assert answer.status == 400
    assert (await answer.json())["code"] == "bad_request"
    assert await (await web_client.get(url)).json() == before


async def test_what_is_not_there_is_not_edited(web_client):
    assert (await web_client.patch(f"/api/v1/runs/{uuid.uuid4().hex}", json={})).status == 404
    assert (await web_client.patch("/api/v1/runs/nonsense", json={})).status == 400
    assert (await web_client.patch("/api/v1/experiments/77", json={"name": "x"})).status == 404
    assert (await web_client.patch("/api/v1/experiments/x", json={"name": "x"})).status == 400


async def test_experiments_are_made_renamed_deleted_and_restored(web_client, run_id):
    made = await web_client.post("/api/v1/experiments", json={"name": "mine", "tags": {"a": "1"}})
    experiment = await made.json()
    assert (made.status, experiment["name"], experiment["tags"]) == (200, "mine", {"a": "1"})
    again = await web_client.post("/api/v1/experiments", json={"name": "mine"})
    assert (again.status, (await again.json())["code"]) == (409, "name_taken")
    url = f"/api/v1/experiments/{experiment['experiment_id']}"
    assert (await web_client.patch(url, json={"name": "edited"})).status == 409
    answer = await (await web_client.patch(url, json={"name": "ours", "tags": {"a": None, "b": "2"}})).json()
    assert (answer["name"], answer["tags"]) == ("ours", {"b": "2"})

    of_run = (await (await web_client.get(f"/api/v1/runs/{run_id}")).json())["experiment_id"]
    await web_client.patch(f"/api/v1/experiments/{of_run}", json={"lifecycle": "deleted"})
    assert await found(web_client) == []
    refused = await web_client.patch(f"/api/v1/experiments/{of_run}", json={"tags": {"x": "y"}})
    assert (refused.status, (await refused.json())["code"]) == (409, "is_deleted")
    await web_client.patch(f"/api/v1/experiments/{of_run}", json={"lifecycle": "active"})
    assert await found(web_client) == [run_id]
