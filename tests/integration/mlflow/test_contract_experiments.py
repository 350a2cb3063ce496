"""The contract of experiments over raw HTTP: names, ids, stages, tags, times, places, searches."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.integration.mlflow.conftest import Api

INVALID = "INVALID_PARAMETER_VALUE"
GONE = "RESOURCE_DOES_NOT_EXIST"
DOCS = " See the API docs for more information about request parameters."


@pytest.fixture(scope="module")
def places(api: Api) -> dict[str, str]:
    """Ids by what stands for them in the tables below."""
    live = api.post("experiments/create", name="live", tags=[{"key": "k", "value": "v"}])["experiment_id"]
    dead = api.post("experiments/create", name="dead")["experiment_id"]
    assert api.post("experiments/delete", experiment_id=dead) == {}
    return {"live": live, "dead": dead}


def filled(value: Any, places: dict[str, str]) -> Any:
    return value.format(**places) if isinstance(value, str) else value


@pytest.mark.parametrize(
    ("path", "fields", "answer"),
    [
        ("create", {"name": "live"}, (400, "RESOURCE_ALREADY_EXISTS", "Experiment(name=live) already exists.")),
        ("create", {"name": "dead"}, (400, "RESOURCE_ALREADY_EXISTS", "Experiment(name=dead) already exists.")),
        ("create", {"name": "x" * 501}, (400, INVALID, "'name' exceeds the maximum length of 500 characters")),
        ("create", {"name": " \t"}, (400, INVALID, "blank")),
        ("create", {"name": "a\0b"}, (400, INVALID, "NUL")),
        ("create", {"name": "l", "artifact_location": "s3://b/a#f"}, (400, INVALID, "'artifact_location' URL can't include fragments or params.")),
        ("create", {"name": "l", "artifact_location": "s3://b/a;p"}, (400, INVALID, "'artifact_location' URL can't include fragments or params.")),
        ("create", {"name": "l", "artifact_location": "runs:/a/b"}, (400, INVALID, "Artifact location cannot be a runs:/ URI. Given: 'runs:/a/b'")),
        ("create", {"name": "l", "artifact_location": "s3://" + "x" * 2048}, (400, INVALID, "2048")),
        ("create", {"name": "t", "tags": [{"key": "a", "value": "v" * 20_001}]}, (400, INVALID, "'value' exceeds the maximum length of 20000 characters")),
        ("create", {"name": "t", "tags": [{"key": "a,b", "value": ""}]}, (400, INVALID, "Names may only contain")),
        ("update", {"experiment_id": "{live}", "new_name": "dead"}, (400, "RESOURCE_ALREADY_EXISTS", "dead")),
        ("update", {"experiment_id": "{live}", "new_name": ""}, (400, INVALID, f"Missing value for required parameter 'new_name'.{DOCS}")),
        ("update", {"experiment_id": "{live}", "new_name": "x" * 501}, (400, INVALID, "'name' exceeds the maximum length of 500 characters")),
        ("update", {"experiment_id": "{dead}", "new_name": "n"}, (400, "INVALID_STATE", "Cannot rename a non-active experiment.")),
        ("update", {"experiment_id": "9999", "new_name": "n"}, (404, GONE, "No Experiment with id=9999 exists")),
        ("delete", {"experiment_id": "{dead}"}, (404, GONE, "No Experiment with id={dead} exists")),
        ("delete", {"experiment_id": "9999"}, (404, GONE, "No Experiment with id=9999 exists")),
        ("delete", {"experiment_id": "-1"}, (404, GONE, "No Experiment with id=-1 exists")),
        ("delete", {"experiment_id": "abc"}, (400, INVALID, "Invalid experiment ID 'abc'. Experiment ID must be a valid integer.")),
        ("delete", {"experiment_id": 3}, (400, INVALID, f"Invalid value 3 for parameter 'experiment_id' supplied:  Hint: Value was of type 'int'.{DOCS}")),
        ("delete", {}, (400, INVALID, f"Missing value for required parameter 'experiment_id'.{DOCS}")),
        ("restore", {"experiment_id": "{live}"}, (404, GONE, "No Experiment with id={live} exists")),
        ("set-experiment-tag", {"experiment_id": "{dead}", "key": "k", "value": "v"},
         (400, INVALID, "The experiment {dead} must be in the 'active' state. Current state is deleted.")),
        ("set-experiment-tag", {"experiment_id": "{live}", "key": "a//b", "value": "v"}, (400, INVALID, "This name would resolve to 'a/b'")),
        ("set-experiment-tag", {"experiment_id": "{live}", "key": "k" * 251, "value": "v"}, (400, INVALID, "'key' exceeds the maximum length of 250 characters")),
        ("set-experiment-tag", {"experiment_id": "{live}", "key": "k", "value": "v" * 20_001}, (400, INVALID, "'value' exceeds the maximum length of 20000 characters")),
        ("set-experiment-tag", {"experiment_id": "{live}", "value": "v"}, (400, INVALID, f"Missing value for required parameter 'key'.{DOCS}")),
        ("set-experiment-tag", {"experiment_id": "9999", "key": "k"}, (404, GONE, "No Experiment with id=9999 exists")),
        ("delete-experiment-tag", {"experiment_id": "{live}", "key": "no"}, (404, GONE, "No tag with name: no in experiment with id {live}")),
        ("delete-experiment-tag", {"experiment_id": "{dead}", "key": "no"},
         (400, INVALID, "The experiment {dead} must be in the 'active' state. Current state is deleted.")),
        ("search-datasets", {"experiment_ids": []}, (400, INVALID, "at least one experiment_id")),
        ("search-datasets", {"experiment_ids": ["0"] * 21}, (400, INVALID, "more than 20 experiment_ids")),
        ("search", {}, (400, INVALID, "Invalid value 0 for parameter 'max_results' supplied. It must be a positive integer")),
        ("search", {"max_results": -3}, (400, INVALID, "Invalid value -3 for parameter 'max_results' supplied. It must be a positive integer")),
        ("search", {"max_results": 50_001}, (400, INVALID, "Invalid value 50001 for parameter 'max_results' supplied. It must be at most 50000")),
        ("search", {"max_results": 5, "page_token": "?"}, (400, INVALID, "Invalid page token, could not base64-decode")),
        ("search", {"max_results": 5, "filter": "params.a = 'b'"},
         (400, INVALID, "Invalid entity type 'params'. Valid entity types are ('attribute', 'attributes', 'tag', 'tags')")),
        ("search", {"max_results": 5, "filter": "attr.name = 'b'"}, (400, INVALID, "Invalid entity type 'attr'. Valid entity types are")),
        ("search", {"max_results": 5, "filter": "name = 'a' OR name = 'b'"}, (400, INVALID, "Invalid clause(s) in filter string: 'OR'")),
        ("search", {"max_results": 5, "filter": "name < 'a'"}, (400, INVALID, "Invalid comparator '<' not one of")),
        ("search", {"max_results": 5, "filter": "name IN ('a')"}, (400, INVALID, "support comparison with a list of quoted string values")),
        ("search", {"max_results": 5, "filter": "experiment_id > '1'"}, (400, INVALID, "Invalid comparator")),
        ("search", {"max_results": 5, "filter": "experiment_id = 1"}, (400, INVALID, "Expected a quoted string value for attributes. Got value 1")),
        ("search", {"max_results": 5, "filter": "experiment_id IN ('1', 'x')"}, (400, INVALID, "Invalid experiment ID 'x'. Experiment ID must be a valid integer.")),
        ("search", {"max_results": 5, "filter": "creation_time > 'a'"}, (400, INVALID, "Expected numeric value type for numeric attribute: creation_time. Found 'a'")),
        ("search", {"max_results": 5, "order_by": ["artifact_location"]}, (400, INVALID, "Invalid attribute key 'artifact_location'")),
    ],
)  # fmt: skip
def test_what_is_refused(
    api: Api, places: dict[str, str], path: str, fields: dict[str, Any], answer: tuple[int, str, str]
):
    sent = {name: filled(value, places) for name, value in fields.items()}
    status, code, message = api.post(f"experiments/{path}", **sent)
    assert (status, code) == answer[:2]
    assert filled(answer[2], places) in message


@pytest.mark.parametrize(
    ("path", "query", "answer"),
    [
        ("get", {"experiment_id": "9999"}, (404, GONE, "No Experiment with id=9999 exists")),
        ("get", {"experiment_id": "-1"}, (404, GONE, "No Experiment with id=-1 exists")),
        ("get", {"experiment_id": "1.5"}, (400, INVALID, "Invalid experiment ID '1.5'. Experiment ID must be a valid integer.")),
        ("get", {"experiment_id": ""}, (400, INVALID, f"Missing value for required parameter 'experiment_id'.{DOCS}")),
        ("get-by-name", {"experiment_name": "no such"}, (404, GONE, "Could not find experiment with name 'no such'")),
        ("get-by-name", {"experiment_name": "LIVE"}, (404, GONE, "Could not find experiment with name 'LIVE'")),
        ("get-by-name", {}, (400, INVALID, f"Missing value for required parameter 'experiment_name'.{DOCS}")),
    ],
)  # fmt: skip
def test_what_is_not_there(
    api: Api, places: dict[str, str], path: str, query: dict[str, str], answer: tuple[int, str, str]
):
    assert api.get(f"experiments/{path}", **query) == answer


def test_the_default_experiment_is_like_any_other(api: Api):
    def default() -> dict[str, Any]:
        found: dict[str, Any] = api.get("experiments/get", experiment_id="0")["experiment"]
        return found

    assert (default()["name"], default()["artifact_location"]) == ("Default", "mlflow-artifacts:/0")
    run_id = api.new_run(experiment_id="")
    assert api.get("runs/get", run_id=run_id)["run"]["info"]["experiment_id"] == "0"
    assert api.post("experiments/update", experiment_id="0", new_name="Other") == {}
    assert api.post("experiments/delete", experiment_id="0") == {}
    assert (default()["name"], default()["lifecycle_stage"]) == ("Other", "deleted")
    assert (
        api.post("runs/create")[2]
        == "The experiment 0 must be in the 'active' state. Current state is deleted."
    )
    assert api.post("experiments/restore", experiment_id="0") == {}
    assert api.post("experiments/update", experiment_id="0", new_name="Default") == {}
    assert api.get("runs/get", run_id=run_id)["run"]["info"]["lifecycle_stage"] == "active"


def test_ids_rise_and_names_may_be_anything_within_their_length(api: Api):
    names = ["x" * 500, "ünï 😀 / ../ #", " spaced ", "CASE", "case", "Experiment(name=1)"]
    ids = [api.post("experiments/create", name=name)["experiment_id"] for name in names]
    numbers = [int(text) for text in ids]
    assert numbers == sorted(set(numbers))
    for name, text in zip(names, ids, strict=True):
        found = api.get("experiments/get-by-name", experiment_name=name)["experiment"]
        assert (found["experiment_id"], found["name"]) == (text, name)
        assert found["artifact_location"] == f"mlflow-artifacts:/{text}"


@pytest.mark.parametrize("wanted", ["my_location", "/tmp/x", "file:///tmp/x", "s3://bucket/a b", "x" * 2048])
def test_the_service_makes_every_location(api: Api, wanted: str):
    name = f"at {wanted}"[:500]
    text = api.post("experiments/create", name=name, artifact_location=wanted)["experiment_id"]
    found = api.get("experiments/get", experiment_id=text)["experiment"]
    assert found["artifact_location"] == f"mlflow-artifacts:/{text}"


def test_stages_take_the_runs_along_and_are_stamped(api: Api):
    begun = time.time_ns() // 1_000_000
    text = api.post("experiments/create", name="staged", tags=[{"key": "a", "value": ""}])["experiment_id"]
    runs = [api.new_run(experiment_id=text) for _ in range(2)]
    api.post("runs/delete", run_id=runs[0])

    def seen() -> tuple[str, list[str], int]:
        found = api.get("experiments/get", experiment_id=text)["experiment"]
        stages = [api.get("runs/get", run_id=run)["run"]["info"]["lifecycle_stage"] for run in runs]
        assert found["tags"] == [{"key": "a", "value": ""}]
        assert begun <= found["creation_time"] <= found["last_update_time"]
        return found["lifecycle_stage"], stages, found["last_update_time"]

    made = seen()
    assert made[:2] == ("active", ["deleted", "active"])
    time.sleep(0.002)
    assert api.post("experiments/delete", experiment_id=text) == {}
    deleted = seen()
    assert deleted[:2] == ("deleted", ["deleted", "deleted"])
    assert deleted[2] > made[2]
    assert (
        api.get("experiments/get-by-name", experiment_name="staged")["experiment"]["lifecycle_stage"]
        == "deleted"
    )
    time.sleep(0.002)
    assert api.post("experiments/restore", experiment_id=text) == {}
    restored = seen()
    assert restored[:2] == ("active", ["active", "active"]), "all of them, as MLflow has it"
    assert restored[2] > deleted[2]


def test_tags_overwrite_and_go(api: Api, places: dict[str, str]):
    def tags() -> dict[str, str]:
        found = api.get("experiments/get", experiment_id=places["live"])["experiment"]
        return {tag["key"]: tag["value"] for tag in found.get("tags", [])}

    for value in ("1", "ü" * 20_000, ""):
        assert (
            api.post("experiments/set-experiment-tag", experiment_id=places["live"], key="a/b c", value=value)
            == {}
        )
        assert tags() == {"k": "v", "a/b c": value}
    assert api.post("experiments/delete-experiment-tag", experiment_id=places["live"], key="a/b c") == {}
    assert tags() == {"k": "v"}


@pytest.fixture(scope="module")
def searched(api: Api) -> list[str]:
    """Experiments of one team, in the order in which they were made; the last one is deleted."""
    ids = []
    for name, goal in (("s-b", "x"), ("S-a", "X%"), ("s-_c", None), ("s-gone", "x")):
        tags = [{"key": "team", "value": "search"}, *([{"key": "my goal", "value": goal}] if goal else [])]
        ids.append(api.post("experiments/create", name=name, tags=tags)["experiment_id"])
        time.sleep(0.002)
    api.post("experiments/delete", experiment_id=ids[-1])
    return ids


@pytest.mark.parametrize(
    ("where", "order", "names"),
    [
        ("", [], ["s-_c", "S-a", "s-b"]),
        ("", ["creation_time"], ["s-b", "S-a", "s-_c"]),
        ("", ["attributes.name DESC"], ["s-b", "s-_c", "S-a"]),
        ("", ["experiment_id desc"], ["s-_c", "S-a", "s-b"]),
        ("", ["attribute.last_update_time ASC"], ["s-b", "S-a", "s-_c"]),
        ("name LIKE 's-%'", [], ["s-_c", "s-b"]),
        ("name ilike 's-%'", [], ["s-_c", "S-a", "s-b"]),
        ("attributes.name LIKE 's-_'", [], ["s-b"]),
        ("attribute.name = \"s-b\"", [], ["s-b"]),
        ("name != 's-b'", [], ["s-_c", "S-a"]),
        ("tags.`my goal` = 'x'", [], ["s-b"]),
        ("tag.\"my goal\" ILIKE 'x%'", [], ["S-a", "s-b"]),
        ("tags.`my goal` != 'x'", [], ["S-a"]),
        ("tags.`my goal` IS NULL", [], ["s-_c"]),
        ("tags.`my goal` IS NOT NULL AND name = 's-b' AND", [], ["s-b"]),
        ("creation_time > 0 and last_update_time >= 1", [], ["s-_c", "S-a", "s-b"]),
        ("creation_time < 5", [], []),
        ("experiment_id = '{0}'", [], ["s-b"]),
        ("experiment_id != '{0}'", [], ["s-_c", "S-a"]),
        ("experiment_id IN ('{0}', '{1}')", [], ["S-a", "s-b"]),
        ("experiment_id NOT IN ('{0}')", [], ["s-_c", "S-a"]),
    ],
)  # fmt: skip
def test_searches(api: Api, searched: list[str], where: str, order: list[str], names: list[str]):
    where = " AND ".join(part for part in ("tags.team = 'search'", where.format(*searched)) if part)
    sent = {"max_results": 1000, "filter": where, "order_by": order}
    found = api.post("experiments/search", **sent)
    assert [one["name"] for one in found.get("experiments", [])] == names
    if not names:
        assert found == {}
    seen, token = [], ""
    for _ in names:
        page = api.post("experiments/search", **{**sent, "max_results": 1, "page_token": token})
        seen += [one["name"] for one in page["experiments"]]
        token = page.get("next_page_token", "")
    assert (seen, token) == (names, ""), "page by page, and no token behind the last"


@pytest.mark.parametrize(
    ("view", "names"),
    [("DELETED_ONLY", ["s-gone"]), (2, ["s-gone"]), ("ALL", ["s-gone", "s-_c", "S-a", "s-b"]), ("ACTIVE_ONLY", ["s-_c", "S-a", "s-b"])],
)  # fmt: skip
def test_stages_are_searched_for(api: Api, searched: list[str], view: Any, names: list[str]):
    found = api.post("experiments/search", max_results=9, filter="tags.team = 'search'", view_type=view)
    assert [one["name"] for one in found["experiments"]] == names


def test_mlflow_1_lists_what_later_versions_search(api: Api, searched: list[str]):
    def listed(**query: Any) -> tuple[list[str], str]:
        page = api.get("experiments/list", **query)
        return [one["experiment_id"] for one in page["experiments"]], page.get("next_page_token", "")

    for view in ("ACTIVE_ONLY", "DELETED_ONLY", "ALL"):
        found = api.post("experiments/search", max_results=1000, view_type=view)["experiments"]
        assert listed(view_type=view) == ([one["experiment_id"] for one in found], "")
    first, token = listed(max_results=1)
    assert (first + listed(page_token=token)[0], "") == listed()
    assert searched[-1] not in listed()[0]
    assert api.get("experiments/list", max_results=0)[:2] == (400, INVALID)
