"""Applies retention rules: hides runs, then thins runs, by the one process that has the lock of compaction.

In the background every RETENTION_PAUSE seconds, for at most ROUND_SECONDS, so that lost runs are noticed meanwhile; a run that was
not finished is gone on with in the next round. By hand (`ingest retention run`) at once and to the end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final, Literal

from ingest.compaction.worker import Progress, compact_all
from ingest.store.compaction import Compaction
from ingest.store.retention import DueByRule
from ingest.store.thinning import NotAtRest
from ingest.telemetry import RETENTION_RUNS, THINNED_POINTS

__all__ = ["RETENTION_PAUSE", "ROUND_SECONDS", "Applied", "apply_rules", "preview_rules"]

RETENTION_PAUSE: Final = 600.0
"""Seconds; rules count in days."""
ROUND_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Applied:
    """What a rule did to a run, or would do. before, after: points of the thinned series, as far as they were touched."""

    run: DueByRule
    action: Literal["delete", "thin"]
    before: int = 0
    after: int = 0


async def preview_rules(
    compaction: Compaction, *, experiment_id: int | None = None
) -> AsyncIterator[Applied]:
    """Which runs are due. Nothing is changed."""
    doomed = set()
    async for run in compaction.due_to_delete(experiment_id):
        doomed.add(run.run_id)
        yield Applied(run, "delete")
    async for run in compaction.due_to_thin(experiment_id):
        if run.run_id not in doomed:
            yield Applied(run, "thin")


async def apply_rules(
    compaction: Compaction, *, experiment_id: int | None = None, seconds: float | None = None
) -> AsyncIterator[Applied]:
    """Apply all rules, or that of one experiment; after each run what was done.

    Args:
        seconds: Stop at the first pause after so long, and rest after each transaction as long as it took. None: to the end.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    async for run in compaction.due_to_delete(experiment_id):
        if await compaction.delete_run(run.run_id):
            RETENTION_RUNS.labels("deleted").inc()
            yield Applied(run, "delete")
    async for run in compaction.due_to_thin(experiment_id):
        applied = await _thin(compaction, run, deadline)
        if applied is not None:
            yield applied
        if deadline is not None and time.monotonic() > deadline:
            return


async def _thin(compaction: Compaction, run: DueByRule, deadline: float | None) -> Applied | None:
    """Thin one run and mark it; None if it was not finished."""
    begun_at = await compaction.now()
    await compact_all(compaction, Progress(), run_id=run.run_id, everything=True, rests=deadline is not None)
    before = after = 0
    started = time.perf_counter()
    try:
        async for some in compaction.thin_run(run.run_id, run.thin_to):
            before += some.before
            after += some.after
            THINNED_POINTS.inc(some.before - some.after)
            if deadline is not None:
                await asyncio.sleep(time.perf_counter() - started)
                if time.monotonic() > deadline:
                    return None
            started = time.perf_counter()
    except NotAtRest:
        return None
    await compaction.mark_thinned(run.run_id, begun_at)
    RETENTION_RUNS.labels("thinned").inc()
    return Applied(run, "thin", before, after)
