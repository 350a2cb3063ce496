"""Seals runs at rest into segments, so that searches read them by columns (migration 0003 has the tables and `unseal`).

A segment is made in one transaction, of runs of one experiment that ended and have been quiet for a while, together with
the small segments that the experiment already has: so sizes grow as in a log-structured merge, and a run is written
again a few times at most until it stands among a thousand.

What makes it right: a run's row and all its writers' rows are locked before anything is read, without waiting for anybody.
Whoever changes the run holds one of these rows, or waits for one and then finds the seal and breaks it (`unseal`). A writer
that came in between, and so was not locked, is found by counting: its run stays open.

Errors: those of the driver. Units: seconds.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from ingest.search.runs import SEALED_CHARS
from ingest_schema.sql import load_queries

__all__ = ["Sealing", "count_unsealed", "seal_some"]

_SQL: Final = load_queries("search")

MAX_RUNS: Final = 1_024
"""In a segment: arrays of 8 kB. Twice as many would save little of a search's time and hold locks for twice as long."""
MAX_EXPERIMENTS: Final = 10
"""Looked at for one segment."""
MAX_CELLS: Final = 100_000
"""Runs x distinct metrics of a segment: half a second of work in one transaction, a thousand runs of a hundred metrics. Wide
runs come in small segments; a run with more metrics than this stands alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealing:
    """When runs are sealed."""

    quiet: float = 30.0
    """Since the run was last heard of."""
    patience: float = 600.0
    """After so long even a few runs are sealed; before, min_runs are waited for."""
    min_runs: int = 64


async def seal_some(connection: Any, sealing: Sealing) -> int:
    """Make one segment if there is anything to seal; returns how many runs it took in, 0 when there was nothing.

    Args:
        connection: With search_path `ingest`, in no transaction.
    """
    async with connection.transaction():
        if not await connection.fetchval(_SQL["lock_sealing"]):
            return 0
        due = await connection.fetch(
            _SQL["due_experiments"], sealing.min_runs, sealing.quiet, sealing.patience, MAX_EXPERIMENTS
        )
        for row in due:  # one is enough; the next only if all runs of the first were held by somebody
            if sealed := await _seal_experiment(connection, row["experiment_id"], sealing):
                return sealed
    return 0


async def count_unsealed(connection: Any) -> int:
    """How many runs ended and are not sealed."""
    number: int = await connection.fetchval(_SQL["count_unsealed"])
    return number


async def _seal_experiment(connection: Any, experiment_id: int, sealing: Sealing) -> int:
    rows = await connection.fetch(_SQL["lock_runs"], experiment_id, sealing.quiet, MAX_RUNS)
    fresh = await _with_all_writers(connection, [row["run_id"] for row in rows])
    fresh = await _that_fit(connection, fresh)
    if not fresh:
        return 0
    merged, old_runs = await _small_segments(connection, experiment_id, len(fresh))
    if merged and len(await _that_fit(connection, [*old_runs, *fresh])) < len(old_runs) + len(fresh):
        merged, old_runs = [], []
    if merged:
        await connection.execute(_SQL["drop_segments"], merged)
    await _add_segment(connection, experiment_id, [*old_runs, *fresh])
    return len(fresh)


async def _with_all_writers(connection: Any, run_ids: list[UUID]) -> list[UUID]:
    """Those runs of which every writer could be locked."""
    locked = Counter(row["run_id"] for row in await connection.fetch(_SQL["lock_writers"], run_ids))
    there = {row["run_id"]: row["writers"] for row in await connection.fetch(_SQL["count_writers"], run_ids)}
    return [run_id for run_id in run_ids if locked[run_id] == there.get(run_id, 0)]


async def _that_fit(connection: Any, run_ids: list[UUID]) -> list[UUID]:
    """As many of the first as a segment may hold; at least one."""
    while len(run_ids) > 1:
        keys = await connection.fetchval(_SQL["distinct_keys"], run_ids)
        if len(run_ids) <= MAX_RUNS and keys * len(run_ids) <= MAX_CELLS:
            break
        run_ids = run_ids[: min(MAX_RUNS, (len(run_ids) + 1) // 2)]
    return run_ids


async def _small_segments(connection: Any, experiment_id: int, fresh: int) -> tuple[list[int], list[UUID]]:
    """Segments to merge with so many fresh runs, and their runs, locked.

    Taken are those that are not much larger than what comes together, as long as the whole fits.
    """
    chosen: list[int] = []
    total = fresh
    for row in await connection.fetch(_SQL["small_segments"], experiment_id, MAX_RUNS // 2):
        if total + row["runs"] > MAX_RUNS or row["runs"] > 2 * total:
            break
        chosen.append(row["segment_id"])
        total += row["runs"]
    if not chosen:
        return [], []
    locked = await connection.fetch(_SQL["lock_sealed_runs"], chosen)
    if len(locked) < total - fresh:  # somebody is about to break a seal: merge another time
        return [], []
    run_ids = [row["run_id"] for row in locked]
    if len(await _with_all_writers(connection, run_ids)) < len(run_ids):
        return [], []
    return chosen, run_ids


async def _add_segment(connection: Any, experiment_id: int, run_ids: list[UUID]) -> None:
    await connection.execute(_SQL["join_by_hash"])
    segment_id = await connection.fetchval(_SQL["add_segment"], experiment_id, run_ids)
    await connection.execute(_SQL["add_metrics"], segment_id, run_ids)
    await connection.execute(_SQL["add_params"], segment_id, run_ids, SEALED_CHARS)
    await connection.execute(_SQL["add_tags"], segment_id, run_ids, SEALED_CHARS)
    await connection.execute(_SQL["mark_sealed"], run_ids, segment_id)
