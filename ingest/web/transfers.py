"""Files on their way through HTTP: a request's body as a stream, a file as an answer. Memory stays constant both ways.

Either end may go away at any time. A body that stops early raises, so that nothing of it is kept; an answer that can't be
finished breaks the connection, so that nobody takes a part for the whole. Units: seconds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Final

import aiohttp
from aiohttp import web

from ingest.artifacts.errors import ArtifactError
from ingest.artifacts.library import Artifacts
from ingest.artifacts.paths import name_of
from ingest.artifacts.store import Entry, Reader
from ingest.telemetry import ARTIFACT_BYTES
from ingest.web.conditions import Verdict, http_date, judge
from ingest.web.content import content_headers, frame_headers
from ingest.web.problems import Problem

__all__ = ["answer_file", "body_of", "send"]

logger = logging.getLogger(__name__)

BODY_PAUSE: Final = 60.0
"""The longest pause within a body: below, a slow line; beyond, nobody is there."""
WRITE_PAUSE: Final = 60.0
"""The longest time that a reader may leave a piece in our buffers."""


_SENT: Final = ARTIFACT_BYTES.labels("out")


async def body_of(request: web.Request) -> AsyncIterator[bytes]:
    """The body of a request, piece by piece; all of it, or an error."""
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding != "identity":
        raise Problem(
            415, "unsupported_encoding", f"Content-Encoding: {encoding[:40]} is not undone here; files are stored as they come.",
            hint="send the file itself; log an archive under its own name",
        )  # fmt: skip
    while True:
        try:
            async with asyncio.timeout(BODY_PAUSE):
                piece = await request.content.readany()
        except TimeoutError as error:
            raise Problem(
                408, "request_timeout", f"Nothing of the body arrived for {BODY_PAUSE:.0f} seconds; nothing was kept.",
                headers={"Connection": "close"},
            ) from error  # fmt: skip
        except (
            aiohttp.ClientPayloadError,
            aiohttp.http_exceptions.HttpProcessingError,
            ConnectionError,
        ) as error:
            raise Problem(
                400, "body_incomplete", "The body ended early; nothing was kept.", headers={"Connection": "close"}
            ) from error  # fmt: skip
        if not piece:
            return
        yield piece


async def answer_file(
    request: web.Request, artifacts: Artifacts, path: str, *, may_show: bool, is_framed: bool = False
) -> web.StreamResponse:
    """The file as an answer, whole or a range of it, or that it has not changed.

    Args:
        path: In the store, checked.
        may_show: As in `content_headers`.
        is_framed: A page, to be shown in a frame of the dashboard.

    Raises:
        ArtifactUnknown, IsDirectory: There is no file.
    """
    async with artifacts.downloading.place(), artifacts.store.open(path) as reader:
        entry = reader.entry
        verdict = judge(
            request.headers, etag=entry.etag, modified_ms=entry.modified_ms, size_bytes=entry.size_bytes
        )
        headers = {
            "Last-Modified": http_date(entry.modified_ms),
            "Accept-Ranges": "bytes",
        }
        if entry.etag:
            headers["ETag"] = f'"{entry.etag}"'
        if verdict.status == 412:
            raise Problem(412, "precondition_failed", "The file is another one than If-Match names.")
        if verdict.status == 416:
            raise Problem(
                416, "range_not_satisfiable", f"The file has {entry.size_bytes:,} bytes; the range begins beyond.",
                headers={"Content-Range": f"bytes */{entry.size_bytes}"},
            )  # fmt: skip
        if verdict.status == 304:
            return web.Response(status=304, headers={**headers, "Cache-Control": "private, no-cache"})
        headers |= frame_headers() if is_framed else content_headers(name_of(path), may_show=may_show)
        return await _answer_bytes(request, reader, entry, verdict, headers)


async def _answer_bytes(
    request: web.Request, reader: Reader, entry: Entry, verdict: Verdict, headers: dict[str, str]
) -> web.StreamResponse:
    response = web.StreamResponse(status=verdict.status, headers=headers)
    response.content_length = verdict.stop - verdict.start
    if verdict.status == 206:
        response.headers["Content-Range"] = f"bytes {verdict.start}-{verdict.stop - 1}/{entry.size_bytes}"
    pieces = reader.chunks(verdict.start, verdict.stop)
    if request.method == "HEAD":
        await response.prepare(request)
        return response
    return await send(request, response, pieces)


async def send(
    request: web.Request, response: web.StreamResponse, pieces: AsyncIterator[bytes]
) -> web.StreamResponse:
    """Answer with these bytes; the first piece is there before the status is sent, so that a store that fails is told."""
    first = await anext(pieces, b"")
    await response.prepare(request)
    try:
        await _write(response, first)
        async for piece in pieces:
            await _write(response, piece)
        async with asyncio.timeout(WRITE_PAUSE):
            await response.write_eof()
    except (ArtifactError, ConnectionError, TimeoutError) as error:
        logger.warning(
            "%s %s was broken off: %s", request.method, request.path, str(error) or type(error).__name__
        )
        if request.transport is not None:
            request.transport.abort()  # a polite end would make a part look whole
    except BaseException:
        if request.transport is not None:
            request.transport.abort()
        raise
    return response


async def _write(response: web.StreamResponse, piece: bytes) -> None:
    if piece:
        async with asyncio.timeout(WRITE_PAUSE):
            await response.write(piece)
        _SENT.inc(len(piece))
