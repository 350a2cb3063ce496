"""Which keys a pattern means, for looking up metrics by name: a piece of it, a glob, or a regular expression.

    loss          keys that contain it, in any case
    train/*loss   a glob over the whole key, in any case: * is any text, ? one character
    /^val.*acc$/  a regular expression of PostgreSQL, somewhere in the key, case-sensitive

Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

__all__ = ["KeyMatch"]

_GLOB = {"*": "%", "?": "_", "%": r"\%", "_": r"\_", "\\": r"\\"}


@dataclass(frozen=True, slots=True)
class KeyMatch:
    """A pattern for SQL: one of a LIKE pattern and a regular expression, the other None."""

    like: str | None = None
    regex: str | None = None

    @classmethod
    def of(cls, pattern: str) -> Self:
        """What the user's pattern means."""
        if len(pattern) > 2 and pattern[0] == pattern[-1] == "/":
            return cls(regex=pattern[1:-1])
        like = "".join(_GLOB.get(character, character) for character in pattern)
        return cls(like=like if "*" in pattern or "?" in pattern else f"%{like}%")
