from __future__ import annotations

import pytest

from ingest.store.pages import BadPageToken, decode_token, encode_token


def test_a_token_gives_back_its_position():
    token = encode_token("runs", -(2**63), b"\0" * 16, "é")
    assert decode_token("runs", token, [int, bytes, str]) == [-(2**63), b"\0" * 16, "é"]


@pytest.mark.parametrize(
    "token", ["", "x", "é", "!!!!", encode_token("series", 1), encode_token("runs", "1"), encode_token("runs"),
              encode_token("runs", 1, 2), encode_token("runs", 2**63), "gaRydW5z"],
)  # fmt: skip
def test_anything_else_is_refused(token):
    with pytest.raises(BadPageToken):
        decode_token("runs", token, [int])
