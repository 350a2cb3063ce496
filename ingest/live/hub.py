"""Asks the database what is new, once a second for all watchers of this process together, and wakes those it concerns.

Life: `open` starts one task, which sleeps while nobody watches. Several processes need no word of each other: each asks
the database, where all batches end. If the database is away, watchers wait; when it is back they are told what they missed.

Bounds: MAX_WATCHERS a process; what waits for a watcher is at most one state for each of its runs and metrics.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final, Self
from uuid import UUID

from ingest.live.watch import Watch
from ingest.store.errors import StoreError
from ingest.store.news import News, RunState, SeriesState
from ingest.telemetry import WATCHERS

__all__ = ["Hub", "TooManyWatchers", "Watcher"]

logger = logging.getLogger(__name__)

MAX_WATCHERS: Final = 500
"""Streams of one process: each holds a connection and the states of its runs."""
MAX_SERIES: Final = 50_000
"""Metrics that one look reads."""
INTERVAL: Final = 0.7
"""Seconds between two looks: with a client's second until it sends, every point is seen within two (bench/dashboard.py)."""


class TooManyWatchers(Exception):
    """MAX_WATCHERS streams are open."""


@dataclass(slots=True, eq=False)
class Watcher:
    """A watch, and the bell that rings when it has news."""

    watch: Watch
    bell: asyncio.Event = field(default_factory=asyncio.Event)

    async def news(self, timeout: float) -> bool:
        """Wait for news; False after `timeout` seconds without."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.bell.wait(), timeout)
        self.bell.clear()
        return self.watch.has_news


class Hub:
    """The watchers of one process. `open` makes one."""

    def __init__(self, news: News, *, interval: float = INTERVAL) -> None:
        self._news = news
        self._interval = interval
        self._watchers: set[Watcher] = set()
        self._somebody = asyncio.Event()
        self._newcomer = asyncio.Event()
        self.is_closing = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, *, interval: float = INTERVAL) -> AsyncIterator[Self]:
        async with News.open(url) as news:
            hub = cls(news, interval=interval)
            task = asyncio.create_task(hub._look_for_ever(), name="live")
            try:
                yield hub
            finally:
                hub.close()
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    def close(self) -> None:
        """Let all streams end, so that the process can."""
        self.is_closing.set()
        for watcher in self._watchers:
            watcher.bell.set()

    @contextmanager
    def watching(self, watch: Watch) -> Iterator[Watcher]:
        """Watch for as long as the block.

        Raises:
            TooManyWatchers: There is no room for one more.
        """
        if len(self._watchers) >= MAX_WATCHERS:
            raise TooManyWatchers(f"{MAX_WATCHERS} streams are open")
        watcher = Watcher(watch)
        self._watchers.add(watcher)
        self._somebody.set()
        self._newcomer.set()
        WATCHERS.inc()
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)
            WATCHERS.dec()
            if not self._watchers:
                self._somebody.clear()

    async def _look_for_ever(self) -> None:
        is_well = True
        while True:
            await self._somebody.wait()
            self._newcomer.clear()
            try:
                await self._look()
                is_well = True
            except StoreError as error:
                if is_well:
                    logger.warning("the live stream waits for the database: %s", error)
                is_well = False
            with contextlib.suppress(TimeoutError):  # who comes now is told now
                await asyncio.wait_for(self._newcomer.wait(), self._interval)

    async def _look(self) -> None:
        watchers = tuple(self._watchers)
        run_ids = {run_id for watcher in watchers for run_id in watcher.watch.run_ids}
        runs = {run.run_id: run for run in await self._news.runs(list(run_ids))}
        concerned = [
            (
                watcher,
                [runs[r] for r in watcher.watch.run_ids if r in runs and watcher.watch.is_news(runs[r])],
            )
            for watcher in watchers
        ]
        series = await self._series(concerned)
        for watcher, changed in concerned:
            for run in changed:
                watcher.watch.see(run, series.get(run.run_id, ()))
            if watcher.watch.has_news:
                watcher.bell.set()

    async def _series(
        self, concerned: Sequence[tuple[Watcher, list[RunState]]]
    ) -> dict[UUID, list[SeriesState]]:
        """Where the metrics stand that anybody watches of the runs that changed."""
        changed = {run.run_id for _, runs in concerned for run in runs}
        keys = {key for watcher, runs in concerned if runs for key in watcher.watch.keys}
        found: dict[UUID, list[SeriesState]] = {}
        for one in await self._news.series(list(changed), list(keys), limit=MAX_SERIES):
            found.setdefault(one.run_id, []).append(one)
        return found
