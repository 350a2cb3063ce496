"""What a store promises, the same for all of them, each behind its real protocol."""

from __future__ import annotations

import asyncio
import hashlib
import os
import urllib.request
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable
from io import BytesIO
from typing import Any

import pytest

from ingest.artifacts import objects, uploads
from ingest.artifacts.archive import zipped
from ingest.artifacts.errors import (
    ArtifactUnknown,
    ContentDiffers,
    IsDirectory,
    PathTaken,
    SizeDiffers,
    StoreUnavailable,
)
from ingest.artifacts.library import Artifacts
from ingest.artifacts.store import Store
from ingest.artifacts.uploads import Uploads, plan_of, sweep_uploads
from tests.integration.artifacts.conftest import Place

pytestmark = pytest.mark.timeout(600)  # the first time, the emulators are installed

WaitFor = Callable[..., Awaitable[Any]]

MIB = 1024 * 1024
RUN = "7/" + "ab" * 16 + "/artifacts"


async def pieces(content: bytes, size_bytes: int = 100_000) -> AsyncIterator[bytes]:
    for i in range(0, len(content), size_bytes):
        yield content[i : i + size_bytes]


async def write(artifacts: Artifacts, path: str, content: bytes = b"x") -> None:
    await artifacts.receive(f"{RUN}/{path}", pieces(content), size_bytes=len(content))


async def read(store: Store, path: str, start: int = 0, stop: int | None = None) -> bytes:
    async with store.open(f"{RUN}/{path}") as reader:
        stop = reader.entry.size_bytes if stop is None else stop
        return b"".join([chunk async for chunk in reader.chunks(start, stop)])


async def names(store: Store, directory: str = "", **options: Any) -> list[str]:
    path = f"{RUN}/{directory}" if directory else RUN
    found = await store.page(path, limit=options.pop("limit", 1000), **options)
    return [one.name + "/" * one.is_dir for one in found]


