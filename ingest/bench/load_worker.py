"""One process of `ingest bench load`: some writers, each a thread with a connection, a run and one batch in flight.

Run as `python -m ingest.bench.load_worker`; takes its orders as one line of JSON on standard input, says "ready" when
the writers are set up, starts on the second line, and prints one line of JSON at the end. Latencies are far
too many for JSON and go to a file, as int64 nanoseconds.

HTTP is written by hand on a blocking socket, about 40 µs a request: a generator must not be the bottleneck.

Two latencies are kept for each batch: of the request that was answered 200, and from the moment the batch was due
(on a schedule) or first sent (flat out) until it was acknowledged, refusals and waiting in between included. With a
schedule a late batch counts as late, so nothing is hidden by a service that stops answering for a while.

Units: seconds; *_ns nanoseconds.
"""

from __future__ import annotations

import random
import re
import resource
import socket
import threading
import time
from array import array
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from ingest.bench.child import read_orders, say, wait_for_go
from ingest.bench.template import BatchTemplate

ANSWER_MAX_BYTES = 1 << 20
GIVE_UP = 60.0
"""For one batch, after the measurement's end: a service that takes nothing for so long has failed it."""
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_RETRY_AFTER = re.compile(rb"\r\nretry-after: *([0-9.]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What one process does; made by `load`, as JSON."""

    url: str
    token: str | None
    experiment: str
    writers: list[tuple[str, str, int]]
    """Run id, writer id and seed of each writer."""
    metrics: int
    chunk_points: int
    warmup: float
    duration: float
    interval: float | None
    """Between two batches of one writer; None: flat out."""
    latencies_path: str


@dataclass(slots=True)
class WriterResult:
    """What one writer did."""

    run_id: str
    seed: int
    acknowledged: int = 0
    """Batches, warm-up included."""
    measured: int = 0
    """Batches acknowledged between warm-up and end."""
    refused: dict[str, int] = field(default_factory=dict)
    """Answers other than 200, by status, and broken connections."""
    overdue: int = 0
    """Batches that were due before the end and never sent: with a real client they wait in its spool."""
    failure: str | None = None


class Connection:
    """One kept-alive HTTP/1.1 connection that posts batches."""

    def __init__(self, url: str, token: str | None) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "127.0.0.1", parts.port or 80)
        authorization = f"Authorization: Bearer {token}\r\n" if token else ""
        self._head = (
            f"POST {parts.path.rstrip('/')}/api/v1/batches HTTP/1.1\r\nHost: {parts.netloc}\r\n{authorization}"
            "Content-Type: application/msgpack\r\nContent-Length: "
        ).encode()
        self._socket: socket.socket | None = None

    def post(self, body: bytes | bytearray) -> tuple[int, bytes, float]:
        """Status, body and Retry-After (seconds) of the answer.

        Raises:
            OSError: The connection broke; the next call opens another.
        """
        try:
            return self._post(body)
        except OSError:
            self.close()
            raise

    def _post(self, body: bytes | bytearray) -> tuple[int, bytes, float]:
        if self._socket is None:
            self._socket = socket.create_connection(self._address, timeout=GIVE_UP)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = self._head + b"%d\r\n\r\n" % len(body)
        if len(body) < 65536:
            self._socket.sendall(head + body)
        else:
            self._socket.sendall(head)
            self._socket.sendall(body)
        return self._answer(self._socket)

    def _answer(self, connection: socket.socket) -> tuple[int, bytes, float]:
        raw = b""
        while (end := raw.find(b"\r\n\r\n")) < 0:
            part = connection.recv(65536)
            if not part or len(raw) > ANSWER_MAX_BYTES:
                raise ConnectionResetError("the connection was closed in the middle of an answer")
            raw += part
        head = raw[:end]
        found = _LENGTH.search(head)
        length = int(found[1]) if found else 0
        while len(raw) < end + 4 + length:
            part = connection.recv(65536)
            if not part:
                raise ConnectionResetError("the connection was closed in the middle of an answer")
            raw += part
        if b"\r\nconnection: close" in head.lower():
            self.close()
        retry = _RETRY_AFTER.search(head)
        return int(head[9:12]), raw[end + 4 : end + 4 + length], float(retry[1]) if retry else 0.0

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Writer:
    """One writer: keeps sending its next batch until the time is over, and every batch until it is acknowledged."""

    def __init__(self, orders: Orders, run_id: str, writer_id: str, seed: int) -> None:
        self.orders = orders
        self.result = WriterResult(run_id, seed)
        self.request_ns: array[int] = array("q")
        self.ack_ns: array[int] = array("q")
        self._dice = random.Random(seed)
        self._refused: Counter[str] = Counter()
        self._connection = Connection(orders.url, orders.token)
        self._template = BatchTemplate(
            UUID(run_id),
            UUID(writer_id),
            metrics=orders.metrics,
            chunk_points=orders.chunk_points,
            experiment=orders.experiment,
            seed=seed,
        )

    def run(self, start: float) -> None:
        """Send from `start` (monotonic) on; never raises, the result says what went wrong."""
        try:
            self._run(start)
        except Exception as error:  # noqa: BLE001  # a thread has nobody to raise to; the bench fails by .failure
            self.result.failure = f"{type(error).__name__}: {error}"
        finally:
            self._connection.close()
            self.result.refused = dict(self._refused)

    def _run(self, start: float) -> None:
        orders = self.orders
        measure_from = start + orders.warmup
        end = measure_from + orders.duration
        # Writers on a schedule are spread over the interval, so that they do not come as one wave.
        due = start + (self._dice.random() * orders.interval if orders.interval else 0.0)
        while True:
            now = time.monotonic()
            if orders.interval is not None and due > now:
                time.sleep(max(0.0, min(due, end) - now))
                now = time.monotonic()
            if now >= end:
                break
            began = due if orders.interval is not None else now
            request_ns = self._deliver(end)
            acknowledged = time.monotonic()
            self.result.acknowledged += 1
            if measure_from <= acknowledged <= end:
                self.result.measured += 1
                self.request_ns.append(request_ns)
                self.ack_ns.append(int((acknowledged - began) * 1e9))
            if orders.interval is not None:
                due += orders.interval
        if orders.interval is not None and due < end:
            self.result.overdue = int((end - due) / orders.interval) + 1

    def _deliver(self, end: float) -> int:
        """Send the next batch until it is acknowledged; nanoseconds of the request that was."""
        body = self._template.next(time.time_ns() // 1_000_000)
        delay = 0.05
        while True:
            began = time.perf_counter_ns()
            try:
                status, answer, retry_after = self._connection.post(body)
            except OSError as error:
                status, answer, retry_after = 0, str(error).encode(), 0.0
            if status == 200:
                return time.perf_counter_ns() - began
            self._refused[str(status or "connection")] += 1
            if status not in {0, 429, 500, 502, 503, 504}:
                raise RuntimeError(f"batch {self._template.seq} was refused: {status} {answer[:300]!r}")
            if time.monotonic() > end + GIVE_UP:
                raise RuntimeError(
                    f"batch {self._template.seq} was not taken within {GIVE_UP:.0f} s of the end: {status}"
                )
            time.sleep(max(retry_after, delay) * self._dice.uniform(1.0, 1.5))
            delay = min(delay * 2, 1.0)


def main() -> None:
    """Take orders, run the writers, print the result."""
    orders = Orders(**read_orders())
    writers = [Writer(orders, *names) for names in orders.writers]
    say("ready")
    if not wait_for_go():
        return
    start = time.monotonic()
    cpu_before = time.process_time()
    threads = [threading.Thread(target=writer.run, args=(start,)) for writer in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Path(orders.latencies_path).open("wb") as file:
        for column in ("request_ns", "ack_ns"):
            for writer in writers:
                getattr(writer, column).tofile(file)
    report: dict[str, Any] = {
        "writers": [asdict(writer.result) for writer in writers],
        "cpu": time.process_time() - cpu_before,
        "rss_peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    say(report)


if __name__ == "__main__":
    main()
