"""What is merged with what: nothing is left out, nothing crosses writers, rows come out full."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from ingest.compaction.plan import (
    MERGE_MAX_CHUNKS,
    MERGE_MAX_POINTS,
    PACK_POINTS,
    SMALL_PACK_POINTS,
    Piece,
    is_worthwhile,
    merges,
)
from ingest.store import packs


def chunks(*sizes, writer=1):
    return [Piece(UUID(int=writer), seq, (0, seq), n) for seq, n in enumerate(sizes, start=1)]


@given(st.lists(st.lists(st.integers(1, 1_024), max_size=400), max_size=3), st.booleans())
def test_every_chunk_is_merged_once_in_order_with_its_writers_or_left(sizes, is_over):
    waiting = [piece for writer, some in enumerate(sizes) for piece in chunks(*some, writer=writer)]
    done = list(merges(waiting, [], is_over=is_over))

    assert all({piece.writer_id for piece in merge.chunks} == {merge.writer_id} for merge in done)
    merged = [piece for merge in done for piece in merge.chunks]
    for writer in range(len(sizes)):
        mine = [piece for piece in merged if piece.writer_id.int == writer]
        all_mine = [piece for piece in waiting if piece.writer_id.int == writer]
        assert mine == all_mine[: len(mine)]
        rest = all_mine[len(mine) :]
        assert not is_worthwhile(len(rest), sum(p.n for p in rest), is_over=is_over)
    assert all(len(m.chunks) <= MERGE_MAX_CHUNKS and m.n <= MERGE_MAX_POINTS for m in done)


def test_a_small_packed_row_goes_first_with_the_chunks_of_its_writer():
    small = Piece(UUID(int=1), 3, (9, 9), SMALL_PACK_POINTS - 1)
    foreign = Piece(UUID(int=2), 3, (9, 8), 5)
    first, *_ = merges(chunks(*[1] * 200), [small, foreign], is_over=False)
    assert first.packs == (small,)
    assert first.seq == 200


def test_rows_come_out_nearly_full():
    for merge in merges(chunks(*[1_000] * 200), [], is_over=False):
        rows = -(-merge.n // PACK_POINTS)
        assert merge.n / rows > 0.9 * PACK_POINTS


def test_a_chunk_larger_than_a_transaction_goes_alone():
    (merge,) = merges(chunks(MERGE_MAX_POINTS + 1), [], is_over=True)
    assert len(merge.chunks) == 1


def test_the_size_of_a_row_is_said_once_more_only():
    assert PACK_POINTS == packs.PACK_POINTS
