"""The contract of runs over raw HTTP: names, status, stages, inputs, outputs, and who is told what."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.integration.mlflow.conftest import Api

INVALID = "INVALID_PARAMETER_VALUE"
GONE = "RESOURCE_DOES_NOT_EXIST"
DOCS = " See the API docs for more information about request parameters."
MODEL_JSON = '{"artifact_path": "a", "flavors": {}, "utc_time_created": "now", "run_id": "r"}'
POINT = {"key": "k", "value": 1, "timestamp": 1}

OF_RUNS: dict[str, dict[str, Any]] = {
    "runs/update": {"status": "FINISHED"},
    "runs/log-metric": POINT,
    "runs/log-parameter": {"key": "k", "value": "v"},
    "runs/set-tag": {"key": "k", "value": "v"},
    "runs/delete-tag": {"key": "k"},
    "runs/log-batch": {"metrics": [POINT]},
    "runs/log-inputs": {"datasets": []},
    "runs/outputs": {"models": [{"model_id": "m"}]},
    "runs/log-model": {"model_json": MODEL_JSON},
}
"""Each write to a run, with the least that it takes beside the run's id."""


@pytest.fixture(scope="module")
def run_ids(api: Api) -> dict[str, str]:
    live, dead = api.new_run(run_name="live"), api.new_run(run_name="dead")
    assert api.post("runs/delete", run_id=dead) == {}
    experiment = api.post("experiments/create", name="gone")["experiment_id"]
    assert api.post("experiments/delete", experiment_id=experiment) == {}
    return {"live": live, "dead": dead, "gone": experiment}


@pytest.mark.parametrize("path", [*OF_RUNS, "runs/delete", "runs/restore"])
@pytest.mark.parametrize("name", ["0" * 32, "abc"])
def test_a_run_that_is_not_there(api: Api, path: str, name: str):
    told = (404, GONE, f"Run with id={name} not found")
    assert api.post(path, run_id=name, **OF_RUNS.get(path, {})) == told
    assert api.post(path, run_uuid=name, **OF_RUNS.get(path, {})) == told


@pytest.mark.parametrize("path", [*OF_RUNS, "runs/delete", "runs/restore"])
def test_a_run_that_is_not_named(api: Api, path: str):
    told = (400, INVALID, f"Missing value for required parameter 'run_id'.{DOCS}")
    assert api.post(path, **OF_RUNS.get(path, {})) == told
    assert api.post(path, run_id="", run_uuid="", **OF_RUNS.get(path, {})) == told


@pytest.mark.parametrize("path", OF_RUNS)
def test_a_deleted_run_takes_no_write(api: Api, run_ids: dict[str, str], path: str):
    told = f"The run {run_ids['dead']} must be in the 'active' state. Current state is deleted."
    assert api.post(path, run_id=run_ids["dead"], **OF_RUNS[path]) == (400, INVALID, told)
    found = api.get("runs/get", run_id=run_ids["dead"])["run"]
    assert (found["info"]["status"], found["info"]["lifecycle_stage"]) == ("RUNNING", "deleted")
    assert set(found["data"]) == {"tags"}, "nothing was written"


def test_reads_of_a_run_that_is_not_there(api: Api):
    for path, told in (
        ("runs/get", (404, GONE, "Run with id=abc not found")),
        ("artifacts/list", (404, GONE, "Run with id=abc not found")),
        ("metrics/get-history", {}),
    ):
        assert api.get(path, run_id="abc", metric_key="k") == told, path


