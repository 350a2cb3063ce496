"""A directory as a zip archive, made while it is sent."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from ingest.artifacts import archive
from ingest.artifacts.archive import zipped
from ingest.artifacts.errors import TooManyFiles
from ingest.artifacts.store import CHUNK_BYTES, Entry, Reader
from ingest.services import Services

Client = TestClient[Any, Any]


async def test_a_directory_comes_as_an_archive(web_client: Client, run_id: str):
    content = {
        "a/1.bin": os.urandom(2 * CHUNK_BYTES + 5),
        "a/sub/ü.txt": b"text",
        "a/empty": b"",
        "b": b"not asked for",
    }
    for path, data in content.items():
        async with web_client.put(
            f"/api/v1/runs/{run_id}/artifacts/{path}", data=io.BytesIO(data)
        ) as response:
            assert response.status == 200
    async with web_client.get(f"/api/v1/runs/{run_id}/artifacts.zip", params={"path": "a"}) as response:
        assert response.headers["Content-Disposition"] == 'attachment; filename="a.zip"'
        assert response.content_type == "application/zip"
        found = zipfile.ZipFile(io.BytesIO(await response.read()))
    assert found.testzip() is None
    assert {name: found.read(name) for name in found.namelist()} == {
        path.removeprefix("a/"): data for path, data in content.items() if path != "b"
    }
    async with web_client.get(f"/api/v1/runs/{run_id}/artifacts.zip") as response:
        whole = zipfile.ZipFile(io.BytesIO(await response.read()))
    assert sorted(whole.namelist()) == sorted(content)


async def test_nothing_is_no_archive(web_client: Client, run_id: str):
    async with web_client.get(f"/api/v1/runs/{run_id}/artifacts.zip", params={"path": "nothing"}) as response:
        assert (response.status, (await response.json())["code"]) == (404, "not_found")


async def test_too_many_files_are_refused_before_the_first_byte(
    web_client: Client, run_id: str, services: Services
):
    for i in range(3):
        await web_client.put(f"/api/v1/runs/{run_id}/artifacts/{i}", data=b"x")
    with pytest.raises(TooManyFiles):
        await anext(zipped(services.artifacts.store, f"0/{run_id}/artifacts", max_files=2))


ZEROS = bytes(2**24)


class Huge(Reader):
    """A file of zeros that no disk needs to hold."""

    def __init__(self, size_bytes: int) -> None:
        self.entry = Entry("d/huge", is_dir=False, size_bytes=size_bytes, modified_ms=0, etag="")

    async def chunks(self, start: int, stop: int) -> AsyncIterator[bytes]:
        for _ in range(start, stop, 2**24):
            yield ZEROS


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_file_beyond_four_gigabytes_takes_zip64(tmp_path, services: Services):
    from contextlib import asynccontextmanager

    class Store:
        async def walk(self, directory: str) -> AsyncIterator[Entry]:
            yield Huge(2**32 + 2**24).entry

        @asynccontextmanager
        async def open(self, path: str) -> AsyncIterator[Reader]:
            yield Huge(2**32 + 2**24)

    largest = 0
    with (tmp_path / "huge.zip").open("wb") as out:
        async for piece in zipped(Store(), "d"):  # type: ignore[arg-type]  # as much of a store as it needs
            largest = max(largest, len(piece))
            if piece == ZEROS:  # a hole in place of gigabytes of zeros
                out.seek(len(piece), io.SEEK_CUR)
            else:
                out.write(piece)
    assert largest < 2**25
    with zipfile.ZipFile(tmp_path / "huge.zip") as found:
        info = found.getinfo("huge")
        assert (info.file_size, info.compress_type) == (2**32 + 2**24, zipfile.ZIP_STORED)
    assert archive.MAX_FILES * 1024 < 2**25
