"""The service's HTTP interface for the benches: blocking, small, on the standard library.

One Api is one kept-alive connection and belongs to one thread. Not the client library: a bench that shared the
client's code could not catch its mistakes.
"""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit
from uuid import UUID

from ingest.bench import BenchError


class ApiError(BenchError):
    """The service did not answer, or not with 2xx; .status is None where there was no answer."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Rows:
    """The answer to one SQL statement."""

    columns: tuple[str, ...]
    rows: list[list[Any]]

    @property
    def scalar(self) -> Any:
        return self.rows[0][0]


class Api:
    """One connection to one service."""

    def __init__(self, url: str, *, token: str | None = None, timeout: float = 60.0) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise BenchError(f"{url!r} is no URL of a service: http://host:port is expected")
        self.url = url.rstrip("/")
        self.host, self.port, self.path = parts.hostname, parts.port, parts.path.rstrip("/")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(self.host, self.port, timeout=timeout)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def request(
        self, method: str, path: str, body: bytes | None = None, content_type: str = ""
    ) -> tuple[int, bytes]:
        """Status and body of one answer.

        Raises:
            ApiError: No answer; the connection is closed and the next call opens another.
        """
        headers = dict(self._headers)
        if body is not None:
            headers["Content-Type"] = content_type
        try:
            self._connection.request(method, self.path + path, body, headers)
            answer = self._connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise ApiError(f"{method} {self.url}{path}: {str(error) or type(error).__name__}") from error

    def get(self, path: str) -> Any:
        return self._json("GET", path)

    def sql(self, statement: str, *, timeout: float | None = None) -> Rows:
        """The rows of one statement, all of them: a truncated answer is an error."""
        question: dict[str, Any] = {"sql": statement}
        if timeout is not None:
            question["timeout"] = timeout
        answer = self._json("POST", "/api/v1/sql", json.dumps(question).encode())
        if answer["truncated"]:
            raise ApiError(f"the answer was cut after {answer['row_count']} rows: {statement}")
        return Rows(tuple(column["name"] for column in answer["columns"]), answer["rows"])

    def is_ready(self) -> bool:
        """Whether the service has its database and takes batches."""
        try:
            return self.request("GET", "/readyz")[0] == 200
        except ApiError:
            return False

    def wait_ready(self, timeout: float) -> None:
        """Wait until it is ready.

        Raises:
            ApiError: It was not within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while not self.is_ready():
            if time.monotonic() > deadline:
                raise ApiError(f"{self.url} was not ready within {timeout:.0f} s")
            time.sleep(0.05)

    def _json(self, method: str, path: str, body: bytes | None = None) -> Any:
        status, raw = self.request(method, path, body, "application/json")
        if not 200 <= status < 300:
            raise ApiError(
                f"{method} {self.url}{path}: {status} {raw[:500].decode('utf-8', 'replace')}", status
            )
        return json.loads(raw)


def sql_id(run_id: UUID) -> str:
    """The id as an SQL literal; hexadecimal digits only, so nothing can be injected."""
    return f"'{run_id.hex}'::uuid"
