"""The model registry over REST: names, versions, aliases, stages, tags, sources, searches."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.mlflow.conftest import Rest
from tests.integration.mlflow.test_logged_models import listed, new_model

INVALID = "INVALID_PARAMETER_VALUE"


async def register(rest: Rest, name: str, **more: Any) -> str:
    """A version made of an object store's place, which is anybody's."""
    await rest.post("registered-models/create", name=name)
    made = await rest.post("model-versions/create", **{"name": name, "source": "s3://bucket/m", **more})
    version: str = made["model_version"]["version"]
    return version


async def test_registered_models(rest: Rest):
    made = await rest.post("registered-models/create", name="net", tags=[{"key": "a", "value": "1"}])
    assert made["registered_model"]["name"] == "net"
    assert "description" not in made["registered_model"]
    again = await rest.post("registered-models/create", name="net")
    assert again[:2] == (400, "RESOURCE_ALREADY_EXISTS")
    assert "Registered Model (name=net) already exists" in again[2]
    for name in ("", "a/b", "a:b", "..", "  "):
        assert (await rest.post("registered-models/create", name=name))[:2] == (400, INVALID), name
    changed = await rest.call("PATCH", "registered-models/update", json={"name": "net", "description": ""})
    assert changed["registered_model"]["description"] == ""
    await rest.post("registered-models/set-tag", name="net", key="b", value="2")
    for _ in range(2):
        answer = await rest.call("DELETE", "registered-models/delete-tag", json={"name": "net", "key": "a"})
        assert answer == {}
    await register(rest, "other")
    taken = await rest.post("registered-models/rename", name="net", new_name="other")
    assert taken[1] == "RESOURCE_ALREADY_EXISTS"
    await rest.post("registered-models/alias", name="other", alias="champion", version="1")
    renamed = await rest.post("registered-models/rename", name="other", new_name="third")
    assert renamed["registered_model"]["latest_versions"][0]["name"] == "third"
    assert renamed["registered_model"]["aliases"] == [{"alias": "champion", "version": "1"}]
    found = (await rest.get("registered-models/get", name="net"))["registered_model"]
    assert listed(found["tags"]) == {"b": "2"}
    assert await rest.call("DELETE", "registered-models/delete", json={"name": "third"}) == {}
    gone = (404, "RESOURCE_DOES_NOT_EXIST", "Registered Model with name=third not found")
    assert await rest.get("registered-models/get", name="third") == gone
    assert await rest.post("model-versions/create", name="third", source="s3://b/m") == gone
    assert (await rest.get("model-versions/get", name="third", version="1"))[2] == (
        "Model Version (name=third, version=1) not found"
    )


@pytest.mark.parametrize("kind", ["registered-models", "model-versions"])
async def test_an_absent_description_is_not_an_empty_one(rest: Rest, kind: str):
    """And an update without one takes it away."""
    await register(rest, "net", description="")
    named = {"name": "net", "version": "1"} if kind == "model-versions" else {"name": "net"}
    for sent, shown in (("text", "text"), ("", ""), (None, None), ("ü", "ü")):
        more = {} if sent is None else {"description": sent}
        await rest.call("PATCH", f"{kind}/update", json={**named, **more})
        (found,) = (await rest.get(f"{kind}/get", **named)).values()
        assert found.get("description") == shown


async def test_versions_are_numbered_once(rest: Rest):
    assert [await register(rest, "net") for _ in range(3)] == ["1", "2", "3"]
    await rest.post("registered-models/alias", name="net", alias="best", version="3")
    assert await rest.call("DELETE", "model-versions/delete", json={"name": "net", "version": "3"}) == {}
    assert await register(rest, "net") == "4"
    assert (await rest.get("registered-models/alias", name="net", alias="best")) == (
        400,
        INVALID,
        "Registered model alias best not found.",
    ), "an alias goes with its version"
    assert (await rest.get("model-versions/get", name="net", version="x"))[2] == (
        "Parameter 'version' must be an integer, got 'x'."
    )
    version = (await rest.get("model-versions/get", name="net", version="4"))["model_version"]
    assert (version["status"], version["current_stage"], version["run_id"]) == ("READY", "None", "")
    patch = {"name": "net", "version": "4", "description": "d"}
    changed = await rest.call("PATCH", "model-versions/update", json=patch)
    assert changed["model_version"]["description"] == "d"
    place = {"name": "net", "version": "4"}
    assert await rest.post("model-versions/set-tag", **place, key="k", value="v") == {}
    assert listed((await rest.get("model-versions/get", **place))["model_version"]["tags"]) == {"k": "v"}
    for _ in range(2):
        assert await rest.call("DELETE", "model-versions/delete-tag", json={**place, "key": "k"}) == {}
    assert "tags" not in (await rest.get("model-versions/get", **place))["model_version"]


async def test_aliases(rest: Rest):
    for _ in range(2):
        await register(rest, "net")
    for version in ("1", "2"):
        assert await rest.post("registered-models/alias", name="net", alias="best", version=version) == {}
    found = (await rest.get("registered-models/alias", name="net", alias="best"))["model_version"]
    assert (found["version"], found["aliases"]) == ("2", ["best"])
    for alias in ("latest", "LATEST", "v1", "a b", "a/b"):
        assert (await rest.post("registered-models/alias", name="net", alias=alias, version="1"))[
            1
        ] == INVALID
    assert (await rest.post("registered-models/alias", name="net", alias="x", version="9"))[0] == 404
    for _ in range(2):
        answer = await rest.call("DELETE", "registered-models/alias", json={"name": "net", "alias": "best"})
        assert answer == {}


async def test_stages(rest: Rest):
    for _ in range(3):
        await register(rest, "net")

    async def move(version: str, stage: str, *, archive: bool = False) -> Any:
        return await rest.post(
            "model-versions/transition-stage",
            name="net", version=version, stage=stage, archive_existing_versions=archive,
        )  # fmt: skip

    await move("1", "production")
    moved = await move("2", "Production", archive=True)
    assert moved["model_version"]["current_stage"] == "Production"
    latest = await rest.post("registered-models/get-latest-versions", name="net")
    assert {(v["current_stage"], v["version"]) for v in latest["model_versions"]} == {
        ("Archived", "1"),
        ("Production", "2"),
        ("None", "3"),
    }
    one = await rest.get("registered-models/get-latest-versions", name="net", stages="PRODUCTION")
    assert [v["version"] for v in one["model_versions"]] == ["2"]
    assert await rest.post("registered-models/get-latest-versions", name="net", stages=["Staging"]) == {}
    assert (await move("1", "Gone"))[2] == (
        "Invalid Model Version stage: Gone. Value must be one of None, Staging, Production, Archived."
    )
    assert "is not an Active stage" in (await move("1", "None", archive=True))[2]


async def test_sources_lie_where_the_run_or_model_keeps_its_files(rest: Rest):
    run_id, model_id = await rest.new_run(), await new_model(rest)
    root, place = (
        f"mlflow-artifacts:/0/{run_id}/artifacts",
        f"mlflow-artifacts:/0/models/{model_id}/artifacts",
    )
    await rest.post("registered-models/create", name="net")

    async def make(source: str, **more: Any) -> Any:
        answer = await rest.post("model-versions/create", name="net", source=source, **more)
        if not isinstance(answer, dict):
            return answer[1]
        version = answer["model_version"]["version"]
        uri = await rest.get("model-versions/get-download-uri", name="net", version=version)
        return uri["artifact_uri"]

    assert await make(f"{root}/model", run_id=run_id) == f"{root}/model"
    assert await make(f"runs:/{run_id}/model", run_id=run_id) == f"{root}/model"
    assert await make(f"models:/{model_id}", model_id=model_id) == place
    assert await make(place, model_id=model_id) == place
    assert await make("models:/net/1") == f"{root}/model", "a version may be made of another"
    assert await make("s3://bucket/x") == "s3://bucket/x"
    proxy = f"http://h:5000/api/2.0/mlflow-artifacts/artifacts/0/{run_id}/artifacts/m"
    assert await make(proxy, run_id=run_id) == proxy
    for source, more in (
        (f"{root}/model", {}),
        (f"{root}/model", {"model_id": model_id}),
        (f"{root}-else/model", {"run_id": run_id}),
        ("mlflow-artifacts:/0", {"run_id": run_id}),
        (f"{root}/../x", {"run_id": run_id}),
        (f"{root}/%2e%2e/x", {"run_id": run_id}),
        (f"{root}/%252e%252e/x", {"run_id": run_id}),
        (f"runs:/{run_id}/model", {}),
        (f"models:/{model_id}", {}),
        ("/etc", {"run_id": run_id}),
        ("file:///etc", {"run_id": run_id}),
        ("model", {"run_id": run_id}),
    ):
        assert await make(source, **more) == INVALID, source
    tags = listed((await rest.get(f"logged-models/{model_id}"))["model"]["info"]["tags"])
    assert tags["mlflow.modelVersions"] == '[{"name":"net","version":3},{"name":"net","version":4}]'


@pytest.mark.parametrize("path", ["registered-models", "model-versions"])
async def test_searches_leave_prompts_out(rest: Rest, path: str):
    await register(rest, "net")
    prompt = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
    await rest.post("registered-models/create", name="ask", tags=prompt)
    await register(rest, "ask", tags=prompt)

    async def names(filter_: str) -> list[str]:
        answer = await rest.get(f"{path}/search", filter=filter_)
        return [one["name"] for one in answer.get(path.replace("-", "_"), [])]

    tag = "tags.`mlflow.prompt.is_prompt`"
    assert await names("") == ["net"]
    assert await names(f"{tag} != 'true'") == ["net"]
    assert await names(f"name LIKE '%' AND {tag} != 'true'") == ["net"]
    assert await names(f"{tag} = 'true'") == ["ask"]


async def test_searches(rest: Rest):
    for name, run in (("a", "r1"), ("b", "r2"), ("b", "r3")):
        await register(rest, name, run_id=run, tags=[{"key": "run", "value": run}])
    await rest.post("registered-models/set-tag", name="a", key="team", value="x")

    async def models(filter_: str = "", **more: Any) -> list[str]:
        answer = await rest.get("registered-models/search", filter=filter_, **more)
        return [one["name"] for one in answer.get("registered_models", [])]

    async def versions(filter_: str = "", **more: Any) -> list[tuple[str, str]]:
        answer = await rest.get("model-versions/search", filter=filter_, **more)
        return [(one["name"], one["version"]) for one in answer.get("model_versions", [])]

    assert await models() == ["a", "b"]
    assert await models(order_by="name DESC") == ["b", "a"]
    assert await models("name ILIKE 'A'") == ["a"]
    assert await models("name IN ('b', 'c')") == ["b"]
    assert await models("tags.team = 'x'") == ["a"]
    assert len(await models(order_by="timestamp DESC")) == 2
    assert set(await versions()) == {("a", "1"), ("b", "1"), ("b", "2")}
    assert await versions("name = 'b'", order_by="version_number ASC") == [("b", "1"), ("b", "2")]
    assert await versions("run_id IN ('r1', 'r3')", order_by="name ASC") == [("a", "1"), ("b", "2")]
    assert await versions("version_number > 1") == [("b", "2")]
    assert await versions("source_path LIKE 's3://%' AND tags.run = 'r2'") == [("b", "1")]
    first = await rest.get("model-versions/search", max_results=2)
    second = await rest.get("model-versions/search", max_results=2, page_token=first["next_page_token"])
    assert len({(v["name"], v["version"]) for v in first["model_versions"] + second["model_versions"]}) == 3
    assert (await rest.get("model-versions/search", filter="nonsense = 'x'"))[1] == INVALID
    assert (await rest.get("registered-models/search", max_results=0))[1] == INVALID
    assert (await rest.get("registered-models/search", page_token="x"))[1] == INVALID
