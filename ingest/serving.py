"""What one serving process does, whether it is the only one or a worker: listen, serve, drain; and how it ends.

`serve` puts this together with the database, `workers` with a parent that keeps several.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop
from aiohttp import web

from ingest.artifacts.errors import StoreMisconfigured
from ingest.compaction.upkeep import upkeep
from ingest.migrations import MigrationError
from ingest.postgres import PostgresError
from ingest.sealing import sealer
from ingest.services import NoToken, Services, open_services
from ingest.settings import Settings
from ingest.store.errors import StoreError
from ingest.web.app import create_app

logger = logging.getLogger(__name__)

BACKLOG = 1024
"""Connections that may wait to be accepted: a fleet that reconnects at once must not be refused."""
MAX_LINE_BYTES = 65_536
"""Of a request's first line. A view of the dashboard is in its address: 200 runs with a colour for each are 18 KB, more than aiohttp's 8 KB."""
KEEPALIVE_TIMEOUT = 75.0
"""Seconds; longer than the pause between two batches of a slow client, and than proxies' usual 60."""
SAME_SIGNAL = 1.0
"""Seconds in which a further signal counts as the same one: `timeout` and some supervisors send it to the process and
to its group."""
ANSWER_TIMEOUT = 5.0
"""Seconds for answers to be written once everything is committed."""


class CannotListen(Exception):
    """The address can't be bound."""


class StopSignal:
    """SIGTERM and SIGINT as an event; a second one, SAME_SIGNAL seconds later or more, exits at once."""

    def __init__(self) -> None:
        self.requested = asyncio.Event()
        self._signalled_at: float | None = None

    def install(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)

    def request(self) -> None:
        self.requested.set()

    def _on_signal(self, number: int) -> None:
        now = time.monotonic()
        if self._signalled_at is not None:
            if now - self._signalled_at < SAME_SIGNAL:
                return
            logger.warning("second signal: exiting at once")
            os._exit(128 + number)
        self._signalled_at = now
        logger.info("received %s, stopping", signal.Signals(number).name)
        self.requested.set()


def run(main: Coroutine[Any, Any, int]) -> int:
    """Run a process of the service on uvloop, turning what can go wrong into a log line and exit code 1."""
    code = 1
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            code = runner.run(main)
        except* (
            PostgresError,
            StoreError,
            StoreMisconfigured,
            MigrationError,
            NoToken,
            CannotListen,
        ) as group:
            for error in _leaves(group):
                logger.error("%s", error)  # noqa: TRY400  # foreseen: the message is enough
    return code


def _leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    leaves: list[BaseException] = []
    for error in group.exceptions:
        leaves += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return leaves


async def serve_requests(
    settings: Settings,
    database_url: str,
    listener: socket.socket,
    stop: StopSignal,
    announce: Callable[[], None],
) -> None:
    """Serve on an open socket until the signal, then drain. What one process of the service does."""
    async with (
        open_services(settings, database_url) as services,
        upkeep(database_url, compacts=settings.compaction, lost_after=settings.lost_after),
        sealer(database_url),
    ):
        runner = web.AppRunner(
            create_app(services),
            access_log=None,
            keepalive_timeout=KEEPALIVE_TIMEOUT,
            max_line_size=MAX_LINE_BYTES,
            shutdown_timeout=min(ANSWER_TIMEOUT, settings.drain_timeout),
        )
        await runner.setup()
        try:
            await web.SockSite(runner, listener, backlog=BACKLOG).start()
            announce()
            await stop.requested.wait()
            await _drain(services, runner, settings.drain_timeout)
        finally:
            await runner.cleanup()


async def _drain(services: Services, runner: web.AppRunner, timeout: float) -> None:
    """Close the port, refuse what is new, commit what was accepted."""
    for site in list(runner.sites):
        await site.stop()
    try:
        async with asyncio.timeout(timeout):
            await services.drain()
    except TimeoutError:
        logger.warning(
            "not everything was committed within %.0f seconds; clients will send the rest again", timeout
        )


def bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A bound TCP socket that does not listen yet.

    Args:
        host: A name or an address; `localhost` is 127.0.0.1.
        port: 0 for a free one.
        shared: Whether other sockets may bind the same port (SO_REUSEPORT).

    Raises:
        CannotListen: Names the address and the reason.
    """
    try:
        candidates = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise CannotListen(f"host: {host} is no address of this machine: {error.strerror}") from error
    family, kind, protocol, _, address = min(candidates, key=lambda entry: entry[0] != socket.AF_INET)
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise CannotListen(
            f"cannot listen on {host} port {port}: {error.strerror}; choose another --port"
        ) from error
    return listener


def url_of(listener: socket.socket) -> str:
    """The address for a client on this machine."""
    host, port = listener.getsockname()[:2]
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    return f"http://{address}:{port}" if address.version == 4 else f"http://[{address}]:{port}"
