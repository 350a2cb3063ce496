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
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import aiohttp
from yarl import URL

from ingest.artifacts.store import CHUNK_BYTES
from ingest.transfer.files_in import File
from ingest.transfer.source_errors import BadSource

__all__ = ["Answer", "RestServer"]

_TIMEOUT: Final = 120.0
"""Seconds for one answer."""
_OF_FILES: Final = aiohttp.ClientTimeout(total=None, sock_connect=30.0, sock_read=_TIMEOUT)
"""A file may take long, but not without a sign of life."""
_TRIES: Final = 4
_PROXIED: Final = "mlflow-artifacts:/"
_FILES: Final = "mlflow-artifacts/artifacts"

Version = tuple[str | None, str | None]
"""A file's ETag and when it was changed, if the server says so."""


class Answer(dict[str, Any]):
    """An object in an answer. A field that is asked for and is not there is an error that names it and the question."""

    __slots__ = ("_question",)

    def __init__(self, fields: dict[str, Any], question: str) -> None:
        super().__init__(fields)
        self._question = question

    def __missing__(self, name: str) -> Any:
        raise BadSource(
            f"{self._question} answers with an object that lacks {name!r}: {json.dumps(self, default=str)[:200]}; "
            "so answers no MLflow server that this release knows"
        )


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
    ) -> AsyncIterator[Answer]:
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
        """A file in pieces. One that breaks off is asked for again, from where it broke off if the server can do that."""
        given_bytes, version = 0, None
        for left in reversed(range(_TRIES)):
            try:
                async with self._opened(path, given_bytes) as answer:
                    version = _same_version(path, version, answer)
                    skip_bytes = 0 if answer.status == 206 else given_bytes
                    async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
                        piece, skip_bytes = chunk[skip_bytes:], max(0, skip_bytes - len(chunk))
                        given_bytes += len(piece)
                        yield piece
                return
            except (aiohttp.ClientError, TimeoutError) as error:
                refused = isinstance(error, aiohttp.ClientResponseError) and not _is_worth_another(
                    error.status
                )
                if refused or not left:
                    raise BadSource(
                        f"the file {path} of {self._url} can't be read: {type(error).__name__}: {error}"
                    ) from error
            await _pause(left)

    @asynccontextmanager
    async def _opened(self, path: str, begin: int) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer with the file, from `begin` on or whole."""
        url = URL(f"{self._url}{_FILES}/{quote(path)}", encoded=True)
        headers = {"Range": f"bytes={begin}-"} if begin else {}
        async with self._session.get(url, timeout=_OF_FILES, headers=headers) as answer:
            answer.raise_for_status()
            yield answer

    async def ask(
        self, method: str, path: str, question: dict[str, Any], *, may_lack: bool = False
    ) -> Answer:
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
            await _pause(left)
        raise AssertionError("unreachable")

    async def _ask_once(self, method: str, path: str, question: dict[str, Any], *, may_lack: bool) -> Answer:
        how: dict[str, Any] = {"params": question} if method == "GET" else {"json": question}
        async with self._session.request(method, self._url + path, **how) as answer:
            body = await answer.read()
            if answer.status == 404 and may_lack:
                return Answer({}, path)
            if _is_worth_another(answer.status):
                answer.raise_for_status()
            try:
                # Python's own also takes a bare NaN, as some servers send it.
                found = json.loads(body, object_hook=lambda fields: Answer(fields, self._url + path))
            except (ValueError, RecursionError) as error:
                raise BadSource(f"{self._url} is no MLflow server: {body[:100]!r}") from error
            if not isinstance(found, Answer):
                raise BadSource(f"{self._url}{path} answers with no object: {body[:100]!r}")
            if answer.status != 200:
                reason = found.get("message") or found.get("detail") or repr(body[:200])
                raise BadSource(f"{self._url}{path} answers {answer.status}: {reason}")
            return found


def _is_worth_another(status: int) -> bool:
    """Whether the same question may be answered another time."""
    return status >= 500 or status == 429


async def _pause(left: int) -> None:
    """Before another try, of which so many are left after it."""
    await asyncio.sleep(random.uniform(0.5, 1.5) * (_TRIES - left))


def _same_version(path: str, version: Version | None, answer: aiohttp.ClientResponse) -> Version:
    """What the answer says of the file's version, which must not change while it is read."""
    found = (answer.headers.get("ETag"), answer.headers.get("Last-Modified"))
    if version is not None and found != version:
        raise BadSource(f"the file {path} changed while it was read; start again")
    return found


def _authorization() -> dict[str, str]:
    token, user = os.environ.get("MLFLOW_TRACKING_TOKEN"), os.environ.get("MLFLOW_TRACKING_USERNAME")
    if token:
        return {"Authorization": f"Bearer {token}"}
    if user:
        pair = f"{user}:{os.environ.get('MLFLOW_TRACKING_PASSWORD', '')}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
    return {}
