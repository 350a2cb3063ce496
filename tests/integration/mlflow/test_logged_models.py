"""Logged models over REST: their life, labels, points, searches and files."""

from __future__ import annotations

from typing import Any

from tests.integration.mlflow.conftest import Rest


def listed(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {item["key"]: item["value"] for item in items}


async def new_model(rest: Rest, **more: Any) -> str:
    answer = await rest.post("logged-models", **{"experiment_id": "0", **more})
    model_id: str = answer["model"]["info"]["model_id"]
    return model_id


async def log(rest: Rest, run_id: str, model_id: str, key: str, *points: tuple[int, int, Any], **more: Any):
    metrics = [
        {"key": key, "step": step, "timestamp": time_ms, "value": value, "model_id": model_id, **more}
        for step, time_ms, value in points
    ]
    return await rest.post("runs/log-batch", run_id=run_id, metrics=metrics)


async def test_the_life_of_a_model(rest: Rest):
    answer = await rest.post(
        "logged-models", experiment_id="0", name="net", model_type="", source_run_id="r",
        params=[{"key": "lr", "value": "0.1"}], tags=[{"key": "a", "value": "1"}],
    )  # fmt: skip
    info = answer["model"]["info"]
    model_id = info["model_id"]
    assert len(model_id) == 34
    assert info["artifact_uri"] == f"mlflow-artifacts:/0/models/{model_id}/artifacts"
    assert (info["status"], info["model_type"], info["source_run_id"]) == ("LOGGED_MODEL_PENDING", "", "r")
    assert listed(answer["model"]["data"]["params"]) == {"lr": "0.1"}
    path = f"logged-models/{model_id}"
    done = await rest.call("PATCH", path, json={"status": "LOGGED_MODEL_READY"})
    assert done["model"]["info"]["status"] == "LOGGED_MODEL_READY"
    await rest.call("PATCH", path + "/tags", json={"tags": [{"key": "a/b", "value": "2"}]})
    assert listed((await rest.get(path))["model"]["info"]["tags"]) == {"a": "1", "a/b": "2"}
    assert await rest.call("DELETE", path + "/tags/a%2Fb") == {}
    assert await rest.call("DELETE", path + "/tags/a%2Fb") == (
        404,
        "RESOURCE_DOES_NOT_EXIST",
        f"No tag with key 'a/b' found for model with ID '{model_id}'.",
    )
    assert await rest.post(path + "/params", params=[{"key": "n", "value": "3"}]) == {}
    refusal = await rest.post(
        path + "/params", params=[{"key": "m", "value": "4"}, {"key": "n", "value": "5"}]
    )
    assert refusal[1] == "INVALID_PARAMETER_VALUE"
    assert listed((await rest.get(path))["model"]["data"]["params"]) == {"lr": "0.1", "n": "3"}
    assert await rest.call("DELETE", path) == {}
    gone = (404, "RESOURCE_DOES_NOT_EXIST", f"Logged model with ID '{model_id}' not found.")
    assert await rest.get(path) == gone
    assert await rest.call("PATCH", path, json={"status": 2}) == gone
    assert (await rest.get(path, allow_deleted="true"))["model"]["info"]["model_id"] == model_id
    assert await rest.post("logged-models/search", experiment_ids=["0"]) == {}


async def test_names_are_checked_and_invented(rest: Rest):
    assert (await rest.post("logged-models", experiment_id="0"))["model"]["info"]["name"].count("-") == 2
    for name in ("a/b", "a:b", "a.b", "a%b", "'", '"', "  "):
        assert (await rest.post("logged-models", experiment_id="0", name=name))[0] == 400, name
    assert (await rest.post("logged-models", experiment_id="77"))[0] == 404
    assert (await rest.post("logged-models"))[2].startswith(
        "Missing value for required parameter 'experiment_id'"
    )


async def test_points_are_stored_for_the_run_and_the_model_once(rest: Rest):
    run_id, model_id = await rest.new_run(), await new_model(rest)
    for _ in range(2):
        assert (
            await log(
                rest,
                run_id,
                model_id,
                "acc",
                (0, 5, 0.5),
                (1, 6, "NaN"),
                dataset_name="d",
                dataset_digest="1",
            )
            == {}
        )
    assert await rest.post(
        "runs/log-metric", run_id=run_id, key="acc", value=0.9, timestamp=7, step=2, model_id=model_id
    ) == {}  # fmt: skip
    found = (await rest.get(f"logged-models/{model_id}"))["model"]["data"]["metrics"]
    assert [(m["step"], m["timestamp"], m["value"], m.get("dataset_name")) for m in found] == [
        (0, 5, 0.5, "d"),
        (1, 6, "NaN", "d"),
        (2, 7, 0.9, None),
    ]
    assert {(m["model_id"], m["run_id"]) for m in found} == {(model_id, run_id)}
    history = await rest.get("metrics/get-history", run_id=run_id, metric_key="acc")
    assert len(history["metrics"]) == 3


async def test_points_of_a_model_that_is_not_there_are_refused_whole(rest: Rest):
    run_id, model_id = await rest.new_run(), await new_model(rest)
    await rest.call("DELETE", f"logged-models/{model_id}")
    for missing in (model_id, "m-" + "0" * 32):
        answer = await log(rest, run_id, missing, "acc", (0, 5, 0.5))
        assert answer == (404, "RESOURCE_DOES_NOT_EXIST", f"Logged model with ID '{missing}' not found.")
    assert await rest.get("metrics/get-history", run_id=run_id, metric_key="acc") == {}


async def test_searches(rest: Rest):
    run_id = await rest.new_run()
    a = await new_model(
        rest, name="a", params=[{"key": "lr", "value": "0.1"}], tags=[{"key": "t", "value": "x"}]
    )
    b = await new_model(rest, name="b", model_type="agent", source_run_id=run_id)
    c = await new_model(rest, name="c")
    await rest.call("PATCH", f"logged-models/{b}", json={"status": "LOGGED_MODEL_READY"})
    await log(rest, run_id, a, "acc", (0, 1, 0.9), (1, 2, 0.1), dataset_name="train", dataset_digest="1")
    await log(rest, run_id, a, "acc", (0, 1, 0.95), dataset_name="test", dataset_digest="2")
    await log(rest, run_id, b, "acc", (0, 1, 0.5))

    async def search(filter_: str = "", **more: Any) -> Any:
        answer = await rest.post("logged-models/search", experiment_ids=["0"], filter=filter_, **more)
        return (
            [m["info"]["model_id"] for m in answer.get("models", [])] if isinstance(answer, dict) else answer
        )

    assert await search() == [c, b, a], "the newest first"
    assert await search("name = 'a'") == [a]
    assert await search("attributes.name IN ('a', 'c')") == [c, a]
    assert await search("status = 'READY' AND model_type = 'agent'") == [b]
    assert await search(f"source_run_id = '{run_id}'") == [b]
    assert await search("params.lr = '0.1' AND tags.t LIKE 'x%'") == [a]
    assert await search("tags.t NOT IN ('y')") == [a]
    assert await search("metrics.acc < 0.2") == [a], "the latest counts"
    assert await search("metrics.acc > 0.9", datasets=[{"dataset_name": "test"}]) == [a]
    assert await search("metrics.acc > 0.9", datasets=[{"dataset_name": "test", "dataset_digest": "3"}]) == []
    assert await search("creation_timestamp > 0 AND last_updated_timestamp > 0") == [c, b, a]
    assert await search(order_by=[{"field_name": "metrics.acc", "ascending": True}]) == [a, b, c]
    assert await search(order_by=[{"field_name": "metrics.acc", "ascending": False}]) == [b, a, c]
    on_test = {"field_name": "metrics.acc", "ascending": False, "dataset_name": "test"}
    assert await search(order_by=[on_test]) == [a, c, b]
    assert await search(order_by=[{"field_name": "name"}]) == [a, b, c]
    assert await search("name = 'a' OR name = 'b'") == (
        400,
        "INVALID_PARAMETER_VALUE",
        "Invalid clause(s) in filter string: 'OR'",
    )
    assert (await search("nonsense = 'a'"))[0] == 400
    assert (await search(datasets=[{"dataset_digest": "1"}]))[0] == 400
    assert (await search(order_by=[{"field_name": "params.lr"}]))[0] == 400

    first = await rest.post("logged-models/search", experiment_ids=["0"], max_results=2)
    token = first["next_page_token"]
    rest_of_it = await rest.post(
        "logged-models/search", experiment_ids=["0"], max_results=2, page_token=token
    )
    assert [m["info"]["model_id"] for m in first["models"] + rest_of_it["models"]] == [c, b, a]
    other = await rest.post(
        "logged-models/search", experiment_ids=["0"], filter="name = 'a'", page_token=token
    )
    assert other[0] == 400


async def test_files_of_a_model(rest: Rest):
    model_id = await new_model(rest)
    base = f"/api/2.0/mlflow-artifacts/artifacts/0/models/{model_id}/artifacts"
    async with rest.client.put(f"{base}/data/w.bin", data=b"12345") as response:
        assert response.status == 200
    unknown = f"/api/2.0/mlflow-artifacts/artifacts/0/models/m-{'0' * 32}/artifacts/x"
    async with rest.client.put(unknown, data=b"1") as response:
        assert response.status == 404
    path = f"logged-models/{model_id}/artifacts/directories"
    assert await rest.get(path) == {
        "root_uri": f"mlflow-artifacts:/0/models/{model_id}/artifacts",
        "files": [{"path": "data", "is_dir": True}],
    }
    found = await rest.get(path, artifact_directory_path="data")
    assert found["files"] == [{"path": "data/w.bin", "is_dir": False, "file_size": 5}]
    assert (await rest.get(path, artifact_directory_path="../x"))[0] == 400
    url = f"/ajax-api/2.0/mlflow/logged-models/{model_id}/artifacts/files"
    async with rest.client.get(url, params={"artifact_file_path": "data/w.bin"}) as response:
        assert await response.read() == b"12345"
