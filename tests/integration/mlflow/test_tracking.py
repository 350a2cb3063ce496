"""What a stock client seldom sends and must be right all the same: lifecycles, names, tags, inputs, resends."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tests.integration.mlflow.conftest import Rest

ACTIVE = "must be in the 'active' state. Current state is deleted."


def pairs(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {item["key"]: item["value"] for item in items}


async def test_deleted_runs_take_no_write_and_can_be_read(rest: Rest):
    run_id = await rest.new_run()
    for _ in range(2):
        assert await rest.post("runs/delete", run_id=run_id) == {}
    writes: dict[str, dict[str, Any]] = {
        "runs/log-metric": {"key": "k", "value": 1, "timestamp": 1},
        "runs/log-batch": {},
        "runs/log-parameter": {"key": "k", "value": "1"},
        "runs/set-tag": {"key": "k"},
        "runs/delete-tag": {"key": "k"},
        "runs/update": {"run_name": "n"},
        "runs/log-inputs": {},
        "runs/outputs": {"models": []},
    }
    for path, more in writes.items():
        assert await rest.post(path, run_id=run_id, **more) == (
            400,
            "INVALID_PARAMETER_VALUE",
            f"The run {run_id} {ACTIVE}",
        )
    assert (await rest.get("runs/get", run_id=run_id))["run"]["info"]["lifecycle_stage"] == "deleted"
    for _ in range(2):
        assert await rest.post("runs/restore", run_id=run_id) == {}
    assert await rest.post("runs/set-tag", run_id=run_id, key="k") == {}


async def test_unknown_runs_are_404_everywhere(rest: Rest):
    for path in ("runs/log-batch", "runs/delete", "runs/restore", "runs/update", "runs/log-inputs"):
        for run_id in ("0" * 32, "abc"):
            answer = await rest.post(path, run_id=run_id)
            assert answer == (404, "RESOURCE_DOES_NOT_EXIST", f"Run with id={run_id} not found"), path


async def test_experiments_take_their_runs_along(rest: Rest):
    experiment = (await rest.post("experiments/create", name="e"))["experiment_id"]
    run_id = await rest.new_run(experiment_id=experiment)
    assert await rest.post("experiments/delete", experiment_id=experiment) == {}
    assert (await rest.post("experiments/delete", experiment_id=experiment))[0] == 404
    refusal = (400, "INVALID_PARAMETER_VALUE", f"The experiment {experiment} {ACTIVE}")
    assert await rest.post("runs/create", experiment_id=experiment) == refusal
    assert await rest.post("experiments/set-experiment-tag", experiment_id=experiment, key="k") == refusal
    assert (await rest.post("runs/set-tag", run_id=run_id, key="k"))[0] == 400
    assert (await rest.post("experiments/create", name="e"))[1] == "RESOURCE_ALREADY_EXISTS"
    assert await rest.post("experiments/restore", experiment_id=experiment) == {}
    assert await rest.post("runs/set-tag", run_id=run_id, key="k") == {}


async def test_a_name_that_is_taken_is_refused_in_create_and_in_rename(rest: Rest):
    first = (await rest.post("experiments/create", name="a"))["experiment_id"]
    second = (await rest.post("experiments/create", name="b"))["experiment_id"]
    answers = await asyncio.gather(*(rest.post("experiments/create", name="c") for _ in range(5)))
    assert [type(answer) for answer in answers].count(dict) == 1, "of racing clients one wins"
    assert (await rest.post("experiments/update", experiment_id=second, new_name="a"))[:2] == (
        400,
        "RESOURCE_ALREADY_EXISTS",
    )
    assert await rest.post("experiments/update", experiment_id=first, new_name="a") == {}


async def test_name_and_tag_of_a_run_are_one(rest: Rest):
    run_id = await rest.new_run(tags=[{"key": "mlflow.runName", "value": "one"}])

    async def seen() -> tuple[Any, ...]:
        run = (await rest.get("runs/get", run_id=run_id))["run"]
        return run["info"]["run_name"], pairs(run["data"].get("tags", [])).get("mlflow.runName")

    assert await seen() == ("one", "one")
    await rest.post("runs/update", run_id=run_id, run_name="two")
    assert await seen() == ("two", "two")
    await rest.post("runs/update", run_id=run_id, run_name="")
    assert await seen() == ("two", "two")
    await rest.post("runs/log-batch", run_id=run_id, tags=[{"key": "mlflow.runName", "value": "three"}])
    assert await seen() == ("three", "three")
    assert (await rest.post("runs/delete-tag", run_id=run_id, key="mlflow.runName")) == {}
    assert await seen() == ("", None)


async def test_an_update_changes_what_it_names_and_no_more(rest: Rest):
    run_id = await rest.new_run(start_time=5, user_id="me")
    info = (await rest.post("runs/update", run_id=run_id, status="FINISHED", end_time="9"))["run_info"]
    assert (info["status"], info["start_time"], info["end_time"], info["user_id"]) == ("FINISHED", 5, 9, "me")
    info = (await rest.post("runs/update", run_uuid=run_id, status="RUNNING"))["run_info"]
    assert (info["status"], info["end_time"]) == ("RUNNING", 9)


async def test_inputs_and_outputs_are_kept(rest: Rest):
    run_id = await rest.new_run()
    dataset = {"name": "d", "digest": "1", "source_type": "local", "source": "{}"}
    inputs = [{"dataset": dataset, "tags": [{"key": "mlflow.data.context", "value": "train"}]}]
    for tags in (inputs, [{"dataset": {**dataset, "source": "other"}}]):
        assert (
            await rest.post("runs/log-inputs", run_id=run_id, datasets=tags, models=[{"model_id": "m-1"}])
            == {}
        )
    assert await rest.post("runs/outputs", run_id=run_id, models=[{"model_id": "m-2", "step": 7}]) == {}
    run = (await rest.get("runs/get", run_id=run_id))["run"]
    assert run["inputs"] == {"dataset_inputs": inputs, "model_inputs": [{"model_id": "m-1"}]}
    assert run["outputs"] == {"model_outputs": [{"model_id": "m-2", "step": 7}]}
    found = await rest.post("experiments/search-datasets", experiment_ids=["0"])
    assert found == {
        "dataset_summaries": [{"experiment_id": "0", "name": "d", "digest": "1", "context": "train"}]
    }


async def test_models_of_old_clients_are_appended_to_their_tag(rest: Rest):
    run_id = await rest.new_run()
    for path in ("a", "b"):
        model = (
            f'{{"artifact_path": "{path}", "flavors": {{}}, "utc_time_created": "now", "run_id": "{run_id}"}}'
        )
        assert await rest.post("runs/log-model", run_id=run_id, model_json=model) == {}
    tags = pairs((await rest.get("runs/get", run_id=run_id))["run"]["data"]["tags"])
    assert [part["artifact_path"] for part in json.loads(tags["mlflow.log-model.history"])] == ["a", "b"]


async def test_changes_are_seen_by_the_next_search(rest: Rest):
    run_id = await rest.new_run()
    await rest.post("runs/log-metric", run_id=run_id, key="m", value="-Infinity", timestamp=1)
    found = await rest.post("runs/search", experiment_ids=["0"], filter="metrics.m < 0")
    assert [run["info"]["run_id"] for run in found["runs"]] == [run_id]
    assert found["runs"][0]["data"]["metrics"] == [
        {"key": "m", "value": "-Infinity", "timestamp": 1, "step": 0}
    ]
    assert await rest.post("runs/search", experiment_ids=["0"], filter="metrics.m > 0") == {}
    assert (await rest.post("runs/search", experiment_ids=["0"], filter="x ~ 1"))[0] == 400
    assert (await rest.post("runs/search", experiment_ids=["0"], page_token="nonsense"))[0] == 400
