"""What the service's answer means for the batch. Pure: status, headers and body in, one of four outcomes out.

Only three codes of the service itself are a refusal for good. Whatever else comes, from a proxy's login page to a
500, the batch stays in the spool and is sent again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = [
    "Gap",
    "Outcome",
    "Refused",
    "Retry",
    "Stored",
    "hint_for",
    "json_object",
    "outcome_of",
    "retry_after",
]

PERMANENT_CODES: Final = frozenset({"batch_malformed", "batch_refused", "batch_too_large"})


@dataclass(frozen=True, slots=True)
class Stored:
    """Committed, now or by an earlier attempt. `rejected` lists what was left out of it, such as a changed param."""

    repeated: bool = False
    rejected: tuple[Mapping[str, Any], ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Refused:
    """Refused for good: nothing was stored and the number is free for the next content."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Gap:
    """The service expects another number."""

    expected_seq: int


@dataclass(frozen=True, slots=True)
class Retry:
    """Not stored as far as we know; send the same batch again later.

    reason: Short and stable, one per cause, for counters and log lines. message: For people.
    retry_after: Seconds that the server asked for. unreachable: Nobody listens there; waiting is pointless at exit.
    """

    reason: str
    message: str
    retry_after: float | None = None
    unreachable: bool = False


Outcome = Stored | Refused | Gap | Retry

_HINTS: Final = {
    401: "set INGEST_TOKEN to a token with the role write",
    403: "the token lacks the role write, or the service does not allow this Host",
    404: "is this the address of an ingest service? set INGEST_TRACKING_URI",
    421: "the service does not allow this Host; add it to INGEST_ALLOWED_HOSTS there",
}


def outcome_of(status: int, headers: Mapping[str, str], body: bytes, seq: int) -> Outcome:
    """What one answer to batch number `seq` means.

    Args:
        status: HTTP status.
        headers: With lower-case names.
        body: The whole body, or as much as the transport was willing to read.
        seq: The number that was sent.
    """
    document = json_object(body)
    if status == 200:
        if document.get("status") in {"stored", "repeated"} and document.get("seq") == seq:
            listed = document.get("rejected")
            rejected = tuple(r for r in listed if isinstance(r, dict)) if isinstance(listed, list) else ()
            return Stored(document["status"] == "repeated", rejected)
        return Retry("unexpected_answer", "the answer is not one of an ingest service")
    code = document.get("code")
    message = str(document.get("detail") or document.get("title") or f"HTTP status {status}")[:500]
    if status in {413, 422} and code in PERMANENT_CODES:
        return Refused(str(code), message)
    expected = document.get("expected_seq")
    if status == 409 and code == "sequence_gap" and type(expected) is int and 0 < expected < 2**63:
        return Gap(expected)
    hint = hint_for(status)
    return Retry(
        f"http_{status}", f"{message} ({hint})" if hint else message, retry_after(headers.get("retry-after"))
    )


def hint_for(status: int) -> str | None:
    """What to do about an answer that is no success, where that can be said."""
    return _HINTS.get(status)


def json_object(body: bytes) -> dict[str, Any]:
    """The object that a body holds; an empty one if it holds something else."""
    import json

    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def retry_after(text: str | None) -> float | None:
    """Seconds; the form with a date (RFC 9110, section 10.2.3) is not used by the service and is ignored."""
    try:
        seconds = float(text or "")
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None
