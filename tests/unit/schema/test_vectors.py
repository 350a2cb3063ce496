"""The stored test vectors are what the reference implementation does: clients in other languages rely on them."""

import importlib.util
import json
import struct
from pathlib import Path

import pytest

from ingest_schema import BatchMalformed, decode_batch, encode_batch

VECTORS = Path(__file__).parents[3] / "schema" / "vectors"


def load_maker():
    spec = importlib.util.spec_from_file_location("make_vectors", VECTORS / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names(folder):
    found = sorted(path.stem for path in (VECTORS / folder).glob("*.msgpack"))
    assert found, f"no vectors in {VECTORS / folder}"
    return found


def test_the_stored_files_are_what_the_script_makes():
    made = load_maker().files()
    stored = {
        f"{path.parent.name}/{path.name}": path.read_bytes()
        for folder in ("valid", "invalid")
        for path in (VECTORS / folder).iterdir()
    }
    assert stored == made


@pytest.mark.parametrize("name", names("valid"))
def test_valid_bodies_decode_to_their_description_and_encode_again(name):
    body = (VECTORS / "valid" / f"{name}.msgpack").read_bytes()
    expected = json.loads((VECTORS / "valid" / f"{name}.json").read_text())
    batch = decode_batch(body)

    assert batch.run_id.hex == expected["run_id"]
    assert batch.writer_id.hex == expected["writer_id"]
    assert (batch.seq, batch.sent_ms) == (expected["seq"], expected["sent_ms"])
    assert [list(event) for event in batch.events] == expected["events"]
    points = [
        (key, step, time_ms, struct.pack(">d", value).hex()) for key, step, time_ms, value in batch.points()
    ]
    assert points == [(p["key"], p["step"], p["time_ms"], p["bits"]) for p in expected["points"]]
    assert encode_batch(batch) == body


@pytest.mark.parametrize("name", names("invalid"))
def test_invalid_bodies_are_refused_at_their_path(name):
    body = (VECTORS / "invalid" / f"{name}.msgpack").read_bytes()
    expected = json.loads((VECTORS / "invalid" / f"{name}.json").read_text())
    with pytest.raises(BatchMalformed) as refused:
        decode_batch(body)
    assert refused.value.path == expected["path"]
