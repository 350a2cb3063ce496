"""One commit group: everything that a set of batches does to the database, in one transaction.

    claim      last_seq moves by one for each writer: what does not move is a repeat or a gap
    events     experiments, runs, params, tags, writers' rows: a few set-based statements, whatever the number of batches
    points     binary COPY into metric_chunks
    series     one upsert of the summaries
    COMMIT     with synchronous_commit = on; only now is anybody told

Posts that bring nothing but points of open runs, each beyond those that are stored, take one round trip in place of these (`forward`).

Row locks are taken table by table in this order, in key order within a table: two groups can wait for each other in one
direction only, in this process or any other. Nothing is kept between groups but the connection.

With several batches of one writer in a group, each is claimed in a round of its own, in the order of their numbers.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from ingest.store.effects import (
    START_MISSING_TAG,
    RunEffects,
    RunState,
    attempt_of,
    collect_effects,
    experiment_unknown,
    joint_end,
)
from ingest.store.errors import ContentRefused
from ingest.store.forward import post_forward
from ingest.store.outcomes import Gap, Outcome, Refused, Rejection, Repeated, Stored
from ingest.store.posts import Post, PostOutcome, claim_posts
from ingest.store.storing import prepare_points, store_points
from ingest_schema.run_names import run_name_of
from ingest_schema.sql import load_queries
from ingest_schema.wire import Batch

__all__ = ["GONE_HINT", "BatchRefused", "commit_batches", "commit_group"]

Connection = Any  # asyncpg.Connection or its pool proxy, which share no type

_SQL: Final = load_queries("write")
_WRITER_COLUMNS: Final = (
    "rank", "world_size", "local_rank", "host", "pid", "client",
    "attempt", "resume_from_step", "started_at_ms", "ended_at_ms", "stats", "end_status",
)  # fmt: skip
_UNTOLD: Final = dict.fromkeys(("resume_from_step", "world_size", "ended_at_ms", "end_status"))
"""What a writer that starts has not told yet."""

GONE_HINT: Final = "log to a new run"


class BatchRefused(ContentRefused):
    """One batch of the group can't be stored; `.index` says which, `.hint` what to do. The group was rolled back."""

    def __init__(self, index: int, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.index = index
        self.hint = hint


async def commit_batches(connection: Connection, batches: Sequence[Batch]) -> list[Outcome]:
    """`commit_group` where there are batches only."""
    outcomes, _ = await commit_group(connection, batches, ())
    return outcomes


async def commit_group(
    connection: Connection, batches: Sequence[Batch], posts: Sequence[Post]
) -> tuple[list[Outcome], list[PostOutcome]]:
    """Commit the batches and posts in one transaction; the outcome of each, in their order, after COMMIT.

    Raises:
        BatchRefused: One of them can't be stored, and it is known which.
        asyncpg.PostgresError, OSError, ...: As PostgreSQL and the network have it; `errors.translated` sorts them.
            Nothing was stored, unless the connection broke during COMMIT.
    """
    if posts and not batches and (stored := await post_forward(connection, posts)) is not None:
        return [], stored
    # Before the transaction, since almost always all batches are claimed; what posts bring is known in it only.
    prepared = None if posts else prepare_points(batches)
    async with connection.transaction():
        claimed = await _claim(connection, batches)
        settled = await claim_posts(connection, posts) if posts else None
        rejected = await _apply_events(connection, batches, claimed)
        posted = await settled.apply(connection) if settled is not None else []
        if posts or len(claimed) < len(batches):
            prepared = prepare_points([*(batches[i] for i in claimed), *posted])
        if prepared is not None:
            await store_points(connection, prepared)
        others = await _explain(connection, batches, claimed)
    outcomes = [
        others[i] if i in others else Stored(batch.point_count, tuple(rejected.get(i, ())))
        for i, batch in enumerate(batches)
    ]
    return outcomes, [settled.outcomes[i] for i in range(len(posts))] if settled is not None else []


async def _claim(connection: Connection, batches: Sequence[Batch]) -> list[int]:
    """Indices of the batches whose turn it is, in arrival order; their writers' rows are locked."""
    waiting: dict[UUID, list[int]] = {}
    for index in sorted(range(len(batches)), key=lambda i: batches[i].seq):
        waiting.setdefault(batches[index].writer_id, []).append(index)
    claimed: list[int] = []
    woken: list[tuple[UUID, UUID]] = []
    while waiting:
        heads = {(batches[queue[0]].run_id, writer_id): queue.pop(0) for writer_id, queue in waiting.items()}
        chosen = [batches[i] for i in heads.values()]
        rows = await connection.fetch(
            _SQL["claim_batches"],
            [b.run_id for b in chosen],
            [b.writer_id for b in chosen],
            [b.seq for b in chosen],
            [b.point_count for b in chosen],
        )
        claimed += [heads[row["run_id"], row["writer_id"]] for row in rows]
        woken += [(row["run_id"], row["writer_id"]) for row in rows if row["is_sealed"]]
        waiting = {writer_id: queue for writer_id, queue in waiting.items() if queue}
    await _unseal(connection, woken)
    return sorted(claimed)


async def _unseal(connection: Connection, woken: Sequence[tuple[UUID, UUID | None]]) -> None:
    """Runs at rest (`ingest.store.sealing`) are written to again: searches have to look at them as they are."""
    if woken:
        await connection.execute(
            _SQL["unseal"], [run_id for run_id, _ in woken], [writer_id for _, writer_id in woken]
        )


async def _explain(
    connection: Connection, batches: Sequence[Batch], claimed: Sequence[int]
) -> dict[int, Repeated | Gap | Refused]:
    """Why the others were not claimed."""
    left = sorted(set(range(len(batches))) - set(claimed))
    if not left:
        return {}
    rows = await connection.fetch(
        _SQL["last_seqs"], [batches[i].run_id for i in left], [batches[i].writer_id for i in left]
    )
    last_seqs = {(row["run_id"], row["writer_id"]): row["last_seq"] for row in rows}
    gone = await _gone(connection, [batches[i].run_id for i in left])
    reasons: dict[int, Repeated | Gap | Refused] = {}
    for index in left:
        batch = batches[index]
        if batch.run_id in gone:
            reasons[index] = Refused(_gone_message(batch.run_id), hint=GONE_HINT)
            continue
        last_seq = last_seqs.get((batch.run_id, batch.writer_id), 0)
        is_repeat = batch.seq <= last_seq
        reasons[index] = Repeated(batch.point_count) if is_repeat else Gap(expected_seq=last_seq + 1)
    return reasons


async def _gone(connection: Connection, run_ids: Sequence[UUID]) -> set[UUID]:
    """Those of the runs that are being deleted for good, or were."""
    return {row["run_id"] for row in await connection.fetch(_SQL["gone_runs"], run_ids)}


def _gone_message(run_id: UUID) -> str:
    return f"run {run_id.hex} was deleted for good; nothing is stored for it any more"


async def _refuse_gone(connection: Connection, runs: Sequence[RunEffects]) -> None:
    """Refuse a batch of a run that is gone. Asked once the runs' rows are locked, so that none goes afterwards."""
    gone = await _gone(connection, [run.run_id for run in runs])
    for run in runs:
        if run.run_id in gone:
            raise BatchRefused(run.first_batch, _gone_message(run.run_id), hint=GONE_HINT)


# --- events -------------------------------------------------------------------------------------------------------------


async def _apply_events(
    connection: Connection, batches: Sequence[Batch], claimed: Sequence[int]
) -> dict[int, list[Rejection]]:
    """Apply the claimed batches' events; parts that were not applied, by index of the batch."""
    runs = collect_effects([batches[i] for i in claimed])
    if not runs:
        return {}
    try:
        await _open_runs(connection, runs)
    except BatchRefused as refused:
        raise BatchRefused(claimed[refused.index], str(refused), refused.hint) from refused
    await _add_params(connection, runs)
    await _set_tags(connection, runs)
    await _describe_writers(connection, runs)
    rejected: dict[int, list[Rejection]] = {}
    for run in runs:
        for index, rejections in run.rejected.items():
            rejected.setdefault(claimed[index], []).extend(rejections)
    return rejected


async def _open_runs(connection: Connection, runs: Sequence[RunEffects]) -> None:
    """Create and lock the runs, settle the states that their starts and ends lead to, and find writers' attempts."""
    experiment_ids = await _experiment_ids(connection, runs)
    starts = [run.start for run in runs]
    rows = await connection.fetch(
        _SQL["open_runs"],
        [run.run_id for run in runs],
        experiment_ids,
        [start.name if start else run_name_of(run.run_id) for run, start in zip(runs, starts, strict=True)],
        [start.user_name if start else "" for start in starts],
        [start.parent_run_id if start else None for start in starts],
        [
            start.start_time_ms if start else run.first_seen_ms
            for run, start in zip(runs, starts, strict=True)
        ],
    )
    await _unseal(connection, [(row["run_id"], None) for row in rows if row["is_sealed"]])
    await _refuse_gone(connection, runs)
    found = {row["run_id"]: row for row in rows}
    created = {run_id for run_id, row in found.items() if row["is_new"]}
    for run in runs:
        if (run.start is None or run.is_misplaced) and run.run_id in created:
            run.tags.setdefault(START_MISSING_TAG, "true")
    eventful = [run for run in runs if run.events]
    if not eventful:
        return
    writers = await connection.fetch(_SQL["writers_of_runs"], [run.run_id for run in eventful])
    changed: list[tuple[UUID, RunState]] = []
    for run in eventful:
        mine = [dict(row) for row in writers if row["run_id"] == run.run_id]
        row = found[run.run_id]
        before = RunState(row["status"], row["end_time_ms"])
        after = _settle(run, before, mine)
        if after != before:
            changed.append((run.run_id, after))
    if changed:
        await connection.execute(
            _SQL["set_run_states"],
            [run_id for run_id, _ in changed],
            [state.status for _, state in changed],
            [state.end_time_ms for _, state in changed],
        )


def _settle(run: RunEffects, state: RunState, writers: list[dict[str, Any]]) -> RunState:
    """The run's state after its starts and ends; gives each starting writer its attempt.

    An end is passed over if another writer started after it: it is a dead attempt's, delivered late from a spool.
    """
    rows = {row["writer_id"]: row for row in writers}
    for writer_id, event in run.events:
        if event.kind != "run_start":
            facts = run.writers[writer_id]
            row = rows.get(writer_id)
            if row is not None:
                row |= {
                    name: facts.columns[name]
                    for name in ("ended_at_ms", "end_status")
                    if name in facts.columns
                }
            if row is not None and (row["world_size"] or 1) > 1:
                state = joint_end(writers) or state
            elif event.kind == "run_end":
                end_time_ms = event.body["end_time_ms"]
                if not any(w["started_at_ms"] > end_time_ms for w in writers if w["writer_id"] != writer_id):
                    state = state.after_end(event.body["status"], end_time_ms)
            continue
        facts = run.writers[writer_id]
        rank = facts.columns.get("rank", 0)
        attempt = facts.columns["attempt"] = attempt_of(writer_id, rank, facts, writers)
        started = {**_UNTOLD, "writer_id": writer_id, "rank": rank, "attempt": attempt, **facts.columns}
        writers.append(started)
        rows[writer_id] = started
        state = state.after_start(
            event.body["start_time_ms"], resumes=event.body.get("resume_from_step") is not None
        )
    return state


async def _experiment_ids(connection: Connection, runs: Sequence[RunEffects]) -> list[int]:
    """The experiment of each run, created where a start names one that is not there; 0 (Default) where none is known."""
    names = sorted({run.start.experiment for run in runs if run.start and run.start.experiment is not None})
    ids: dict[str, int] = {}
    if names:
        ids = dict(await connection.fetch(_SQL["experiments_by_name"], names))
        if missing := [name for name in names if name not in ids]:
            await connection.execute(_SQL["create_experiments"], missing, time.time_ns() // 1_000_000)
            ids |= dict(await connection.fetch(_SQL["experiments_by_name"], missing))
    known = await _known_experiments(connection, runs)
    found: list[int] = []
    for run in runs:
        if run.start is None:
            found.append(0)
        elif run.start.experiment is not None:
            found.append(ids[run.start.experiment])
        elif (experiment_id := run.start.experiment_id or 0) in known:
            found.append(experiment_id)
        else:
            run.rejected.setdefault(run.start_batch, []).append(experiment_unknown(run.run_id, experiment_id))
            run.is_misplaced = True
            found.append(0)
    return found


async def _known_experiments(connection: Connection, runs: Sequence[RunEffects]) -> set[int]:
    """Which of the experiments that starts name by id are there, and stay there until COMMIT."""
    named = {run.named_experiment for run in runs} - {None, 0}
    rows = await connection.fetch(_SQL["known_experiments"], list(named)) if named else []
    return {0, *(row["experiment_id"] for row in rows)}


async def _add_params(connection: Connection, runs: Sequence[RunEffects]) -> None:
    rows = [(run, key, value) for run in runs for key, value in run.params.items()]
    if not rows:
        return
    columns = [run.run_id for run, _, _ in rows], [key for _, key, _ in rows], [value for _, _, value in rows]
    added = await connection.fetch(_SQL["add_params"], *columns)
    if len(added) == len(rows):
        return
    by_id = {run.run_id: run for run in runs}
    for row in await connection.fetch(_SQL["params_that_differ"], *columns):
        by_id[row["run_id"]].reject_param(row["key"])


async def _set_tags(connection: Connection, runs: Sequence[RunEffects]) -> None:
    rows = [(run.run_id, key, value) for run in runs for key, value in run.tags.items()]
    kept = [row for row in rows if row[2] is not None]
    gone = [row for row in rows if row[2] is None]
    if kept:
        await connection.execute(_SQL["set_tags"], *([row[i] for row in kept] for i in range(3)))
    if gone:
        await connection.execute(_SQL["delete_tags"], *([row[i] for row in gone] for i in range(2)))


async def _describe_writers(connection: Connection, runs: Sequence[RunEffects]) -> None:
    rows = [
        (run.run_id, writer_id, facts.columns) for run in runs for writer_id, facts in run.writers.items()
    ]
    if rows:
        await connection.execute(
            _SQL["describe_writers"],
            [run_id for run_id, _, _ in rows],
            [writer_id for _, writer_id, _ in rows],
            *([columns.get(name) for _, _, columns in rows] for name in _WRITER_COLUMNS),
        )
