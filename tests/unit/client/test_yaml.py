"""YAML is written so that PyYAML reads the same values back."""

from __future__ import annotations

import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ingest_client._yaml import to_yaml

texts = st.text(st.characters(codec="utf-8"))
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@given(documents)
def test_what_is_written_is_read(value):
    assert yaml.safe_load(to_yaml(value)) == value


@pytest.mark.parametrize(
    "text",
    [
        "yes",
        "Off",
        "null",
        "1e3",
        "0x1f",
        "2026-11-27",
        "=",
        "a: b",
        "- x",
        "",
        "~",
        ".inf",
        "1_000",
        "12:30:00",
    ],
)
def test_texts_that_look_like_something_else_stay_texts(text):
    assert yaml.safe_load(to_yaml({text: text})) == {text: text}


def test_nan_is_a_number():
    assert math.isnan(yaml.safe_load(to_yaml([float("nan")]))[0])


def test_what_has_no_form_is_refused():
    with pytest.raises(TypeError, match="set"):
        to_yaml({"a": {1, 2}})