@pytest.mark.parametrize("size_bytes", [0, 1, MIB, 8 * MIB, 21 * MIB + 3])
@pytest.mark.parametrize("is_announced", [True, False])
async def test_files_of_any_size_come_back(artifacts: Artifacts, size_bytes: int, is_announced: bool):
    content = os.urandom(size_bytes)
    received = await artifacts.receive(
        f"{RUN}/f", pieces(content), size_bytes=size_bytes if is_announced else None
    )
    assert (received.size_bytes, received.sha256) == (size_bytes, hashlib.sha256(content).hexdigest())
    assert await read(artifacts.store, "f") == content
    for start, stop in (
        (0, min(1, size_bytes)),
        (size_bytes // 2, size_bytes),
        (size_bytes // 3, size_bytes // 2),
    ):
        assert await read(artifacts.store, "f", start, stop) == content[start:stop]
    found = await artifacts.store.find(f"{RUN}/f")
    assert found is not None
    assert (found.is_dir, found.size_bytes) == (False, size_bytes)
    assert found.modified_ms > 1_700_000_000_000


async def test_names_are_kept_as_they_are(artifacts: Artifacts):
    paths = [
        "plain",
        "with space",
        "ü/日本語/😀",
        "100%",
        "50%25",
        "a+b&c=d?e",
        "q'\"`",
        "{x}[y]^|~<z>",
        "*",
        "-",
        "...",
        ".hidden",
        "x" * 200,
    ]
    for path in paths:
        await write(artifacts, path, path.encode())
    for path in paths:
        assert await read(artifacts.store, path) == path.encode()
    walked = [one.path.removeprefix(RUN + "/") async for one in artifacts.store.walk(RUN)]
    assert sorted(walked) == sorted(paths)


async def test_a_new_file_replaces_the_old_one_whole(artifacts: Artifacts, place: Place):
    old, new = os.urandom(12 * MIB), os.urandom(12 * MIB)
    await write(artifacts, "f", old)
    before = await artifacts.store.find(f"{RUN}/f")
    async with artifacts.store.open(f"{RUN}/f") as reader:
        chunks = aiter(reader.chunks(0, len(old)))
        got = await anext(chunks)
        await write(artifacts, "f", new)
        try:
            got += b"".join([chunk async for chunk in chunks])
            assert got == old, "what was opened is one version"
        except StoreUnavailable:
            assert place.kind not in {"local", "sftp"}, "a file that is open stays"
    assert await read(artifacts.store, "f") == new
    after = await artifacts.store.find(f"{RUN}/f")
    assert before is not None
    assert after is not None
    assert before.etag != after.etag or before.etag == ""


async def test_what_is_not_there_and_what_is_no_file(artifacts: Artifacts):
    await write(artifacts, "d/f")
    store = artifacts.store
    for path in (f"{RUN}/nothing", f"{RUN}/d/f/below", "7/none/artifacts/x"):
        assert await store.find(path) is None
        with pytest.raises(ArtifactUnknown):
            async with store.open(path):
                pass
    found = await store.find(f"{RUN}/d")
    assert found is not None
    assert found.is_dir
    with pytest.raises(IsDirectory):
        async with store.open(f"{RUN}/d"):
            pass
    assert await names(store, "nothing") == []
    assert await names(store, "d/f") == []


async def test_directories_are_listed_in_order_and_page_by_page(
    artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(
        objects, "LIST_CHUNK", 3
    )  # so that directories are longer than a page of the protocol's
    for path in ["b", "a/1", "a/2", "a-b", "a.b", "a/3", "a/4", "a/5", "a/6", "a/7/x", "c/d/e", "ü", "z/1"]:
        await write(artifacts, path)
    expected = ["a-b", "a.b", "a/", "b", "c/", "z/", "ü"]
    assert await names(artifacts.store) == expected
    assert await names(artifacts.store, "a") == ["1", "2", "3", "4", "5", "6", "7/"]
    for size in (1, 2, 3, 6):
        found: list[str] = []
        while page := await names(artifacts.store, limit=size, after=found[-1].encode() if found else b""):
            found += page
        assert found == expected, size
    walked = [one.path.removeprefix(RUN + "/") async for one in artifacts.store.walk(f"{RUN}/a")]
    assert walked == ["a/1", "a/2", "a/3", "a/4", "a/5", "a/6", "a/7/x"]
    assert [one.name async for one in artifacts.store.entries("7")] == ["ab" * 16]


async def test_files_go_one_by_one_and_directories_in_steps(artifacts: Artifacts):
    store = artifacts.store
    for i in range(7):
        await write(artifacts, f"d/{i % 3}/{i}")
    await write(artifacts, "other")
    assert await store.remove(f"{RUN}/d/0/0") is True
    assert await store.remove(f"{RUN}/d/0/0") is False
    assert await store.remove(f"{RUN}/d") is False, "a directory is no file"
    assert await store.remove_some(f"{RUN}/d", 4) == 4
    assert await store.remove_some(f"{RUN}/d", 4) == 2
    assert await store.remove_some(f"{RUN}/d", 4) == 0
    assert await store.find(f"{RUN}/d") is None, "no empty directory stays behind"
    assert [step async for step in artifacts.remove_tree(RUN)] == [1]
    assert [step async for step in artifacts.remove_tree(RUN)] == []


async def test_a_file_and_a_directory_do_not_share_a_name(artifacts: Artifacts):
    await write(artifacts, "d/e/f")
    await write(artifacts, "file")
    for path in ("d", "d/e", "file/below", "file/far/below"):
        with pytest.raises(PathTaken):
            await write(artifacts, path)
    assert await names(artifacts.store) == ["d/", "file"]


@pytest.mark.parametrize("size_bytes", [1000, 40 * MIB])
async def test_what_breaks_off_leaves_nothing(
    artifacts: Artifacts, place: Place, wait_for: WaitFor, size_bytes: int
):
    before = place.unfinished()

    async def broken() -> AsyncIterator[bytes]:
        for _ in range(0, size_bytes, 1000):
            yield bytes(1000)
        raise ConnectionResetError("the client is gone")

    with pytest.raises(ConnectionResetError):
        await artifacts.receive(f"{RUN}/half", broken())
    with pytest.raises(SizeDiffers):
        await artifacts.receive(f"{RUN}/half", pieces(bytes(size_bytes)), size_bytes=size_bytes + 1)
    with pytest.raises(SizeDiffers):
        await artifacts.receive(f"{RUN}/half", pieces(bytes(size_bytes)), size_bytes=size_bytes - 1)
    assert await names(artifacts.store) == []
    await wait_for(lambda: place.unfinished() == before)


async def test_what_is_cancelled_leaves_nothing(artifacts: Artifacts, place: Place, wait_for: WaitFor):
    before = place.unfinished()
    sent = asyncio.Event()

    async def stalled() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield bytes(MIB)
        sent.set()
        await asyncio.sleep(60)

    task = asyncio.create_task(artifacts.receive(f"{RUN}/half", stalled()))
    await sent.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await names(artifacts.store) == []
    await wait_for(lambda: place.unfinished() == before)


async def test_other_bytes_than_announced_keep_the_old_file(artifacts: Artifacts):
    await write(artifacts, "f", b"old")
    for size_bytes in (3, 20 * MIB):
        with pytest.raises(ContentDiffers):
            await artifacts.receive(f"{RUN}/f", pieces(bytes(size_bytes)), sha256="0" * 64)
    assert await read(artifacts.store, "f") == b"old"


async def test_writers_and_removers_do_not_meet_badly(artifacts: Artifacts):
    """Directories come and go with their files; whoever is about to write into one must not notice."""

    async def come_and_go(i: int) -> None:
        for _ in range(5):
            await write(artifacts, f"d/e/{i}")
            assert await artifacts.store.remove(f"{RUN}/d/e/{i}")

    await asyncio.gather(*(come_and_go(i) for i in range(4)))
    assert await names(artifacts.store) == []


async def test_an_upload_in_parts_goes_on_in_another_process(
    artifacts: Artifacts, place: Place, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(uploads, "PART_BYTES", 64 * 1024)
    content = os.urandom(300 * 1024)
    plan = plan_of(f"{RUN}/big", len(content), hashlib.sha256(content).hexdigest())

    async def send(where: Artifacts, number: int) -> None:
        part = content[number * plan.part_bytes : (number + 1) * plan.part_bytes]
        await Uploads(where).put(plan, number, pieces(part, 5000), len(part))

    assert await Uploads(artifacts).begin(plan) == []
    for number in (4, 1):
        await send(artifacts, number)
    other_store = place.open()
    other = Artifacts(other_store, transfers_num=4)
    try:
        assert await Uploads(other).begin(plan) == [1, 4]
        assert await Uploads(other).find(plan.upload_id, RUN) == plan
        await asyncio.gather(*(send(other, number) for number in (0, 2, 3)))
        received = await Uploads(other).complete(plan)
    finally:
        await other_store.close()
    assert await Uploads(artifacts).complete(plan) == received
    assert await read(artifacts.store, "big") == content
    assert await sweep_uploads(artifacts, older_than=3600) == 0
    assert await sweep_uploads(artifacts, older_than=-3600) == 1
    assert await artifacts.store.page(".uploads", limit=10) == []


async def test_a_directory_comes_as_an_archive(artifacts: Artifacts):
    content = {"1": os.urandom(5 * MIB), "sub/2": b"", "sub/ü": b"x"}
    for path, data in content.items():
        await write(artifacts, f"d/{path}", data)
    body = b"".join([piece async for piece in zipped(artifacts.store, f"{RUN}/d")])
    with zipfile.ZipFile(BytesIO(body)) as found:
        assert {name: found.read(name) for name in found.namelist()} == content


async def test_a_url_of_the_store_itself(artifacts: Artifacts, place: Place):
    await write(artifacts, "dir/a-b", b"content")
    url = await artifacts.store.sign(f"{RUN}/dir/a-b", 60)
    assert (url is not None) is (place.kind in {"s3", "azure"}), (
        "the GCS account of the tests has no key to sign with"
    )
    if url is not None:
        with await asyncio.to_thread(urllib.request.urlopen, url, timeout=10) as response:
            assert response.read() == b"content"


async def test_nothing_secret_is_in_its_name(place: Place, store: Store):
    for secret in place.options.values():
        assert secret not in store.name or len(secret) < 10
    assert (store.uri is not None) is (place.kind in {"s3", "gcs", "azure"})
