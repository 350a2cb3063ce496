"""POST /api/v1/batches: one batch in, one acknowledgement out, after COMMIT. Contract: `schema/wire.md`.

Three answers are final, and the client drops the batch: 413 batch_too_large, 422 batch_malformed and 422 batch_refused.
Every other error means that it keeps the batch and tries again.
"""

from __future__ import annotations

import asyncio
from typing import Final

import orjson
from aiohttp import web

from ingest.logs import attach
from ingest.store.errors import DatabaseUnavailable
from ingest.store.outcomes import Gap, Outcome, Refused, Rejection, Stored
from ingest.telemetry import REJECTS
from ingest.web.problems import Problem, retry_later
from ingest.web.routes import SERVICES, Route
from ingest.write.admission import QueueFull
from ingest.write.decompress import ENCODINGS, UnsupportedEncoding
from ingest_schema.errors import BatchMalformed, BatchTooLarge
from ingest_schema.wire import Batch

__all__ = ["ROUTES"]

BODY_TIMEOUT: Final = 60.0
"""Seconds to receive one body: 16 MiB at 280 kB/s. Meanwhile it holds its share of the queue."""


async def store_batch(request: web.Request) -> web.Response:
    """Store one batch of points and events, exactly once."""
    try:
        return await _store(request)
    except Problem as problem:
        REJECTS.labels(problem.code).inc()
        raise


async def _store(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    intake = services.intake
    if services.lifecycle.is_draining or intake.is_draining:
        raise retry_later("shutting_down", "The service is stopping; the batch was not stored.")
    if not intake.is_available:
        raise _unavailable()
    announced_bytes = request.content_length
    if announced_bytes is not None and announced_bytes > intake.max_body_bytes:
        raise _too_large(f"the body has {announced_bytes:,} bytes", intake.max_body_bytes)
    try:
        with intake.admit(announced_bytes) as ticket:
            body = await _read(request, intake.max_body_bytes)
            batch = await intake.decode(body, request.headers.get("Content-Encoding", ""), ticket)
            del body  # the batch may wait long; its body need not
            attach(run=batch.run_id.hex, writer=batch.writer_id.hex, batch=batch.seq)
            outcome = await intake.commit(batch, ticket)
    except QueueFull as error:
        raise Problem(429, "queue_full", str(error), headers={"Retry-After": "1"}) from error
    except UnsupportedEncoding as error:
        accepted = ", ".join(ENCODINGS)
        raise Problem(
            415, "unsupported_encoding", str(error), headers={"Accept-Encoding": accepted}
        ) from error
    except BatchTooLarge as error:
        raise _too_large(str(error), intake.max_body_bytes) from error
    except BatchMalformed as error:
        raise Problem(422, "batch_malformed", str(error), path=error.path) from error
    except DatabaseUnavailable as error:
        raise _unavailable() from error
    return _answer(batch, outcome)


async def _read(request: web.Request, limit_bytes: int) -> bytes:
    """The body, as sent. Not by request.read(), which would keep a copy as long as the request lives."""
    pieces: list[bytes] = []
    size_bytes = 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            while piece := await request.content.readany():
                size_bytes += len(piece)
                if size_bytes > limit_bytes:
                    raise _too_large("the body is larger than it may be", limit_bytes)
                pieces.append(piece)
    except TimeoutError as error:
        raise Problem(
            408, "request_timeout", f"The body did not arrive within {BODY_TIMEOUT:.0f} seconds.",
            headers={"Connection": "close"},
        ) from error  # fmt: skip
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _answer(batch: Batch, outcome: Outcome) -> web.Response:
    rejected: tuple[Rejection, ...] = ()
    match outcome:
        case Gap():
            raise Problem(
                409,
                "sequence_gap",
                f"Batch {batch.seq} of writer {batch.writer_id.hex} came; {outcome.expected_seq} is next.",
                hint="number the batches of a writer 1, 2, 3, …, and send each until it is acknowledged",
                expected_seq=outcome.expected_seq,
            )
        case Refused():
            raise Problem(422, "batch_refused", outcome.message, hint=outcome.hint)
        case Stored():
            rejected = outcome.rejected
    body = {
        "status": "stored" if isinstance(outcome, Stored) else "repeated",
        "seq": batch.seq,
        "points": outcome.points,
        "rejected": [
            {"kind": part.kind, "key": part.key, "reason": part.reason, "message": part.message}
            for part in rejected
        ],
    }
    return web.Response(body=orjson.dumps(body), content_type="application/json")


def _too_large(detail: str, limit_bytes: int) -> Problem:
    return Problem(
        413, "batch_too_large", f"{detail}; at most {limit_bytes:,} are taken", limit_bytes=limit_bytes
    )


def _unavailable() -> Problem:
    return retry_later(
        "database_unavailable", "The database can't be reached or can't write now; send the same batch again."
    )


ROUTES = (Route("POST", "/api/v1/batches", store_batch, access="write", body="application/msgpack"),)
