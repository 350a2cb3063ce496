"""How commands talk to a running service: over HTTP, as anybody does. Standard library only, one request at a time."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from typing import Annotated, Any
from urllib.parse import urlencode, urlsplit

import orjson
import typer

from ingest.cli.common import EXIT_USAGE, fail

__all__ = ["Service", "Url"]

DEFAULT_URL = "http://127.0.0.1:5000"
EXTRA_SECONDS = 10.0
"""What a request may take beyond the time that the service gives the question."""

Url = Annotated[
    str | None,
    typer.Option(help=f"The service. Otherwise INGEST_TRACKING_URI, MLFLOW_TRACKING_URI, or {DEFAULT_URL}."),
]


class Service:
    """A service at a URL; the token comes from INGEST_TOKEN. Errors end the command with one line."""

    def __init__(self, url: str | None) -> None:
        environ = os.environ
        found = url or environ.get("INGEST_TRACKING_URI") or environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URL
        if urlsplit(found).scheme not in {"http", "https"}:
            fail(f"{found} is no http or https URL", code=EXIT_USAGE)
        self._url = found.rstrip("/")
        self._token = environ.get("INGEST_TOKEN")

    def get(self, path: str, *, timeout: float = 30.0, **query: object) -> Any:
        """The answer to a GET; parameters that are None are left out."""
        given = {name: value for name, value in query.items() if value is not None}
        return self._ask(path + (f"?{urlencode(given)}" if given else ""), None, timeout)

    def post(self, path: str, body: object, *, timeout: float = 30.0) -> Any:
        """The answer to a POST of JSON."""
        return self._ask(path, orjson.dumps(body), timeout)

    def _ask(self, path: str, body: bytes | None, timeout: float) -> Any:
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        request = urllib.request.Request(self._url + path, data=body, headers=headers)  # noqa: S310  # http(s), see __init__
        try:
            with urllib.request.urlopen(request, timeout=timeout + EXTRA_SECONDS) as response:  # noqa: S310  # same
                return orjson.loads(response.read())
        except urllib.error.HTTPError as error:
            fail(_explained(error))
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            fail(
                f"no service at {self._url}: {getattr(error, 'reason', error)}; start one with: ingest serve"
            )
        except orjson.JSONDecodeError:
            fail(f"{self._url} is no ingest service: its answer is not JSON")


def _explained(error: urllib.error.HTTPError) -> str:
    try:
        problem = orjson.loads(error.read())
        hint = f" ({problem['hint']})" if problem.get("hint") else ""
        return f"{problem['detail']}{hint}"
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return f"the service answered {error.code} {error.reason}"
