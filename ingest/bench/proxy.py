"""A bad network between clients and service: a TCP proxy that knows HTTP/1.1 just well enough to be nasty at the right byte.

For each request a `Faults` draws what happens to it:

    pass             forwarded, answered
    delay            forwarded after a pause: the slow server
    cut_before       the connection is cut in the middle of the request; the service sees half a body
    cut_after        the request is delivered in full, its answer is thrown away and the connection is cut
    stall            delivered, then silence for a while, then the answer: longer or shorter than the client's patience
    repeat           delivered twice in a row, the second answer is thrown away
    replay_later     delivered, and delivered again some seconds later over another connection, out of order

Life: `with ProxyThread(...)` runs it on an event loop of its own; `set_faults` changes the weather at any time.
Units: seconds, bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

T = TypeVar("T")
Action = Literal["pass", "delay", "cut_before", "cut_after", "stall", "repeat", "replay_later"]
MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 64 * 1024 * 1024
IDLE_TIMEOUT = 120.0
CONNECT_TIMEOUT = 5.0
REPLAYS_MAX = 64
"""Recorded requests waiting to be replayed; beyond it a request is passed. Bounds memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """The weather: relative weights of what happens to a request, and how long pauses are."""

    weights: dict[Action, float] = field(default_factory=lambda: {"pass": 1.0})
    delay: tuple[float, float] = (0.3, 0.3)
    """Shortest and longest pause of `delay`."""
    stall: tuple[float, float] = (0.5, 3.0)
    replay_after: tuple[float, float] = (0.5, 4.0)

    def draw(self, dice: random.Random) -> Action:
        return dice.choices(list(self.weights), list(self.weights.values()))[0]


CLEAR = Faults()
STORM = Faults(
    weights={
        "pass": 10.0,
        "delay": 1.0,
        "cut_before": 1.5,
        "cut_after": 2.0,
        "stall": 0.5,
        "repeat": 1.5,
        "replay_later": 1.5,
    }
)


@dataclass(frozen=True, slots=True)
class _Message:
    """One HTTP message as it came."""

    head: bytes
    body: bytes

    @property
    def raw(self) -> bytes:
        return self.head + self.body


class FaultProxy:
    """The proxy itself, on the running event loop.

    Args:
        target: Gives host and port of the service, asked for each connection.
        seed: Of the dice, so that a bad day can be had again.
    """

    def __init__(self, target: tuple[str, int], *, faults: Faults = CLEAR, seed: int = 0) -> None:
        self.target = target
        self.faults = faults
        self.seen: Counter[str] = Counter()
        """What was done, by action; `unreachable` counts requests that found no service."""
        self._dice = random.Random(seed)
        self._tasks: set[asyncio.Task[None]] = set()
        self._replays: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port."""
        self._server = await asyncio.start_server(self._accepted, host, port, limit=MAX_HEAD_BYTES)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        tasks = [*self._tasks, *self._replays]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def drain_replays(self, timeout: float) -> None:
        """Wait until every recorded request has been replayed."""
        if self._replays:
            await asyncio.wait(set(self._replays), timeout=timeout)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # start_server runs its callback as a task
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, _CutError):
            pass
        finally:
            self._tasks.discard(task)
            _abort(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection, one after the other."""
        upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        try:
            while True:
                async with asyncio.timeout(IDLE_TIMEOUT):
                    request = await _read_message(reader, continue_to=writer)
                if upstream is None:
                    upstream = await self._connect()
                action = self.faults.draw(self._dice)
                self.seen[action] += 1
                answer = await self._deliver(action, request, upstream)
                writer.write(answer.raw)
                await writer.drain()
                if _closes(answer.head) or _closes(request.head):
                    return
        finally:
            if upstream is not None:
                _abort(upstream[1])

    async def _deliver(
        self, action: Action, request: _Message, upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    ) -> _Message:
        faults, dice = self.faults, self._dice
        if action == "cut_before":
            upstream[1].write(request.raw[: dice.randrange(1, max(2, len(request.raw)))])
            await upstream[1].drain()
            raise _CutError
        if action == "delay":
            await asyncio.sleep(dice.uniform(*faults.delay))
        answer = await _exchange(request, upstream)
        if action == "cut_after":
            raise _CutError
        if action == "stall":
            await asyncio.sleep(dice.uniform(*faults.stall))
        elif action == "repeat":
            return await _exchange(request, upstream)
        elif action == "replay_later" and len(self._replays) < REPLAYS_MAX:
            task = asyncio.create_task(self._replay(request, dice.uniform(*faults.replay_after)))
            self._replays.add(task)
            task.add_done_callback(self._replays.discard)
        return answer

    async def _replay(self, request: _Message, delay: float) -> None:
        await asyncio.sleep(delay)
        with contextlib.suppress(
            OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, _CutError
        ):
            upstream = await self._connect()
            try:
                await _exchange(request, upstream)
                self.seen["replayed"] += 1
            finally:
                _abort(upstream[1])

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                return await asyncio.open_connection(*self.target, limit=MAX_HEAD_BYTES)
        except (OSError, TimeoutError):
            self.seen["unreachable"] += 1
            raise


