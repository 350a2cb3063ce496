"""A stand-in for the service, on a real socket: it keeps the contract of POST /api/v1/batches and can misbehave on demand.

For tests of the client only: it needs no database, so a test may start many and let them fail in ways in which the real
service is hard to bring to fail. It decodes every batch strictly, and stores each (writer, seq) once.
"""

from __future__ import annotations

import http.server
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from ingest_schema.errors import BatchMalformed, BatchTooLarge
from ingest_schema.events import Event
from ingest_schema.wire import Batch, decode_batch
from tests.integration.client.artifact_stub import ArtifactStore

Point = tuple[str, int, int, float]
Answer = tuple[int, dict[str, Any], dict[str, str]]
Misbehave = Callable[["Stub", Batch], Answer | str | None]
"""Returns an answer to give instead; "cut" to close the line without one, "cut_after" to store and close, "hang" to say
nothing until the stub stops; or None to behave."""


class Stub:
    """What it has stored, and how it behaves. Use `running_stub`."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.requests: list[Batch] = []
        self.headers: list[dict[str, str]] = []
        self.artifacts = ArtifactStore()
        self.artifacts.is_known = self.knows_run
        self.last_seq: dict[UUID, int] = {}
        self.misbehave: Misbehave | None = None
        self.delay = 0.0
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.url = ""

    def points(self, run_id: UUID | None = None) -> list[Point]:
        """All points stored, in the order of storing."""
        with self.lock:
            return [p for b in self.batches if run_id in {None, b.run_id} for p in b.points()]

    def events(self, run_id: UUID | None = None) -> list[Event]:
        with self.lock:
            return [e for b in self.batches if run_id in {None, b.run_id} for e in b.events]

    def kinds(self, run_id: UUID | None = None) -> list[str]:
        """Kinds of all events but heartbeats."""
        return [event.kind for event in self.events(run_id) if event.kind != "heartbeat"]

    def knows_run(self, run: str) -> bool:
        """Whether a start of the run was stored."""
        return any(event.kind == "run_start" for event in self.events(UUID(run)))

    def take(self, batch: Batch) -> Answer:
        """Store the batch as the service would."""
        with self.lock:
            last = self.last_seq.get(batch.writer_id, 0)
            if batch.seq > last + 1:
                return problem(409, "sequence_gap", expected_seq=last + 1)
            repeated = batch.seq <= last
            if not repeated:
                self.last_seq[batch.writer_id] = batch.seq
                self.batches.append(batch)
            status = "repeated" if repeated else "stored"
            return 200, {"status": status, "seq": batch.seq, "points": batch.point_count, "rejected": []}, {}


def problem(status: int, code: str, **extra: Any) -> Answer:
    """An error as the service words it."""
    retry = {"Retry-After": str(extra.pop("retry_after"))} if "retry_after" in extra else {}
    return status, {"type": "about:blank", "title": code, "status": status, "code": code, **extra}, retry


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    stub: Stub

    def do_POST(self) -> None:
        stub = self.stub
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path.startswith("/api/v1/runs/"):
            return self.serve_artifacts(body)
        if self.headers.get("content-encoding") == "zstd":
            from backports import zstd

            body = zstd.decompress(body)
        try:
            batch = decode_batch(body)
        except BatchMalformed as error:
            return self.answer(problem(422, "batch_malformed", path=error.path, detail=str(error)))
        except BatchTooLarge as error:
            return self.answer(problem(413, "batch_too_large", limit_bytes=error.limit))
        with stub.lock:
            stub.requests.append(batch)
            stub.headers.append({k.lower(): v for k, v in self.headers.items()})
        time.sleep(stub.delay)
        verdict = stub.misbehave(stub, batch) if stub.misbehave else None
        if isinstance(verdict, tuple):
            return self.answer(verdict)
        if verdict == "hang":
            stub.stopping.wait(30)
        elif verdict == "garbage":
            self.wfile.write(b"\x00\xff not HTTP at all \r\n\r\n" * 10)
        elif verdict == "cut_after":
            stub.take(batch)
        elif verdict is None:
            return self.answer(stub.take(batch))
        self.close_connection = True
        return None

    def do_PUT(self) -> None:
        length = int(self.headers["content-length"])
        body = self.rfile.read(length)
        if len(body) == length:  # else the client died in the middle
            self.serve_artifacts(body)

    def do_DELETE(self) -> None:
        self.serve_artifacts(b"")

    def do_GET(self) -> None:
        self.serve_artifacts(b"")

    def serve_artifacts(self, body: bytes) -> None:
        if not self.path.startswith("/api/v1/runs/"):
            return self.answer(problem(404, "not_found"))
        reply = self.stub.artifacts.handle(self.command, self.path, self.headers, body)
        if isinstance(reply, str):
            self.close_connection = True
        elif isinstance(reply, bytes):
            self.answer((200, {}, {}), reply)
        else:
            self.answer(reply)
        return None

    def answer(self, answer: Answer, content: bytes | None = None) -> None:
        status, document, headers = answer
        data = json.dumps(document).encode() if content is None else content
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128  # of 5, others wait a second until they try again

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed in the middle of a request is what these tests are about."""


@contextmanager
def running_stub(
    port: int = 0, stub: Stub | None = None, tls: ssl.SSLContext | None = None
) -> Iterator[Stub]:
    """A stub that listens on 127.0.0.1; give a former one to go on with what it has stored."""
    stub = stub or Stub()
    stub.stopping.clear()
    handler = type("Handler", (_Handler,), {"stub": stub})
    server = _Server(("127.0.0.1", port), handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    stub.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        stub.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


def quickest(call: Callable[[], object], times: int = 3) -> float:
    """Seconds of the quickest of some calls: what the code takes, without what other work on the machine adds to one of them."""
    took = []
    for _ in range(times):
        began = time.monotonic()
        call()
        took.append(time.monotonic() - began)
    return min(took)


def wait_until(condition: Callable[[], object], timeout: float = 30.0) -> None:
    """Wait until the condition is true.

    Raises:
        AssertionError: Not within `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"still not true after {timeout} s"
        time.sleep(0.01)
