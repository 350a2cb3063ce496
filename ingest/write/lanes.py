"""Lanes: tasks that commit batches in groups, each over a connection of its own.

A lane takes whatever waits, up to GROUP_MAX_BYTES, and commits it in one transaction; what arrives meanwhile is the next
group. So one batch alone is committed at once, and under load the cost of a COMMIT is shared by many. Runs are spread over
the lanes by id: batches of one writer keep their order, ranks of one run do not fight for rows, and while one lane waits
for PostgreSQL another builds its rows.

What happens to a batch:

    content refused    answered with the reason. If PostgreSQL only says that *something* in a group is bad, the group is
                       committed batch by batch, so that the guilty one never holds up another
    contention         tried again at once, a few times
    database gone      every batch that waits is answered with DatabaseUnavailable, and so is each new one, until the lane
                       has connected again (jittered back-off); nothing is kept in memory for a database that is away
    caller gone        committed all the same: the client will learn on its next try that it is a repeat

Life: `BatchWriter.run()` until cancelled; `drain()` waits for what was accepted.
Units: seconds, unless a name says bytes.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from ingest.store.commit import BatchRefused, commit_group
from ingest.store.connections import COMMIT_TIMEOUT
from ingest.store.errors import DATABASE_ERRORS, Contention, ContentRefused, DatabaseUnavailable, translated
from ingest.store.outcomes import Outcome, Refused
from ingest.store.posts import Post, PostOutcome
from ingest_schema.wire import Batch

__all__ = ["BatchWriter", "Observer"]

log = logging.getLogger(__name__)

Connect = Callable[[], Awaitable[Any]]

GROUP_MAX_BYTES: Final = 4 * 1024 * 1024
"""Decoded bytes of one group: about 170,000 points. More shares a COMMIT among more batches but gains nothing
measurable, and makes each of them wait longer."""
GROUP_MAX_BATCHES: Final = 1_000
"""Batches of one group: bounds the arrays that the claim sends."""
GATHER_ROUNDS: Final = 2
"""Of the event loop without a new batch before a group is closed: a request that was read in one is decoded in the next."""
CONTENTION_TRIES: Final = 5
BACKOFF_FIRST: Final = 0.1
BACKOFF_MOST: Final = 2.0


class Observer(Protocol):
    """Who counts. Called on the event loop, must not block."""

    def committed(self, batches: int, seconds: float) -> None:
        """A group was committed."""

    def retried(self, reason: str) -> None:
        """A group is tried again."""


@dataclass(slots=True, eq=False)
class _Waiting:
    work: Batch | Post
    size_bytes: int
    answer: asyncio.Future[Any]


class BatchWriter:
    """Commits batches. One for each process."""

    def __init__(self, connect: Connect, *, lanes: int, observer: Observer) -> None:
        self._lanes = [_Lane(f"lane {i}", connect, observer) for i in range(lanes)]

    @property
    def is_available(self) -> bool:
        """Whether some lane has a connection, or has not tried yet."""
        return any(lane.is_available for lane in self._lanes)

    @property
    def waiting_num(self) -> int:
        """Batches that wait or are being committed."""
        return sum(lane.load for lane in self._lanes)

    async def run(self) -> None:
        """Work until cancelled. What still waits then is answered with DatabaseUnavailable."""
        async with asyncio.TaskGroup() as tasks:
            for lane in self._lanes:
                tasks.create_task(lane.run(), name=f"ingest {lane.name}")

    async def commit(self, batch: Batch, size_bytes: int) -> Outcome:
        """Queue the batch and wait until its fate is known.

        Args:
            size_bytes: What it occupies; the caller bounds the sum over all batches (see `admission`).

        Raises:
            DatabaseUnavailable: It may or may not be stored; the same batch again will tell.
        """
        outcome: Outcome = await self._lane_of(batch).submit(batch, size_bytes)
        return outcome

    async def post(self, post: Post, size_bytes: int) -> PostOutcome:
        """The same for a post."""
        outcome: PostOutcome = await self._lane_of(post).submit(post, size_bytes)
        return outcome

    def _lane_of(self, work: Batch | Post) -> _Lane:
        return self._lanes[hash(work.run_id) % len(self._lanes)]

    async def drain(self) -> None:
        """Wait until nothing waits. Admit nothing meanwhile, and bring a time-out."""
        await asyncio.gather(*(lane.idle.wait() for lane in self._lanes))


class _Lane:
    def __init__(self, name: str, connect: Connect, observer: Observer) -> None:
        self.name = name
        self.idle = asyncio.Event()
        self.idle.set()
        self.is_available = True
        self._connect = connect
        self._observer = observer
        self._connection: Any = None
        self._queue: deque[_Waiting] = deque()
        self._busy_num = 0
        self._wake = asyncio.Event()

    @property
    def load(self) -> int:
        return len(self._queue) + self._busy_num

    async def submit(self, work: Batch | Post, size_bytes: int) -> Any:
        if not self.is_available:
            raise DatabaseUnavailable("the database is away")
        waiting = _Waiting(work, size_bytes, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self.idle.clear()
        self._wake.set()
        return await waiting.answer

    async def run(self) -> None:
        try:
            while True:
                if not self.is_available:
                    await self._reconnect()
                await self._wake.wait()
                await self._gather()
                group = self._take()
                if group:
                    self._busy_num = len(group)
                    await self._commit(group)
                    self._busy_num = 0
                if not self._queue:
                    self._wake.clear()
                    self.idle.set()
        finally:
            self._fail_all(DatabaseUnavailable("the service is stopping"))
            await self._disconnect()

    async def _gather(self) -> None:
        """Let requests that have arrived already be decoded and join: a COMMIT costs more than the microseconds that this takes."""
        rounds, known_num = 0, len(self._queue)
        while rounds < GATHER_ROUNDS and known_num < GROUP_MAX_BATCHES:
            await asyncio.sleep(0)
            rounds = 0 if len(self._queue) > known_num else rounds + 1
            known_num = len(self._queue)

    def _take(self) -> list[_Waiting]:
        group: list[_Waiting] = []
        room_bytes = GROUP_MAX_BYTES
        while self._queue and len(group) < GROUP_MAX_BATCHES:
            room_bytes -= self._queue[0].size_bytes
            if group and room_bytes < 0:
                break
            group.append(self._queue.popleft())
        return group

    async def _commit(self, group: list[_Waiting]) -> None:
        """Commit the group and answer each of its batches, whatever happens."""
        try:
            await self._commit_or_split(group)
        except asyncio.CancelledError:
            _fail(group, DatabaseUnavailable("the service is stopping"))
            raise
        except DatabaseUnavailable as error:
            log.warning("%s: the database is away: %s", self.name, error)
            self.is_available = False
            await self._disconnect()
            _fail(group, error)
            self._fail_all(error)
        except Exception as error:  # a bug of ours: its batches get a 500 each, the others go on
            log.exception("%s: a group of %d batches failed", self.name, len(group))
            _fail(group, error)

    async def _commit_or_split(self, group: list[_Waiting]) -> None:
        # Batches first, as commit_group counts them: a refused one is named by its place.
        group.sort(key=lambda waiting: isinstance(waiting.work, Post))
        while group:
            try:
                outcomes = await self._try_to_commit([waiting.work for waiting in group])
            except BatchRefused as refused:
                _answer(group.pop(refused.index), Refused(str(refused), refused.hint))
            except DatabaseUnavailable:
                raise
            except Exception as error:
                if len(group) > 1:
                    log.info("%s: committing %d batches one by one after: %s", self.name, len(group), error)
                    self._observer.retried("split")
                    for waiting in group:
                        await self._commit([waiting])
                elif isinstance(error, ContentRefused):
                    _answer(group[0], Refused(str(error)))
                else:
                    raise
                return
            else:
                for waiting, outcome in zip(group, outcomes, strict=True):
                    _answer(waiting, outcome)
                return

    async def _try_to_commit(self, group: Sequence[Batch | Post]) -> list[Outcome | PostOutcome]:
        """Commit batches and the posts after them, trying again after contention.

        Raises:
            ContentRefused: Something in it can't be stored.
            DatabaseUnavailable: It may or may not be stored.
        """
        batches = [work for work in group if isinstance(work, Batch)]
        posts = [work for work in group if isinstance(work, Post)]
        for attempt in range(1, CONTENTION_TRIES + 1):
            started = time.perf_counter()
            try:
                if self._connection is None or self._connection.is_closed():  # PostgreSQL was restarted
                    self._connection = await self._connect()
                async with asyncio.timeout(COMMIT_TIMEOUT):
                    outcomes, posted = await commit_group(self._connection, batches, posts)
            except DATABASE_ERRORS as error:
                known = translated(error)
                if not isinstance(known, Contention):
                    raise known from error
                if attempt == CONTENTION_TRIES:
                    raise DatabaseUnavailable(
                        f"lost {attempt} times against other transactions: {error}"
                    ) from error
                self._observer.retried("contention")
                await asyncio.sleep(random.uniform(0, 0.02 * 2**attempt))
            else:
                self._observer.committed(len(group), time.perf_counter() - started)
                return [*outcomes, *posted]
        raise AssertionError("unreachable")

    async def _reconnect(self) -> None:
        """Go on trying until there is a connection. Only then is anything accepted again."""
        pause = BACKOFF_FIRST
        while True:
            await asyncio.sleep(random.uniform(0.5, 1) * pause)
            try:
                self._connection = await self._connect()
            except DATABASE_ERRORS as error:
                log.debug("%s: still no database: %s", self.name, error)
                pause = min(2 * pause, BACKOFF_MOST)
            else:
                log.info("%s: connected again", self.name)
                self.is_available = True
                return

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    def _fail_all(self, error: Exception) -> None:
        _fail(list(self._queue), error)
        self._queue.clear()
        self.idle.set()


def _answer(waiting: _Waiting, outcome: Outcome | PostOutcome) -> None:
    if not waiting.answer.done():  # the caller may have gone
        waiting.answer.set_result(outcome)


def _fail(group: Sequence[_Waiting], error: Exception) -> None:
    for waiting in group:
        if not waiting.answer.done():
            waiting.answer.set_exception(error)
