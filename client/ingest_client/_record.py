"""Records of the spool: their layout, how they are made and how they are checked. Pure.

A record is a whole number of 8-byte little-endian words, so that the sender slices columns out of many at C speed:

    metrics     word0 | step int64 | time_ms int64 | n values float64 | check
    event       word0 | payload_bytes uint64 | payload, zero-padded to a word | check
    definition  word0 | shape uint64 | payload_bytes uint64 | keys joined by NUL, zero-padded | check

    word0       bits 0..31 size of the record in bytes, bits 32..63 its kind: EVENT, DEFINITION, or a shape from
                FIRST_SHAPE on. All records of one set of keys, a "shape", have the same word0. Zero ends a segment.
    check       Adler-32 of all before it, zero-extended. It costs a third of CRC-32 on 100 bytes (45 against 138 ns,
                docs/decisions.md) and finds every change of one byte; size, shape and the zero half guard it further.

Definitions live in files of their own (`shapes.a`, `shapes.b`), since segments are recycled while shapes last.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Final
from zlib import adler32

if (
    sys.byteorder != "little"
):  # pragma: no cover - columns are sliced out of memory and sent as they lie there
    raise ImportError("the ingest client needs a little-endian machine")

__all__ = [
    "EVENT",
    "FIRST_SHAPE",
    "MAX_KEYS_PER_RECORD",
    "check_word",
    "encode_definition",
    "encode_event_record",
    "event_payload",
    "intact_ranges",
    "metrics_struct",
    "read_definitions",
    "word0_of",
]

EVENT: Final = 1
DEFINITION: Final = 2
FIRST_SHAPE: Final = 16
SIZE_MASK: Final = 0xFFFFFFFF

MAX_KEYS_PER_RECORD: Final = 4096
"""A wider call is split. 4,096 keys are 32 KiB a record: it fits the smallest segment seven times."""

_FIXED_WORDS: Final = 4  # word0, step, time, check
_word: Final = Struct("<Q")
_two_words: Final = Struct("<QQ")
_three_words: Final = Struct("<QQQ")
check_word: Final = _word.pack


def word0_of(kind: int, size_bytes: int) -> int:
    """The first word of a record."""
    return kind << 32 | size_bytes


def metrics_struct(key_count: int) -> Struct:
    """Everything of a metrics record but its check word."""
    return Struct(f"<Qqq{key_count}d")


def metrics_word0(shape: int, key_count: int) -> int:
    """The first word of every record of this shape."""
    return word0_of(shape, 8 * (_FIXED_WORDS + key_count))


def encode_event_record(payload: bytes) -> bytes:
    """A whole event record around one encoded event."""
    padded = payload + bytes(-len(payload) % 8)
    return _sealed(_two_words.pack(word0_of(EVENT, 24 + len(padded)), len(payload)) + padded)


def event_payload(words: memoryview, position: int) -> bytes:
    """The encoded event in the record at this word."""
    size_bytes = words[position + 1]
    width = (size_bytes + 7) // 8
    return words[position + 2 : position + 2 + width].tobytes()[:size_bytes]


def encode_definition(shape: int, keys: Sequence[str]) -> bytes:
    """A whole definition record: what the shape's values are called."""
    payload = "\0".join(keys).encode()
    padded = payload + bytes(-len(payload) % 8)
    head = _three_words.pack(word0_of(DEFINITION, 32 + len(padded)), shape, len(payload))
    return _sealed(head + padded)


def read_definitions(data: bytes) -> dict[int, tuple[str, ...]]:
    """All intact definitions in a shapes file; damaged ones are left out."""
    shapes: dict[int, tuple[str, ...]] = {}
    view = memoryview(data)
    position = 0
    while position + 32 <= len(data):
        word0, shape, payload_bytes = _three_words.unpack_from(data, position)
        size = word0 & SIZE_MASK
        if word0 >> 32 == DEFINITION and payload_bytes + 32 <= size and _is_sealed(view, position, size):
            payload = data[position + 24 : position + 24 + payload_bytes]
            shapes[shape] = tuple(payload.decode().split("\0"))
            position += size
        else:
            position += 8  # records start at whole words: look for the next one
    return shapes


def intact_ranges(
    words: memoryview, begin: int, end: int, shapes: dict[int, tuple[str, ...]]
) -> Iterator[tuple[int, int]]:
    """The stretches of intact records between two words, for a spool whose writer may have died at any byte.

    Args:
        words: A segment as words.
        begin, end: Where to look; a record that crosses `end` does not count.
        shapes: The known shapes; a record of another one can't be read, so it counts as damaged.
    """
    view = words.cast("B")
    position = start = begin
    while position < end:
        width = _intact_width(words, view, position, end, shapes)
        if width:
            position += width
            continue
        if start < position:
            yield start, position
        position += 1
        start = position
    if start < position:
        yield start, position


def _intact_width(
    words: memoryview, view: memoryview, position: int, end: int, shapes: dict[int, tuple[str, ...]]
) -> int:
    """The words of the intact record at this position, or 0 if there is none."""
    word0 = words[position]
    kind, size = word0 >> 32, word0 & SIZE_MASK
    if size % 8 or size < 24 or position + size // 8 > end:
        return 0
    if kind == EVENT:
        if words[position + 1] > size - 24:
            return 0
    else:
        keys = shapes.get(kind)
        if keys is None or size != 8 * (_FIXED_WORDS + len(keys)):
            return 0
    return size // 8 if _is_sealed(view, position * 8, size) else 0


def _sealed(body: bytes) -> bytes:
    return body + check_word(adler32(body))


def _is_sealed(view: memoryview, position: int, size: int) -> bool:
    """Whether the record of `size` bytes at this byte has its right check word."""
    end = position + size
    if size < 16 or size % 8 or end > len(view):
        return False
    expected: int = _word.unpack_from(view, end - 8)[0]
    return adler32(view[position : end - 8]) == expected
