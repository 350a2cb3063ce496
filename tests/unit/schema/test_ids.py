"""Ids are UUIDv7: ordered by time, unique, and read back from their text."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_schema import new_id, parse_id


@given(st.integers(0, 2**48 - 1))
def test_an_id_holds_its_time_version_and_variant(time_ms):
    made = new_id(time_ms=time_ms)
    assert made.int >> 80 == time_ms
    assert made.version == 7
    assert made.variant == uuid.RFC_4122


def test_ids_differ_and_later_ones_are_greater():
    same_ms = {new_id(time_ms=1) for _ in range(10_000)}
    assert len(same_ms) == 10_000
    assert new_id(time_ms=1) < new_id(time_ms=2)


def test_ids_are_made_of_now(monkeypatch):
    monkeypatch.setattr("time.time_ns", lambda: 5_000_000)
    assert new_id().int >> 80 == 5


@given(st.uuids())
def test_both_spellings_are_read(some_id):
    assert parse_id(some_id.hex) == some_id
    assert parse_id(str(some_id).upper()) == some_id


@pytest.mark.parametrize(
    "text", ["", "0" * 31, "0" * 33, "g" * 32, "{" + "0" * 34 + "}", "urn:uuid:" + "0" * 32, "0" * 31 + "\n"]
)
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError, match="32 hexadecimal digits"):
        parse_id(text)
