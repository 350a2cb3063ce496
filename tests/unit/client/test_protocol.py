"""What an answer means: three codes are refusals for good, everything unknown is a reason to try again."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_client._protocol import Gap, Refused, Retry, Stored, outcome_of


def answer(status: int, document: object, **headers: str):
    return outcome_of(
        status, {k.replace("_", "-"): v for k, v in headers.items()}, json.dumps(document).encode(), 5
    )


def test_stored_and_repeated_are_success():
    assert answer(200, {"status": "stored", "seq": 5}) == Stored()
    assert answer(200, {"status": "repeated", "seq": 5}) == Stored(repeated=True)


def test_what_was_left_out_is_listed():
    rejected = [{"kind": "params", "key": "lr", "reason": "param_changed"}]
    assert answer(200, {"status": "stored", "seq": 5, "rejected": rejected}).rejected == tuple(rejected)


@pytest.mark.parametrize("code", ["batch_malformed", "batch_refused", "batch_too_large"])
def test_three_codes_refuse_for_good(code):
    assert isinstance(answer(413 if code == "batch_too_large" else 422, {"code": code}), Refused)


def test_a_gap_names_the_number():
    assert answer(409, {"code": "sequence_gap", "expected_seq": 3}) == Gap(3)


@pytest.mark.parametrize(
    "status", [201, 301, 400, 401, 403, 404, 408, 409, 413, 421, 422, 429, 500, 502, 503, 504]
)
def test_any_other_answer_is_tried_again(status):
    """A proxy's 413 or 422 has no code of ours: the points stay."""
    assert isinstance(answer(status, {"error": "something"}), Retry)


def test_a_login_page_is_no_acknowledgement():
    assert isinstance(outcome_of(200, {}, b"<html>please log in</html>", 5), Retry)


def test_an_answer_to_another_batch_is_no_acknowledgement():
    assert isinstance(answer(200, {"status": "stored", "seq": 4}), Retry)


def test_retry_after_is_read():
    assert answer(429, {"code": "queue_full"}, retry_after="2.5").retry_after == 2.5
    assert answer(503, {}, retry_after="Wed, 21 Oct 2026 07:28:00 GMT").retry_after is None


@given(st.integers(100, 599), st.binary(max_size=200))
def test_noise_is_never_an_acknowledgement_nor_an_error(status, body):
    assert isinstance(outcome_of(status, {}, body, 1), Retry)
