"""Page tokens of searches: the sort keys of a page's last row, bound to what was asked.

A page goes on after a row, not after a number of rows: runs that come in meanwhile move nothing. The token is of use only
with the filter, order and scope that it came from; with others it is refused instead of giving a wrong page.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from typing import Any, Final

import msgpack

__all__ = ["BadSearchToken", "decode_position", "encode_position", "fingerprint"]

_DIGEST_BYTES: Final = 12
MAX_TOKEN_CHARS: Final = 32_768
"""Ten texts of 256 characters of four bytes each, in base64, and some room."""


class BadSearchToken(ValueError):
    """The text is no page token, or one of another search."""


def fingerprint(*asked: object) -> bytes:
    """What a token is bound to: the same for equal questions. asked: values with a faithful repr."""
    return hashlib.sha256(repr(asked).encode("utf-8", "surrogatepass")).digest()[:_DIGEST_BYTES]


def encode_position(question: bytes, position: Sequence[object]) -> str:
    """position: None, integers, floats, texts and bytes."""
    packed: bytes = msgpack.packb([question, *position])
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def decode_position(question: bytes, token: str, types: Sequence[tuple[type, ...]]) -> list[Any]:
    """The position in a token.

    Args:
        types: For each of its values what it may be.

    Raises:
        BadSearchToken: It is not a token, or not of this question.
    """
    try:
        if len(token) > MAX_TOKEN_CHARS:
            raise ValueError("too long")
        raw = token.encode("ascii")
        found = msgpack.unpackb(base64.b64decode(raw + b"=" * (-len(raw) % 4), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, msgpack.UnpackException) as error:
        raise BadSearchToken("Invalid page token, could not base64-decode") from error
    if not isinstance(found, list) or len(found) != len(types) + 1 or not isinstance(found[0], bytes):
        raise BadSearchToken("the page token is not one of this search")
    if found[0] != question:
        raise BadSearchToken("the page token belongs to another filter, order or scope")
    for value, allowed in zip(found[1:], types, strict=True):
        if type(value) not in allowed or (isinstance(value, int) and not -(2**63) <= value < 2**63):
            raise BadSearchToken("the page token is damaged")
    return found[1:]
