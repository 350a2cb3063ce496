"""Artifacts over our own API, on a local disk: up, down, ranges, lists, deletion, and everything that is refused."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from aiohttp.test_utils import TestClient

from ingest.services import Services

Client = TestClient[Any, Any]
WaitFor = Callable[..., Awaitable[Any]]

MIB = 1024 * 1024


def url_of(run_id: str, path: str) -> str:
    return f"/api/v1/runs/{run_id}/artifacts/{quote(path)}"


async def put(
    client: Client, run_id: str, path: str, data: Any, **headers: str
) -> tuple[int, dict[str, Any]]:
    body = io.BytesIO(data) if isinstance(data, bytes) else data
    async with client.put(url_of(run_id, path), data=body, headers=headers) as response:
        return response.status, await response.json()


def exists(path: Path) -> bool:
    return path.exists()


def leftovers(services: Services) -> list[Path]:
    return list((Path(services.settings.artifact_location) / ".uploads").iterdir())


async def test_a_file_comes_back_as_it_went(web_client: Client, run_id: str, run_directory: Path):
    content = os.urandom(3 * MIB + 17)
    status, answer = await put(web_client, run_id, "model/weights é.bin", content)

    sha256 = hashlib.sha256(content).hexdigest()
    assert (status, answer) == (
        200,
        {"path": "model/weights é.bin", "size_bytes": len(content), "sha256": sha256},
    )
    assert (run_directory / "model" / "weights é.bin").read_bytes() == content
    async with web_client.get(url_of(run_id, "model/weights é.bin")) as response:
        assert await response.read() == content
        assert response.headers["Accept-Ranges"] == "bytes"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
    async with web_client.head(url_of(run_id, "model/weights é.bin")) as response:
        assert (response.status, response.headers["Content-Length"]) == (200, str(len(content)))


async def test_an_empty_file_is_a_file(web_client: Client, run_id: str):
    assert (await put(web_client, run_id, "empty", b""))[1]["size_bytes"] == 0
    async with web_client.get(url_of(run_id, "empty")) as response:
        assert (response.status, await response.read()) == (200, b"")


async def test_a_stream_without_a_length_is_taken_and_overwrites(web_client: Client, run_id: str):
    async def pieces() -> AsyncIterator[bytes]:
        for i in range(40):
            yield bytes([i]) * 70_000

    await put(web_client, run_id, "stream", b"old")
    assert (await put(web_client, run_id, "stream", pieces()))[1]["size_bytes"] == 2_800_000
    async with web_client.get(url_of(run_id, "stream")) as response:
        assert await response.read() == b"".join(bytes([i]) * 70_000 for i in range(40))


@pytest.mark.parametrize(
    ("header", "status", "part"),
    [
        ("bytes=0-0", 206, slice(0, 1)), ("bytes=100-199", 206, slice(100, 200)), ("bytes=-10", 206, slice(-10, None)),
        ("bytes=2000000-", 206, slice(2_000_000, None)), ("bytes=5-99999999", 206, slice(5, None)), ("bytes=5-1", 200, slice(None)),
        ("items=0-1", 200, slice(None)), ("bytes=0-1,5-6", 200, slice(None)), ("bytes=9999999-", 416, slice(0, 0)), ("bytes=-0", 416, slice(0, 0)),
    ],
)  # fmt: skip
async def test_ranges(web_client: Client, run_id: str, header: str, status: int, part: slice):
    content = os.urandom(2 * MIB + 1)
    await put(web_client, run_id, "f", content)
    async with web_client.get(url_of(run_id, "f"), headers={"Range": header}) as response:
        assert response.status == status
        if status == 416:
            assert response.headers["Content-Range"] == f"bytes */{len(content)}"
            return
        assert await response.read() == content[part]
        if status == 206:
            start, stop, _ = part.indices(len(content))
            assert response.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(content)}"


async def test_what_has_not_changed_is_not_sent_again(web_client: Client, run_id: str):
    await put(web_client, run_id, "f", b"one")
    async with web_client.get(url_of(run_id, "f")) as response:
        etag, modified = response.headers["ETag"], response.headers["Last-Modified"]

    async def status_with(**headers: str) -> int:
        async with web_client.get(
            url_of(run_id, "f"), headers={name.replace("_", "-"): value for name, value in headers.items()}
        ) as response:
            return response.status

    assert await status_with(If_None_Match=etag) == 304
    assert await status_with(If_None_Match=f'"other", W/{etag}') == 304
    assert await status_with(If_Modified_Since=modified) == 304
    assert await status_with(If_None_Match='"other"', If_Modified_Since=modified) == 200
    assert await status_with(Range="bytes=0-0", If_Range=etag) == 206
    assert await status_with(If_Match='"other"') == 412
    await put(web_client, run_id, "f", b"two")
    assert await status_with(If_None_Match=etag) == 200
    assert await status_with(Range="bytes=0-0", If_Range=etag) == 200, "no piece of another file"


async def test_a_digest_that_differs_keeps_nothing(web_client: Client, run_id: str, services: Services):
    await put(web_client, run_id, "f", b"old")
    status, problem = await put(web_client, run_id, "f", b"new", **{"Ingest-Sha256": "0" * 64})
    assert (status, problem["code"]) == (422, "sha256_mismatch")
    async with web_client.get(url_of(run_id, "f")) as response:
        assert await response.read() == b"old"
    assert leftovers(services) == []
    good = hashlib.sha256(b"new").hexdigest()
    assert (await put(web_client, run_id, "f", b"new", **{"Ingest-Sha256": good.upper()}))[0] == 200
    assert (await put(web_client, run_id, "f", b"new", **{"Ingest-Sha256": "abc"}))[1][
        "code"
    ] == "bad_request"


async def test_a_run_that_is_not_there_has_no_files(web_client: Client):
    for method in ("PUT", "GET", "DELETE"):
        async with web_client.request(method, url_of("0" * 32, "f")) as response:
            assert (response.status, (await response.json())["code"]) == (404, "not_found")


async def test_a_deleted_run_takes_no_file_and_keeps_its_own(web_client: Client, run_id: str):
    await put(web_client, run_id, "f", b"x")
    await web_client.post("/api/2.0/mlflow/runs/delete", json={"run_id": run_id})
    assert (await put(web_client, run_id, "g", b"x"))[1]["code"] == "run_deleted"
    async with web_client.get(url_of(run_id, "f")) as response:
        assert response.status == 200


async def test_lists_go_page_by_page(web_client: Client, run_id: str):
    for path in ("b.txt", "a/1", "a/2/x", "a-b", "c/d/e"):
        await put(web_client, run_id, path, path.encode())

    async def listed(**query: str) -> tuple[list[tuple[str, bool]], str | None]:
        async with web_client.get(f"/api/v1/runs/{run_id}/artifacts", params=query) as response:
            answer = await response.json()
            return [(one["path"], one["is_dir"]) for one in answer["files"]], answer["next_page_token"]

    whole = [("a-b", False), ("a", True), ("b.txt", False), ("c", True)]
    assert await listed() == (whole, None)
    assert await listed(path="a") == ([("a/1", False), ("a/2", True)], None)
    assert await listed(path="nothing") == ([], None)
    assert await listed(path="b.txt") == ([], None)
    found, token = [], ""
    while True:
        entries, following = await listed(limit="1", page_token=token)
        found += entries
        if following is None:
            break
        token = following
    assert found == whole
    async with web_client.get(f"/api/v1/runs/{run_id}/artifacts", params={"path": "b.txt/.."}) as response:
        assert (response.status, (await response.json())["code"]) == (400, "path_refused")


async def test_files_and_directories_are_deleted(web_client: Client, run_id: str, run_directory: Path):
    for path in ("a/1", "a/2/x", "b"):
        await put(web_client, run_id, path, b"x")

    async def deleted(path: str) -> int:
        async with web_client.delete(url_of(run_id, path)) as response:
            return int((await response.json())["deleted"])

    assert await deleted("b") == 1
    assert await deleted("b") == 0
    assert await deleted("a") == 2
    assert not exists(run_directory), "no empty directory stays behind"


async def test_a_file_and_a_directory_do_not_share_a_name(web_client: Client, run_id: str):
    await put(web_client, run_id, "a/b", b"x")
    assert (await put(web_client, run_id, "a", b"x"))[1]["code"] == "path_taken"
    assert (await put(web_client, run_id, "a/b/c", b"x"))[1]["code"] == "path_taken"
    async with web_client.get(url_of(run_id, "a")) as response:
        assert (response.status, (await response.json())["code"]) == (409, "is_directory")
    async with web_client.get(url_of(run_id, "a/b/c")) as response:
        assert response.status == 404


@pytest.mark.parametrize(
    "raw",
    ["../../x", "%2e%2e/x", "%252e%252e/x", "..%2f..%2fx", "a%5c..%5cx", "%2fetc%2fpasswd", "a%00b", "C%3a%2fx", "a%23b", "a//b", "a/"],
)  # fmt: skip
async def test_paths_that_lead_elsewhere_are_refused_on_the_wire(web_client: Client, run_id: str, raw: str):
    """By a socket: clients tidy such URLs up before they send them."""
    for method in ("GET", "PUT", "DELETE"):
        answer = await raw_request(web_client, f"{method} /api/v1/runs/{run_id}/artifacts/{raw}", b"x")
        assert answer.split(b" ", 2)[1] in {b"400", b"404"}, answer
        assert b"path_refused" in answer or b"not_found" in answer


async def raw_request(client: Client, line: str, body: bytes, *, length: int | None = None) -> bytes:
    host = urlsplit(str(client.make_url("/"))).netloc
    head = f"{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {len(body) if length is None else length}\r\n\r\n"
    reader, writer = await asyncio.open_connection(*host.split(":"))
    writer.write(head.encode() + body)
    if length is not None:
        await writer.drain()
        await asyncio.sleep(0.2)
        writer.transport.abort()
        return b""
    answer = await reader.read()
    writer.close()
    return answer


async def test_a_client_that_goes_away_leaves_nothing(
    web_client: Client, run_id: str, services: Services, run_directory: Path, wait_for: WaitFor
):
    await raw_request(
        web_client, f"PUT /api/v1/runs/{run_id}/artifacts/half", os.urandom(5 * MIB), length=50 * MIB
    )
    await wait_for(lambda: not leftovers(services))
    assert not exists(run_directory / "half")


async def test_links_are_not_followed(web_client: Client, run_id: str, run_directory: Path, scratch: Path):
    secret = scratch / "secret"
    os.makedirs(secret)
    (secret / "key").write_text("s3cret")
    os.makedirs(run_directory)
    (run_directory / "link").symlink_to(secret / "key")
    (run_directory / "dir").symlink_to(secret)
    for path in ("link", "dir", "dir/key"):
        async with web_client.get(url_of(run_id, path)) as response:
            assert response.status == 404
    async with web_client.get(f"/api/v1/runs/{run_id}/artifacts") as response:
        assert (await response.json())["files"] == []
    assert (await put(web_client, run_id, "dir/key", b"x"))[0] == 409
    assert (await put(web_client, run_id, "link", b"mine"))[0] == 200, "the link itself is replaced"
    assert (secret / "key").read_text() == "s3cret"


async def test_what_somebody_else_put_there_goes_with_its_directory(
    web_client: Client, run_id: str, run_directory: Path, scratch: Path
):
    """Links are removed, and what they lead to is not."""
    os.makedirs(scratch / "elsewhere")
    (scratch / "elsewhere" / "kept").write_text("x")
    await put(web_client, run_id, "d/e/f", b"x")
    (run_directory / "d" / "link").symlink_to(scratch / "elsewhere")
    (run_directory / "d" / "dangling").symlink_to(scratch / "nothing")
    os.mkfifo(run_directory / "d" / "e" / "pipe")
    async with web_client.delete(url_of(run_id, "d")) as response:
        assert response.status == 200
    assert not exists(run_directory)
    assert (scratch / "elsewhere" / "kept").read_text() == "x"


async def test_what_passes_is_counted(web_client: Client, run_id: str):
    async def counted() -> dict[str, float]:
        async with web_client.get("/metrics") as response:
            lines = (line.rpartition(" ") for line in (await response.text()).splitlines())
            return {name: float(value) for name, _, value in lines if name.startswith("ingest_artifact")}

    before = await counted()
    await put(web_client, run_id, "f", bytes(1000))
    await put(web_client, run_id, "f", b"x", **{"Ingest-Sha256": "0" * 64})
    async with web_client.get(url_of(run_id, "f"), headers={"Range": "bytes=0-9"}) as response:
        await response.read()
    after = await counted()
    grown = {name: after[name] - before.get(name, 0) for name in after}
    assert grown['ingest_artifact_bytes_total{direction="in"}'] == 1000
    assert grown['ingest_artifact_bytes_total{direction="out"}'] == 10
    assert grown['ingest_artifact_uploads_total{outcome="stored"}'] == 1
    assert grown['ingest_artifact_uploads_total{outcome="failed"}'] == 1
    assert after["ingest_artifact_transfers"] == 0


async def test_a_fifo_is_no_file_and_holds_nobody(web_client: Client, run_id: str, run_directory: Path):
    os.makedirs(run_directory)
    os.mkfifo(run_directory / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(run_directory / "sock"))
    for path in ("pipe", "sock"):
        async with web_client.get(url_of(run_id, path)) as response:
            assert response.status == 404


@pytest.mark.parametrize(
    "name",
    ["page.html", "page.HTM", "x.svg", "x.xhtml", "x.pdf", "x.swf", "x", "x.pkl", "page.html.png.html"],
)
async def test_nothing_uploaded_runs_in_our_origin(web_client: Client, run_id: str, name: str):
    await put(web_client, run_id, name, b"<script>alert(1)</script>")
    async with web_client.get(url_of(run_id, name)) as response:
        assert response.headers["Content-Disposition"].startswith("attachment; ")
        assert "sandbox" in response.headers["Content-Security-Policy"]
        assert "allow-scripts" not in response.headers["Content-Security-Policy"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_pictures_and_texts_may_be_shown(web_client: Client, run_id: str):
    for name, kind in (
        ("x.png", "image/png"),
        ("x.json", "text/plain"),
        ("MLmodel", "text/plain"),
        ("x.js", "text/plain"),
    ):
        await put(web_client, run_id, name, b"x")
        async with web_client.get(url_of(run_id, name)) as response:
            assert response.content_type == kind
            assert response.headers["Content-Disposition"].startswith("inline")


async def test_a_compressed_body_is_refused_not_guessed(web_client: Client, run_id: str):
    assert (await put(web_client, run_id, "f", b"x", **{"Content-Encoding": "gzip"}))[1][
        "code"
    ] == "unsupported_encoding"


async def test_many_writers_of_one_directory_and_one_that_empties_it(web_client: Client, run_id: str):
    """A directory that was just emptied disappears, and whoever is about to write into it must not notice."""

    async def come_and_go(i: int) -> None:
        for _ in range(10):
            assert (await put(web_client, run_id, f"d/e/{i}", b"x"))[0] == 200
            async with web_client.delete(url_of(run_id, f"d/e/{i}")) as response:
                assert (await response.json())["deleted"] == 1

    await asyncio.gather(*(come_and_go(i) for i in range(8)))