@pytest.mark.parametrize(
    ("path", "fields", "answer"),
    [
        ("create", {"experiment_id": "9999"}, (404, GONE, "No Experiment with id=9999 exists")),
        ("create", {"experiment_id": "x"}, (400, INVALID, "Invalid experiment ID 'x'. Experiment ID must be a valid integer.")),
        ("create", {"experiment_id": "{gone}"}, (400, INVALID, "The experiment {gone} must be in the 'active' state. Current state is deleted.")),
        ("create", {"run_name": "a", "tags": [{"key": "mlflow.runName", "value": "b"}]},
         (400, INVALID, "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values (run_name='a', mlflow.runName='b').")),
        ("create", {"start_time": "soon"}, (400, INVALID, f"Invalid value \"soon\" for parameter 'start_time' supplied:  Hint: Value was of type 'str'.{DOCS}")),
        ("create", {"tags": "x"}, (400, INVALID, "for parameter 'tags' supplied:  Hint: Value was of type 'str'.")),
        ("update", {"run_id": "{live}", "end_time": 1.5}, (400, INVALID, "Invalid value 1.5 for parameter 'end_time' supplied:  Hint: Value was of type 'float'.")),
        ("delete-tag", {"run_id": "{live}", "key": "no"}, (404, GONE, "No tag with name: no in run with id {live}")),
        ("delete-tag", {"run_id": "{live}"}, (400, INVALID, "Missing value for required parameter 'key'.")),
        ("log-model", {"run_id": "{live}", "model_json": "{{"}, (400, INVALID, "Malformed model info.")),
        ("log-model", {"run_id": "{live}", "model_json": "{{}}"},
         (400, INVALID, "Model json is missing mandatory fields: {{'artifact_path', 'flavors', 'utc_time_created', 'run_id'}}")),
        ("log-model", {"run_id": "{live}"}, (400, INVALID, "Missing value for required parameter 'model_json'.")),
        ("outputs", {"run_id": "{live}"}, (400, INVALID, "Missing value for required parameter 'models'.")),
        ("log-inputs", {"run_id": "{live}", "datasets": {}}, (400, INVALID, "Invalid value {{}} for parameter 'datasets' supplied:  Hint: Value was of type 'dict'.")),
    ],
)  # fmt: skip
def test_what_is_refused(
    api: Api, run_ids: dict[str, str], path: str, fields: dict[str, Any], answer: tuple[int, str, str]
):
    sent = {
        name: value.format(**run_ids) if isinstance(value, str) else value for name, value in fields.items()
    }
    status, code, message = api.post(f"runs/{path}", **sent)
    assert (status, code) == answer[:2]
    assert answer[2].format(**run_ids) in message


@pytest.mark.parametrize(
    ("what", "size", "parameter"),
    [
        ("name", 500, "name"),
        ("digest", 36, "digest"),
        ("source", 65_535, "source"),
        ("schema", 1_048_575, "schema"),
    ],
)
def test_lengths_of_a_dataset(api: Api, what: str, size: int, parameter: str):
    run_id = api.new_run()
    dataset = {"name": "d", "digest": "1", "source_type": "local", "source": "s"}
    for over in (0, 1):
        answer = api.post(
            "runs/log-inputs", run_id=run_id, datasets=[{"dataset": {**dataset, what: "x" * (size + over)}}]
        )
        assert answer == (
            (400, INVALID, f"'{parameter}' exceeds the maximum length of {size} characters") if over else {}
        )


def test_lengths_of_a_datasets_tags(api: Api):
    run_id = api.new_run()
    dataset = {"name": "d", "digest": "1", "source_type": "local", "source": "s"}
    for key, value, answer in (
        ("k" * 255, "v" * 500, {}),
        ("k" * 256, "", (400, INVALID, "'key' exceeds the maximum length of 255 characters")),
        ("k", "v" * 501, (400, INVALID, "'value' exceeds the maximum length of 500 characters")),
    ):
        tagged = {"dataset": dataset, "tags": [{"key": key, "value": value}]}
        assert api.post("runs/log-inputs", run_id=run_id, datasets=[tagged]) == answer


