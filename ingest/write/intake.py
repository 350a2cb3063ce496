"""From a request's bytes to a committed batch: admission, decompression, decoding, the lanes; counts on the way.

One Intake for each process. The HTTP edge (`ingest.web.batches`) asks it for a ticket before it reads the body, hands it
the body, and gets the outcome after COMMIT. MLflow's routes hand it posts, which have no number (`ingest.store.posts`).

The law of points: received = stored + repeated + refused (`ingest.telemetry`). A batch answered with an error that is
worth retrying was not received: it is still the client's.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Final, Self

from ingest.settings import LimitSettings
from ingest.store.connections import connect_writer
from ingest.store.outcomes import Gap, Outcome, Repeated, Stored
from ingest.store.posts import Post, PostOutcome
from ingest.telemetry import (
    BATCHES,
    COMMIT_BATCHES,
    COMMIT_SECONDS,
    DECODED_BYTES,
    LAG_SECONDS,
    POINTS,
    QUEUE_BATCHES,
    QUEUE_BYTES,
    RECEIVED_BYTES,
)
from ingest.write.admission import Admission, Ticket, cost_of
from ingest.write.decompress import decompress
from ingest.write.lanes import BatchWriter
from ingest_schema.errors import BatchTooLarge
from ingest_schema.wire import Batch, decode_batch

__all__ = ["Intake"]

log = logging.getLogger(__name__)

_DECODERS: Final = 2
"""Bodies that are decompressed at a time: each may take limit bytes beyond its ticket, until it is counted."""
_THREAD_MIN_BYTES: Final = 32 * 1024
"""From this size on a body is decompressed in a thread; below, the switch costs more than the work."""
_LANES_MOST: Final = 2
"""More lanes than two add nothing: one builds rows while another waits for PostgreSQL, and each holds a group in memory."""


class _Telemetry:
    """Counts what the lanes do."""

    def committed(self, batches: int, seconds: float) -> None:
        COMMIT_SECONDS.observe(seconds)
        COMMIT_BATCHES.observe(batches)

    def retried(self, reason: str) -> None:
        log.debug("a group is committed again: %s", reason)


def _show_queue(used_bytes: int, tickets_num: int) -> None:
    QUEUE_BYTES.set(used_bytes)
    QUEUE_BATCHES.set(tickets_num)


class Intake:
    """Takes batches in. `open` makes one."""

    def __init__(self, writer: BatchWriter, limits: LimitSettings) -> None:
        self._writer = writer
        self._admission = Admission(limits.queue_max_bytes, on_change=_show_queue)
        self._decoders = asyncio.Semaphore(_DECODERS)
        self.max_body_bytes = limits.max_body_bytes
        self.is_draining = False

    @classmethod
    @asynccontextmanager
    async def open(cls, limits: LimitSettings, database_url: str) -> AsyncIterator[Self]:
        """An intake whose lanes run as long as the block; they connect when the first batch comes."""
        writer = BatchWriter(
            lambda: connect_writer(database_url),
            lanes=min(limits.writer_connections, _LANES_MOST),
            observer=_Telemetry(),
        )
        running = asyncio.create_task(writer.run(), name="ingest lanes")
        try:
            yield cls(writer, limits)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    @property
    def is_available(self) -> bool:
        """Whether the database was there the last time that anybody looked."""
        return self._writer.is_available

    @property
    def used_bytes(self) -> int:
        """Bytes of the batches between admission and COMMIT."""
        return self._admission.used_bytes

    def admit(self, announced_bytes: int | None) -> AbstractContextManager[Ticket]:
        """Room for one request, for the time of the block; all that is allowed if it does not say how much.

        Raises:
            QueueFull: There is none now.
        """
        return self._admission.admit(self.max_body_bytes if announced_bytes is None else announced_bytes)

    async def decode(self, body: bytes, encoding: str, ticket: Ticket) -> Batch:
        """The batch in a request's body.

        Raises:
            UnsupportedEncoding, BatchMalformed, BatchTooLarge: It is none.
            QueueFull: Decompressed it is more than there is room for now.
        """
        RECEIVED_BYTES.inc(len(body))
        limit_bytes = self.max_body_bytes
        if encoding:
            async with self._decoders:
                if len(body) < _THREAD_MIN_BYTES:
                    body = decompress(body, encoding, limit_bytes=limit_bytes)
                else:
                    body = await asyncio.to_thread(decompress, body, encoding, limit_bytes=limit_bytes)
        if len(body) > limit_bytes:
            raise BatchTooLarge("bytes", len(body), limit_bytes)
        DECODED_BYTES.inc(len(body))
        batch = decode_batch(body)
        ticket.resize(cost_of(len(body), batch.point_count))
        return batch

    async def commit(self, batch: Batch, ticket: Ticket) -> Outcome:
        """The batch's fate, once it is known.

        Raises:
            DatabaseUnavailable: It may or may not be stored; the same batch again will tell.
        """
        outcome = await self._writer.commit(batch, ticket.size_bytes)
        _count(batch, outcome)
        return outcome

    async def post(self, post: Post) -> PostOutcome:
        """The post's fate, once it is known.

        Raises:
            QueueFull: There is no room for it now.
            DatabaseUnavailable: It may or may not be stored; the same post again does no harm.
        """
        with self._admission.admit(post.size_bytes) as ticket:
            outcome = await self._writer.post(post, ticket.size_bytes)
        _count_post(post, outcome)
        return outcome

    async def drain(self) -> None:
        """Wait until every admitted batch has its answer. Admit nothing meanwhile, and bring a time-out."""
        self.is_draining = True
        await self._admission.idle.wait()


def _count(batch: Batch, outcome: Outcome) -> None:
    label = "refused"
    match outcome:
        case Stored():
            label = "stored"
            LAG_SECONDS.observe(max(0.0, time.time() - batch.sent_ms / 1000))
        case Repeated():
            label = "repeated"
        case Gap():
            label = "gap"
    BATCHES.labels(label).inc()
    if label != "gap":
        POINTS.labels(label).inc(batch.point_count)


def _count_post(post: Post, outcome: PostOutcome) -> None:
    """Points of a post that were there already count as repeated, as those of a repeated batch do."""
    if isinstance(outcome, Stored):
        POINTS.labels("stored").inc(outcome.points)
        POINTS.labels("repeated").inc(post.point_count - outcome.points)
    else:
        POINTS.labels("refused").inc(post.point_count)
