"""Asking the service: requests whose answer the caller waits for. Here trouble is raised, never swallowed.

What this process has logged to a run and not yet delivered is waited for first, so that a script reads what it has written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from uuid import UUID

from ingest_client import _lifetime
from ingest_client._fluent import get_tracking_uri
from ingest_client._protocol import hint_for, json_object
from ingest_client._settings import Settings
from ingest_client._transport import Transport
from ingest_client.errors import NotFound, ReadFailed

__all__ = ["Reading", "deliver_own", "reading"]

_ANSWER_TIMEOUT: Final = 60.0
"""Seconds for one page."""
_OWN_TIMEOUT: Final = 30.0
"""Seconds that a read waits for what this process has still to deliver."""


class Reading:
    """Reads from one service over one connection. Not for several threads at once."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def json(self, method: str, url: str, question: Any = None) -> dict[str, Any]:
        """The answer, a JSON object.

        Raises:
            NotFound: There is no such thing.
            ReadFailed: The service can't be reached, or refuses.
        """
        body = None if question is None else json.dumps(question).encode()
        return json_object(self.raw(method, url, body))

    def msgpack(self, url: str) -> dict[str, Any]:
        """The answer to a GET, a msgpack map. Raises as `json` does."""
        import msgpack

        answer = self.raw("GET", url, accept="application/msgpack")
        try:
            page = msgpack.unpackb(answer)
        except ValueError as error:
            raise ReadFailed(
                f"{self._transport.address} sent no msgpack: is it an ingest service?"
            ) from error
        return page if isinstance(page, dict) else {}

    def raw(
        self, method: str, url: str, body: bytes | None = None, *, accept: str = "application/json"
    ) -> bytes:
        """The answer's body. Raises as `json` does."""
        headers = {"Accept": accept, **({"Content-Type": "application/json"} if body is not None else {})}
        try:
            status, _, answer = self._transport.request(method, url, body, headers)
        except Exception as error:  # of the network: sockets, ssl and http.client have dozens
            raise ReadFailed(
                f"{self._transport.address} does not answer: {type(error).__name__}: {error}"
            ) from error
        if status != 200:
            raise _refusal(status, answer)
        return answer


@contextmanager
def reading(uri: str | None = None) -> Iterator[Reading]:
    """A connection to the service that runs go to, or to another, for as long as the block."""
    settings = Settings.read(tracking_uri=uri or get_tracking_uri())
    transport = Transport(
        settings.tracking_uri,
        token=settings.token,
        ca_file=settings.ca_file,
        answer_timeout=_ANSWER_TIMEOUT,
    )
    try:
        yield Reading(transport)
    finally:
        transport.close()


def deliver_own(run_id: UUID) -> None:
    """Wait a bounded time for what this process has logged to the run."""
    for run in _lifetime.live_runs():
        if run.id == run_id:
            run.flush(_OWN_TIMEOUT)


def _refusal(status: int, body: bytes) -> ReadFailed:
    document = json_object(body)
    message = str(document.get("detail") or document.get("message") or f"the service answered {status}")[:500]
    if status == 404:
        return NotFound(message)
    hint = hint_for(status)
    return ReadFailed(f"{message} ({hint})" if hint else message)
