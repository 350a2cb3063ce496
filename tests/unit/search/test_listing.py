"""Page tokens: bound to their question, and never an error of another kind."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.search import RUNS, parse_filter, parse_order
from ingest.search.listing import Listing
from ingest.search.paging import BadSearchToken, decode_position, encode_position, fingerprint
from ingest.search.runs import RunSearch, list_runs

ROW = ["id", 0, 1.5, 0, "text", 7, b"\x01" * 16]


def listing(filter_text: str = "", order: tuple[str, ...] = ("metrics.a", "params.b DESC")) -> Listing:
    return list_runs(RunSearch(parse_filter(filter_text, RUNS), parse_order(order, RUNS)))


def test_a_token_goes_on_with_its_own_question_only() -> None:
    token = listing().token_after(ROW)

    assert "y.v0 >" in listing().page(10, token).sql
    for other in (listing("metrics.a < 1"), listing(order=("metrics.a DESC", "params.b DESC"))):
        with pytest.raises(BadSearchToken):
            other.page(10, token)


@given(st.one_of(st.text(max_size=80), st.binary(max_size=60).map(lambda raw: raw.hex())))
def test_no_text_breaks_the_reading_of_tokens(text: str) -> None:
    with pytest.raises(BadSearchToken):
        listing().page(10, text or "?")


@given(
    st.lists(
        st.one_of(
            st.none(), st.integers(-(2**63), 2**63), st.floats(), st.text(max_size=5), st.binary(max_size=20)
        ),
        max_size=8,
    )
)
def test_a_forged_position_is_refused_or_harmless(position: list[object]) -> None:
    asked = listing()
    try:
        statement = asked.page(10, encode_position(asked.question, position))
    except BadSearchToken:
        return
    assert statement.sql == asked.page(10, asked.token_after(["id", *position])).sql


def test_positions_survive_the_token() -> None:
    question = fingerprint("q")
    token = encode_position(question, [None, 1, float("-inf"), "ü", b"x"])
    types: list[tuple[type, ...]] = [(type(None),), (int,), (float,), (str,), (bytes,)]
    assert decode_position(question, token, types) == [None, 1, float("-inf"), "ü", b"x"]
