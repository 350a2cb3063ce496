"""Page tokens: where the next page begins, as an opaque text.

Pure. A token is checked for its form only; what it holds goes to SQL as parameters, so that a forged one can at most
begin a page somewhere else.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any

import msgpack

__all__ = ["BadPageToken", "decode_token", "encode_token"]


class BadPageToken(ValueError):
    """The text is no page token of this listing."""


def encode_token(kind: str, *position: object) -> str:
    """A token for the listing `kind`. position: integers, strings, bytes."""
    packed = bytes(msgpack.packb([kind, *position]))
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def decode_token(kind: str, token: str, types: Sequence[type]) -> list[Any]:
    """The position in a token.

    Args:
        types: What the position must hold, in order.

    Raises:
        BadPageToken: It is none, or one of another listing.
    """
    try:
        packed = base64.urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
        found = msgpack.unpackb(packed)
    except (ValueError, binascii.Error, UnicodeEncodeError, msgpack.UnpackException) as error:
        raise BadPageToken(f"{token[:40]!r} is no page token") from error
    if not isinstance(found, list) or [type(x) for x in found[1:]] != list(types) or found[0] != kind:
        raise BadPageToken(f"{token[:40]!r} is no page token of this listing")
    if any(isinstance(x, int) and not -(2**63) <= x < 2**63 for x in found):
        raise BadPageToken(f"{token[:40]!r} is no page token")
    return found[1:]
