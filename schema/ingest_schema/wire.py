"""The wire format, version 1: one batch of one writer as one msgpack map. Specified in `schema/wire.md`.

Pure: bytes in, values out. The map is flat, holding integers, strings and blobs only, so that a hostile body can't make
the decoder build nested containers: decoding takes at most a small multiple of MAX_BATCH_BYTES.

Points travel as columns, grouped by key, so that neither side needs an object per point: the client slices them out
of its spool, the service hands them to numpy and then to COPY.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final
from uuid import UUID

import msgpack

from ingest_schema.errors import BadKey, BatchMalformed, BatchTooLarge
from ingest_schema.events import Event, check_event, encode_event
from ingest_schema.limits import (
    INT64_MAX,
    INT64_MIN,
    MAX_BATCH_BYTES,
    MAX_BATCH_EVENTS,
    MAX_BATCH_KEYS,
    MAX_BATCH_POINTS,
    MAX_EVENT_BYTES,
    MAX_KEY_BYTES,
    PROTOCOL_VERSION,
)
from ingest_schema.values import check_key

__all__ = ["Batch", "decode_batch", "encode_batch", "encode_columns"]

_BIG_ENDIAN_HOST: Final = sys.byteorder == "big"

_FIELDS: Final = (
    "version", "run_id", "writer_id", "seq", "sent_ms", "events", "keys", "counts", "steps", "times_ms", "values",
)  # fmt: skip
_FIELD_SET: Final = frozenset(_FIELDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One batch: events, and n points of k metrics as columns.

    run_id, writer_id: UUIDs, made by the client. seq: 1 for a writer's first batch, then one more for each.
    sent_ms: the client's clock when it closed the batch, in ms since the Unix epoch; the service measures lag by it.
    events: in the order in which they were logged; all of them come before the points.
    keys: k different names of metrics. counts: k times uint32, points of each key, none zero, summing to n.
    steps, times_ms: n times int64; values: n times float64. Grouped by key in the order of `keys`; within a key in order
    of arrival, which decides between points of equal step and time only. All columns are little-endian bytes.
    """

    run_id: UUID
    writer_id: UUID
    seq: int
    sent_ms: int
    events: Sequence[Event] = ()
    keys: Sequence[str] = ()
    counts: bytes = b""
    steps: bytes = b""
    times_ms: bytes = b""
    values: bytes = b""

    @property
    def point_count(self) -> int:
        """n, the number of points."""
        return len(self.steps) // 8

    def points(self) -> Iterator[tuple[str, int, int, float]]:
        """The points one by one, as (key, step, time_ms, value): for tests and tools; the service uses the columns."""
        counts = unpack_column("I", self.counts)
        steps, times_ms = unpack_column("q", self.steps), unpack_column("q", self.times_ms)
        values = unpack_column("d", self.values)
        begin = 0
        for key, end in zip(self.keys, accumulate(counts), strict=True):
            for i in range(begin, end):
                yield key, steps[i], times_ms[i], values[i]
            begin = end

    @classmethod
    def of_points(
        cls,
        run_id: UUID,
        writer_id: UUID,
        seq: int,
        points: Sequence[tuple[str, int, int, float]],
        *,
        events: Sequence[Event] = (),
        sent_ms: int = 0,
    ) -> Batch:
        """A batch of points given one by one, as (key, step, time_ms, value): for tests and small tools."""
        by_key: dict[str, list[tuple[str, int, int, float]]] = {}
        for point in points:
            by_key.setdefault(point[0], []).append(point)
        ordered = [point for group in by_key.values() for point in group]
        return cls(
            run_id=run_id,
            writer_id=writer_id,
            seq=seq,
            sent_ms=sent_ms,
            events=tuple(events),
            keys=tuple(by_key),
            counts=pack_column("I", [len(group) for group in by_key.values()]),
            steps=pack_column("q", [point[1] for point in ordered]),
            times_ms=pack_column("q", [point[2] for point in ordered]),
            values=pack_column("d", [point[3] for point in ordered]),
        )


