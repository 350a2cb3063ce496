"""How a user's file is labelled: nothing of it may run, and its name survives."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.web.content import content_headers, content_type


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.txt", "text/plain"), ("a.JSON", "text/plain"), ("a.py", "text/plain"), ("MLmodel", "text/plain"), ("mlproject", "text/plain"),
        ("a.png", "image/png"), ("a.html", "text/html"), ("a.svg", "image/svg+xml"), ("a.pdf", "application/pdf"), ("a.pkl", "application/octet-stream"),
        ("a", "application/octet-stream"), ("a.tar.gz", "application/octet-stream"), ("html", "application/octet-stream"), ("", "application/octet-stream"),
    ],
)  # fmt: skip
def test_types_by_ending(name: str, kind: str):
    assert content_type(name) == kind


@given(
    st.text(min_size=1, max_size=30)
    | st.from_regex(r"[a-z]{1,5}\.(html?|svg|xml|js|xhtml|mht|swf|png|txt|pdf)", fullmatch=True)
)
def test_whatever_the_name_nothing_can_run_and_no_header_can_be_added(name: str):
    for may_show in (True, False):
        headers = content_headers(name, may_show=may_show)
        assert "sandbox" in headers["Content-Security-Policy"]
        assert "allow" not in headers["Content-Security-Policy"]
        kind = headers["Content-Type"].partition(";")[0]
        if headers["Content-Disposition"].startswith("inline"):
            assert may_show
            assert re.fullmatch(r"text/plain|image/(?!svg).*|audio/.*|video/.*", kind)
        assert all(32 <= ord(c) < 127 for value in headers.values() for c in value)


@pytest.mark.parametrize(
    "name", ["plain.bin", "ü.bin", 'quo"te.bin', "semi;colon.bin", "100%.bin", "back\\slash", "new\nline"]
)
def test_the_name_can_be_read_back(name: str):
    value = content_headers(name, may_show=False)["Content-Disposition"]
    extended = re.search(r"filename\*=UTF-8''(\S+)", value)
    plain = re.search(r'filename="([^"]*)"', value)
    assert plain is not None
    assert (unquote(extended[1]) if extended else plain[1]) == name
