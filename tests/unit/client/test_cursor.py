"""The cursor: a crash or damage at any byte leaves a state that was true."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingest_client._cursor import Cursor, CursorState, decode_state, encode_state


def reopen(directory):
    return Cursor.open(directory)


uint64 = st.integers(0, 2**64 - 1)


@given(st.builds(CursorState, generation=uint64, serial=uint64, position=uint64, pending_seq=uint64))
def test_states_read_back(state):
    assert decode_state(encode_state(state)) == state


@given(st.integers(0, len(encode_state(CursorState())) * 8 - 1))
def test_a_flipped_bit_is_noticed(bit):
    slot = bytearray(encode_state(CursorState(generation=7, position=1234, last_seq=3)))
    slot[bit // 8] ^= 1 << bit % 8
    assert decode_state(bytes(slot)) is None


def test_an_empty_slot_is_no_state():
    """Adler-32 of nothing is not zero."""
    assert decode_state(bytes(1024)) is None


def test_the_newest_state_comes_back(tmp_path):
    cursor = Cursor.create(tmp_path)
    for position in range(2, 9):
        cursor.store(CursorState(position=position))
    cursor.close()
    reopened = reopen(tmp_path)
    assert reopened.state.position == 8
    reopened.close()


def test_one_lost_file_loses_nothing(tmp_path):
    cursor = Cursor.create(tmp_path)
    cursor.store(CursorState(position=99, pending_seq=4))
    cursor.close()
    (tmp_path / "cursor.a").write_bytes(b"")
    reopened = reopen(tmp_path)
    assert (reopened.state.position, reopened.state.pending_seq) == (99, 4)
    reopened.close()


def test_both_files_lost_is_said(tmp_path):
    Cursor.create(tmp_path).close()
    for name in ("cursor.a", "cursor.b"):
        (tmp_path / name).write_bytes(bytes(100))
    assert reopen(tmp_path) is None


def test_the_former_state_survives_a_torn_store(tmp_path):
    cursor = Cursor.create(tmp_path)
    cursor.store(CursorState(position=50))
    cursor.store(CursorState(position=60))
    newest = cursor.state.generation % 2 * 1024
    cursor.close()
    for name in ("cursor.a", "cursor.b"):
        data = bytearray((tmp_path / name).read_bytes())
        data[newest : newest + 60] = bytes(60)
        (tmp_path / name).write_bytes(data)
    reopened = reopen(tmp_path)
    assert reopened.state.position == 50
    reopened.close()
