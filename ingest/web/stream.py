"""GET /api/v1/stream: what is new for a set of runs, as server-sent events (WHATWG HTML, "Server-sent events").

    id: <cursor>
    event: news
    data: {"runs":[{"run_id":…,"status":…,"points":…,"heartbeat_ms":…,"series":{"loss":{"n":…,"step":…,"value":…}}}]}

The first event tells where everything stands, unless a cursor (`Last-Event-ID`, as browsers send it by themselves, or `cursor=`)
says what is known already. A comment line every HEARTBEAT seconds keeps proxies from closing an idle stream: that is all that
idle runs cost. A reader that does not take an event within WRITE_TIMEOUT is disconnected and goes on from its cursor.

Who may read is asked again every RECHECK seconds: a stream does not outlive its token or session, as no other request does.
"""

from __future__ import annotations

import asyncio
from typing import Final
from uuid import UUID

import orjson
from aiohttp import web

from ingest.auth import Forbidden, Unauthenticated
from ingest.live.hub import TooManyWatchers, Watcher
from ingest.live.watch import Watch
from ingest.store.errors import StoreError
from ingest.web import sessions
from ingest.web.problems import Problem
from ingest.web.routes import SERVICES, Query, Route
from ingest_schema.ids import parse_id

__all__ = ["ROUTES"]

MAX_RUNS: Final = 200
MAX_KEYS: Final = 1_000
HEARTBEAT: Final = 15.0
"""Seconds; proxies close after 30 or 60."""
WRITE_TIMEOUT: Final = 10.0
"""Seconds that a reader may leave an event in our buffers."""
RECHECK: Final = 3.0
"""Seconds between two looks at the token or session behind a stream. Tokens are remembered as long (`ingest.auth`); a session
costs one look-up by key, 170 a second where as many streams are open as may be."""
LIFETIME: Final = 3600.0
"""Seconds after which a stream ends and the reader comes back, maybe to another service."""


async def stream(request: web.Request) -> web.StreamResponse:
    """What is new for a set of runs, as server-sent events; goes on from a cursor."""
    hub = request.app[SERVICES].hub
    watch = _watch(request)
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",  # nginx would hold events back
        }
    )
    try:
        with hub.watching(watch) as watcher:
            await response.prepare(request)
            await _write(response, b"retry: 2000\n\n")
            await _tell_for_ever(request, response, watcher, hub.is_closing)
    except TooManyWatchers as error:
        raise Problem(429, "too_many_streams", f"{error}.", headers={"Retry-After": "10"}) from error
    except (ConnectionError, TimeoutError):
        if request.transport is not None:
            request.transport.abort()  # it does not read: a polite end would wait for it
    return response


async def _tell_for_ever(
    request: web.Request, response: web.StreamResponse, watcher: Watcher, is_closing: asyncio.Event
) -> None:
    """Tell news, and now and then that we are alive, until the service ends, the hour is over, or the reader may read no more."""
    clock = asyncio.get_running_loop().time
    end = clock() + LIFETIME
    check_at, beat_at = clock() + RECHECK, clock() + HEARTBEAT
    while not is_closing.is_set() and clock() < end:
        if clock() >= check_at:
            if not await _may_read(request):
                return
            check_at = clock() + RECHECK
        if await watcher.news(max(0.0, min(check_at, beat_at) - clock())):
            await _tell(response, watcher)
        elif clock() >= beat_at:
            await _write(response, b": alive\n\n")
        else:
            continue
        beat_at = clock() + HEARTBEAT


async def _may_read(request: web.Request) -> bool:
    """Whether the token or session that opened this stream still stands."""
    authenticator = request.app[SERVICES].authenticator
    try:
        await authenticator.check(
            request.headers.get("Authorization"), "read", session=sessions.of_request(request)
        )
    except (Unauthenticated, Forbidden):
        return False
    except StoreError:
        pass  # the database is away: there is no news either, and whether the token stands is asked when it is back
    return True


async def _tell(response: web.StreamResponse, watcher: Watcher) -> None:
    news = orjson.dumps(watcher.watch.tell())
    await _write(response, b"id: %s\nevent: news\ndata: %s\n\n" % (watcher.watch.cursor.encode(), news))


async def _write(response: web.StreamResponse, event: bytes) -> None:
    async with asyncio.timeout(WRITE_TIMEOUT):
        await response.write(event)


def _watch(request: web.Request) -> Watch:
    run_ids = [_run_id(text) for text in request.query.getall("run", [])]
    keys = request.query.getall("key", [])
    if not 0 < len(run_ids) <= MAX_RUNS:
        raise Problem(400, "bad_request", f"run must be given 1 to {MAX_RUNS} times, not {len(run_ids)}.")
    if len(keys) > MAX_KEYS:
        raise Problem(400, "bad_request", f"key may be given {MAX_KEYS:,} times, not {len(keys):,}.")
    return Watch.since(run_ids, keys, request.headers.get("Last-Event-ID") or request.query.get("cursor"))


def _run_id(text: str) -> UUID:
    try:
        return parse_id(text)
    except ValueError as error:
        raise Problem(400, "bad_request", f"run: {error}.") from error


ROUTES = (
    Route(
        "GET",
        "/api/v1/stream",
        stream,
        access="read",
        answer="text/event-stream",
        query=(
            Query("run", f"A run to watch; may be repeated, up to {MAX_RUNS} times."),
            Query("key", f"A metric to tell about; may be repeated, up to {MAX_KEYS:,} times."),
            Query(
                "cursor", "The id of the last event that was seen; the header Last-Event-ID goes before it."
            ),
        ),
    ),
)
