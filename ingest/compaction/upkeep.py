"""The upkeep of `ingest serve`: compaction, dead writers, resumed runs, rules of retention; in one process of all on a database.

Life: every few seconds each process tries to get the advisory lock for one round over everything; who does not get it leaves the
round to whoever has it. So nobody has to notice that a holder died, and `ingest compact` gets its turn between two rounds.
Ended by cancelling, between two statements or in one: PostgreSQL rolls back.

An error of the database is logged once and answered with patience; upkeep never takes the service down.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from ingest.compaction.retention import RETENTION_PAUSE, ROUND_SECONDS, apply_rules
from ingest.compaction.worker import Progress, compact_all
from ingest.store.compaction import Compaction
from ingest.store.errors import StoreError
from ingest.telemetry import COMPACTION_ROUND, LOST_RUNS, REVIVED_RUNS

__all__ = ["upkeep"]

logger = logging.getLogger(__name__)

PAUSE: Final = 5.0
"""Seconds between two rounds over everything that waits. An idle round is a connection and a few short queries."""


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
    rules_at = time.monotonic() + RETENTION_PAUSE * random.uniform(0.1, 1.0)
    while True:
        try:
            async with Compaction.open(url) as compaction:
                if compaction is not None:
                    await _one_round(compaction, compacts=compacts, lost_after=lost_after)
                    if time.monotonic() > rules_at:
                        await _apply_rules(compaction)
                        rules_at = time.monotonic() + RETENTION_PAUSE
                    COMPACTION_ROUND.set_to_current_time()
                    is_well = True
        except StoreError as error:
            if is_well:
                logger.warning("upkeep waits for the database: %s", error)
            is_well = False
        except Exception:
            logger.exception("upkeep failed; trying again in %.0f seconds", PAUSE)
        await asyncio.sleep(PAUSE * random.uniform(0.8, 1.2))


async def _one_round(compaction: Compaction, *, compacts: bool, lost_after: float) -> None:
    looked_at = -math.inf

    async def look() -> None:
        nonlocal looked_at
        if time.monotonic() - looked_at > PAUSE:
            await _look_for_silence(compaction, lost_after)
            looked_at = time.monotonic()

    await look()
    await compaction.settle_attempts()
    if compacts:
        await compact_all(compaction, Progress(), rests=True, between=look)


async def _look_for_silence(compaction: Compaction, lost_after: float) -> None:
    lost, back = await compaction.look_for_silence(lost_after)
    LOST_RUNS.inc(len(lost))
    REVIVED_RUNS.inc(len(back))
    for run_id in lost:
        logger.info(
            "run %s is lost: none of its writers was heard of for %.0f seconds", run_id.hex, lost_after
        )


async def _apply_rules(compaction: Compaction) -> None:
    async for applied in apply_rules(compaction, seconds=ROUND_SECONDS):
        logger.info(
            "run %s of experiment %d: %s by its rule of retention%s",
            applied.run.run_id.hex,
            applied.run.experiment_id,
            "deleted" if applied.action == "delete" else "thinned",
            f", {applied.before} points to {applied.after}" if applied.before else "",
        )
