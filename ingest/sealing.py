"""The sealer of `ingest serve`: puts runs at rest into the segments of searches, in the background.

Life: every few seconds each process looks for something to seal; an advisory lock lets one of them seal at a time, and a
process that finds it taken comes again later. Ended by cancelling; PostgreSQL rolls back what was under way.

Without it searches stay right and get slower: runs that are not sealed are read row by row.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from ingest.store.connect import connect
from ingest.store.errors import DATABASE_ERRORS
from ingest.store.sealing import Sealing, count_unsealed, seal_some
from ingest.telemetry import SEALED_RUNS, UNSEALED_RUNS

__all__ = ["sealer"]

logger = logging.getLogger(__name__)

PAUSE: Final = 10.0
"""Seconds between two looks. An idle look is a connection and one short query over an index."""


@asynccontextmanager
async def sealer(url: str, sealing: Sealing | None = None) -> AsyncIterator[None]:
    """Seal in the background for as long as the block."""
    task = asyncio.create_task(_keep_sealing(url, sealing or Sealing()), name="sealer")
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _keep_sealing(url: str, sealing: Sealing) -> None:
    is_well = True
    while True:
        await asyncio.sleep(PAUSE * random.uniform(0.8, 1.2))
        try:
            await _seal_all(url, sealing)
            is_well = True
        except DATABASE_ERRORS as error:
            if is_well:
                logger.warning("sealing waits for the database: %s", error)
            is_well = False
        except Exception:
            logger.exception("sealing failed; trying again in %.0f seconds", PAUSE)


async def _seal_all(url: str, sealing: Sealing) -> None:
    async with connect(url, purpose="sealer") as connection:
        while True:
            started = time.perf_counter()
            sealed = await seal_some(connection, sealing)
            SEALED_RUNS.inc(sealed)
            if not sealed:
                UNSEALED_RUNS.set(await count_unsealed(connection))
                return
            await asyncio.sleep(time.perf_counter() - started)  # at most half of one core
