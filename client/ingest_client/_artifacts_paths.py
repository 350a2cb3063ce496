"""Names of artifacts: checked before anything is copied, so that a bad one is an error of the call that brought it.

A path is relative to the run, its parts are separated by `/`. The rules are those of the service, which checks again: no
part is empty, `.` or `..`; no backslash, no control character, no `#` (the mlflow client cuts names there); and none of that
after percent escapes are decoded either, since somebody on the way might do so.
"""

from __future__ import annotations

import os
from typing import Final
from urllib.parse import quote, unquote

from ingest_client.errors import BadPath

__all__ = ["checked_path", "join", "quoted"]

MAX_PATH_BYTES: Final = 900
"""In UTF-8; the service puts its own part before it, and S3's keys end at 1,024."""

MAX_PART_BYTES: Final = 240
"""Of one name in a path: file systems take 255."""

_MAX_DECODINGS: Final = 10


def checked_path(path: str | os.PathLike[str]) -> str:
    """The path of an artifact, as the service takes it.

    Raises:
        BadPath: It can't be one; the message says why.
    """
    text = os.fspath(path)
    if not isinstance(text, str):
        raise BadPath(f"the path of an artifact is text, not {type(text).__name__}")
    problem = _problem(text)
    if problem is not None:
        raise BadPath(f"{text[:200]!r} can't be the path of an artifact: {problem}")
    return text


def _problem(text: str) -> str | None:
    if (found := _structure(text)) is not None:
        return found
    if any(ord(c) < 32 or ord(c) == 127 for c in text):
        return "it holds a control character"
    try:
        parts = [part.encode() for part in text.split("/")]
    except UnicodeEncodeError:
        return "it is no Unicode text"
    if any(len(part) > MAX_PART_BYTES for part in parts):
        return f"a part of it has over {MAX_PART_BYTES} bytes"
    if sum(map(len, parts)) + len(parts) - 1 > MAX_PATH_BYTES:
        return f"it has over {MAX_PATH_BYTES:,} bytes"
    return _problem_when_decoded(text)


def _structure(text: str) -> str | None:
    if not text:
        return "it is empty"
    if text.startswith("/") or (text[1:2] == ":" and text[0].isascii() and text[0].isalpha()):
        return "it is absolute; give one relative to the run"
    if "\\" in text or "#" in text:
        return "it holds a backslash or a `#`"
    if {"", ".", ".."} & set(text.split("/")):
        return "a part of it is empty, `.` or `..`"
    return None


def _problem_when_decoded(text: str) -> str | None:
    for _ in range(_MAX_DECODINGS):
        decoded = unquote(text, errors="surrogateescape")
        if decoded == text:
            return None
        if "\0" in decoded or _structure(decoded) is not None:
            return "its percent escapes lead elsewhere"
        text = decoded
    return "its percent escapes are nested too deeply"


def join(directory: str | os.PathLike[str] | None, name: str) -> str:
    """`name` below the artifact directory `directory`, where none and "" mean the run's root; checked.

    Raises:
        BadPath: See `checked_path`.
    """
    above = os.fspath(directory).rstrip("/") if directory is not None else ""
    return checked_path(f"{above}/{name}" if above else name)


def quoted(path: str) -> str:
    """The path as it stands in a URL."""
    return quote(path, safe="/")
