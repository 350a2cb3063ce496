"""The contract's transport, probes and errors over raw HTTP: bodies, types, prefixes, retries, what is not there."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.mlflow.conftest import Api

INVALID = "INVALID_PARAMETER_VALUE"
JSON = {"Content-Type": "application/json"}
NO_RUN = "0" * 32


@pytest.mark.parametrize(
    ("headers", "body", "message"),
    [
        ({}, b"{}", "Bad Request. Content-Type header is missing."),
        ({}, b"", "Bad Request. Content-Type header is missing."),
        ({"Content-Type": "text/plain"}, b"{}", "Bad Request. Content-Type must be one of ['application/json']."),
        ({"Content-Type": "application/jsonx"}, b"{}", "Bad Request. Content-Type must be one of ['application/json']."),
        (JSON, b"", "Missing value for required parameter 'name'."),
        (JSON, b"{bad", "Missing value for required parameter 'name'."),
        (JSON, b"[1]", "Missing value for required parameter 'name'."),
        (JSON, b'{"name": null}', "Missing value for required parameter 'name'."),
        (JSON, b'{"name": ""}', "Missing value for required parameter 'name'."),
        (JSON, b'{"name": 3}', "Invalid value 3 for parameter 'name' supplied:  Hint: Value was of type 'int'."),
        (JSON, b'{"name": {"b": 1, "a": 2}}', "Invalid value {\"a\":2,\"b\":1} for parameter 'name' supplied:  Hint: Value was of type 'dict'."),
        (JSON, b'{"name": "n", "tags": {}}', "Invalid value {} for parameter 'tags' supplied:  Hint: Value was of type 'dict'."),
        (JSON, b'{"name": "n", "artifactLocation": "x", "artifact_location": "y"}', "given twice"),
    ],
)  # fmt: skip
def test_a_body_that_is_refused(api: Api, headers: dict[str, str], body: bytes, message: str):
    answer = api.send("POST", "experiments/create", body=body, headers=headers)
    assert (answer.status, answer.json["error_code"]) == (400, INVALID)
    assert message in answer.json["message"]
    assert answer.headers["Content-Type"] == "application/json"
    if message.startswith(("Missing", "Invalid")):
        assert answer.json["message"].endswith(
            " See the API docs for more information about request parameters."
        )


@pytest.mark.parametrize(
    ("content_type", "body", "name"),
    [
        ("application/json", b'{"run_name": "a"}', "a"),
        ("application/json; charset=utf-8", b'{"runName": "camel"}', "camel"),
        ("application/json", b'"{\\"run_name\\": \\"twice\\"}"', "twice"),
        ("application/json", b'{"run_name": "unknown fields", "nonsense": {"a": [1]}}', "unknown fields"),
        ("application/json", '{"run_name": "läuft 😀"}'.encode(), "läuft 😀"),
        ("application/json", b'{"run_name": "null", "experiment_id": null, "tags": null}', "null"),
    ],
)
def test_a_body_that_is_read(api: Api, content_type: str, body: bytes, name: str):
    answer = api.send("POST", "runs/create", body=body, headers={"Content-Type": content_type})
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.json["run"]["info"]["run_name"] == name


@pytest.mark.parametrize("prefix", ["/api/2.0/mlflow/", "/ajax-api/2.0/mlflow/"])
def test_integers_and_enumerations_come_either_way_and_go_as_numbers_and_names(api: Api, prefix: str):
    """int64 as a number or a decimal text, an enumeration by name or number, the run by either of its names."""
    start: Any
    for start, end, status in ((5, "9", 3), ("5", 9, "FINISHED"), (5.0, 9, "3")):
        made = api.send("POST", prefix + "runs/create", json={"start_time": start}).json["run"]["info"]
        assert (made["start_time"], made["run_uuid"]) == (5, made["run_id"])
        assert "end_time" not in made
        more = {"end_time": end, "status": status}
        found = api.send("POST", prefix + "runs/update", json={"run_uuid": made["run_id"], **more}).json
        assert (found["run_info"]["end_time"], found["run_info"]["status"]) == (9, "FINISHED")
        again = api.send("GET", f"{prefix}runs/get?run_uuid={made['run_id']}").json["run"]["info"]
        assert again == found["run_info"]


@pytest.mark.parametrize(
    ("sent", "given"),
    [(1, 1), ("1e3", 1000), ("NaN", "NaN"), ("Infinity", "Infinity"), ("-Infinity", "-Infinity"), (True, 1), (0.1, 0.1)],
)  # fmt: skip
def test_doubles_come_as_numbers_and_texts(api: Api, sent: Any, given: Any):
    run_id = api.new_run()
    assert api.post("runs/log-metric", run_id=run_id, key="k", value=sent, timestamp="7") == {}
    point = {"key": "k", "value": given, "timestamp": 7, "step": 0}
    assert api.get("metrics/get-history", run_id=run_id, metric_key="k") == {"metrics": [point]}
    assert api.get("runs/get", run_id=run_id)["run"]["data"]["metrics"] == [point]


def test_a_get_carries_its_arguments_in_the_query(api: Api):
    """A repeated field is a repeated key; a boolean is true or false in any case, and nothing else."""
    for name in ("q-b", "q-a", "q-c"):
        api.post("experiments/create", name=name, tags=[{"key": "q", "value": "1"}])
    path = "experiments/search?max_results=10&filter=tags.q%20!=%20''&order_by=name%20DESC&order_by=experiment_id"
    assert [one["name"] for one in api.send("GET", path).json["experiments"]] == ["q-c", "q-b", "q-a"]
    model = api.post("logged-models", experiment_id="0", name="m")["model"]["info"]["model_id"]
    for text, status in (("true", 200), ("False", 200), ("yes", 400), ("1", 400)):
        assert api.send("GET", f"logged-models/{model}?allow_deleted={text}").status == status, text


def test_a_delete_carries_a_body(api: Api):
    api.post("registered-models/create", name="doomed")
    assert api.send("DELETE", "registered-models/delete", json={"name": "doomed"}).json == {}
    assert api.get("registered-models/get", name="doomed")[1] == "RESOURCE_DOES_NOT_EXIST"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/2.0/mlflow/runs/nothing"),
        ("POST", "/api/2.0/mlflow/runs/create/"),
        ("GET", "/api/2.0/mlflow/experiments/get/?experiment_id=0"),
        ("POST", "/api/2.0/mlflow//runs/create"),
        ("GET", "/api/2.0/mlflow/runs/create"),
        ("PUT", "/api/2.0/mlflow/runs/create"),
        ("POST", "/api/3.0/mlflow/runs/create"),
        ("GET", "/api/3.0/mlflow/server-features"),
        ("GET", "/api/2.0/mlflow-artifacts/nothing"),
        ("POST", "/ajax-api/2.0/mlflow/runs/create-promptlab-run"),
    ],
)
def test_what_is_no_endpoint(api: Api, method: str, path: str):
    answer = api.send(method, path, json={})
    assert (answer.status, answer.json["error_code"]) == (404, "ENDPOINT_NOT_FOUND")


@pytest.mark.parametrize("prefix", ["/api/3.0/mlflow", "/ajax-api/3.0/mlflow", "/api/2.0/mlflow"])
@pytest.mark.parametrize(
    "path",
    [
        "traces/search", "traces/tr-1/info", "traces", "assessments", "scorers/register", "datasets/create", "webhooks",
        "issues", "gateway/endpoints/list", "label-schemas", "review-queues", "prompt-optimization/jobs", "jobs/1", "skills",
        "mcp/servers", "mcp-servers", "genai/evaluate",
    ],
)  # fmt: skip
def test_genai_is_not_there_and_says_so(api: Api, prefix: str, path: str):
    for method in ("GET", "POST"):
        answer = api.send(method, f"{prefix}/{path}", json={})
        assert (answer.status, answer.json["error_code"]) == (404, "ENDPOINT_NOT_FOUND")
        assert "out of this service's scope" in answer.json["message"]


def test_the_probes(api: Api):
    assert (api.send("GET", "/health").status, api.send("GET", "/health").content) == (200, b"OK")
    assert api.send("GET", "/version").content == b"3.18.0"
    assert api.send("GET", "/").status == 200
    for prefix in ("/api", "/ajax-api"):
        info = api.send("GET", f"{prefix}/3.0/mlflow/server-info").json
        assert info["store_type"] == "SqlStore"
        assert info["artifact_serving_enabled"] is True
        for name in (
            "workspaces_enabled",
            "multipart_uploads_enabled",
            "multipart_downloads_enabled",
            "artifacts_presigned_only",
        ):
            assert info[name] is False, name


def test_files_are_asked_for_by_run_and_by_version_and_by_head(api: Api):
    run = api.post("runs/create")["run"]["info"]
    place = run["artifact_uri"].removeprefix("mlflow-artifacts:/")
    put = api.send("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{place}/d/a.txt", body=b"hello")
    assert (put.status, put.content) == (200, b"")
    api.post("registered-models/create", name="filed")
    api.post("model-versions/create", name="filed", source=run["artifact_uri"] + "/d", run_id=run["run_id"])
    for path in (
        f"/get-artifact?run_id={run['run_id']}&path=d/a.txt",
        f"/get-artifact?run_uuid={run['run_id']}&path=d/a.txt",
        "/model-versions/get-artifact?name=filed&version=1&path=a.txt",
        f"/api/2.0/mlflow-artifacts/artifacts/{place}/d/a.txt",
        f"/ajax-api/2.0/mlflow-artifacts/artifacts/{place}/d/a.txt",
    ):
        answer, head = api.send("GET", path), api.send("HEAD", path)
        assert (answer.status, answer.content) == (200, b"hello"), path
        assert (head.status, head.content, head.headers["Content-Length"]) == (200, b"", "5"), path
    for path, status in (
        ("/get-artifact?path=a", 400),
        (f"/get-artifact?run_id={run['run_id']}", 400),
        (f"/get-artifact?run_id={NO_RUN}&path=a", 404),
        (f"/get-artifact?run_id={run['run_id']}&path=no", 404),
        ("/model-versions/get-artifact?name=filed&version=9&path=a.txt", 404),
        ("/model-versions/get-artifact?name=filed&version=1", 400),
    ):
        answer = api.send("GET", path)
        assert (answer.status, set(answer.json)) == (status, {"error_code", "message"}), path
    found = api.get("artifacts/list", run_uuid=run["run_id"], path="d")
    assert found == {
        "root_uri": run["artifact_uri"],
        "files": [{"path": "d/a.txt", "is_dir": False, "file_size": 5}],
    }
    missing = "Missing value for required parameter 'run_id'. See the API docs for more information about request parameters."
    assert api.get("artifacts/list") == (400, INVALID, missing)
