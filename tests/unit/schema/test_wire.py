"""What is encoded comes out bit for bit, and no body, however mutilated, does anything but be refused."""

import struct
import tracemalloc
from uuid import UUID

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingest_schema import Batch, BatchError, BatchMalformed, BatchTooLarge, Event, decode_batch, encode_batch
from ingest_schema.limits import (
    MAX_BATCH_BYTES,
    MAX_BATCH_EVENTS,
    MAX_BATCH_KEYS,
    MAX_BATCH_POINTS,
    MAX_EVENT_BYTES,
)
from ingest_schema.wire import encode_columns, pack_column

int64 = st.integers(-(2**63), 2**63 - 1)
float64_bits = st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("<d", struct.pack("<Q", bits))[0])
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
names = texts.filter(bool)
points = st.lists(st.tuples(names, int64, int64, float64_bits | st.floats()), max_size=40)
bodies = {
    "run_start": st.fixed_dictionaries(
        {"name": st.none() | names, "start_time_ms": int64, "experiment": names},
        optional={
            "user": names,
            "parent_run_id": st.binary(min_size=16, max_size=16),
            "resume_from_step": int64,
        },
    ),
    "writer": st.fixed_dictionaries(
        {"rank": st.integers(-(2**31), 2**31 - 1), "host": names, "pid": st.integers(0, 2**63 - 1)},
        optional={"world_size": st.integers(0, 2**31 - 1), "client": names},
    ),
    "params": st.dictionaries(names, texts, max_size=5),
    "tags": st.dictionaries(names, st.none() | texts, max_size=5),
    "heartbeat": st.dictionaries(names, int64, max_size=5),
    "run_end": st.fixed_dictionaries(
        {"status": st.sampled_from(["FINISHED", "FAILED", "KILLED"]), "end_time_ms": int64}
    ),
    "writer_end": st.just({}),
}
events = st.one_of([st.builds(Event, st.just(kind), int64, body) for kind, body in bodies.items()])


@st.composite
def batches(draw):
    return Batch.of_points(
        draw(st.uuids()),
        draw(st.uuids()),
        draw(st.integers(1, 2**63 - 1)),
        draw(points),
        events=draw(st.lists(events, max_size=4)),
        sent_ms=draw(int64),
    )


def small_batch() -> Batch:
    return Batch.of_points(
        UUID(int=1),
        UUID(int=2),
        1,
        [("a", 1, 2, 3.0), ("b", 4, 5, 6.0)],
        events=[Event("params", 1, {"lr": "0.1"})],
    )


def columns(keys="a", counts=(1,), points=1, events=b""):
    return {
        "run_id": bytes(16), "writer_id": bytes(16), "seq": 1, "sent_ms": 0, "events": events,
        "keys": keys.split("\0") if keys else [], "counts": pack_column("I", counts),
        "steps": bytes(8 * points), "times_ms": bytes(8 * points), "values": bytes(8 * points),
    }  # fmt: skip


@given(batches())
def test_decode_gives_back_what_was_encoded_bit_for_bit(batch):
    body = encode_batch(batch)
    decoded = decode_batch(body)

    assert decoded == Batch(**{name: getattr(batch, name) for name in Batch.__dataclass_fields__})
    assert encode_batch(decoded) == body


@given(points)
def test_points_keep_their_order_within_a_key(logged):
    decoded = decode_batch(encode_batch(Batch.of_points(UUID(int=1), UUID(int=2), 1, logged)))
    read = [(key, step, time_ms, struct.pack("<d", value)) for key, step, time_ms, value in decoded.points()]
    for key in {point[0] for point in logged}:
        sent = [
            (k, step, time_ms, struct.pack("<d", value)) for k, step, time_ms, value in logged if k == key
        ]
        assert [point for point in read if point[0] == key] == sent
    assert decoded.point_count == len(logged)


@given(st.binary(max_size=200))
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\xdf\xff\xff\xff\xff")
@example(b"\xc6\xff\xff\xff\xff")
def test_any_bytes_are_refused_as_malformed(body):
    with pytest.raises(BatchMalformed) as refused:
        decode_batch(body)
    assert refused.value.path


