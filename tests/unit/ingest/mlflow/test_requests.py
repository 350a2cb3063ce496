"""Each request: what is read, what is refused, and that nothing else can happen, whatever is sent."""

from __future__ import annotations

import math
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.mlflow import experiments, history, inputs, metrics, runs, searches
from ingest.mlflow.bodies import body_object
from ingest.mlflow.errors import MlflowError
from ingest_schema.wire import unpack_column

RUN = UUID("0123456789abcdef0123456789abcdef")
R = {"run_id": RUN.hex}
M = {"key": "k", "value": 1.0, "timestamp": 5}
X251 = "x" * 251

READERS = {
    "experiments/create": experiments.read_create,
    "experiments/get": experiments.read_id,
    "experiments/get-by-name": experiments.read_name,
    "experiments/update": experiments.read_rename,
    "experiments/set-experiment-tag": experiments.read_set_tag,
    "experiments/delete-experiment-tag": experiments.read_delete_tag,
    "experiments/search-datasets": experiments.read_search_datasets,
    "experiments/search": searches.read_search_experiments,
    "experiments/list": searches.read_list_experiments,
    "runs/create": runs.read_create,
    "runs/get": runs.read_run_id,
    "runs/update": runs.read_update,
    "runs/log-parameter": runs.read_log_param,
    "runs/set-tag": runs.read_set_tag,
    "runs/delete-tag": runs.read_delete_tag,
    "runs/log-model": runs.read_log_model,
    "runs/log-metric": metrics.read_log_metric,
    "runs/log-batch": metrics.read_log_batch,
    "runs/log-inputs": inputs.read_log_inputs,
    "runs/outputs": inputs.read_outputs,
    "runs/search": searches.read_search_runs,
    "metrics/get-history": history.read_history,
    "metrics/get-history-bulk": history.read_bulk,
    "metrics/get-history-bulk-interval": history.read_interval,
}

NAMES = sorted(
    {
        field.name
        for module in (experiments, history, inputs, metrics, runs, searches)
        for table in vars(module).values()
        if type(table).__name__ == "Table"
        for field in table.fields
    }
)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
    | st.sampled_from(["", "0", "7", "NaN", "a/b", "a//b", RUN.hex, "ACTIVE_ONLY", "FINISHED", "mlflow.runName", "{}"])
)  # fmt: skip
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=20,
)


@pytest.mark.parametrize("endpoint", READERS)
@given(body=st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), JSON, max_size=8) | JSON)
def test_any_body_is_read_or_refused(endpoint: str, body: Any):
    """An exception of another kind would be a 500, which the client repeats for minutes."""
    try:
        READERS[endpoint](body)
    except MlflowError as error:
        assert 400 <= error.status < 500
        assert len(error.message) < 5_000


@given(st.binary(max_size=60) | st.text(max_size=40).map(str.encode))
def test_any_bytes_are_an_object_or_none(body: bytes):
    assert isinstance(body_object(body), dict)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"a": NaN}', {"a": math.nan}), (b'"{\\"name\\": \\"x\\"}"', {"name": "x"}), (b"{bad", {}), (b"", {}),
        (b"[1]", {}), (b'{"a": "\\ud800"}', {}), (b"[" * 100_000, {}),
    ],
)  # fmt: skip
def test_bodies_are_decoded_as_old_clients_need_it(body, expected):
    assert repr(body_object(body)) == repr(expected)


def refusal(endpoint: str, body: Any) -> str:
    with pytest.raises(MlflowError) as caught:
        READERS[endpoint](body)
    return f"{caught.value.code}: {caught.value.message}"


IN_ALPHABET = "Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), colon(:) and slashes (/)."
AS_FILES = (
    "Names may be treated as files in certain cases, and must not resolve to other names when treated as such. "
    "This name would resolve to "
)


