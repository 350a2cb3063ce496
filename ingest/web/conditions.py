"""Conditional requests and ranges (RFC 9110, sections 13 and 14). Pure: headers and a file's facts in, a verdict out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime
from typing import Final, Literal

__all__ = ["Verdict", "http_date", "judge"]

_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)
_TAG: Final = re.compile(r'(W/)?"([^"]*)"')


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which status to answer with, and which bytes: from start up to stop."""

    status: Literal[200, 206, 304, 412, 416]
    start: int = 0
    stop: int = 0


def http_date(modified_ms: int) -> str:
    """As Last-Modified carries it; whole seconds."""
    return formatdate(modified_ms // 1000, usegmt=True)


def judge(headers: Mapping[str, str], *, etag: str, modified_ms: int, size_bytes: int) -> Verdict:
    """What a GET with these headers gets.

    Args:
        headers: By names as RFC 9110 spells them, in any case if the mapping allows.
        etag: Of the file, strong, without quotes; empty if the version can't be told, and then nothing is known.
    """
    # RFC 9110, 13.2.2: If-Match first, then If-None-Match, else If-Modified-Since; If-Range last.
    wanted = headers.get("If-Match")
    if wanted is not None and not _names(wanted, etag, weakly=False):
        return Verdict(412)
    known = headers.get("If-None-Match")
    if known is not None:
        if _names(known, etag, weakly=True):
            return Verdict(304)
    elif (
        etag
        and (since := _seconds(headers.get("If-Modified-Since"))) is not None
        and modified_ms // 1000 <= since
    ):
        return Verdict(304)
    given = headers.get("Range")
    if given is None or not _range_applies(headers.get("If-Range"), etag, modified_ms):
        return Verdict(200, 0, size_bytes)
    return _range(given, size_bytes)


def _names(header: str, etag: str, *, weakly: bool) -> bool:
    if header.strip() == "*":
        return True
    return any(tag == etag != "" and (weakly or not weak) for weak, tag in _TAG.findall(header))


def _range_applies(condition: str | None, etag: str, modified_ms: int) -> bool:
    """A range of a file that has changed would be glued to the old beginning."""
    if condition is None:
        return True
    if not etag:
        return False
    if condition.lstrip().startswith(('"', "W/")):
        return _names(condition, etag, weakly=False)
    return _seconds(condition) == modified_ms // 1000


def _range(given: str, size_bytes: int) -> Verdict:
    """One range of bytes; several, and other units, may be ignored and are."""
    found = _RANGE.fullmatch(given.strip())
    if found is None or found.groups() == ("", "") or any(len(number) > 19 for number in found.groups()):
        return Verdict(200, 0, size_bytes)
    first, last = found.groups()
    if not first:
        start, stop = max(0, size_bytes - int(last)), size_bytes
        if int(last) == 0:
            return Verdict(416)
    else:
        start, stop = int(first), min(size_bytes, int(last) + 1) if last else size_bytes
        if last and int(last) < start:
            return Verdict(200, 0, size_bytes)  # no valid range: ignored
    if start >= size_bytes:
        return Verdict(416)
    return Verdict(206, start, stop)


def _seconds(date: str | None) -> int | None:
    if date is None:
        return None
    try:
        return int(parsedate_to_datetime(date).timestamp())
    except (ValueError, OverflowError):
        return None
