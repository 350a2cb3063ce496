"""Uploads in parts: in any order, more than once, interrupted, wrong, given up; and through several processes."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from ingest.artifacts import uploads
from ingest.artifacts.errors import PartRefused
from ingest.artifacts.uploads import MAX_PARTS, PART_BYTES, Plan, plan_of, sweep_uploads
from ingest.services import Services

Client = TestClient[Any, Any]

KIB = 1024


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "PART_BYTES", 64 * KIB)


class Uploading:
    """One file on its way."""

    def __init__(self, client: Client, run_id: str, path: str, content: bytes, sha256: str = "") -> None:
        self.client = client
        self.content = content
        self.url = f"/api/v1/runs/{run_id}/uploads"
        self.file_url = f"/api/v1/runs/{run_id}/artifacts/{path}"
        self.said = {
            "path": path,
            "size_bytes": len(content),
            "sha256": sha256 or hashlib.sha256(content).hexdigest(),
        }

    async def call(self, method: str, url: str, **options: Any) -> tuple[int, Any]:
        async with self.client.request(method, url, **options) as response:
            return response.status, await response.json()

    async def begin(self) -> dict[str, Any]:
        status, answer = await self.call("POST", self.url, json=self.said)
        assert status == 200, answer
        self.upload_url = f"{self.url}/{answer['upload_id']}"
        self.part_bytes = answer["part_bytes"]
        found: dict[str, Any] = answer
        return found

    async def send(self, number: int, content: bytes | None = None) -> tuple[int, Any]:
        start = number * self.part_bytes
        part = self.content[start : start + self.part_bytes] if content is None else content
        return await self.call("PUT", f"{self.upload_url}/{number}", data=io.BytesIO(part))

    async def complete(self) -> tuple[int, Any]:
        return await self.call("POST", f"{self.upload_url}/complete")

    async def stored(self) -> bytes | None:
        async with self.client.get(self.file_url) as response:
            return await response.read() if response.status == 200 else None


async def test_parts_in_any_order_make_the_file(web_client: Client, run_id: str, services: Services):
    file = Uploading(web_client, run_id, "big/file", os.urandom(5 * 64 * KIB + 1))
    assert (await file.begin())["received"] == []
    for number in (5, 0, 3, 3, 1):
        assert (await file.send(number))[0] == 200
    assert await file.stored() is None, "nobody sees a file in the making"
    status, problem = await file.complete()
    assert (status, problem["code"]) == (409, "parts_missing")
    assert "2, 4" in problem["detail"]
    assert (await file.begin())["received"] == [0, 1, 3, 5], "the same upload, to go on with"
    await file.send(2)
    await file.send(4)
    answer = (200, {**file.said})
    assert await file.complete() == answer
    assert await file.stored() == file.content
    assert await file.complete() == answer, "an answer that got lost is given again"
    assert (await file.begin())["received"] == list(range(6))
    directory = Path(services.settings.artifact_location) / ".uploads"
    assert sorted(p.name for p in directory.rglob("*") if p.is_file()) == ["done", "plan"]


async def test_a_file_that_was_replaced_is_uploaded_anew(web_client: Client, run_id: str):
    file = Uploading(web_client, run_id, "f", os.urandom(100 * KIB))
    await file.begin()
    await asyncio.gather(file.send(0), file.send(1))
    await file.complete()
    async with web_client.put(file.file_url, data=b"other") as response:
        assert response.status == 200
    assert (await file.begin())["received"] == []


async def test_parts_that_do_not_make_the_file_are_thrown_away(web_client: Client, run_id: str):
    file = Uploading(web_client, run_id, "f", os.urandom(100 * KIB), sha256="0" * 64)
    await file.begin()
    await asyncio.gather(file.send(0), file.send(1))
    status, problem = await file.complete()
    assert (status, problem["code"]) == (422, "sha256_mismatch")
    assert await file.stored() is None
    assert (await file.begin())["received"] == []


async def test_parts_of_another_size_or_number_are_refused(web_client: Client, run_id: str):
    file = Uploading(web_client, run_id, "f", os.urandom(100 * KIB))
    await file.begin()
    assert (await file.send(0, b"short"))[1]["code"] == "size_mismatch"
    assert (await file.send(1, bytes(64 * KIB)))[1]["code"] == "size_mismatch"
    assert (await file.send(2, b"x"))[1]["code"] == "part_refused"
    assert (await file.call("PUT", f"{file.upload_url}/-1", data=b"x"))[1]["code"] == "bad_request"

    async def endless():
        for _ in range(64):
            yield bytes(64 * KIB)

    assert (await file.call("PUT", f"{file.upload_url}/0", data=endless()))[1]["code"] == "size_mismatch"
    assert (await file.begin())["received"] == []


async def test_an_upload_of_nothing(web_client: Client, run_id: str):
    file = Uploading(web_client, run_id, "empty", b"")
    assert (await file.begin())["received"] == []
    assert (await file.complete())[0] == 200
    assert await file.stored() == b""


async def test_an_aborted_upload_is_forgotten(web_client: Client, run_id: str, services: Services):
    file = Uploading(web_client, run_id, "f", os.urandom(100 * KIB))
    await file.begin()
    await file.send(0)
    assert (await file.call("DELETE", file.upload_url))[0] == 200
    assert (await file.send(1))[1]["code"] == "upload_unknown"
    assert (await file.complete())[1]["code"] == "upload_unknown"
    assert list((Path(services.settings.artifact_location) / ".uploads").iterdir()) == []


async def test_an_upload_belongs_to_its_run(web_client: Client, run_id: str):
    file = Uploading(web_client, run_id, "f", b"x")
    await file.begin()
    async with web_client.post("/api/2.0/mlflow/runs/create", json={}) as response:
        other = (await response.json())["run"]["info"]["run_id"]
    status, problem = await file.call("PUT", file.upload_url.replace(run_id, other) + "/0", data=b"x")
    assert (status, problem["code"]) == (404, "upload_unknown")


@pytest.mark.parametrize(
    "said",
    [{}, [], {"path": "../x"}, {"size_bytes": -1}, {"size_bytes": 1.5}, {"size_bytes": True}, {"sha256": "x"}, {"sha256": None},
     {"path": None}, {"size_bytes": 2**60}],
)  # fmt: skip
async def test_an_upload_that_can_not_be_is_refused_at_once(web_client: Client, run_id: str, said: Any):
    good = {"path": "f", "size_bytes": 1, "sha256": "0" * 64}
    body = {**good, **said} if isinstance(said, dict) and said else said
    async with web_client.post(f"/api/v1/runs/{run_id}/uploads", json=body) as response:
        assert response.status == 400, await response.text()


async def test_abandoned_uploads_are_swept_and_others_stay(
    web_client: Client, run_id: str, services: Services
):
    old = Uploading(web_client, run_id, "old", os.urandom(100 * KIB))
    new = Uploading(web_client, run_id, "new", os.urandom(100 * KIB))
    for file in (old, new):
        await file.begin()
        await file.send(0)
    root = Path(services.settings.artifact_location) / ".uploads"
    (root / "tmp-left").write_bytes(b"x")
    for path in (*(root / old.upload_url.rpartition("/")[2]).iterdir(), root / "tmp-left"):
        os.utime(path, (time.time() - 7200, time.time() - 7200))

    store = services.artifacts.store
    assert await store.sweep(older_than=3600) == 1
    assert await sweep_uploads(services.artifacts, older_than=3600) == 1
    assert (await old.send(1))[1]["code"] == "upload_unknown"
    assert (await new.begin())["received"] == [0]


@pytest.mark.parametrize(
    "size_bytes", [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2**36, 2**40 + 7, 2**50]
)
def test_a_plan_covers_the_file_exactly(size_bytes: int):
    plan = plan_of("p", size_bytes, "0" * 64)
    assert plan.parts_num <= MAX_PARTS
    assert sum(plan.bytes_of(n) for n in range(plan.parts_num)) == size_bytes
    for number in (-1, plan.parts_num):
        with pytest.raises(PartRefused):
            plan.bytes_of(number)


def test_an_upload_is_known_by_what_it_is_to_become():
    plan = Plan("p", 5, "a" * 64, 16)
    others = {Plan("q", 5, "a" * 64, 16), Plan("p", 6, "a" * 64, 16), Plan("p", 5, "b" * 64, 16)}
    assert plan.upload_id == Plan("p", 5, "a" * 64, 16).upload_id
    assert plan.upload_id not in {other.upload_id for other in others}
