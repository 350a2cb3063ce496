"""POST /api/v1/batches over real sockets: each answer of the contract, and memory bounded from the first byte."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import sys
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientSession

from ingest_schema.events import Event
from ingest_schema.ids import new_id
from ingest_schema.limits import MAX_BATCH_BYTES
from ingest_schema.run_names import run_name_of
from ingest_schema.wire import Batch, encode_batch

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PATH = "/api/v1/batches"
START = Event("run_start", 0, {"experiment": "http", "name": "a", "start_time_ms": 1})


def body_of(seq: int = 1, points: int = 3, **ids: Any) -> bytes:
    ids = {"run_id": new_id(), "writer_id": new_id(), **ids}
    rows = [("a", i, i, float(i)) for i in range(points)]
    return encode_batch(Batch.of_points(seq=seq, points=rows, events=[START] if seq == 1 else (), **ids))


async def send(web_client: Any, body: bytes, **headers: str) -> tuple[int, dict[str, Any], Any]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    response = await web_client.post(PATH, data=io.BytesIO(body), headers=sent)
    return response.status, await response.json(), response.headers


async def test_stored_then_repeated_then_a_gap(web_client):
    ids: dict[str, Any] = {"run_id": new_id(), "writer_id": new_id()}
    first = body_of(**ids)
    assert (await send(web_client, first))[:2] == (
        200,
        {"status": "stored", "seq": 1, "points": 3, "rejected": []},
    )
    assert (await send(web_client, first))[1]["status"] == "repeated"

    status, problem, _ = await send(web_client, body_of(seq=5, **ids))
    assert (status, problem["code"], problem["expected_seq"]) == (409, "sequence_gap", 2)


async def test_a_run_that_is_started_without_a_name_gets_the_one_of_its_id(web_client):
    run_id = new_id()
    start = Event("run_start", 0, {"experiment": "http", "name": None, "start_time_ms": 1})
    batch = Batch.of_points(run_id, new_id(), 1, [("a", 0, 0, 1.0)], events=[start])
    assert (await send(web_client, encode_batch(batch)))[0] == 200

    response = await web_client.get(f"/api/v1/runs/{run_id.hex}")
    assert (await response.json())["name"] == run_name_of(run_id)


async def test_a_log_line_names_the_request_the_run_and_the_batch(start_service, database_url, wait_for):
    """A refusal, too, which is logged after the handler has ended."""
    service = start_service("--database-url", database_url, "--log-format", "json", "--log-level", "debug")
    run_id = new_id()
    body = encode_batch(Batch.of_points(run_id, new_id(), 5, [("a", 0, 0, 1.0)]))
    async with ClientSession() as session, session.post(service.url + PATH, data=body) as response:
        assert response.status == 409

    def is_logged() -> bool:
        whole = [line for line in service.output().splitlines(keepends=True) if line.endswith("}\n")]
        lines = [json.loads(line) for line in whole if line.startswith("{")]
        return any(
            (one.get("run"), one.get("batch"), "request" in one) == (run_id.hex, 5, True) for one in lines
        )

    await wait_for(is_logged)


@pytest.mark.parametrize(("encoding", "pack"), [("zstd", zstd.compress), ("gzip", gzip.compress)])
@pytest.mark.parametrize("points", [3, 20_000])
async def test_compressed_bodies_are_taken(web_client, encoding, pack, points):
    status, answer, _ = await send(web_client, pack(body_of(points=points)), Content_Encoding=encoding)
    assert (status, answer["points"]) == (200, points)


@pytest.mark.parametrize(
    ("body", "encoding", "expected"),
    [
        (b"", "", (422, "batch_malformed")),
        (b"\xc1", "", (422, "batch_malformed")),
        (b"hello", "zstd", (422, "batch_malformed")),
        (zstd.compress(bytes(MAX_BATCH_BYTES + 1)), "zstd", (413, "batch_too_large")),
        (gzip.compress(bytes(MAX_BATCH_BYTES * 8)), "gzip", (413, "batch_too_large")),
        (bytes(MAX_BATCH_BYTES + 1), "", (413, "batch_too_large")),
        (b"x", "br", (415, "unsupported_encoding")),
    ],
)
async def test_what_can_not_be_stored_is_refused_with_its_code(
    web_client, services, body, encoding, expected
):
    status, problem, _ = await send(web_client, body, **({"Content_Encoding": encoding} if encoding else {}))
    assert (status, problem["code"]) == expected
    assert services.intake.used_bytes == 0


async def test_a_chunked_body_over_the_limit_is_cut_off(web_client, services):
    async def pieces() -> Any:
        for _ in range(20):
            yield bytes(1024 * 1024)

    response = await web_client.post(PATH, data=pieces())
    assert response.status == 413
    assert services.intake.used_bytes == 0


async def test_over_the_queue_s_bytes_a_request_is_turned_away_before_its_body_is_read(
    web_client, services, wait_for
):
    """A sender that says 16 MiB and sends nothing holds its share; the one after it is answered at once."""
    services.intake._admission.limit_bytes = 20 * 1024 * 1024
    server = urlsplit(str(web_client.make_url("/")))
    reader, sender = await asyncio.open_connection(server.hostname, server.port)
    head = f"POST {PATH} HTTP/1.1\r\nHost: {server.netloc}\r\nContent-Length: {MAX_BATCH_BYTES}\r\n\r\n"
    sender.write(head.encode() + b"x")
    await sender.drain()
    await wait_for(lambda: services.intake.used_bytes >= MAX_BATCH_BYTES)

    status, problem, headers = await send(web_client, bytes(8 * 1024 * 1024))
    assert (status, problem["code"], headers["Retry-After"]) == (429, "queue_full", "1")

    sender.close()
    await wait_for(lambda: not services.intake.used_bytes)
    assert (await send(web_client, body_of()))[0] == 200
    del reader


async def test_without_the_database_503_and_afterwards_all_is_well(start_service, database_url, wait_for):
    """The connections are cut and new ones refused, as when PostgreSQL goes down; then it is back."""
    import asyncpg
    from aiohttp import ClientSession

    service = start_service("--database-url", database_url)
    admin = await asyncpg.connect(database_url.replace(urlsplit(database_url).path, "/ingest"))
    name = urlsplit(database_url).path.removeprefix("/")
    body = body_of()
    try:
        async with ClientSession(service.url) as session:
            await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
            )
            async with session.post(PATH, data=body) as response:
                assert response.status == 503
                assert (await response.json())["code"] == "database_unavailable"
                assert "Retry-After" in response.headers
            await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

            async def is_stored() -> bool:
                async with session.post(PATH, data=body) as response:
                    return response.status == 200

            await wait_for(is_stored)
    finally:
        await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await admin.close()


async def test_while_draining_nothing_new_is_taken_and_what_was_accepted_is_committed(
    web_client, services, wait_for
):
    sent = [asyncio.create_task(send(web_client, body_of(points=20_000))) for _ in range(8)]
    await wait_for(lambda: services.intake.used_bytes, interval=0.001)
    async with asyncio.timeout(60):
        await services.drain()

    statuses = [status for status, _, _ in await asyncio.gather(*sent)]
    assert set(statuses) <= {200, 503}
    assert 200 in statuses
    status, problem, _ = await send(web_client, body_of())
    assert (status, problem["code"]) == (503, "shutting_down")


async def test_the_law_of_points_holds_in_the_metrics(web_client):
    async def counted() -> dict[str, float]:
        text = await (await web_client.get("/metrics")).text()
        lines = [line for line in text.splitlines() if line.startswith("ingest_points_total")]
        return {line.split('"')[1]: float(line.rsplit(" ", 1)[1]) for line in lines}

    before = await counted()
    body = body_of(points=7)
    for _ in range(3):
        await send(web_client, body)
    gained = {name: count - before.get(name, 0) for name, count in (await counted()).items()}
    assert {name: count for name, count in gained.items() if count} == {"stored": 7, "repeated": 14}
