"""Protobuf's JSON rules and MLflow's sentences about them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ingest.mlflow.errors import MlflowError
from ingest.mlflow.fields import (
    Field,
    Table,
    boolean,
    double,
    enum,
    int32,
    int64,
    query_object,
    read,
    string,
)

DOCS = " See the API docs for more information about request parameters."
TABLE = Table(
    Field("name", string, required=True),
    Field("count", int64),
    Field("small", int32),
    Field("value", double),
    Field("flag", boolean),
    Field("color", enum({"RED": 1, "BLUE": 2})),
    Field("long_names", string, repeated=True),
    Field("parts", repeated=True, message=Table(Field("key", string, required=True), Field("size", int64))),
)


def problem(body: Any) -> str:
    with pytest.raises(MlflowError) as caught:
        read(TABLE, body)
    assert (caught.value.code, caught.value.status) == ("INVALID_PARAMETER_VALUE", 400)
    return caught.value.message


@pytest.mark.parametrize(
    ("field", "sent", "expected"),
    [
        ("count", 3, 3), ("count", "-3", -3), ("count", 3.0, 3), ("count", 2**63 - 1, 2**63 - 1),
        ("count", str(-(2**63)), -(2**63)), ("value", 1, 1.0), ("value", "1e3", 1000.0), ("value", True, 1.0),
        ("value", "-Infinity", -math.inf), ("value", ".5", 0.5), ("flag", "TRUE", True), ("flag", False, False),
        ("color", "BLUE", "BLUE"), ("color", 1, "RED"), ("color", "2", "BLUE"), ("long_names", ["a", ""], ["a", ""]),
    ],
)  # fmt: skip
def test_reads_what_protobuf_reads(field, sent, expected):
    values = read(TABLE, {"name": "n", field: sent})._values
    assert values[field] == expected
    assert type(values[field]) is type(expected)


@pytest.mark.parametrize(
    ("field", "sent", "shown", "kind"),
    [
        ("count", 1.5, "1.5", "float"), ("count", "1.0", '"1.0"', "str"), ("count", 2**63, str(2**63), "int"),
        ("count", True, "true", "bool"), ("count", " 1", '" 1"', "str"), ("count", "٣", '"\\u0663"', "str"),
        ("small", 2**31, str(2**31), "int"), ("value", "nan", '"nan"', "str"), ("value", "inf", '"inf"', "str"),
        ("value", "1_0", '"1_0"', "str"), ("value", [1], "[1]", "list"), ("value", {"b": 1, "a": 2}, '{"a":2,"b":1}', "dict"),
        ("flag", "yes", '"yes"', "str"), ("flag", 1, "1", "int"), ("color", "GREEN", '"GREEN"', "str"),
        ("color", 3, "3", "int"), ("name", 7, "7", "int"), ("long_names", "a", '"a"', "str"),
        ("long_names", ["a", 1], '["a",1]', "list"), ("parts", [3], "[3]", "list"), ("parts", {}, "{}", "dict"),
    ],
)  # fmt: skip
def test_names_the_wrong_type_in_mlflows_words(field, sent, shown, kind):
    assert problem({"name": "n", field: sent}) == (
        f"Invalid value {shown} for parameter '{field}' supplied:  Hint: Value was of type '{kind}'.{DOCS}"
    )


@pytest.mark.parametrize("body", [None, [], "x", {}, {"name": None}, {"name": ""}])
def test_an_absent_null_or_empty_required_field_is_missing(body):
    assert problem(body) == f"Missing value for required parameter 'name'.{DOCS}"


def test_inside_a_list_the_name_is_a_path():
    assert "'parts[1].key'" in problem({"name": "n", "parts": [{"key": "a"}, {}]})
    assert "'parts[0].size'" in problem({"name": "n", "parts": [{"key": "a", "size": "x"}]})


def test_the_first_failure_in_the_order_of_the_table_is_told():
    assert "'name'" in problem({"count": "x", "value": "x"})
    assert "'count'" in problem({"value": "x", "count": "x", "name": "n"})


def test_camel_case_is_read_but_does_not_count_for_a_required_field():
    table = Table(Field("run_id", string, required=True), Field("end_time", int64))
    assert read(table, {"run_id": "r", "endTime": "5"}).integer("end_time") == 5
    with pytest.raises(MlflowError, match="Missing value for required parameter 'run_id'"):
        read(table, {"runId": "r"})
    with pytest.raises(MlflowError, match="given twice"):
        read(table, {"run_id": "r", "endTime": 1, "end_time": 1})


def test_unknown_fields_are_ignored_and_null_is_absent():
    fields = read(TABLE, {"name": "n", "nonsense": {}, "count": None})
    assert fields.integer_or_none("count") is None
    assert not fields.has("count")


def test_nul_is_refused_since_no_database_takes_it():
    assert "NUL" in problem({"name": "a\0b"})


def test_a_query_gives_the_first_of_each_name_and_whole_lists():
    pairs = [("name", "a"), ("long_names", "x"), ("name", "b"), ("long_names", "y"), ("count", "3")]
    fields = read(TABLE, query_object(TABLE, pairs))
    assert (fields.text("name"), fields.texts("long_names"), fields.integer("count")) == ("a", ["x", "y"], 3)


def test_a_giant_value_is_not_sent_back():
    assert len(problem({"name": ["x" * 100_000]})) < 2_000
