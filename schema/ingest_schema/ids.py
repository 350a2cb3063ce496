"""Run and writer ids: UUID version 7, made by the client, shown as 32 hex digits as MLflow does.

Made by the client so that starting a run needs no round trip; time-ordered so that the newest runs share index pages.
"""

from __future__ import annotations

import os
import time
from uuid import UUID

__all__ = ["new_id", "parse_id"]


def new_id(*, time_ms: int | None = None) -> UUID:
    """A new UUIDv7.

    Args:
        time_ms: Milliseconds since the Unix epoch; now, if not given.

    Source: RFC 9562, section 5.7: 48 bits of time, version, 12 random bits, variant, 62 random bits.
    """
    ms = time.time_ns() // 1_000_000 if time_ms is None else time_ms
    random = int.from_bytes(os.urandom(10))
    value = (ms & (2**48 - 1)) << 80 | 0x7 << 76 | (random >> 68) << 64 | 0b10 << 62 | random & (2**62 - 1)
    return UUID(int=value)


def parse_id(text: str) -> UUID:
    """The id in `text`: 32 hex digits, or the same with dashes.

    Raises:
        ValueError: Anything else, braces and `urn:` prefixes included; the message says what was expected.
    """
    digits = text.replace("-", "") if len(text) == 36 else text
    if len(digits) != 32 or not all(c in "0123456789abcdefABCDEF" for c in digits):
        raise ValueError(f"{text[:80]!r} is not an id: 32 hexadecimal digits are expected")
    return UUID(hex=digits)
