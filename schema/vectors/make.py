"""Writes the test vectors of the wire format beside itself: `python schema/vectors/make.py`.

The files are the contract for clients in other languages. They change only with the protocol version; the test
`tests/unit/schema/test_vectors.py` fails when what this script would write differs from what is stored.
"""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any
from uuid import UUID

import msgpack

from ingest_schema import Batch, Event, encode_batch

RUN = UUID("0198f000-0000-7000-8000-000000000001")
WRITER = UUID("0198f000-0000-7000-8000-000000000002")
LOWEST, HIGHEST = -(2**63), 2**63 - 1
QUIET_NAN_WITH_PAYLOAD = struct.unpack("<d", bytes.fromhex("efbeadde0000f87f"))[0]


def valid() -> dict[str, Batch]:
    """Batches that every implementation must encode to, and decode from, these bytes."""
    start = Event(
        "run_start",
        1_700_000_000_000,
        {"name": "first", "start_time_ms": 1_700_000_000_000, "experiment": "Default"},
    )
    return {
        "one_point": Batch.of_points(
            RUN, WRITER, 1, [("loss", 0, 1_700_000_000_000, 0.5)], events=[start], sent_ms=1
        ),
        "events_only": Batch(
            run_id=RUN,
            writer_id=WRITER,
            seq=2,
            sent_ms=1_700_000_000_500,
            events=[
                Event(
                    "writer",
                    5,
                    {"rank": 3, "host": "node-1", "pid": 4711, "world_size": 8, "client": "ingest/0.1.0"},
                ),
                Event("params", 6, {"lr": "0.001", "λ": "größer 🙂", "empty": ""}),
                Event("tags", 7, {"team": "vision", "obsolete": None}),
                Event("heartbeat", 8, {"accepted": 10, "spooled": 0}),
                Event("run_end", 9, {"status": "FINISHED", "end_time_ms": 9}),
                Event("writer_end", 10, {}),
            ],
        ),
        "extremes": Batch.of_points(
            RUN,
            WRITER,
            HIGHEST,
            [
                ("a", LOWEST, HIGHEST, math.nan),
                ("a", HIGHEST, LOWEST, math.inf),
                ("a", 0, 0, -math.inf),
                ("a", 0, 0, -0.0),
                ("a", -1, -1, 5e-324),
                ("a/b c.d:e-f_g", 7, 7, 1.7976931348623157e308),
                ("💥" * 250, 7, 7, QUIET_NAN_WITH_PAYLOAD),
            ],
            sent_ms=LOWEST,
        ),
        "shuffled": Batch.of_points(
            RUN, WRITER, 3, [(f"m{i % 3}", (i * 7) % 11 - 5, 1000 + i, i / 3) for i in range(20)], sent_ms=2
        ),
    }


def invalid() -> dict[str, tuple[bytes, str, str]]:
    """Bodies that every implementation must refuse: name -> (body, error, path)."""
    good = msgpack.unpackb(encode_batch(valid()["one_point"]))

    def changed(**fields: Any) -> bytes:
        return bytes(msgpack.packb({**good, **fields}))

    def event(kind: Any, time_ms: Any, body: Any) -> bytes:
        return changed(events=msgpack.packb([kind, time_ms, body]))

    without_seq = {name: value for name, value in good.items() if name != "seq"}
    malformed = {
        "empty": (b"", "$"),
        "not_msgpack": (b"\xc1", "$"),
        "truncated": (encode_batch(valid()["one_point"])[:-1], "$"),
        "trailing_byte": (encode_batch(valid()["one_point"]) + b"\x00", "$"),
        "an_array": (b"\x90", "$"),
        "missing_field": (bytes(msgpack.packb(without_seq)), "seq"),
        "unknown_field": (b"\x8c" + msgpack.packb({**good, "x": 1})[1:], "$"),
        "version_2": (changed(version=2), "version"),
        "short_run_id": (changed(run_id=b"123"), "run_id"),
        "seq_zero": (changed(seq=0), "seq"),
        "seq_bool": (changed(seq=True), "seq"),
        "repeated_key": (changed(keys="a\0a", counts=struct.pack("<2I", 1, 1)), "keys"),
        "empty_key": (changed(keys="a\0", counts=struct.pack("<2I", 1, 1)), "keys[1]"),
        "long_key": (changed(keys="k" * 1001), "keys[0]"),
        "counts_too_short": (changed(counts=b""), "counts"),
        "count_zero": (
            changed(counts=struct.pack("<I", 0), steps=b"", times_ms=b"", values=b""),
            "counts[0]",
        ),
        "steps_too_short": (changed(steps=b"1234567"), "steps"),
        "values_too_long": (changed(values=b"\0" * 16), "values"),
        "values_are_text": (changed(values="12345678"), "values"),
        "event_unknown_kind": (event("vibe", 1, {}), "events[0][0]"),
        "event_time_is_float": (event("params", 1.5, {}), "events[0][1]"),
        "event_body_is_list": (event("params", 1, [1]), "events[0][2]"),
        "event_field_missing": (event("run_end", 1, {"status": "FAILED"}), "events[0][2].end_time_ms"),
        "event_bad_status": (
            event("run_end", 1, {"status": "fine", "end_time_ms": 1}),
            "events[0][2].status",
        ),
        "event_param_is_number": (event("params", 1, {"lr": 0.1}), "events[0][2]"),
        "event_truncated": (changed(events=b"\x93\xa6params"), "events[0]"),
    }
    return {name: (body, "BatchMalformed", path) for name, (body, path) in malformed.items()}


def describe(batch: Batch) -> dict[str, Any]:
    """What a batch holds, as JSON."""
    return {
        "run_id": batch.run_id.hex,
        "writer_id": batch.writer_id.hex,
        "seq": batch.seq,
        "sent_ms": batch.sent_ms,
        "events": [[event.kind, event.time_ms, event.body] for event in batch.events],
        "points": [
            {
                "key": key,
                "step": step,
                "time_ms": time_ms,
                "value": value.hex(),
                "bits": struct.pack(">d", value).hex(),
            }
            for key, step, time_ms, value in batch.points()
        ],
    }


def files() -> dict[str, bytes]:
    """Every vector: path below this folder -> content."""
    made: dict[str, bytes] = {}
    for name, batch in valid().items():
        made[f"valid/{name}.msgpack"] = encode_batch(batch)
        made[f"valid/{name}.json"] = _json(describe(batch))
    for name, (body, error, path) in invalid().items():
        made[f"invalid/{name}.msgpack"] = body
        made[f"invalid/{name}.json"] = _json({"error": error, "path": path})
    return made


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True) + "\n").encode()


if __name__ == "__main__":
    for relative_path, content in files().items():
        target = Path(__file__).parent / relative_path
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(content)
