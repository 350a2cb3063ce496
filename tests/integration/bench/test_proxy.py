"""The bad network itself: a chaos test is worth as much as the faults it makes."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ingest.bench.proxy import Action, Faults, ProxyThread


class Upstream(ThreadingHTTPServer):
    """Remembers the bodies it was sent, and answers with their number."""

    daemon_threads = True

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        super().__init__(("127.0.0.1", 0), Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection cut in the middle is what these tests are about."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Upstream

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if len(body) == int(self.headers["Content-Length"]):
            self.server.bodies.append(body)
        answer = str(len(self.server.bodies)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Silence."""


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


def post(port: int, body: bytes) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", "/", body)
        return connection.getresponse().read()
    finally:
        connection.close()


def proxy_that(action: Action, upstream: Upstream) -> ProxyThread:
    faults = Faults(weights={action: 1.0}, delay=(0.2, 0.2), stall=(0.2, 0.2), replay_after=(0.1, 0.1))
    return ProxyThread(("127.0.0.1", upstream.server_address[1]), faults=faults)


def test_a_clear_sky_passes_requests_on_one_connection(upstream: Upstream) -> None:
    with proxy_that("pass", upstream) as proxy:
        connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=60)
        answers = []
        for body in (b"a", b"b" * 300_000):
            connection.request("POST", "/", body)
            answers.append(connection.getresponse().read())
        connection.close()

    assert answers == [b"1", b"2"]
    assert upstream.bodies == [b"a", b"b" * 300_000]


def test_a_cut_after_the_request_delivers_it_and_hides_the_answer(upstream: Upstream) -> None:
    with proxy_that("cut_after", upstream) as proxy, pytest.raises((http.client.HTTPException, OSError)):
        post(proxy.port, b"delivered")

    assert upstream.bodies == [b"delivered"]


def test_a_cut_before_leaves_the_service_with_half_a_request(upstream: Upstream) -> None:
    with proxy_that("cut_before", upstream) as proxy, pytest.raises((http.client.HTTPException, OSError)):
        post(proxy.port, b"x" * 10_000)

    assert upstream.bodies == []


def test_a_repeat_delivers_twice_and_the_client_sees_the_second_answer(upstream: Upstream) -> None:
    with proxy_that("repeat", upstream) as proxy:
        assert post(proxy.port, b"twice") == b"2"

    assert upstream.bodies == [b"twice", b"twice"]


def test_a_replay_comes_later_over_another_connection(upstream: Upstream) -> None:
    with proxy_that("replay_later", upstream) as proxy:
        assert post(proxy.port, b"again") == b"1"
        proxy.drain_replays(timeout=10.0)
        assert proxy.seen == {"replay_later": 1, "replayed": 1}

    assert upstream.bodies == [b"again", b"again"]


@pytest.mark.parametrize("action", ["delay", "stall"])
def test_a_slow_line_is_slow(action: Action, upstream: Upstream) -> None:
    with proxy_that(action, upstream) as proxy:
        begin = time.monotonic()
        assert post(proxy.port, b"slow") == b"1"

    assert time.monotonic() - begin >= 0.2