def encode_batch(batch: Batch) -> bytes:
    """The batch as the body of one request.

    Raises:
        BatchMalformed: It would not decode: columns of different length, a repeated key, a bad event …
        BatchTooLarge: It is over a limit of `ingest_schema.limits`.
    """
    body = encode_columns(
        run_id=batch.run_id.bytes,
        writer_id=batch.writer_id.bytes,
        seq=batch.seq,
        sent_ms=batch.sent_ms,
        events=b"".join(map(encode_event, batch.events)),
        keys=batch.keys,
        counts=batch.counts,
        steps=batch.steps,
        times_ms=batch.times_ms,
        values=batch.values,
    )
    decode_batch(body)
    return body


def encode_columns(
    *,
    run_id: bytes,
    writer_id: bytes,
    seq: int,
    sent_ms: int,
    events: bytes,
    keys: Sequence[str],
    counts: bytes,
    steps: bytes,
    times_ms: bytes,
    values: bytes,
) -> bytes:
    """The body of one request from parts that are encoded already; the sender's form of `encode_batch`, unchecked.

    Args:
        events: What `encode_event` gave, one after the other.
        counts, steps, times_ms, values: Columns as in `Batch`; any bytes-like object.
    """
    fields = (
        PROTOCOL_VERSION, run_id, writer_id, seq, sent_ms, events, "\0".join(keys), counts, steps, times_ms, values,
    )  # fmt: skip
    return bytes(msgpack.packb(dict(zip(_FIELDS, fields, strict=True)), use_bin_type=True))


def decode_batch(body: bytes | bytearray | memoryview) -> Batch:
    """Decode one batch as it came off the wire.

    Args:
        body: One msgpack map, already decompressed.

    Returns:
        A Batch whose every promise of its docstring holds; n may be 0 when there are events only.

    Raises:
        BatchTooLarge: It is over a limit of `ingest_schema.limits`.
        BatchMalformed: Anything else that is wrong; `.path` says where. No other exception is raised for any body.

    Source: wire format 1, `schema/wire.md`.

    Example:
        >>> decode_batch(encode_batch(batch)) == batch
        True
    """
    if len(body) > MAX_BATCH_BYTES:
        raise BatchTooLarge("bytes", len(body), MAX_BATCH_BYTES)
    fields = _unpack_map(body)
    version = fields["version"]
    if type(version) is not int or version != PROTOCOL_VERSION:
        raise BatchMalformed(
            "version", f"this side speaks version {PROTOCOL_VERSION}, the batch is {version!r:.40}"
        )
    seq = _integer(fields, "seq", 1)
    sent_ms = _integer(fields, "sent_ms", INT64_MIN)
    keys = _decode_keys(fields["keys"])
    counts, steps, times_ms, values = (
        _blob(fields, name) for name in ("counts", "steps", "times_ms", "values")
    )
    _check_columns(keys, counts, steps, times_ms, values)
    return Batch(
        run_id=_decode_id(fields, "run_id"),
        writer_id=_decode_id(fields, "writer_id"),
        seq=seq,
        sent_ms=sent_ms,
        events=_decode_events(_blob(fields, "events")),
        keys=keys,
        counts=counts,
        steps=steps,
        times_ms=times_ms,
        values=values,
    )


def pack_column(typecode: str, numbers: Sequence[int] | Sequence[float]) -> bytes:
    """The numbers as little-endian bytes; typecode as in the module `array`: I uint32, q int64, d float64."""
    column = array(typecode, numbers)
    if _BIG_ENDIAN_HOST:
        column.byteswap()
    return column.tobytes()


def unpack_column(typecode: str, column: bytes) -> array[Any]:
    """The numbers in a little-endian column; the opposite of `pack_column`."""
    numbers: array[Any] = array(typecode)
    numbers.frombytes(column)
    if _BIG_ENDIAN_HOST:
        numbers.byteswap()
    return numbers


