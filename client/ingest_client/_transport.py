"""HTTP to the service: one kept-alive connection, bearer token, TLS. The only module that opens a socket.

Errors of the network come back as a `Retry` outcome; nothing is raised for them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from ingest_client._descriptors import is_short, note_shortage
from ingest_client._imports import not_while_forking
from ingest_client._protocol import Outcome, Retry, outcome_of

if TYPE_CHECKING:
    import http.client

__all__ = ["Body", "Response", "Transport", "is_loopback", "retry_of"]

USER_AGENT: Final = "ingest/0.1.0"
_MAX_ANSWER_BYTES: Final = 1024 * 1024
_PIECE_BYTES: Final = 256 * 1024
_COMPRESS_FROM_BYTES: Final = 2048
_COMPRESSION_LEVEL: Final = 1  # steps and times shrink tenfold at any level; more only costs

Response = tuple[int, Mapping[str, str], bytes]
Body = bytes | Callable[[], Iterator[bytes]] | None
"""A function makes the pieces of a body that is not held in memory, anew for each attempt; Content-Length comes with the headers."""


class Transport:
    """A connection to one service, made when first used and again after any failure. Used by one thread at a time."""

    def __init__(
        self,
        tracking_uri: str,
        *,
        token: str | None = None,
        ca_file: str | None = None,
        connect_timeout: float = 5.0,
        answer_timeout: float = 30.0,
        compress: bool | None = None,
    ) -> None:
        """Remember how to connect.

        Args:
            tracking_uri: Address of the service; a path in it goes before /api.
            token, ca_file: As in `Settings`.
            connect_timeout: Seconds for the connection.
            answer_timeout: Seconds between two bytes of the answer; the service commits before it answers.
            compress: Whether bodies are compressed with zstd where that is available; by default off loopback only.
        """
        parts = urlsplit(tracking_uri)
        self._secure = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._secure else 80)
        self._prefix = parts.path.rstrip("/")
        self._token = token
        self._ca_file = ca_file
        self._connect_timeout = connect_timeout
        self._answer_timeout = answer_timeout
        self._connection: http.client.HTTPConnection | None = None
        self._zstd = _zstd() if (not is_loopback(self._host) if compress is None else compress) else None

    def post_batch(self, body: bytes, seq: int) -> Outcome:
        """Send one batch and say what became of it."""
        headers = {"Content-Type": "application/msgpack"}
        if self._zstd is not None and len(body) >= _COMPRESS_FROM_BYTES:
            body = self._zstd.compress(body, _COMPRESSION_LEVEL)
            headers["Content-Encoding"] = "zstd"
        try:
            status, answer_headers, answer = self.request("POST", "/api/v1/batches", body, headers)
        except Exception as error:  # noqa: BLE001 - http.client, ssl and socket raise dozens; all mean: try again
            return retry_of(error, self.address)
        outcome = outcome_of(status, answer_headers, answer, seq)
        if status == 415 and headers.get("Content-Encoding"):
            self._zstd = None  # an old service or a proxy does not speak zstd: plain from now on
        return outcome

    def request(
        self, method: str, path: str, body: Body = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """One request and its whole answer, up to a bound.

        A connection that the service closed while it was idle is opened once more. Raises whatever
        http.client, ssl and socket raise.
        """
        sent = self._headers(headers)
        client = _http_client()
        for is_reused in (self._connection is not None, False):
            try:
                return self._exchange(method, self._prefix + path, body, sent)
            except (client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                self.close()
                if not is_reused:
                    raise
            except BaseException as error:
                note_shortage(error)
                self.close()
                raise
        raise AssertionError("unreachable")

    def stream(
        self, path: str, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], Generator[bytes]]:
        """GET something large over a connection of its own: status, headers, and the body in pieces.

        Raises whatever http.client, ssl and socket raise, also while the pieces are taken.
        """
        connection = self._open()
        try:
            connection.request("GET", self._prefix + path, headers=self._headers(headers))
            answer = connection.getresponse()
        except BaseException:
            connection.close()
            raise

        def pieces() -> Generator[bytes]:
            try:
                while piece := answer.read(_PIECE_BYTES):
                    yield piece
            finally:
                connection.close()

        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, pieces()

    def _headers(self, headers: Mapping[str, str] | None) -> dict[str, str]:
        sent = {"User-Agent": USER_AGENT, "Accept": "application/json", **(headers or {})}
        if self._token:
            sent["Authorization"] = f"Bearer {self._token}"
        return sent

    def _exchange(self, method: str, path: str, body: Body, headers: dict[str, str]) -> Response:
        connection = self._connection or self._connect()
        if callable(body):
            try:
                connection.request(method, path, body=body(), headers=headers)
            except (BrokenPipeError, ConnectionResetError) as error:
                # A service that refuses a body before it has read it answers and closes: its answer may be there.
                try:
                    answer = connection.getresponse()
                except Exception:  # noqa: BLE001 - no answer: the first error is the one that counts
                    raise error from None
            else:
                answer = connection.getresponse()
        else:
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
        data = answer.read(_MAX_ANSWER_BYTES) if method == "POST" else answer.read()
        if answer.will_close or not answer.isclosed() or is_short():
            self.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, data

    def _connect(self) -> http.client.HTTPConnection:
        self._connection = self._open()
        return self._connection

    def _open(self) -> http.client.HTTPConnection:
        import socket

        client = _http_client()
        connection: http.client.HTTPConnection
        if self._secure:
            import ssl

            context = ssl.create_default_context(cafile=self._ca_file)
            connection = client.HTTPSConnection(
                self._host, self._port, timeout=self._connect_timeout, context=context
            )
        else:
            connection = client.HTTPConnection(self._host, self._port, timeout=self._connect_timeout)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sock.settimeout(self._answer_timeout)
        return connection

    @property
    def address(self) -> str:
        """What is connected to, for messages."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._secure else 'http'}://{host}:{self._port}{self._prefix}"

    def close(self) -> None:
        """Drop the connection; the next request opens one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _http_client() -> ModuleType:
    """http.client, imported when it is first used."""
    with not_while_forking:
        import http.client

        "".encode("idna")  # the codec of host names: socket would look for it with the first connection
        return http.client


def retry_of(error: Exception, address: str) -> Retry:
    """What an error of the network means: try again."""
    if isinstance(error, ConnectionRefusedError):
        return Retry("connection_refused", f"nobody listens at {address}: {error}", unreachable=True)
    if isinstance(error, TimeoutError):
        return Retry("timeout", f"{address} did not answer in time: {error}")
    name = type(error).__name__
    return Retry(name, f"{address}: {name}: {error}", unreachable=name == "gaierror")


def is_loopback(host: str) -> bool:
    """Whether the host is this machine, so that compression only costs."""
    return host in {"localhost", "::1"} or host.startswith("127.")


def _zstd() -> Any:
    """The zstd module of Python 3.14 or its backport; None if there is none."""
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError:
        return None
    return zstd