def test_a_run_as_it_is_made(api: Api):
    experiment = api.post("experiments/create", name="made")["experiment_id"]
    run = api.post("runs/create", experiment_id=experiment)["run"]
    info = run["info"]
    assert re.fullmatch(r"[0-9a-f]{32}", info["run_id"])
    assert re.fullmatch(r"[a-z]+-[a-z]+-[0-9]+", info["run_name"])
    assert info == {
        "run_id": info["run_id"], "run_uuid": info["run_id"], "run_name": info["run_name"], "experiment_id": experiment,
        "user_id": "", "status": "RUNNING", "start_time": 0, "lifecycle_stage": "active",
        "artifact_uri": f"mlflow-artifacts:/{experiment}/{info['run_id']}/artifacts",
    }  # fmt: skip
    assert run["data"] == {"tags": [{"key": "mlflow.runName", "value": info["run_name"]}]}
    assert api.get("runs/get", run_id=info["run_id"])["run"] == run


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"run_name": "a"}, "a"),
        ({"tags": [{"key": "mlflow.runName", "value": "b"}]}, "b"),
        ({"run_name": "c", "tags": [{"key": "mlflow.runName", "value": "c"}]}, "c"),
        ({"run_name": "", "tags": [{"key": "mlflow.runName", "value": "d"}]}, "d"),
        ({"run_name": "e" * 5_000}, "e" * 5_000),
    ],
)
def test_a_name_and_its_tag_are_one(api: Api, fields: dict[str, Any], name: str):
    run_id = api.new_run(**fields)

    def seen() -> tuple[str, list[str]]:
        run = api.get("runs/get", run_id=run_id)["run"]
        return run["info"]["run_name"], [
            t["value"] for t in run["data"]["tags"] if t["key"] == "mlflow.runName"
        ]

    assert seen() == (name, [name])
    assert api.post("runs/update", run_id=run_id, run_name="updated")["run_info"]["run_name"] == "updated"
    assert seen() == ("updated", ["updated"])
    api.post("runs/set-tag", run_id=run_id, key="mlflow.runName", value="tagged")
    assert seen() == ("tagged", ["tagged"])
    api.post("runs/log-batch", run_id=run_id, tags=[{"key": "mlflow.runName", "value": "batched"}])
    assert seen() == ("batched", ["batched"])
    for path, empty in (
        ("runs/update", {"run_name": ""}),
        ("runs/set-tag", {"key": "mlflow.runName", "value": ""}),
        ("runs/log-batch", {"tags": [{"key": "mlflow.runName", "value": ""}]}),
    ):
        api.post(path, run_id=run_id, **empty)
        assert seen() == ("batched", ["batched"]), f"{path}: an empty name changes nothing"


def test_a_deleted_run_keeps_its_files_and_is_found(api: Api):
    info = api.post("runs/create")["run"]["info"]
    place = "/api/2.0/mlflow-artifacts/artifacts/" + info["artifact_uri"].removeprefix("mlflow-artifacts:/")
    assert api.send("PUT", f"{place}/a.txt", body=b"hello").status == 200
    api.post("runs/delete", run_id=info["run_id"])
    assert api.send("GET", f"{place}/a.txt").content == b"hello"
    assert api.get("artifacts/list", run_id=info["run_id"])["files"][0]["path"] == "a.txt"
    for view, number in (("ALL", 1), ("DELETED_ONLY", 1), ("ACTIVE_ONLY", 0)):
        asked = {"experiment_ids": ["0"], "filter": f"run_id = '{info['run_id']}'", "run_view_type": view}
        assert len(api.post("runs/search", **asked).get("runs", [])) == number


@pytest.mark.parametrize("ours", [False, True], ids=["MLflow's API", "our own"])
def test_a_child_leaves_its_parent_with_the_tag(api: Api, ours: bool):
    parent = api.new_run()
    run_id = api.new_run(tags=[{"key": "mlflow.parentRunId", "value": parent}])
    experiment = api.get("runs/get", run_id=run_id)["run"]["info"]["experiment_id"]
    of_parent = {"experiment_ids": [experiment], "filter": f"tags.mlflow.parentRunId = '{parent}'"}
    assert [run["info"]["run_id"] for run in api.post("runs/search", **of_parent)["runs"]] == [run_id]
    if ours:
        patch = {"tags": {"mlflow.parentRunId": None}}
        assert api.send("PATCH", f"/api/v1/runs/{run_id}", json=patch).status == 200
    else:
        assert api.post("runs/delete-tag", run_id=run_id, key="mlflow.parentRunId") == {}
    assert [tag["key"] for tag in api.get("runs/get", run_id=run_id)["run"]["data"]["tags"]] == [
        "mlflow.runName"
    ]
    assert api.post("runs/search", **of_parent) == {}
    gone = (404, GONE, f"No tag with name: mlflow.parentRunId in run with id {run_id}")
    assert api.post("runs/delete-tag", run_id=run_id, key="mlflow.parentRunId") == gone


