"""The contract of metrics, params and tags over raw HTTP: keys, values, limits, repeats, what is latest."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.mlflow.conftest import Api

INVALID = "INVALID_PARAMETER_VALUE"
LAST = 2**63 - 1
IN_ALPHABET = "Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), colon(:) and slashes (/)."
AS_FILES = (
    "Names may be treated as files in certain cases, and must not resolve to other names when treated as such. "
    "This name would resolve to "
)


def metric(key: str, value: Any = 1.0, timestamp: Any = 1, step: Any = 0) -> dict[str, Any]:
    return {"key": key, "value": value, "timestamp": timestamp, "step": step}


def write(api: Api, run_id: str, kind: str, key: str, *, batch: bool) -> Any:
    """Log something under this key, by a call of its own or in a batch."""
    entry = metric(key) if kind == "metric" else {"key": key, "value": "v"}
    if batch:
        return api.post("runs/log-batch", run_id=run_id, **{f"{kind}s": [entry]})
    path = {"metric": "log-metric", "param": "log-parameter", "tag": "set-tag"}[kind]
    return api.post(f"runs/{path}", run_id=run_id, **entry)


@pytest.mark.parametrize("batch", [False, True], ids=["call", "batch"])
@pytest.mark.parametrize("kind", ["metric", "param", "tag"])
def test_keys_that_are_taken(api: Api, kind: str, batch: bool):
    keys = [
        "a",
        "A",
        "a/b",
        "a b",
        "a:b",
        "a.b",
        "-",
        "_",
        "...",
        "é/ß",
        "日本",
        "٣",
        "𝒳",
        "x" * 250,
        "日" * 250,
    ]
    keys.remove("...")  # begins with two dots
    run_id = api.new_run()
    for key in keys:
        assert write(api, run_id, kind, key, batch=batch) == {}, key
    data = api.get("runs/get", run_id=run_id)["run"]["data"]
    assert {one["key"] for one in data[f"{kind}s"]} - {"mlflow.runName"} == set(keys)


@pytest.mark.parametrize("batch", [False, True], ids=["call", "batch"])
@pytest.mark.parametrize("kind", ["metric", "param", "tag"])
def test_keys_that_are_refused(api: Api, kind: str, batch: bool):
    run_id = api.new_run()
    place = f"{kind}s[0]." if batch else ""
    parameter = place + ("name" if kind == "metric" else "key")
    for key, shown, problem in (
        ("a,b", '"a,b"', IN_ALPHABET), ("a\tb", '"a\\tb"', IN_ALPHABET), ('"', '"\\""', IN_ALPHABET), ("😀", '"\\ud83d\\ude00"', IN_ALPHABET),
        (".", '"."', f"{AS_FILES}'.'"), ("..", '".."', f"{AS_FILES}'..'"), ("/a", '"/a"', f"{AS_FILES}'/a'"),
        ("../a", '"../a"', f"{AS_FILES}'../a'"), ("a//b", '"a//b"', f"{AS_FILES}'a/b'"), ("a/", '"a/"', f"{AS_FILES}'a'"),
        ("a/../b", '"a/../b"', f"{AS_FILES}'b'"), ("./a", '"./a"', f"{AS_FILES}'a'"), ("..a", '"..a"', f"{AS_FILES}'..a'"),
    ):  # fmt: skip
        told = f"Invalid value {shown} for parameter '{parameter}' supplied: {problem}"
        assert write(api, run_id, kind, key, batch=batch) == (400, INVALID, told)
    what = {"metric": "Metric name", "param": "Param key", "tag": f"{place}key"}[kind]
    told = f"'{what}' exceeds the maximum length of 250 characters"
    assert write(api, run_id, kind, "x" * 251, batch=batch) == (400, INVALID, told)
    missing = f"Missing value for required parameter '{place}key'. See the API docs for more information about request parameters."
    assert write(api, run_id, kind, "", batch=batch) == (400, INVALID, missing)
    assert write(api, run_id, kind, "a\0", batch=batch)[:2] == (400, INVALID)
    assert set(api.get("runs/get", run_id=run_id)["run"]["data"]) == {"tags"}, "nothing was kept"


@pytest.mark.parametrize("value", ["", " ", "x" * 6_001, "ü" * 8_001, "😀\n\t\"'\\", "null"])
def test_texts_are_kept_whole(api: Api, value: str):
    run_id = api.new_run()
    for path in ("runs/log-parameter", "runs/set-tag"):
        assert api.post(path, run_id=run_id, key="k", value=value) == {}
    data = api.get("runs/get", run_id=run_id)["run"]["data"]
    assert data["params"] == [{"key": "k", "value": value}]
    assert {"key": "k", "value": value} in data["tags"]


def test_an_absent_value_is_an_empty_text(api: Api):
    run_id = api.new_run()
    assert api.post("runs/log-parameter", run_id=run_id, key="k") == {}
    assert api.post("runs/log-batch", run_id=run_id, params=[{"key": "l"}], tags=[{"key": "t"}]) == {}
    data = api.get("runs/get", run_id=run_id)["run"]["data"]
    assert data["params"] == [{"key": "k", "value": ""}, {"key": "l", "value": ""}]


def test_params_are_written_once(api: Api):
    run_id = api.new_run()
    for _ in range(2):
        assert api.post("runs/log-parameter", run_id=run_id, key="k", value="a") == {}
    told = (
        f"Changing param values is not allowed. Param with key='k' was already logged with value='a' for run ID='{run_id}'. "
        "Attempted logging new value 'b'."
    )
    assert api.post("runs/log-parameter", run_id=run_id, key="k", value="b") == (400, INVALID, told)
    told = (
        "Changing param values is not allowed. Params were already logged='[{'key': 'k', 'old_value': 'a', 'new_value': \"it's\"}]' "
        f"for run ID='{run_id}'."
    )
    batch = {
        "metrics": [metric("m")],
        "params": [{"key": "new", "value": "1"}, {"key": "k", "value": "it's"}],
        "tags": [{"key": "t", "value": "1"}],
    }
    assert api.post("runs/log-batch", run_id=run_id, **batch) == (400, INVALID, told)
    data = api.get("runs/get", run_id=run_id)["run"]["data"]
    assert data["params"] == [{"key": "k", "value": "a"}]
    assert "metrics" not in data, "all or nothing"
    assert "t" not in {tag["key"] for tag in data["tags"]}


@pytest.mark.parametrize(
    ("points", "latest"),
    [
        ([(1.0, 5, 1), (2.0, 4, 2)], (2.0, 4, 2)),
        ([(2.0, 4, 2), (1.0, 5, 1)], (2.0, 4, 2)),
        ([(1.0, 5, 1), (2.0, 6, 1)], (2.0, 6, 1)),
        ([(3.0, 5, 1), (2.0, 5, 1)], (3.0, 5, 1)),
        ([(2.0, 5, 1), (3.0, 5, 1)], (3.0, 5, 1)),
        ([("NaN", 5, 1), (-1.0, 5, 1)], ("NaN", 5, 1)),
        ([(-1.0, 5, 1), ("NaN", 5, 1)], ("NaN", 5, 1)),
        ([("NaN", 5, 1), (1.0, 5, 1)], (1.0, 5, 1)),
        ([("Infinity", 5, -1), ("-Infinity", 0, LAST)], ("-Infinity", 0, LAST)),
        ([(1.0, 1, -(2**63)), (1.0, 0, 0)], (1.0, 0, 0)),
    ],
)
@pytest.mark.parametrize("together", [True, False], ids=["batch", "calls"])
def test_the_latest_is_by_step_time_and_value(api: Api, points: list[Any], latest: Any, together: bool):
    """NaN counts as 0; whatever comes late does not move it back."""
    run_id = api.new_run()
    sent = [metric("k", *point) for point in points]
    for _ in range(2):
        if together:
            assert api.post("runs/log-batch", run_id=run_id, metrics=sent) == {}
        else:
            assert [api.post("runs/log-metric", run_id=run_id, **one) for one in sent] == [{}] * len(sent)
    assert api.get("runs/get", run_id=run_id)["run"]["data"]["metrics"] == [metric("k", *latest)]
    history = api.get("metrics/get-history", run_id=run_id, metric_key="k")["metrics"]
    assert sorted(history, key=repr) == sorted(sent, key=repr), "each once, though sent twice"


@pytest.mark.parametrize("value", [-0.0, 0.0, 5e-324, 1.7976931348623157e308, 0.1 + 0.2, 1e23, 2.0**53 + 2])
def test_a_value_comes_back_to_the_last_bit(api: Api, value: float):
    run_id = api.new_run()
    api.post("runs/log-metric", run_id=run_id, **metric("k", value))
    for path in (f"runs/get?run_id={run_id}", f"metrics/get-history?run_id={run_id}&metric_key=k"):
        found = json.loads(api.send("GET", path).content)  # as MLflow's client reads it
        (point,) = found["run"]["data"]["metrics"] if "run" in found else found["metrics"]
        assert repr(float(point["value"])) == repr(value)


def test_points_that_differ_anywhere_are_both_kept_and_equal_ones_once(api: Api):
    run_id = api.new_run()
    different = [
        metric("k", 1.0, 5, 1),
        metric("k", 1.0, 6, 1),
        metric("k", 2.0, 5, 1),
        metric("k", 1.0, 5, 2),
        metric("K", 1.0, 5, 1),
    ]
    api.post("runs/log-batch", run_id=run_id, metrics=[*different, *different])
    for one in different:
        api.post("runs/log-metric", run_id=run_id, **one)
    assert api.get("metrics/get-history", run_id=run_id, metric_key="k")["metrics"] == [
        metric("k", 1.0, 5, 1), metric("k", 2.0, 5, 1), metric("k", 1.0, 5, 2), metric("k", 1.0, 6, 1),
    ]  # fmt: skip
    assert api.get("metrics/get-history", run_id=run_id, metric_key="K")["metrics"] == [
        metric("K", 1.0, 5, 1)
    ]


@pytest.mark.parametrize(
    ("point", "message"),
    [
        (metric("k", timestamp=-1), "Invalid value -1 for parameter '{place}timestamp' supplied: metric 'k' (value=1.0). Timestamp must be a nonnegative long (64-bit integer) "),
        (metric("k", timestamp=1.5), "Invalid value 1.5 for parameter '{place}timestamp' supplied:  Hint: Value was of type 'float'."),
        (metric("k", timestamp="x"), "Invalid value \"x\" for parameter '{place}timestamp' supplied:  Hint: Value was of type 'str'."),
        (metric("k", timestamp=None), "Missing value for required parameter '{place}timestamp'."),
        (metric("k", value=None), "Missing value for required parameter '{place}value'."),
        (metric("k", value="one"), "Invalid value \"one\" for parameter '{place}value' supplied:  Hint: Value was of type 'str'."),
        (metric("k", value=[1]), "Invalid value [1] for parameter '{place}value' supplied:  Hint: Value was of type 'list'."),
        (metric("k", step=2.5), "Invalid value 2.5 for parameter '{place}step' supplied:  Hint: Value was of type 'float'."),
        (metric("k", step=str(2**63)), "Invalid value \"9223372036854775808\" for parameter '{place}step' supplied:  Hint: Value was of type 'str'."),
        (metric("k", timestamp=2**63), "Invalid value 9223372036854775808 for parameter '{place}timestamp' supplied:  Hint: Value was of type 'int'."),
    ],
)  # fmt: skip
def test_points_that_are_refused(api: Api, point: dict[str, Any], message: str):
    run_id = api.new_run()
    for path, fields, place in (
        ("runs/log-metric", point, ""),
        ("runs/log-batch", {"metrics": [metric("good"), point]}, "metrics[1]."),
    ):
        status, code, told = api.post(path, run_id=run_id, **fields)
        assert (status, code) == (400, INVALID)
        assert told.startswith(message.format(place=place))
    assert "metrics" not in api.get("runs/get", run_id=run_id)["run"]["data"]


@pytest.mark.parametrize("step", [LAST, -(2**63), "9223372036854775807", "-5", 0, None])
def test_steps_are_whole_numbers_of_64_bits(api: Api, step: Any):
    run_id = api.new_run()
    assert api.post("runs/log-metric", run_id=run_id, **metric("k", 1.0, 0, step)) == {}
    wanted = [metric("k", 1.0, 0, int(step or 0))]
    assert api.get("metrics/get-history", run_id=run_id, metric_key="k")["metrics"] == wanted
    assert api.get("runs/get", run_id=run_id)["run"]["data"]["metrics"] == wanted


def many(kind: str, number: int) -> list[dict[str, Any]]:
    return [
        metric(f"{kind}{i}") if kind == "metrics" else {"key": f"{kind}{i}", "value": "v"}
        for i in range(number)
    ]


def over(what: str, limit: int, number: int) -> str:
    return (
        f"A batch logging request can contain at most {limit} {what}. Got {number} {what}. "
        f"Please split up {what} across multiple requests and try again."
    )


@pytest.mark.parametrize(
    ("numbers", "refusal"),
    [
        ((0, 0, 0), None),
        ((1000, 0, 0), None),
        ((800, 100, 100), None),
        ((1001, 0, 0), over("metrics", 1000, 1001)),
        ((0, 101, 0), over("params", 100, 101)),
        ((0, 0, 101), over("tags", 100, 101)),
        ((901, 0, 100), over("metrics, params, and tags", 1000, 1001)),
    ],
)
def test_a_batch_has_limits(api: Api, numbers: tuple[int, int, int], refusal: str | None):
    run_id = api.new_run()
    batch = {
        kind: many(kind, number) for kind, number in zip(("metrics", "params", "tags"), numbers, strict=True)
    }
    assert api.post("runs/log-batch", run_id=run_id, **batch) == ((400, INVALID, refusal) if refusal else {})
    data = api.get("runs/get", run_id=run_id)["run"]["data"]
    kept = (len(data.get("metrics", [])), len(data.get("params", [])), len(data["tags"]) - 1)
    assert kept == ((0, 0, 0) if refusal else numbers)


def test_a_batch_may_have_more_than_a_megabyte(api: Api):
    run_id = api.new_run()
    tags = [{"key": f"t{i}", "value": "x" * 20_000} for i in range(100)]
    assert api.post("runs/log-batch", run_id=run_id, tags=tags) == {}
    assert len(api.get("runs/get", run_id=run_id)["run"]["data"]["tags"]) == 101


def test_of_equal_tags_in_a_batch_the_last_wins_and_equal_params_are_refused(api: Api):
    run_id = api.new_run()
    tags = [{"key": "t", "value": "1"}, {"key": "t", "value": "2"}]
    assert api.post("runs/log-batch", run_id=run_id, tags=tags) == {}
    assert {"key": "t", "value": "2"} in api.get("runs/get", run_id=run_id)["run"]["data"]["tags"]
    told = "Duplicate parameter keys have been submitted: ['p']. Please ensure the request contains only one param value per param key."
    params = [{"key": "p", "value": "1"}, {"key": "q", "value": "1"}, {"key": "p", "value": "1"}]
    assert api.post("runs/log-batch", run_id=run_id, params=params) == (400, INVALID, told)


def test_checks_come_in_their_order(api: Api):
    """Presence; the run id's form; keys and values; limits; doubled params; the run."""
    bad_key, doubled = [metric("a,b")], [{"key": "p", "value": "1"}] * 2
    steps: list[tuple[dict[str, Any], str]] = [
        ({"run_id": "a b", "metrics": [{"key": "k"}], "params": [{"key": "a,b"}]}, "Missing value for required parameter 'metrics[0].value'."),
        ({"run_id": "a b", "metrics": bad_key}, "Invalid value \"a b\" for parameter 'run_id' supplied."),
        ({"run_id": "abc", "metrics": bad_key * 1001, "params": doubled}, "Invalid value \"a,b\" for parameter 'metrics[0].name' supplied"),
        ({"run_id": "abc", "metrics": [metric("k")] * 1001, "params": doubled}, "A batch logging request can contain at most 1000 metrics."),
        ({"run_id": "abc", "params": doubled}, "Duplicate parameter keys have been submitted: ['p']."),
        ({"run_id": "abc", "params": doubled[:1]}, "Run with id=abc not found"),
    ]  # fmt: skip
    for fields, message in steps:
        assert api.post("runs/log-batch", **fields)[2].startswith(message)
