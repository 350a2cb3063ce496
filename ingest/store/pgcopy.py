"""PostgreSQL's binary COPY format, built and read with numpy.

Pure: arrays in, bytes out, and back. No Python object is made for a point; one row costs about a microsecond.

The format (PostgreSQL manual, COPY, "Binary Format"): a signature, then for each row a uint16 number of columns and for
each column an int32 length and that many bytes, -1 for NULL; all big-endian; a trailer of -1. An array (array_send in
the server's source) is: int32 dimensions, int32 "has nulls", uint32 type of the elements, int32 size, int32 lower
bound, then the elements as columns are.

A row of `metric_chunks` is laid out as head (run, writer, seq), key, scalars, arrays. Heads and scalars are built as
structured arrays; weaving all four together is done in C where `_weave` was built, else by one join.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ingest.store.points import PointTable
from ingest.store.summaries import Summaries

try:
    from ingest.store._weave import weave
except ImportError:  # built without a C compiler
    _CAN_WEAVE = False
else:
    _CAN_WEAVE = True

__all__ = [
    "CHUNK_COLUMNS",
    "HEADER",
    "TRAILER",
    "chunk_rows",
    "column_block",
    "decode_array",
    "decode_rows",
    "keyed_rows",
]

HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER: Final = b"\xff\xff"

INT8_OID: Final = 20
FLOAT8_OID: Final = 701

_SCALARS: Final = (
    ("lo_step", ">i8"), ("hi_step", ">i8"), ("lo_time_ms", ">i8"), ("hi_time_ms", ">i8"),
    ("first_value", ">f8"), ("last_value", ">f8"), ("sum_value", ">f8"), ("n", ">i4"), ("non_finite", ">i4"),
)  # fmt: skip
_EXTREMES: Final = (("min_value", ">f8"), ("max_value", ">f8"), ("min_step", ">i8"), ("max_step", ">i8"))
_ARRAYS: Final = (("steps", ">i8"), ("times_ms", ">i8"), ("values", ">f8"))

CHUNK_COLUMNS: Final = (
    "run_id", "writer_id", "seq", "key",
    *(name for name, _ in (*_SCALARS, *_EXTREMES)), *(name for name, _ in _ARRAYS),
)  # fmt: skip
"""The columns of `chunk_rows`, in order."""

Structured = npt.NDArray[np.void]


def chunk_rows(
    table: PointTable, summaries: Summaries, *, slice_bytes: int = 512 * 1024, accelerated: bool = True
) -> Iterator[bytes]:
    """The rows of `metric_chunks` for each chunk, as pieces of about `slice_bytes`, without header and trailer.

    Lazily: PostgreSQL reads one piece while the next is built, and the whole never stands in memory.

    Args:
        accelerated: Whether to use the C extension where there is one.
    """
    heads = _heads(table)
    scalars = _scalar_blocks(table, summaries)
    row_bytes = table.counts * 36 + 400
    slice_of = np.cumsum(row_bytes) // slice_bytes
    cuts = [0, *(np.flatnonzero(np.diff(slice_of)) + 1).tolist(), table.chunk_count]
    columns = (table.counts, table.starts, table.steps, table.times_ms, table.values)
    for begin, end in pairwise(cuts):
        if _CAN_WEAVE and accelerated:
            yield weave(heads, table.keys, scalars, *columns, begin, end)
        else:
            yield _woven_rows(table, heads[begin:end], scalars, range(begin, end))


def keyed_rows(heads: Structured, keys: Sequence[bytes], tails: Structured) -> bytes:
    """Rows whose only column of varying length is a text: head, int32 length and text, tail, for each entry.

    Args:
        heads: Structured array whose last field is the int32 length of the text.
        tails: Structured array of what follows the text.
    """
    parts: list[bytes] = [b""] * (3 * len(keys))
    parts[0::3] = _as_bytes(heads)
    parts[1::3] = keys
    parts[2::3] = _as_bytes(tails)
    return b"".join(parts)


def column_block(columns: Sequence[tuple[str, str]], row_count: int) -> Structured:
    """An array of `row_count` rows of fixed-length columns, each behind its length, which is filled in."""
    block = np.empty(row_count, _block_dtype(tuple(columns)))
    for name, kind in columns:
        block["length_of_" + name] = np.dtype(kind).itemsize
    return block


def _block_dtype(columns: tuple[tuple[str, str], ...]) -> np.dtype[np.void]:
    fields: list[tuple[str, str]] = []
    for name, kind in columns:
        fields += [("length_of_" + name, ">i4"), (name, kind)]
    return np.dtype(fields)


def _as_bytes(block: Structured) -> list[bytes]:
    opaque: list[bytes] = block.view(f"V{block.dtype.itemsize}").tolist()
    return opaque


def _heads(table: PointTable) -> Structured:
    """Column count, run_id, writer_id, seq, and the length of the key, for each chunk."""
    column_count = len(CHUNK_COLUMNS)
    packed = b"".join(
        struct.pack(">Hi16si16siq", column_count, 16, b.run_id.bytes, 16, b.writer_id.bytes, 8, b.seq)
        for b in table.batches
    )
    of_batch = np.frombuffer(packed, dtype="V54")
    heads = np.empty(table.chunk_count, dtype=[("batch", "V54"), ("key_length", ">i4")])
    heads["batch"] = of_batch[table.batch_of]
    heads["key_length"] = np.fromiter(map(len, table.keys), np.int64, table.chunk_count)
    return heads


def _scalar_blocks(table: PointTable, summaries: Summaries) -> list[bytes]:
    """The scalar columns of each chunk; where no value is finite, the extremes are NULL."""
    block = column_block((*_SCALARS, *_EXTREMES), table.chunk_count)
    block["n"] = table.counts
    for name, _ in (*_SCALARS, *_EXTREMES):
        if name != "n":
            block[name] = getattr(summaries, name)
    rows = _as_bytes(block)
    if not summaries.has_finite.all():
        kept = sum(4 + int(kind[2:]) for _, kind in _SCALARS)
        nulls = b"\xff\xff\xff\xff" * len(_EXTREMES)
        for i in np.flatnonzero(~summaries.has_finite).tolist():
            rows[i] = rows[i][:kept] + nulls
    return rows


def _array_header(oid: int, size: int) -> bytes:
    return struct.pack(">iiiiii", 20 + 12 * size, 1, 0, oid, size, 1)


def _woven_rows(table: PointTable, heads: Structured, scalars: list[bytes], chunks: range) -> bytes:
    """What `weave` does where it was not built: elements of all chunks as three long columns, cut where a chunk begins."""
    low = int(table.starts[chunks[0]])
    high = int(table.starts[chunks[-1]] + table.counts[chunks[-1]])
    steps, times_ms, values = (_elements(getattr(table, name)[low:high], kind) for name, kind in _ARRAYS)
    starts = ((table.starts[chunks] - low) * 12).tolist()
    sizes = table.counts[chunks].tolist()
    headers = {size: (_array_header(INT8_OID, size), _array_header(FLOAT8_OID, size)) for size in set(sizes)}
    parts: list[bytes | memoryview] = []
    for i, head, start, size in zip(chunks, _as_bytes(heads), starts, sizes, strict=True):
        ints, floats = headers[size]
        end = start + 12 * size
        parts += (
            head, table.keys[i], scalars[i],
            ints, steps[start:end], ints, times_ms[start:end], floats, values[start:end],
        )  # fmt: skip
    return b"".join(parts)


def _elements(column: npt.NDArray[Any], kind: str) -> memoryview:
    """The column as array elements: each behind its length."""
    elements = np.empty(len(column), dtype=[("length", ">i4"), ("element", kind)])
    elements["length"] = 8
    elements["element"] = column
    return elements.view(np.uint8).data


# --- reading ------------------------------------------------------------------------------------------------------------


def decode_rows(data: bytes) -> Iterator[list[memoryview | None]]:
    """The columns of each row of a binary COPY, as views of `data`; None for NULL.

    Raises:
        ValueError: Not a complete binary COPY.
    """
    if not data.startswith(HEADER[:11]) or len(data) < len(HEADER) + 2:
        raise ValueError("no binary COPY")
    view = memoryview(data)
    length_at = struct.Struct(">i").unpack_from
    at = len(HEADER)
    while data[at : at + 2] != TRAILER:
        columns: list[memoryview | None] = []
        column_count = int.from_bytes(view[at : at + 2], "big")
        at += 2
        for _ in range(column_count):
            (length,) = length_at(data, at)
            at += 4
            columns.append(None if length < 0 else view[at : at + length])
            at += max(length, 0)
        yield columns


def decode_array(column: bytes | memoryview, kind: str) -> npt.NDArray[Any]:
    """A one-dimensional array column without NULLs as numpy sees it, in this machine's byte order.

    Args:
        column: As binary COPY or array_send() gives it.
        kind: ">i8" for int8[], ">f8" for float8[], ">i2" for int2[].
    """
    if len(column) <= 20:  # no dimension: an empty array
        return np.empty(0, dtype=kind[1:])
    elements = np.frombuffer(column, dtype=[("length", ">i4"), ("element", kind)], offset=20)
    return elements["element"].astype(kind[1:])
