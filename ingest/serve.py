"""`ingest serve`: starts the database, the application and the workers in order, and stops them in reverse.

One process by default: it supervises the bundled PostgreSQL and serves requests. With `--workers N` the process that was
started keeps PostgreSQL and N others (`workers`), all listening on the one port.

Stopping: SIGTERM or SIGINT closes the port, refuses new batches, waits until the accepted ones are committed and their
answers sent, closes the database, and exits 0; `drain_timeout` bounds that. A second signal, a second
later or more, exits at once, which loses nothing that was acknowledged.

Exit codes: 0 stopped as asked; 1 could not start, or could not go on; the log says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from ingest.database import own_database
from ingest.logs import configure
from ingest.services import check_database
from ingest.serving import StopSignal, bind, run, serve_requests, url_of
from ingest.settings import Settings
from ingest.spool_intake import SpoolIntake
from ingest.workers import WorkerGroup

logger = logging.getLogger(__name__)


def serve(settings: Settings) -> int:
    """Run the service until it is told to stop; returns the exit code."""
    configure(settings)
    return run(_serve(settings))


async def _serve(settings: Settings) -> int:
    stop = StopSignal()
    stop.install()
    # Bound before anything is started, so that a port in use costs no time; listening comes last.
    with bind(settings.host, settings.port, shared=settings.workers > 1) as listener:
        has_database = asyncio.Event()
        serving = asyncio.create_task(_serve_with_database(settings, listener, stop, has_database))
        stopped = asyncio.create_task(stop.requested.wait())
        try:
            await asyncio.wait((serving, stopped), return_when=asyncio.FIRST_COMPLETED)
            if not has_database.is_set() and settings.database_url is not None:
                # It may wait for a minute for a server that is away. Starting the bundled one is short, and better
                # not broken off in the middle.
                serving.cancel()
            return await serving
        except asyncio.CancelledError:
            return 0
        finally:
            stopped.cancel()


async def _serve_with_database(
    settings: Settings, listener: socket.socket, stop: StopSignal, has_database: asyncio.Event
) -> int:
    async with own_database(settings) as database:
        has_database.set()
        if stop.requested.is_set():
            return 0
        await check_database(settings, database.url)
        is_serving = asyncio.Event()
        announce = _announcer(settings, listener, is_serving)
        intake = SpoolIntake(settings, database.url, url_of(listener))
        taking_in = asyncio.create_task(
            _take_in(intake, is_serving) if settings.spool_intake else asyncio.sleep(0)
        )
        if settings.workers > 1:
            work: Coroutine[Any, Any, None] = WorkerGroup(settings, database.url, listener).run(
                stop, announce
            )
        else:
            work = serve_requests(settings, database.url, listener, stop, announce)
        serving = asyncio.create_task(work)
        stopped = asyncio.create_task(stop.requested.wait())
        await asyncio.wait((serving, database.failure, stopped), return_when=asyncio.FIRST_COMPLETED)
        for task in (taking_in, stopped):
            task.cancel()
        if database.failure.done():
            stop.request()
        await serving
        await asyncio.wait((taking_in, stopped))
        if database.failure.done():
            database.failure.result()
    if settings.ready_file is not None:
        settings.ready_file.unlink(missing_ok=True)
    return 0


async def _take_in(intake: SpoolIntake, is_serving: asyncio.Event) -> None:
    await is_serving.wait()
    await intake.run()


def _announcer(settings: Settings, listener: socket.socket, is_serving: asyncio.Event) -> Callable[[], None]:
    def announce() -> None:
        url = url_of(listener)
        is_serving.set()
        logger.info("listening on %s", url)
        with contextlib.suppress(OSError):  # nobody may be reading our standard output any more
            print(f"listening on {url}", flush=True)  # noqa: T201  # the line that a caller waits for
        if settings.ready_file is not None:
            _write_whole(settings.ready_file, url + "\n")

    return announce


def _write_whole(path: Path, text: str) -> None:
    """Write a file that a waiting reader sees complete or not at all."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(path)
