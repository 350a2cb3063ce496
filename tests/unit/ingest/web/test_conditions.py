"""Ranges and conditions of RFC 9110, as a table, and what holds for any header."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.web.conditions import Verdict, http_date, judge

SIZE = 1000
MODIFIED_MS = 1_700_000_000_500
BEFORE, SAME, AFTER = (http_date(MODIFIED_MS + shift) for shift in (-1000, 0, 1000))


def verdict(etag: str = "e", **headers: str) -> Verdict:
    return judge(
        {name.replace("_", "-"): value for name, value in headers.items()},
        etag=etag, modified_ms=MODIFIED_MS, size_bytes=SIZE,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, (200, 0, SIZE)),
        ({"Range": "bytes=0-"}, (206, 0, SIZE)), ({"Range": "bytes=999-"}, (206, 999, SIZE)), ({"Range": "bytes=0-0"}, (206, 0, 1)),
        ({"Range": "bytes=-1"}, (206, 999, SIZE)), ({"Range": "bytes=-5000"}, (206, 0, SIZE)), ({"Range": "bytes=10-5000"}, (206, 10, SIZE)),
        ({"Range": "bytes=1000-"}, (416, 0, 0)), ({"Range": "bytes=-0"}, (416, 0, 0)), ({"Range": "bytes=5-4"}, (200, 0, SIZE)),
        ({"Range": "bytes=-"}, (200, 0, SIZE)), ({"Range": "bytes=1-2,4-5"}, (200, 0, SIZE)), ({"Range": "lines=1-2"}, (200, 0, SIZE)),
        ({"Range": "bytes=" + "9" * 30 + "-"}, (200, 0, SIZE)), ({"Range": "bytes=٣-٤"}, (200, 0, SIZE)),
        ({"If_None_Match": '"e"'}, (304, 0, 0)), ({"If_None_Match": 'W/"e"'}, (304, 0, 0)), ({"If_None_Match": "*"}, (304, 0, 0)),
        ({"If_None_Match": '"x", "e"'}, (304, 0, 0)), ({"If_None_Match": "e"}, (200, 0, SIZE)),
        ({"If_Modified_Since": SAME}, (304, 0, 0)), ({"If_Modified_Since": AFTER}, (304, 0, 0)), ({"If_Modified_Since": BEFORE}, (200, 0, SIZE)),
        ({"If_Modified_Since": "yesterday"}, (200, 0, SIZE)), ({"If_None_Match": '"x"', "If_Modified_Since": SAME}, (200, 0, SIZE)),
        ({"If_Match": '"e"'}, (200, 0, SIZE)), ({"If_Match": "*"}, (200, 0, SIZE)), ({"If_Match": 'W/"e"'}, (412, 0, 0)), ({"If_Match": '"x"'}, (412, 0, 0)),
        ({"Range": "bytes=0-0", "If_Range": '"e"'}, (206, 0, 1)), ({"Range": "bytes=0-0", "If_Range": '"x"'}, (200, 0, SIZE)),
        ({"Range": "bytes=0-0", "If_Range": 'W/"e"'}, (200, 0, SIZE)), ({"Range": "bytes=0-0", "If_Range": SAME}, (206, 0, 1)),
        ({"Range": "bytes=0-0", "If_Range": AFTER}, (200, 0, SIZE)), ({"Range": "bytes=0-0", "If_Range": "nonsense"}, (200, 0, SIZE)),
    ],
)  # fmt: skip
def test_the_table(headers: dict[str, str], expected: tuple[int, int, int]):
    found = verdict(**headers)
    assert (found.status, found.start, found.stop) == expected


@pytest.mark.parametrize("headers", [{"If_None_Match": '""'}, {"If_Modified_Since": SAME}])
def test_a_version_that_can_not_be_told_is_always_sent(headers: dict[str, str]):
    assert verdict(etag="", **headers).status == 200
    assert verdict(etag="", Range="bytes=0-0", If_Range=SAME).status == 200
    assert verdict(etag="", If_Match="*").status == 200


def test_an_empty_file_has_no_ranges():
    for given_range in ("bytes=0-", "bytes=-1", "bytes=0-0"):
        assert judge({"Range": given_range}, etag="e", modified_ms=0, size_bytes=0).status == 416


@given(
    st.dictionaries(
        st.sampled_from(["Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since"]),
        st.text(alphabet='bytes=0123456789-,*"We/ MonTueGMT:', max_size=30) | st.text(max_size=20),
    ),
    st.integers(0, 5000),
)
def test_no_header_breaks_it_or_leads_outside_the_file(headers: dict[str, str], size_bytes: int):
    found = judge(headers, etag="e", modified_ms=MODIFIED_MS, size_bytes=size_bytes)
    if found.status in {200, 206}:
        assert 0 <= found.start <= found.stop <= size_bytes
        assert found.status == 200 or found.start < found.stop
