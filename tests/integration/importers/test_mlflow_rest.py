"""A server that is imported from, as it may be on a bad day: answers that lack fields, files that break off, and how that ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from ingest.transfer import mlflow_rest
from ingest.transfer.from_mlflow_rest import RestStore
from ingest.transfer.mlflow_rest import RestServer
from ingest.transfer.mlflow_source import SourceExperiment
from ingest.transfer.source_errors import BadSource

CONTENT = bytes(range(256)) * 4_000
FILE = "/api/2.0/mlflow-artifacts/artifacts/1/run/artifacts/a.bin"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(routes: dict[str, Handler]) -> AsyncIterator[str]:
    app = web.Application()
    for path, handler in routes.items():
        app.router.add_route("*", path, handler)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_pause(left: int) -> None:
        del left

    monkeypatch.setattr(mlflow_rest, "_pause", no_pause)


class BrokenFile:
    """A file of which each answer but the last of `answers` breaks off after so many bytes."""

    def __init__(self, *breaks: int, has_ranges: bool = True, tags: tuple[str, ...] = ('"1"',)) -> None:
        self.breaks = list(breaks)
        self.has_ranges = has_ranges
        self.tags = list(tags)
        self.ranges: list[str | None] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        asked = request.headers.get("Range")
        self.ranges.append(asked)
        begin = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.has_ranges else 0
        tag = self.tags.pop(0) if len(self.tags) > 1 else self.tags[0]
        response = web.StreamResponse(status=206 if begin else 200, headers={"ETag": tag})
        rest = CONTENT[begin:]
        response.content_length = len(rest)
        await response.prepare(request)
        if not self.breaks:
            await response.write(rest)
            return response
        await response.write(rest[: self.breaks.pop(0)])
        assert request.transport is not None
        request.transport.close()
        return response


async def content_of(file: Handler) -> bytes:
    async def listed(request: web.Request) -> web.Response:
        del request
        return web.json_response({"files": [{"path": "a.bin", "is_dir": False, "file_size": len(CONTENT)}]})

    routes = {"/api/2.0/mlflow-artifacts/artifacts": listed, FILE: file}
    async with serving(routes) as url, RestServer(url) as server:
        (found,) = [
            b"".join([piece async for piece in content])
            async for _, content in server.files("mlflow-artifacts:/1/run/artifacts")
        ]
    return found


@pytest.mark.parametrize("has_ranges", [True, False])
async def test_a_file_that_breaks_off_goes_on(has_ranges: bool) -> None:
    file = BrokenFile(300_000, 10, 0, has_ranges=has_ranges)

    assert await content_of(file.answer) == CONTENT

    assert len(file.ranges) == 4
    assert file.ranges[0] is None
    assert file.ranges[-1] is not None, "what is there is not asked for again"


async def test_a_file_that_always_breaks_off_is_given_up() -> None:
    file = BrokenFile(*[1_000] * 9)
    with pytest.raises(BadSource, match=r"the file 1/run/artifacts/a\.bin of .* can't be read"):
        await content_of(file.answer)
    assert len(file.ranges) == 4


async def test_a_file_that_changes_meanwhile_is_not_put_together_of_two() -> None:
    with pytest.raises(BadSource, match="changed while it was read"):
        await content_of(BrokenFile(300_000, tags=('"1"', '"2"')).answer)


@pytest.mark.parametrize(("status", "tries"), [(404, 1), (403, 1), (500, 4), (429, 4)])
async def test_only_what_may_be_better_later_is_asked_for_again(status: int, tries: int) -> None:
    asked: list[str] = []

    async def refused(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=status)

    with pytest.raises(BadSource, match=str(status)):
        await content_of(refused)
    assert len(asked) == tries


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"runs": [{"data": {}}]}, r"runs/search answers with an object that lacks 'info': .*\"data\""),
        ({"runs": [{"info": {"run_id": "a" * 32}}]}, "lacks 'status'"),
        ({"runs": [{"info": {"run_id": "a" * 32, "status": "FINISHED"}, "data": {"tags": [{"value": "x"}]}}]}, "lacks 'key'"),
        ([], "answers with no object"),
    ],
)  # fmt: skip
async def test_an_answer_that_lacks_a_field_names_it(answer: Any, message: str) -> None:
    async def search(request: web.Request) -> web.Response:
        del request
        return web.json_response(answer)

    async with serving({"/api/2.0/mlflow/runs/search": search}) as url, RestStore(url) as store:
        with pytest.raises(BadSource, match=message):
            _ = [run async for run in store.runs(SourceExperiment(source_id="1", name="e"))]
