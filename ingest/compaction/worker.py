"""Compaction of everything that is worth it, for the background (`upkeep`) and for `ingest compact`.

Pace: after each transaction it rests as long as it worked, if it is asked to, so that at most half of one core goes into it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from ingest.compaction.plan import is_worthwhile
from ingest.store.compaction import Compaction, StaleMerge, WaitingSeries
from ingest.telemetry import (
    COMPACTED_CHUNKS,
    COMPACTED_POINTS,
    COMPACTION_LAG,
    COMPACTION_SECONDS,
    COMPACTION_WAITING,
)

__all__ = ["Progress", "compact_all"]

logger = logging.getLogger(__name__)

FIRST: Final = (UUID(int=0), "")


@dataclass(slots=True)
class Progress:
    """What was done so far."""

    series: int = 0
    chunks: int = 0
    points: int = 0
    rows: int = 0


async def compact_all(
    compaction: Compaction,
    progress: Progress,
    *,
    run_id: UUID | None = None,
    everything: bool = False,
    rests: bool = False,
    between: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Compact whatever is worth it.

    Args:
        run_id: Only this run's series.
        everything: Also what would be left to wait for more.
        rests: Give way to the service's other work after each transaction.
        between: Awaited after each series: a round over a backlog may take minutes.
    """
    after: tuple[UUID, str] | None = FIRST if run_id is None else (run_id, "")
    waiting = waiting_points = 0
    while after is not None:
        found, after = await compaction.waiting(after)
        for series in found:
            if run_id is not None and series.run_id != run_id:
                after = None
                break
            one = WaitingSeries(
                series.run_id, series.key, series.chunks, series.points, series.is_over or everything
            )
            if is_worthwhile(one.chunks, one.points, is_over=one.is_over):
                await _compact_one(compaction, one, progress, rests=rests)
                if between is not None:
                    await between()
            else:
                waiting += one.chunks
                waiting_points += one.points
    if run_id is None:
        COMPACTION_WAITING.set(waiting)
        COMPACTION_LAG.set(waiting_points)


async def _compact_one(
    compaction: Compaction, series: WaitingSeries, progress: Progress, *, rests: bool
) -> None:
    progress.series += 1
    started = time.perf_counter()
    try:
        async for merged in compaction.compact(series):
            seconds = time.perf_counter() - started
            progress.chunks += merged.chunks
            progress.points += merged.points
            progress.rows += merged.rows
            COMPACTED_CHUNKS.inc(merged.chunks)
            COMPACTED_POINTS.inc(merged.points)
            COMPACTION_SECONDS.observe(seconds)
            if rests:
                await asyncio.sleep(seconds)
            started = time.perf_counter()
    except StaleMerge as error:
        logger.info("%s; the next round looks again", error)
