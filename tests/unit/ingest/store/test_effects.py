"""What events amount to: order, immutability, and which attempt a writer belongs to."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from ingest.store.effects import RunState, WriterFacts, attempt_of, collect_effects, joint_end
from ingest_schema.events import Event
from ingest_schema.wire import Batch

RUN, W1, W2, W3 = (UUID(int=i) for i in range(1, 5))


def batch(writer: UUID, seq: int, *events: Event) -> Batch:
    return Batch(run_id=RUN, writer_id=writer, seq=seq, sent_ms=5, events=events)


def row(writer: UUID, rank: int, attempt: int, step: int | None, started_ms: int = 0) -> dict[str, Any]:
    return {
        "writer_id": writer, "rank": rank, "attempt": attempt, "resume_from_step": step, "started_at_ms": started_ms,
    }  # fmt: skip


def facts(step: int | None, started_ms: int = 100) -> WriterFacts:
    return WriterFacts({"started_at_ms": started_ms}, has_started=True, resume_from_step=step)


def test_points_of_a_known_writer_have_no_effects():
    assert collect_effects([batch(W1, 2)]) == []
    assert [run.run_id for run in collect_effects([batch(W1, 1)])] == [RUN]


def test_the_first_value_of_a_param_wins_and_the_other_is_reported_where_it_came():
    (run,) = collect_effects(
        [
            batch(W1, 2, Event("params", 0, {"lr": "1"})),
            batch(W2, 2, Event("params", 0, {"lr": "2", "b": "x"})),
        ]
    )
    assert run.params == {"lr": "1", "b": "x"}
    assert [(i, r.key) for i, rs in run.rejected.items() for r in rs] == [(1, "lr")]


def test_the_last_value_of_a_tag_wins_and_nil_deletes():
    (run,) = collect_effects(
        [batch(W1, 2, Event("tags", 0, {"a": "1", "b": "2"}), Event("tags", 1, {"a": None}))]
    )
    assert run.tags == {"a": None, "b": "2"}


def test_a_late_start_of_another_rank_does_not_revive_a_run_that_has_ended():
    ended = RunState("FINISHED", 50)
    assert ended.after_start(10, resumes=False) == ended
    assert ended.after_start(60, resumes=False) == RunState("RUNNING", None)
    assert ended.after_start(10, resumes=True) == RunState("RUNNING", None)


def test_of_several_ends_the_latest_stands():
    assert RunState("FAILED", 50).after_end("FINISHED", 40) == RunState("FAILED", 50)
    assert RunState("FAILED", 50).after_end("FINISHED", 50) == RunState("FINISHED", 50)


@pytest.mark.parametrize(
    ("rank", "mine", "others", "attempt"),
    [
        (0, facts(None), [], 1),
        (0, facts(100), [], 2),
        (0, facts(100), [row(W1, 0, 1, None)], 2),
        (0, facts(100), [row(W1, 0, 1, None), row(W2, 0, 2, 100)], 3),
        (1, facts(100), [row(W1, 0, 1, None), row(W2, 0, 2, 100)], 2),
        (1, facts(200), [row(W1, 0, 1, None), row(W2, 0, 2, 100)], 3),
        (1, facts(None), [row(W1, 0, 1, None), row(W2, 0, 2, 100, started_ms=50)], 2),
        (1, facts(None, 20), [row(W1, 0, 1, None), row(W2, 0, 2, 100, started_ms=50)], 1),
        (0, facts(100), [row(W3, 0, 7, 100)], 2),
    ],
)
def test_which_attempt_a_writer_belongs_to(rank, mine, others, attempt):
    """Ranks of one restart share an attempt; a spool delivered after a restart belongs to the attempt before it."""
    assert attempt_of(W3, rank, mine, others) == attempt


def rank(
    number: int, *, started: int = 0, ended: int | None = None, status: str | None = None
) -> dict[str, Any]:
    return {
        "rank": number, "world_size": 2, "started_at_ms": started, "ended_at_ms": ended, "end_status": status,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("writers", "end"),
    [
        ([rank(0, ended=5, status="FINISHED"), rank(1)], None),
        ([rank(0, ended=5, status="FINISHED"), rank(1, ended=9, status="FAILED")], RunState("FINISHED", 9)),
        ([rank(0, ended=5, status="FAILED"), rank(1, ended=3, status="KILLED")], RunState("FAILED", 5)),
        ([rank(0), rank(1, ended=3, status="KILLED")], None),
        ([rank(0, ended=5, status="FAILED"), rank(1, ended=4), rank(0, started=6), rank(1, started=6)], None),
        ([rank(0, ended=5, status="FINISHED")], RunState("FINISHED", 5)),
        ([rank(0, ended=5, status="FINISHED"), rank(0)], RunState("FINISHED", 5)),
    ],
    ids=[
        "one at work",
        "rank 0 decides",
        "the last time",
        "rank 0 at work",
        "restarted",
        "only rank 0",
        "its helper",
    ],
)
def test_a_run_of_several_ranks_ends_with_the_last_of_them(
    writers: list[dict[str, Any]], end: RunState | None
):
    assert joint_end(writers) == end


def test_a_helper_that_a_resumed_rank_started_does_not_part_the_ranks():
    """A data loader's worker joins the newest attempt without a step; the next rank that resumes still belongs to it."""
    writers = [row(W1, 0, 2, 50), row(W2, 0, 2, None, 10)]
    assert attempt_of(W3, 1, facts(50), writers) == 2
    assert attempt_of(W3, 0, facts(50), writers) == 3