class _CutError(Exception):
    """This connection ends here."""


async def _exchange(
    request: _Message, upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter]
) -> _Message:
    upstream[1].write(request.raw)
    await upstream[1].drain()
    async with asyncio.timeout(IDLE_TIMEOUT):
        return await _read_message(upstream[0])


async def _read_message(
    reader: asyncio.StreamReader, continue_to: asyncio.StreamWriter | None = None
) -> _Message:
    """One request or answer, whole. Bodies by Content-Length or chunked; RFC 9112, sections 6 and 7."""
    head = await reader.readuntil(b"\r\n\r\n")
    if continue_to is not None and b"\r\nexpect: 100-continue" in head.lower():
        continue_to.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    elif head.startswith(b"HTTP/1.1 100"):
        return await _read_message(reader)
    if _header(head, b"transfer-encoding") == b"chunked":
        return _Message(head, await _read_chunked(reader))
    length = int(_header(head, b"content-length") or b"0")
    if length > MAX_BODY_BYTES:
        raise _CutError
    return _Message(head, await reader.readexactly(length))


async def _read_chunked(reader: asyncio.StreamReader) -> bytes:
    """The chunks as they are, framing included: they are passed on, not looked into."""
    raw = bytearray()
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        raw += line + await reader.readexactly(size + 2)
        if size == 0:
            return bytes(raw)
        if len(raw) > MAX_BODY_BYTES:
            raise _CutError


def _header(head: bytes, name: bytes) -> bytes | None:
    for line in head.split(b"\r\n")[1:]:
        field_name, _, value = line.partition(b":")
        if field_name.lower() == name:
            return value.strip().lower()
    return None


def _closes(head: bytes) -> bool:
    return _header(head, b"connection") == b"close"


def _abort(writer: asyncio.StreamWriter) -> None:
    """Drop the connection now: what was not sent yet is not sent."""
    transport = writer.transport
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()


class ProxyThread:
    """A FaultProxy on an event loop in a thread, for callers without one."""

    def __init__(
        self, target: tuple[str, int], *, port: int = 0, faults: Faults = CLEAR, seed: int = 0
    ) -> None:
        self._proxy = FaultProxy(target, faults=faults, seed=seed)
        self._wanted_port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = self._call(lambda: self._proxy.start("127.0.0.1", self._wanted_port))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._call(self._proxy.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10.0)
        self._loop.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def seen(self) -> dict[str, int]:
        return dict(self._proxy.seen)

    def set_faults(self, faults: Faults) -> None:
        self._proxy.faults = faults

    def drain_replays(self, timeout: float) -> None:
        self._call(lambda: self._proxy.drain_replays(timeout), timeout=timeout + 5.0)

    def _call(self, function: Callable[[], Coroutine[Any, Any, T]], timeout: float = 30.0) -> T:
        return asyncio.run_coroutine_threadsafe(function(), self._loop).result(timeout)