@pytest.mark.parametrize(
    ("endpoint", "body", "message"),
    [
        ("runs/log-metric", {**R, **M, "key": "a,b"}, f"Invalid value \"a,b\" for parameter 'name' supplied: {IN_ALPHABET}"),
        ("runs/log-metric", {**R, **M, "key": "a//b"}, f"Invalid value \"a//b\" for parameter 'name' supplied: {AS_FILES}'a/b'"),
        ("runs/log-metric", {**R, **M, "key": "."}, f"Invalid value \".\" for parameter 'name' supplied: {AS_FILES}'.'"),
        ("runs/log-metric", {**R, **M, "key": X251}, "'Metric name' exceeds the maximum length of 250 characters"),
        ("runs/log-metric", {**R, **M, "key": "a\n"}, IN_ALPHABET),
        ("runs/log-metric", {**R, **M, "timestamp": -1}, ("Invalid value -1 for parameter 'timestamp' supplied: metric 'k' "
         "(value=1.0). Timestamp must be a nonnegative long (64-bit integer) ")),
        ("runs/log-metric", {**R, **M, "timestamp": 1.5}, "Invalid value 1.5 for parameter 'timestamp' supplied:  Hint"),
        ("runs/log-metric", {**R, **M, "step": 2**63}, f"Invalid value {2**63} for parameter 'step' supplied:  Hint"),
        ("runs/log-metric", {**R, **M, "value": None}, "Missing value for required parameter 'value'."),
        ("runs/log-metric", {**M}, "Missing value for required parameter 'run_id'."),
        ("runs/log-metric", {**M, "run_id": "abc"}, "RESOURCE_DOES_NOT_EXIST: Run with id=abc not found"),
        ("runs/log-batch", {"run_id": "a b"}, "Invalid value \"a b\" for parameter 'run_id' supplied."),
        ("runs/log-batch", {**R, "metrics": [M, {"key": "a", "value": 1}]}, "Missing value for required parameter 'metrics[1].timestamp'."),
        ("runs/log-batch", {**R, "metrics": [{**M, "key": "a,"}]}, f"for parameter 'metrics[0].name' supplied: {IN_ALPHABET}"),
        ("runs/log-batch", {**R, "metrics": [{**M, "timestamp": -1}]}, "for parameter 'metrics[0].timestamp' supplied: metric 'k' (value=1.0)."),
        ("runs/log-batch", {**R, "params": [{"value": "1"}]}, "Missing value for required parameter 'params[0].key'."),
        ("runs/log-batch", {**R, "params": [{"key": "a", "value": 3}]}, "Invalid value 3 for parameter 'params[0].value' supplied:"),
        ("runs/log-batch", {**R, "params": [{"key": X251, "value": ""}]}, "'Param key' exceeds the maximum length of 250 characters"),
        ("runs/log-batch", {**R, "tags": [{"key": X251, "value": ""}]}, "'tags[0].key' exceeds the maximum length of 250 characters"),
        ("runs/log-batch", {**R, "metrics": [M] * 1001}, ("A batch logging request can contain at most 1000 metrics. Got 1001 "
         "metrics. Please split up metrics across multiple requests and try again.")),
        ("runs/log-batch", {**R, "metrics": [M] * 950, "tags": [{"key": f"t{i}"} for i in range(51)]},
         "A batch logging request can contain at most 1000 metrics, params, and tags. Got 1001 metrics, params, and tags."),
        ("runs/log-batch", {**R, "params": [{"key": "p", "value": "1"}] * 2}, ("Duplicate parameter keys have been submitted: "
         "['p']. Please ensure the request contains only one param value per param key.")),
        ("runs/log-parameter", {**R, "key": "k", "value": 3}, "Invalid value 3 for parameter 'value' supplied:  Hint: Value was of type 'int'."),
        ("runs/log-parameter", {**R, "key": "k", "value": "x" * 2**20 + "y"}, "'Param value' exceeds the maximum length of 1048576 bytes"),
        ("runs/set-tag", {**R, "key": X251}, "'key' exceeds the maximum length of 250 characters"),
        ("runs/log-model", {**R, "model_json": "x"}, "Malformed model info. \n x \n is not a valid JSON."),
        ("runs/log-model", {**R, "model_json": '{"run_id": 1}'}, "Model json is missing mandatory fields: {'artifact_path', 'flavors', 'utc_time_created'}"),
        ("runs/outputs", R, "Missing value for required parameter 'models'."),
        ("runs/log-inputs", {**R, "datasets": [{"dataset": {"name": "n", "digest": "d" * 37}}]}, "'digest' exceeds the maximum length of 36 characters"),
        ("runs/create", {"run_name": "a", "tags": [{"key": "mlflow.runName", "value": "b"}]}, ("Both 'run_name' argument and "
         "'mlflow.runName' tag are specified, but with different values (run_name='a', mlflow.runName='b').")),
        ("runs/create", {"experiment_id": "x"}, "Invalid experiment ID 'x'. Experiment ID must be a valid integer."),
        ("runs/search", {"max_results": 0}, "Invalid value 0 for parameter 'max_results' supplied. It must be a positive integer"),
        ("runs/search", {"max_results": 50001}, "Invalid value 50001 for parameter 'max_results' supplied:  Hint: Value was of type 'int'."),
        ("experiments/search", {}, "Invalid value 0 for parameter 'max_results' supplied. It must be a positive integer"),
        ("experiments/search", {"max_results": 50001}, "It must be at most 50000"),
        ("experiments/create", {}, "Missing value for required parameter 'name'."),
        ("experiments/create", {"name": "x" * 501}, "'name' exceeds the maximum length of 500 characters"),
        ("experiments/create", {"name": "q", "artifact_location": "a#b"}, "'artifact_location' URL can't include fragments or params."),
        ("experiments/create", {"name": "q", "artifact_location": "runs:/a"}, "Artifact location cannot be a runs:/ URI. Given: 'runs:/a'"),
        ("experiments/set-experiment-tag", {"experiment_id": "1", "key": "k", "value": "v" * 20001}, "'value' exceeds the maximum length of 20000 characters"),
        ("experiments/get", {"experiment_id": "99999999999999999999"}, "Invalid experiment ID '99999999999999999999'."),
        ("metrics/get-history", {**R, "metric_key": "k", "max_results": "0"}, "Invalid value 0 for parameter 'max_results' supplied. It must be a positive integer."),
        ("metrics/get-history", {**R, "metric_key": "k", "page_token": "zzz"}, "Invalid page token, could not base64-decode"),
        ("metrics/get-history", R, "Missing value for required parameter 'metric_key'."),
        ("metrics/get-history-bulk", {}, "GetMetricHistoryBulk request must specify at least one run_id."),
        ("metrics/get-history-bulk", {"run_id": ["a"] * 101}, "cannot specify more than 100 run_ids. Received 101 run_ids."),
        ("metrics/get-history-bulk", {"run_id": ["a"]}, "must specify a metric_key."),
        ("metrics/get-history-bulk-interval", {"metric_key": "k"}, "Missing value for required parameter 'run_ids'."),
        ("metrics/get-history-bulk-interval", {"run_ids": ["a"], "metric_key": "k", "max_results": 2501}, "max_results must be between 1 and 2500."),
        ("metrics/get-history-bulk-interval", {"run_ids": ["a"], "metric_key": "k", "start_step": 3}, "both must be specified."),
        ("metrics/get-history-bulk-interval", {"run_ids": ["a"], "metric_key": "k", "start_step": 3, "end_step": 1}, "Found start_step=3 and end_step=1."),
    ],
)  # fmt: skip
def test_refuses_in_mlflows_words(endpoint, body, message):
    assert message in refusal(endpoint, body)


