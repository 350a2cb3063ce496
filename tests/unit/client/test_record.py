"""The records of the spool: what is written is read, and damage costs what it hits and nothing else."""

from __future__ import annotations

from zlib import adler32

from hypothesis import given
from hypothesis import strategies as st

from ingest_client._record import (
    FIRST_SHAPE,
    check_word,
    encode_definition,
    encode_event_record,
    event_payload,
    intact_ranges,
    metrics_struct,
    metrics_word0,
    read_definitions,
)

SHAPES = {FIRST_SHAPE: ("loss",), FIRST_SHAPE + 1: ("loss", "acc", "lr")}


def metrics_record(shape: int, step: int, values: list[float]) -> bytes:
    body = metrics_struct(len(values)).pack(metrics_word0(shape, len(values)), step, 1_700_000, *values)
    return body + check_word(adler32(body))


def some_records() -> list[bytes]:
    return [
        encode_event_record(b"event one"),
        metrics_record(FIRST_SHAPE, 1, [0.5]),
        metrics_record(FIRST_SHAPE + 1, -1, [float("nan"), float("inf"), -0.0]),
        encode_event_record(b""),
        metrics_record(FIRST_SHAPE, 2**63 - 1, [1e308]),
    ]


def ranges_of(data: bytes) -> list[tuple[int, int]]:
    words = memoryview(data[: len(data) // 8 * 8]).cast("Q")  # a file is read as whole words
    return list(intact_ranges(words, 0, len(words), SHAPES))


keys = st.lists(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1), min_size=1
)


@given(st.lists(keys, max_size=5))
def test_definitions_read_back(definitions):
    data = b"".join(encode_definition(FIRST_SHAPE + i, names) for i, names in enumerate(definitions))
    assert read_definitions(data) == {FIRST_SHAPE + i: tuple(names) for i, names in enumerate(definitions)}


@given(st.binary(max_size=100))
def test_event_payload_reads_back(payload):
    words = memoryview(encode_event_record(payload)).cast("Q")
    assert event_payload(words, 0) == payload


def test_intact_records_are_one_range():
    data = b"".join(some_records())
    assert ranges_of(data) == [(0, len(data) // 8)]


@given(st.integers(0, len(b"".join(some_records())) * 8 - 1))
def test_one_flipped_bit_costs_one_record(bit):
    records = some_records()
    data = bytearray(b"".join(records))
    data[bit // 8] ^= 1 << bit % 8
    intact = b"".join(bytes(data[8 * a : 8 * b]) for a, b in ranges_of(bytes(data)))
    begins = [sum(map(len, records[:i])) for i in range(len(records))]
    hit = max(i for i, begin in enumerate(begins) if begin <= bit // 8)
    assert intact == b"".join(record for i, record in enumerate(records) if i != hit)


@given(st.integers(0, len(b"".join(some_records()))))
def test_a_cut_anywhere_keeps_the_records_before_it(size):
    records = some_records()
    data = b"".join(records)[:size]
    whole = 0
    while whole < len(records) and sum(map(len, records[: whole + 1])) <= size:
        whole += 1
    intact = b"".join(data[8 * a : 8 * b] for a, b in ranges_of(data))
    assert intact == b"".join(records[:whole])


@given(st.binary(max_size=300))
def test_noise_holds_no_record(noise):
    """Nor does it raise."""
    assert ranges_of(noise) == []
    assert read_definitions(noise) == {}
