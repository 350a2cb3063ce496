"""Names of artifacts: checked before anything is copied, so that a bad one is an error of the call that brought it.

A path is relative to the run, its parts are separated by `/`. The rules are those of the service, which checks again: no
part is empty, `.` or `..`; no backslash, no control character, no `#` (the mlflow client cuts names there).
"""

from __future__ import annotations

import os
from typing import Final
from urllib.parse import quote

from ingest_client.errors import BadPath

__all__ = ["checked_path", "join", "quoted"]

MAX_PATH_BYTES: Final = 1_000
"""In UTF-8: what a metric's name may have, and below the 1,024 of S3's keys."""

MAX_PART_BYTES: Final = 255
"""A file name on every file system in use."""


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
    if not text:
        return "it is empty"
    if text.startswith("/") or (len(text) > 1 and text[1] == ":" and text[0].isalpha()):
        return "it is absolute; give one relative to the run"
    if any(ord(c) < 32 or ord(c) == 127 or c in "\\#" for c in text):
        return "it holds a backslash, a `#` or a control character"
    try:
        parts = [part.encode() for part in text.split("/")]
    except UnicodeEncodeError:
        return "it is no Unicode text"
    if any(part in {b"", b".", b".."} for part in parts):
        return "a part of it is empty, `.` or `..`"
    if any(len(part) > MAX_PART_BYTES for part in parts):
        return f"a part of it has over {MAX_PART_BYTES} bytes"
    if len(text.encode()) > MAX_PATH_BYTES:
        return f"it has over {MAX_PATH_BYTES:,} bytes"
    return None


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
