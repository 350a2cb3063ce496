"""The upkeep of `ingest serve`: compaction, dead writers, resumed runs; in one process of all on a database.

Life: every few seconds each process tries to get the advisory lock for one round over everything; who does not get it leaves the
round to whoever has it. So nobody has to notice that a holder died, and `ingest compact` gets its turn between two rounds.
Ended by cancelling, between two statements or in one: PostgreSQL rolls back.

An error of the database is logged once and answered with patience; upkeep never takes the service down.

Pace: after each transaction it rests as long as it worked, so that at most half of one core goes into it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from ingest.compaction.plan import is_worthwhile
from ingest.store.compaction import Compaction, StaleMerge, WaitingSeries
from ingest.store.errors import StoreError
from ingest.telemetry import (
    COMPACTED_CHUNKS,
    COMPACTED_POINTS,
    COMPACTION_SECONDS,
    COMPACTION_WAITING,
    LOST_RUNS,
    REVIVED_RUNS,
)

__all__ = ["Progress", "compact_all", "upkeep"]

logger = logging.getLogger(__name__)

FIRST: Final = (UUID(int=0), "")
PAUSE: Final = 5.0
"""Seconds between two rounds over everything that waits. An idle round is a connection and a few short queries."""


@dataclass(slots=True)
class Progress:
    """What was done so far."""

    series: int = 0
    chunks: int = 0
    points: int = 0
    rows: int = 0


@asynccontextmanager
async def upkeep(url: str, *, compacts: bool, lost_after: float) -> AsyncIterator[None]:
    """Upkeep in the background for as long as the block."""
    task = asyncio.create_task(_keep_up(url, compacts=compacts, lost_after=lost_after), name="upkeep")
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _keep_up(url: str, *, compacts: bool, lost_after: float) -> None:
    is_well = True
    while True:
        try:
            async with Compaction.open(url) as compaction:
                if compaction is not None:
                    await _one_round(compaction, compacts=compacts, lost_after=lost_after)
                    is_well = True
        except StoreError as error:
            if is_well:
                logger.warning("upkeep waits for the database: %s", error)
            is_well = False
        except Exception:
            logger.exception("upkeep failed; trying again in %.0f seconds", PAUSE)
        await asyncio.sleep(PAUSE * random.uniform(0.8, 1.2))


async def _one_round(compaction: Compaction, *, compacts: bool, lost_after: float) -> None:
    lost, back = await compaction.look_for_silence(lost_after)
    LOST_RUNS.inc(len(lost))
    REVIVED_RUNS.inc(len(back))
    for run_id in lost:
        logger.info(
            "run %s is lost: none of its writers was heard of for %.0f seconds", run_id.hex, lost_after
        )
    await compaction.settle_attempts()
    if compacts:
        await compact_all(compaction, Progress(), rests=True)


async def compact_all(
    compaction: Compaction,
    progress: Progress,
    *,
    run_id: UUID | None = None,
    everything: bool = False,
    rests: bool = False,
) -> None:
    """Compact whatever is worth it.

    Args:
        run_id: Only this run's series.
        everything: Also what would be left to wait for more.
        rests: Give way to the service's other work after each transaction.
    """
    after: tuple[UUID, str] | None = FIRST if run_id is None else (run_id, "")
    waiting = 0
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
            else:
                waiting += one.chunks
    if run_id is None:
        COMPACTION_WAITING.set(waiting)


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