POINTS = st.lists(
    st.fixed_dictionaries(
        {
            "key": st.sampled_from(["a", "b", "c/d", "é"]),
            "value": st.floats()
            | st.integers(-3, 3)
            | st.sampled_from(["NaN", "Infinity", "-Infinity", "1e3"]),
            "timestamp": st.integers(0, 3) | st.just("7"),
        },
        optional={
            "step": st.integers(-2, 2) | st.just(2**63 - 1) | st.just("-4"),
            "model_id": st.just("m-1"),
        },
    ),
    max_size=12,
)


@given(POINTS)
def test_a_batch_holds_each_different_point_once_grouped_by_key_in_order(sent):
    """Also: the quick way through plain metrics and the slow one through the tables give the same."""
    wanted: dict[str, list[tuple[int, int, float]]] = {}
    for m in sent:
        point = (int(m.get("step", 0)), int(m["timestamp"]), float(m["value"]))
        found = wanted.setdefault(m["key"], [])
        if not any(repr(point) == repr(other) or point == other for other in found):
            found.append(point)
    points = metrics.read_log_batch({**R, "metrics": sent}).points
    counts = unpack_column("I", points.counts).tolist()
    columns = zip(
        unpack_column("q", points.steps), unpack_column("q", points.times_ms), unpack_column("d", points.values), strict=True
    )  # fmt: skip
    assert list(points.keys) == list(wanted)
    assert counts == [len(found) for found in wanted.values()]
    assert repr(list(columns)) == repr([point for found in wanted.values() for point in found])


def test_the_old_name_of_the_run_id_serves_where_the_new_one_is_missing():
    assert metrics.read_log_metric({"run_uuid": RUN.hex, **M}).run_id == RUN
    assert runs.read_run_id({"run_uuid": "0" * 32, "run_id": RUN.hex}) == RUN


def test_points_of_a_model_are_kept_apart_and_together():
    batch = metrics.read_log_batch(
        {**R, "metrics": [{**M, "model_id": "m-1", "dataset_name": "d", "dataset_digest": "x"}, M]}
    )
    assert batch.model_points == (metrics.ModelPoint("m-1", "k", 0, 5, 1.0, "d", "x"),)
    assert batch.points.keys == ("k",)


def test_name_and_parent_of_a_run_are_taken_out_of_its_tags():
    tags = [
        {"key": "mlflow.runName", "value": "n"},
        {"key": "mlflow.parentRunId", "value": RUN.hex},
        {"key": "t", "value": "1"},
    ]
    run = runs.read_create({"tags": tags, "start_time": "7"})
    assert (run.name, run.parent_run_id, run.start_time_ms, run.experiment_id) == ("n", RUN, 7, 0)
    assert dict(run.tags) == {"mlflow.parentRunId": RUN.hex, "t": "1"}


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1), st.floats(), st.integers(0, 9))
def test_a_cursor_survives_its_token(time_ms, step, value, equal_num):
    cursor = history.Cursor(time_ms, step, value, equal_num)
    assert repr(history.Cursor.of_token(cursor.token())) == repr(cursor)


def test_the_first_of_equal_datasets_wins():
    one = {"dataset": {"name": "n", "digest": "d", "source": "first"}}
    two = {"dataset": {"name": "n", "digest": "d", "source": "second"}}
    found = inputs.read_log_inputs({**R, "datasets": [one, two], "models": [{"model_id": "m-1"}] * 2})
    assert [dataset.source for dataset in found.datasets] == ["first"]
    assert found.model_ids == ("m-1",)
