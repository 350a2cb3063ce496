"""Questions to a running MLflow server, page by page, each tried again while it does not answer. Nothing is written to it.

A token for it comes from MLFLOW_TRACKING_TOKEN, or user and password from MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, as
for its own client.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import aiohttp
from yarl import URL

from ingest.artifacts.store import CHUNK_BYTES
from ingest.transfer.files_in import File
from ingest.transfer.source_errors import BadSource

__all__ = ["RestServer"]

_TIMEOUT: Final = 120.0
"""Seconds for one answer."""
_OF_FILES: Final = aiohttp.ClientTimeout(total=None, sock_connect=30.0, sock_read=_TIMEOUT)
"""A file may take long, but not without a sign of life."""
_TRIES: Final = 4
_PROXIED: Final = "mlflow-artifacts:/"
_FILES: Final = "mlflow-artifacts/artifacts"


class RestServer(AbstractAsyncContextManager["RestServer"]):
    """A server at an address; connected for as long as the `async with` block."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/") + "/api/2.0/"

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            headers=_authorization(), timeout=aiohttp.ClientTimeout(total=_TIMEOUT)
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def pages(
        self, method: str, path: str, question: dict[str, Any], what: str, *, may_lack: bool = False
    ) -> AsyncIterator[dict[str, Any]]:
        """What all pages of a list have.

        Args:
            what: The list's name in the answers. may_lack: A server that knows no such question has none of it.
        """
        token: str | None = None
        while True:
            asked = {**question, **({"page_token": token} if token else {})}
            page = await self.ask(method, path, asked, may_lack=may_lack)
            for found in page.get(what, []):
                yield found
            token = page.get("next_page_token")
            if not token:
                return

    def hands_out(self, uri: str) -> bool:
        """Whether the server itself stores and hands out what lies at an artifact URI."""
        return uri.startswith(_PROXIED) and not uri.startswith(f"{_PROXIED}/")  # that of another server

    async def files(self, uri: str) -> AsyncIterator[File]:
        """The files at such a URI, directory after directory."""
        root = uri.removeprefix(_PROXIED).strip("/")
        waiting = [""]
        while waiting:
            directory = waiting.pop()
            listed = await self.ask("GET", _FILES, {"path": f"{root}/{directory}".rstrip("/")}, may_lack=True)
            for entry in listed.get("files", []):
                path = f"{directory}/{entry['path']}".lstrip("/")
                if entry.get("is_dir"):
                    waiting.append(path)
                else:
                    yield path, self._content(f"{root}/{path}")

    async def _content(self, path: str) -> AsyncIterator[bytes]:
        """A file in pieces."""
        url = URL(f"{self._url}{_FILES}/{quote(path)}", encoded=True)
        try:
            async with self._session.get(url, timeout=_OF_FILES) as answer:
                answer.raise_for_status()
                async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
                    yield chunk
        except (aiohttp.ClientError, TimeoutError) as error:
            raise BadSource(
                f"the file {path} of {self._url} can't be read: {type(error).__name__}: {error}"
            ) from error

    async def ask(
        self, method: str, path: str, question: dict[str, Any], *, may_lack: bool = False
    ) -> dict[str, Any]:
        """One answer."""
        for left in reversed(range(_TRIES)):
            try:
                return await self._ask_once(method, path, question, may_lack=may_lack)
            except (aiohttp.ClientError, TimeoutError) as error:
                if not left:
                    raise BadSource(
                        f"{self._url} does not answer: {type(error).__name__}: {error}; "
                        "start again when it does, what is here stays"
                    ) from error
            await asyncio.sleep(random.uniform(0.5, 1.5) * (_TRIES - left))
        raise AssertionError("unreachable")

    async def _ask_once(
        self, method: str, path: str, question: dict[str, Any], *, may_lack: bool
    ) -> dict[str, Any]:
        how: dict[str, Any] = {"params": question} if method == "GET" else {"json": question}
        async with self._session.request(method, self._url + path, **how) as answer:
            body = await answer.read()
            if answer.status == 404 and may_lack:
                return {}
            if answer.status >= 500 or answer.status == 429:
                answer.raise_for_status()
            try:
                document = json.loads(body)  # also takes a bare NaN, as some servers send it
            except ValueError as error:
                raise BadSource(f"{self._url} is no MLflow server: {body[:100]!r}") from error
            if answer.status != 200:
                reason = document.get("message") or document.get("detail") or repr(body[:200])
                raise BadSource(f"{self._url}{path} answers {answer.status}: {reason}")
            found: dict[str, Any] = document
            return found


def _authorization() -> dict[str, str]:
    token, user = os.environ.get("MLFLOW_TRACKING_TOKEN"), os.environ.get("MLFLOW_TRACKING_USERNAME")
    if token:
        return {"Authorization": f"Bearer {token}"}
    if user:
        pair = f"{user}:{os.environ.get('MLFLOW_TRACKING_PASSWORD', '')}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
    return {}