def _unpack_map(body: bytes | bytearray | memoryview) -> dict[str, Any]:
    try:
        fields = msgpack.unpackb(
            body,
            raw=False,
            strict_map_key=True,
            max_array_len=0,  # no field is an array: a hostile header can't make the decoder allocate one
            max_map_len=len(_FIELDS),
            max_ext_len=0,
        )
    except (
        Exception
    ) as error:  # msgpack raises ValueError and others for a bad body; all mean the same to the caller
        raise BatchMalformed("$", f"no msgpack map of version 1: {_reason(error)}") from error
    if not isinstance(fields, dict):
        raise BatchMalformed("$", f"expected a map, got {type(fields).__name__}")
    if missing := [name for name in _FIELDS if name not in fields]:
        raise BatchMalformed(missing[0], "is missing")
    if unknown := fields.keys() - _FIELD_SET:
        raise BatchMalformed("$", f"unknown field {min(map(str, unknown))!r:.80}")
    return fields


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__  # some of msgpack's errors have no text


def _integer(fields: dict[str, Any], name: str, least: int) -> int:
    value = fields[name]
    if type(value) is not int or not least <= value <= INT64_MAX:
        raise BatchMalformed(name, f"expected an integer from {least} to {INT64_MAX}, got {value!r:.40}")
    return value


def _blob(fields: dict[str, Any], name: str) -> bytes:
    value = fields[name]
    if type(value) is not bytes:
        raise BatchMalformed(name, f"expected bytes, got {type(value).__name__}")
    return value


def _decode_id(fields: dict[str, Any], name: str) -> UUID:
    value = _blob(fields, name)
    if len(value) != 16:
        raise BatchMalformed(name, f"expected 16 bytes, got {len(value)}")
    return UUID(bytes=value)


def _decode_keys(joined: Any) -> tuple[str, ...]:
    if not isinstance(joined, str):
        raise BatchMalformed("keys", f"expected a string, got {type(joined).__name__}")
    if not joined:
        return ()
    key_count = joined.count("\0") + 1
    if key_count > MAX_BATCH_KEYS:
        raise BatchTooLarge("keys", key_count, MAX_BATCH_KEYS)
    keys = tuple(joined.split("\0"))
    if len(set(keys)) != key_count:
        raise BatchMalformed("keys", "a key is repeated")
    # A character takes at most 4 bytes: short keys, nearly always all of them, need no look each.
    if "" in keys or max(map(len, keys)) * 4 > MAX_KEY_BYTES:
        for i, key in enumerate(keys):
            try:
                check_key(key)
            except BadKey as error:
                raise BatchMalformed(f"keys[{i}]", str(error)) from error
    return keys


def _check_columns(
    keys: tuple[str, ...], counts: bytes, steps: bytes, times_ms: bytes, values: bytes
) -> None:
    if len(counts) != 4 * len(keys):
        raise BatchMalformed("counts", f"{len(counts)} bytes for {len(keys)} keys; 4 bytes each are expected")
    numbers = unpack_column("I", counts)
    if keys and min(numbers) == 0:
        raise BatchMalformed(f"counts[{numbers.index(0)}]", "is zero")
    point_count = sum(numbers)
    if point_count > MAX_BATCH_POINTS:
        raise BatchTooLarge("points", point_count, MAX_BATCH_POINTS)
    for name, column in (("steps", steps), ("times_ms", times_ms), ("values", values)):
        if len(column) != 8 * point_count:
            raise BatchMalformed(
                name, f"{len(column)} bytes for {point_count} points; 8 bytes each are expected"
            )


def _decode_events(blob: bytes) -> tuple[Event, ...]:
    if not blob:
        return ()
    if len(blob) > MAX_EVENT_BYTES:
        raise BatchTooLarge("bytes of events", len(blob), MAX_EVENT_BYTES)
    unpacker = msgpack.Unpacker(
        raw=False,
        strict_map_key=True,
        max_buffer_size=MAX_EVENT_BYTES,
        max_array_len=3,  # [kind, time_ms, body] is the only array there is
        max_ext_len=0,
    )
    unpacker.feed(blob)
    events: list[Event] = []
    while unpacker.tell() < len(blob):
        path = f"events[{len(events)}]"
        if len(events) == MAX_BATCH_EVENTS:
            raise BatchTooLarge("events", MAX_BATCH_EVENTS + 1, MAX_BATCH_EVENTS)
        try:
            event = unpacker.unpack()
        except Exception as error:  # as in _unpack_map
            raise BatchMalformed(path, f"no msgpack array: {_reason(error)}") from error
        events.append(check_event(event, path))
    return tuple(events)
