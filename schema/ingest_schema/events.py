"""Events: everything of a run that is no point, in the order in which it happened.

An event is `(kind, time_ms, body)`. `KINDS` is the whole vocabulary of protocol version 1: for each kind the fields
its body may have. Version 1 never gains a kind or a field; a new one makes version 2.

    run_start    opens the stream of every writer: names the run and its experiment, so that any writer may come first
    writer       who writes: rank, host, process
    params       write-once settings; a changed value is reported and not applied
    tags         labels, last one wins; nil deletes
    heartbeat    the writer is alive; its counters, for the service's pages
    run_end      the run is over, with its status
    writer_end   this writer is done; the run may go on in others

Units: time_ms is milliseconds since the Unix epoch by the client's clock, as everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgpack

from ingest_schema.errors import BatchMalformed, SchemaError
from ingest_schema.limits import INT64_MAX, INT64_MIN, MAX_NAME_BYTES
from ingest_schema.values import check_key, check_text

__all__ = ["END_STATUSES", "KINDS", "Event", "check_event", "encode_event"]

END_STATUSES: Final = ("FINISHED", "FAILED", "KILLED")


class Event(NamedTuple):
    """One event of a run.

    kind: a key of `KINDS`; time_ms: when it was logged, by the client's clock; body: the fields of that kind.
    """

    kind: str
    time_ms: int
    body: Mapping[str, Any]


def encode_event(event: Event) -> bytes:
    """The event as one msgpack array; a batch's `events` are such arrays one after the other.

    Not checked: call `check_event` first for a body that came from outside.
    """
    return bytes(msgpack.packb((event.kind, event.time_ms, event.body), use_bin_type=True))


def check_event(event: Any, path: str) -> Event:
    """The decoded object as an Event.

    Args:
        event: What msgpack gave for one array.
        path: Where it stands, for the message; such as `events[3]`.

    Raises:
        BatchMalformed: No array of three, an unknown kind, a missing or unknown field, or a field of a wrong type.
    """
    if not isinstance(event, list | tuple) or len(event) != 3:
        raise BatchMalformed(path, "an event is an array of kind, time_ms and body")
    kind, time_ms, body = event
    if not isinstance(kind, str) or kind not in KINDS:
        raise BatchMalformed(f"{path}[0]", f"unknown kind {kind!r:.80}; version 1 has {', '.join(KINDS)}")
    if (problem := _int64(time_ms)) is not None:
        raise BatchMalformed(f"{path}[1]", problem)
    if not isinstance(body, dict):
        raise BatchMalformed(f"{path}[2]", f"the body must be a map, not {type(body).__name__}")
    KINDS[kind](body, f"{path}[2]")
    return Event(kind, time_ms, body)


# --- what one field may hold: None if it is fine, else the problem ---------------------------------------------------

_Check = Callable[[Any], str | None]


def _int64(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool) and INT64_MIN <= value <= INT64_MAX:
        return None
    return f"expected a 64-bit integer, got {value!r:.80}"


def _count(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= INT64_MAX:
        return None
    return f"expected an integer from 0, got {value!r:.80}"


def _int32(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool) and -(2**31) <= value < 2**31:
        return None
    return f"expected a 32-bit integer, got {value!r:.80}"


def _name(value: Any) -> str | None:
    """A name that is shown and searched: not empty, no NUL, bounded."""
    if not isinstance(value, str):
        return f"expected a string, got {type(value).__name__}"
    if not value or "\0" in value:
        return "a name may not be empty and may not hold NUL"
    size_bytes = len(value.encode("utf-8", "surrogatepass"))
    return (
        None
        if size_bytes <= MAX_NAME_BYTES
        else f"{size_bytes:,} bytes, over the limit of {MAX_NAME_BYTES:,}"
    )


def _name_or_nil(value: Any) -> str | None:
    return None if value is None else _name(value)


def _id(value: Any) -> str | None:
    return None if isinstance(value, bytes) and len(value) == 16 else "expected 16 bytes"


def _end_status(value: Any) -> str | None:
    return None if value in END_STATUSES else f"expected one of {', '.join(END_STATUSES)}, got {value!r:.80}"


# --- what one body may hold -------------------------------------------------------------------------------------------

_BodyCheck = Callable[[dict[Any, Any], str], None]


def _fields(required: dict[str, _Check], optional: dict[str, _Check] | None = None) -> _BodyCheck:
    """A body with these fields and no others."""
    known = {**required, **(optional or {})}

    def check(body: dict[Any, Any], path: str) -> None:
        for field in required:
            if field not in body:
                raise BatchMalformed(f"{path}.{field}", "is missing")
        for field, value in body.items():
            if field not in known:
                raise BatchMalformed(path, f"unknown field {field!r:.80}")
            if (problem := known[field](value)) is not None:
                raise BatchMalformed(f"{path}.{field}", problem)

    return check


def _texts(what: str, *, nil_allowed: bool) -> _BodyCheck:
    """A body that maps names to texts."""

    def check(body: dict[Any, Any], path: str) -> None:
        for key, value in body.items():
            try:
                check_key(key, what)
                if not (value is None and nil_allowed):
                    check_text(key, value, what)
            except SchemaError as error:
                raise BatchMalformed(path, str(error)) from error

    return check


def _counters(body: dict[Any, Any], path: str) -> None:
    """A body that maps names of counters to integers; which ones is the client's matter."""
    if len(body) > 64:
        raise BatchMalformed(path, f"{len(body)} counters, over the limit of 64")
    for name, value in body.items():
        problem = _name(name) or _int64(value)
        if problem is not None:
            raise BatchMalformed(f"{path}.{name!r:.80}", problem)


_run_start_fields = _fields(
    {"name": _name_or_nil, "start_time_ms": _int64},
    {
        "experiment": _name,
        "experiment_id": _count,
        "user": _name,
        "parent_run_id": _id,
        "resume_from_step": _int64,
    },
)


def _run_start(body: dict[Any, Any], path: str) -> None:
    _run_start_fields(body, path)
    if ("experiment" in body) == ("experiment_id" in body):
        raise BatchMalformed(path, "exactly one of experiment and experiment_id is expected")


KINDS: Final[Mapping[str, _BodyCheck]] = {
    "run_start": _run_start,
    "writer": _fields(
        {"rank": _int32, "host": _name, "pid": _count},
        {"world_size": _int32, "local_rank": _int32, "client": _name},
    ),
    "params": _texts("param", nil_allowed=False),
    "tags": _texts("tag", nil_allowed=True),
    "heartbeat": _counters,
    "run_end": _fields({"status": _end_status, "end_time_ms": _int64}),
    "writer_end": _fields({}),
}
