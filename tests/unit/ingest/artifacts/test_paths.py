"""Which paths are safe: a corpus of attacks, and properties of whatever passes."""

from __future__ import annotations

import os
from urllib.parse import quote, unquote
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.artifacts.errors import UnsafePath
from ingest.artifacts.paths import (
    MAX_NAME_BYTES,
    MAX_PATH_BYTES,
    check_path,
    check_prefix,
    model_prefix,
    parse_place,
    run_prefix,
)

RUN = UUID(int=0xABC)
MODEL = "m-" + "0" * 31 + "1"

ATTACKS = [
    "", "/", "/etc/passwd", "//etc/passwd", "////proc/self/root", "..", "../x", "a/../../x", "a/..", "./a", "a/./b", "a//b",
    "a/", ".", "a\\b", "\\\\server\\share", "..\\x", "C:\\x", "C:/x", "c:x", "a\0b", "a\nb", "a\x7f", "a#b", "#", "file:///etc/passwd",
    "%2e%2e/x", "a/%2e%2e/%2e%2e/x", "%252e%252e%252fx", "%25252e%25252e/x", "..%2fx", "%2fetc/passwd", "%5c..%5cx", "a%5cb",
    "a%00.png", "a%2500", "a%23b", "a%2523b", "%43%3a/x", "C%3A/x", "%2E%2E", ".%2e/x", "a%2f%2fb", "%25" * 1 + "25" * 12 + "2e",
    "file://a#/..//tmp", "file://a%23/..//tmp/", "x" * (MAX_NAME_BYTES + 1), "/".join(["x" * 100] * 10), "\ud800",
]  # fmt: skip
FINE = [
    "a", "a/b.txt", "model/data/model.pth", "ü/日本語/😀.txt", "with space", "100%", "50%25", "a%zz", "%", "a+b", "a?b=c&d", "ab:c",
    "...", "..a", "a..", ".hidden", "a;b", "~", "-rf", "images/loss%step%0%timestamp%1764256000000%g1b2.png",
    "images/loss%step%23%timestamp%1764256000000%g1b2.png", "é" * 120, "a%2fb", "CON",
]  # fmt: skip


@pytest.mark.parametrize("path", ATTACKS)
def test_what_leads_elsewhere_is_refused(path: str):
    with pytest.raises(UnsafePath):
        check_path(path)


@pytest.mark.parametrize("path", FINE)
def test_ordinary_names_pass_as_they_are(path: str):
    assert check_path(path) == path


@given(st.text(alphabet=st.sampled_from("ab./\\%#:0125cefC \0é"), max_size=30) | st.text(max_size=40))
def test_whatever_passes_stays_below_its_root_however_often_it_is_decoded(path: str):
    try:
        check_path(path)
    except UnsafePath:
        return
    assert len(path.encode()) <= MAX_PATH_BYTES
    for _ in range(12):
        for candidate in (path, path.replace("\\", "/")):
            real = os.path.normpath(os.path.join("/root/prefix", candidate))
            assert real.startswith("/root/prefix/")
            assert real == "/root/prefix/" + candidate, "no two names for one file"
        assert "\0" not in path
        path = unquote(path)


@given(st.lists(st.text(alphabet="abcé ._-", min_size=1, max_size=9), min_size=1, max_size=5))
def test_an_attack_is_refused_at_any_depth_and_in_any_encoding(names: list[str]):
    for attack in ("..", "%2e%2e", "%252E%252e", quote(quote("../x", safe=""), safe="")):
        for place in range(len(names) + 1):
            with pytest.raises(UnsafePath):
                check_path("/".join([*names[:place], attack, *names[place:]]))


def test_a_directory_may_be_nothing_and_may_end_in_a_slash():
    assert check_prefix("") == check_prefix("/") == ""
    assert check_prefix("a/b/") == "a/b"
    with pytest.raises(UnsafePath):
        check_prefix("a//")


@given(st.integers(0, 2**63 - 1), st.uuids(), st.sampled_from(["", "a", "a/b c"]))
def test_a_place_is_read_as_it_is_written(experiment_id: int, run_id: UUID, rest: str):
    for prefix in (run_prefix(experiment_id, run_id), model_prefix(experiment_id, f"m-{run_id.hex}")):
        place = parse_place(f"{prefix}/{rest}")
        assert place is not None
        assert (place.experiment_id, place.rest, place.prefix) == (experiment_id, rest, prefix)
        assert (place.run_id or UUID((place.model_id or "")[2:])) == run_id


@pytest.mark.parametrize(
    "path",
    ["", "5", "x/y", f"05/{RUN.hex}/artifacts/a", f"5/{RUN.hex}", f"5/{RUN.hex.upper()}/artifacts", f"5/{RUN}/artifacts/a",
     f"5/models/{MODEL}", "5/models/x/artifacts", f"-1/{RUN.hex}/artifacts", f"5/{RUN.hex}/artifactsx/a", ".uploads/x",
     f"{10**20}/{RUN.hex}/artifacts"],
)  # fmt: skip
def test_what_belongs_to_no_run_and_no_model_is_no_place(path: str):
    assert parse_place(path) is None


def test_a_place_is_checked_like_any_path():
    with pytest.raises(UnsafePath):
        parse_place(f"5/{RUN.hex}/artifacts/../../6")
    with pytest.raises(UnsafePath):
        model_prefix(1, "../x")
