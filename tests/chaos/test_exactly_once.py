"""Exactly once, the bounded form: every point for which a logging call had returned is stored once, whatever died.

CHAOS_SEED and CHAOS_ROUNDS replay or prolong a run; bench/chaos.py is the long form.
"""

from __future__ import annotations

import os

import pytest

from ingest.bench.chaos import Chaos, run_chaos

ROUNDS = 52
"""Of kills, in about a minute on two idle cores."""


@pytest.mark.chaos
@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_what_a_logging_call_returned_for_is_stored_exactly_once() -> None:
    """Trainers, service and PostgreSQL are killed at random moments while a proxy cuts, stalls and repeats."""
    seed, rounds = int(os.environ.get("CHAOS_SEED", "1")), int(os.environ.get("CHAOS_ROUNDS", str(ROUNDS)))

    verdict = run_chaos(Chaos(rounds=rounds, seed=seed), print)

    print(f"\nseed {seed}\n{verdict}")
    assert verdict.is_exactly_once, str(verdict)
    assert sum(verdict.kills.values()) >= rounds
    assert verdict.total("stored") >= verdict.total("expected") > 0
    assert {"cut_before", "cut_after", "repeat", "replayed"} <= verdict.network.keys()
