"""Names of artifacts: what is refused never leaves the machine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_client._artifacts_paths import MAX_PATH_BYTES, checked_path, join, quoted
from ingest_client.errors import BadPath


@given(st.text())
def test_a_path_that_passes_stays_below_its_run(text):
    try:
        path = checked_path(text)
    except BadPath:
        return
    assert path == text
    assert not {"", ".", ".."} & set(path.split("/"))
    assert len(path.encode()) <= MAX_PATH_BYTES
    assert "%2F" not in quoted(path)


@pytest.mark.parametrize("path", ["a/%2e%2e/b", "%252e%252e", "a%2f%2fb", "%23", "x%00", "d:/x", "a" * 241])
def test_escapes_can_not_hide_anything(path):
    with pytest.raises(BadPath):
        checked_path(path)


@pytest.mark.parametrize("path", ["100%", "a%20b", "50%25", "run:x", "ü/€"])
def test_a_percent_sign_is_no_crime(path):
    assert checked_path(path) == path


def test_directories_may_end_in_a_slash():
    assert join("a/b/", "c") == "a/b/c"
    assert join(None, "c") == join("", "c") == "c"
    with pytest.raises(BadPath, match="empty"):
        join("a", "")


def test_what_a_url_can_not_hold_is_quoted():
    assert quoted("a b/ü?.txt") == "a%20b/%C3%BC%3F.txt"