@pytest.mark.parametrize("way", ["set-tag", "log-batch", "ours"])
def test_the_parent_is_what_its_tag_says_and_nobody_where_that_is_no_id(api: Api, way: str):
    first, second, run_id = (api.new_run() for _ in range(3))

    def set_parent(text: str) -> None:
        tag = {"key": "mlflow.parentRunId", "value": text}
        if way == "ours":
            assert (
                api.send("PATCH", f"/api/v1/runs/{run_id}", json={"tags": {tag["key"]: text}}).status == 200
            )
        elif way == "set-tag":
            assert api.post("runs/set-tag", run_id=run_id, **tag) == {}
        else:
            assert api.post("runs/log-batch", run_id=run_id, tags=[tag]) == {}

    def shown() -> tuple[str | None, str]:
        run = api.send("GET", f"/api/v1/runs/{run_id}").json
        tags = {tag["key"]: tag["value"] for tag in api.get("runs/get", run_id=run_id)["run"]["data"]["tags"]}
        return run["parent_run_id"], tags["mlflow.parentRunId"]

    set_parent(first)
    assert shown() == (first, first)
    set_parent(second)
    assert shown() == (second, second)
    set_parent("somebody else")
    assert shown() == (None, "somebody else")
    set_parent(f"{first[:8]}-{first[8:12]}-{first[12:16]}-{first[16:20]}-{first[20:]}")
    assert shown()[0] == first


def test_an_ended_run_is_resumed(api: Api):
    run_id = api.new_run(start_time=5, user_id="me")
    api.post("runs/update", run_id=run_id, status="KILLED", end_time=9)
    assert api.post("runs/update", run_id=run_id)["run_info"]["status"] == "KILLED", (
        "nothing named, nothing changed"
    )
    info = api.post("runs/update", run_id=run_id, status="RUNNING", end_time=9)["run_info"]
    assert (info["status"], info["start_time"], info["end_time"], info["user_id"]) == ("RUNNING", 5, 9, "me")
    assert api.post("runs/log-metric", run_id=run_id, **POINT) == {}


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("runs/log-batch", {"metrics": [POINT], "params": [{"key": "p", "value": "1"}], "tags": [{"key": "t", "value": "1"}]}),
        ("runs/log-metric", POINT),
        ("runs/log-parameter", {"key": "p", "value": "1"}),
        ("runs/set-tag", {"key": "t", "value": "1"}),
        ("runs/update", {"status": "FAILED", "end_time": 3, "run_name": "n"}),
        ("runs/log-inputs", {"datasets": [{"dataset": {"name": "d", "digest": "1"}}], "models": [{"model_id": "m-1"}]}),
        ("runs/outputs", {"models": [{"model_id": "m-2", "step": -7}]}),
        ("runs/delete", {}),
        ("runs/restore", {}),
    ],
)  # fmt: skip
def test_what_the_client_repeats_is_done_once(api: Api, path: str, fields: dict[str, Any]):
    """After a 5xx or a lost connection it sends the same again."""
    run_id = api.new_run()
    first = api.post(path, run_id=run_id, **fields)
    state = api.get("runs/get", run_id=run_id)
    for _ in range(2):
        assert api.post(path, run_id=run_id, **fields) == first
    assert api.get("runs/get", run_id=run_id) == state
    history = api.get("metrics/get-history", run_id=run_id, metric_key="k").get("metrics", [])
    assert len(history) == len(state["run"]["data"].get("metrics", []))


def test_a_dataset_is_one_by_name_and_digest_in_its_experiment(api: Api):
    experiment = api.post("experiments/create", name="datasets")["experiment_id"]
    runs = [api.new_run(experiment_id=experiment) for _ in range(2)]

    def given(source: str, context: str, **more: str) -> dict[str, Any]:
        dataset = {"name": "d", "digest": "1", "source_type": "local", "source": source, **more}
        return {"dataset": dataset, "tags": [{"key": "mlflow.data.context", "value": context}]}

    first = given("first", "train", schema="{}", profile="")
    api.post("runs/log-inputs", run_id=runs[0], datasets=[first, given("second", "test")])
    api.post("runs/log-inputs", run_id=runs[0], datasets=[given("third", "again")])
    api.post("runs/log-inputs", run_id=runs[1], datasets=[given("fourth", "eval")])
    inputs = [api.get("runs/get", run_id=run)["run"]["inputs"]["dataset_inputs"] for run in runs]
    assert inputs[0] == [first], "the first wins, and its tags stay"
    assert inputs[1] == [{**first, "tags": given("", "eval")["tags"]}]
    found = api.post("experiments/search-datasets", experiment_ids=[experiment])["dataset_summaries"]
    assert [(one["name"], one["digest"], one["context"]) for one in found] == [
        ("d", "1", "eval"),
        ("d", "1", "train"),
    ]