@given(batches(), st.data())
def test_a_mutilated_batch_is_refused_or_is_another_valid_batch(batch, data):
    """Cut, flipped, inserted: only BatchError may come out, and whatever decodes can be encoded again."""
    body = bytearray(encode_batch(batch))
    position = data.draw(st.integers(0, len(body) - 1))
    match data.draw(st.sampled_from(["cut", "flip", "insert"])):
        case "cut":
            del body[position:]
        case "flip":
            body[position] ^= data.draw(st.integers(1, 255))
        case "insert":
            body[position:position] = data.draw(st.binary(min_size=1, max_size=9))
    try:
        decoded = decode_batch(bytes(body))
    except BatchError as error:
        assert str(error)
    else:
        assert decode_batch(encode_batch(decoded)) == decoded


msgpack_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | texts
    | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(texts | st.binary(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(st.sampled_from(sorted(msgpack.unpackb(encode_batch(small_batch())))), msgpack_values)
def test_a_field_of_any_other_content_is_refused_or_valid(field, value):
    fields = msgpack.unpackb(encode_batch(small_batch()))
    try:
        decode_batch(msgpack.packb({**fields, field: value}))
    except BatchError as error:
        assert str(error)


@given(msgpack_values)
def test_any_object_in_place_of_an_event_is_refused_or_valid(value):
    fields = msgpack.unpackb(encode_batch(small_batch()))
    try:
        decode_batch(msgpack.packb({**fields, "events": msgpack.packb(value)}))
    except BatchMalformed as error:
        assert error.path.startswith("events[0]")


@pytest.mark.parametrize(
    ("what", "body"),
    [
        ("bytes", bytes(MAX_BATCH_BYTES + 1)),
        ("points", encode_columns(**columns(counts=(MAX_BATCH_POINTS + 1,), points=0))),
        (
            "keys",
            encode_columns(
                **columns(keys="\0".join(map(str, range(MAX_BATCH_KEYS + 1))), counts=(), points=0)
            ),
        ),
        ("events", encode_columns(**columns(events=b"\x93\xa6params\x00\x80" * (MAX_BATCH_EVENTS + 1)))),
        ("bytes of events", encode_columns(**columns(events=bytes(MAX_EVENT_BYTES + 1)))),
    ],
    ids=["bytes", "points", "keys", "events", "bytes of events"],
)
def test_over_a_limit_is_too_large_and_says_of_what(what, body):
    with pytest.raises(BatchTooLarge) as refused:
        decode_batch(body)
    assert refused.value.what == what
    assert refused.value.size > refused.value.limit


def test_a_batch_at_the_limits_is_accepted():
    keys = "\0".join(f"k{i}" for i in range(MAX_BATCH_KEYS))
    counts = [1] * (MAX_BATCH_KEYS - 1) + [MAX_BATCH_POINTS - MAX_BATCH_KEYS + 1]
    decoded = decode_batch(encode_columns(**columns(keys=keys, counts=counts, points=MAX_BATCH_POINTS)))
    assert decoded.point_count == MAX_BATCH_POINTS


@pytest.mark.parametrize(
    "hostile",
    [
        b"\xdd\x00\xff\xff\xff" * 3000,
        b"\x8b" + b"\xa4" + b"keys" + b"\xdd\x00\xff\xff\xff" * 3000,
        b"\x81" * 100_000,
        encode_columns(**columns(events=b"\x93\xa6params\x00\x81\xa1a" + b"\x93" * 300_000)),
        encode_columns(**columns(events=b"\x93\xa6params\x00\xdf\x00\xff\xff\xff" + b"\xa1a\x90" * 300_000)),
        encode_columns(**columns(keys="\0" * (MAX_BATCH_BYTES // 2))),
    ],
    ids=["nested arrays", "array as keys", "nested maps", "nested event", "wide event", "empty keys"],
)
def test_a_hostile_body_takes_no_more_memory_than_a_batch_at_the_limit(hostile):
    """Headers that promise millions of elements, deep nesting, millions of tiny objects: bounded all the same."""
    tracemalloc.start()
    try:
        with pytest.raises(BatchError):
            decode_batch(hostile)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 4 * MAX_BATCH_BYTES


def test_encode_refuses_what_would_not_decode():
    with pytest.raises(BatchMalformed, match="counts"):
        encode_batch(Batch(run_id=UUID(int=1), writer_id=UUID(int=2), seq=1, sent_ms=0, keys=("a",)))
