"""Reading back: listings in pages, a run whole, raw points exactly as logged, by HTTP and by SQL alike."""

from __future__ import annotations

import math
import random
import struct
from collections import Counter
from typing import Any
from urllib.parse import quote
from uuid import UUID

import msgpack
import numpy as np
import pytest

from ingest_schema.events import Event
from ingest_schema.ids import new_id
from ingest_schema.wire import Batch, encode_batch

Point = tuple[int, int, bytes]


async def get(web_client: Any, path: str, *, status: int = 200) -> Any:
    from yarl import URL

    response = await web_client.get(URL(path, encoded=True))
    assert response.status == status, await response.text()
    return await response.json()


async def log(web_client: Any, batch: Batch) -> None:
    response = await web_client.post("/api/v1/batches", data=encode_batch(batch))
    assert response.status == 200, await response.text()


def start(name: str = "a", start_time_ms: int = 1, experiment: str = "reads") -> Event:
    return Event("run_start", 0, {"experiment": experiment, "name": name, "start_time_ms": start_time_ms})


async def pages(web_client: Any, path: str, name: str, limit: int) -> list[Any]:
    entries: list[Any] = []
    token = ""
    while True:
        page = await get(web_client, f"{path}?limit={limit}" + (f"&page_token={token}" if token else ""))
        assert len(page[name]) <= limit
        entries += page[name]
        token = page["next_page_token"]
        if token is None:
            return entries


async def read_points(web_client: Any, run_id: UUID, key: str, limit: int, *, packed: bool) -> list[Point]:
    """All points of a series: steps, times and the bits of the values."""
    from yarl import URL

    found: list[Point] = []
    token = ""
    while True:
        path = (
            f"/api/v1/runs/{run_id.hex}/series/{quote(key, safe='')}/points?limit={limit}&page_token={token}"
        )
        headers = {"Accept": "application/msgpack"} if packed else {}
        response = await web_client.get(URL(path, encoded=True), headers=headers)
        assert response.status == 200, await response.text()
        if packed:
            page = msgpack.unpackb(await response.read())
            steps, times_ms = (np.frombuffer(page[name], "<i8").tolist() for name in ("steps", "times_ms"))
            values = np.frombuffer(page["values"], "<f8").tolist()
        else:
            page = await response.json()
            steps, times_ms, values = page["steps"], page["times_ms"], map(float, page["values"])
        assert page["n"] == len(steps) <= limit
        found += zip(steps, times_ms, (struct.pack("d", value) for value in values), strict=True)
        token = page["next_page_token"]
        if token is None:
            return found


async def test_100_000_shuffled_points_come_back_as_the_same_multiset(web_client):
    """Any int64 step, any order, repeats, NaN and the infinities: by HTTP in both forms, and by SQL."""
    rng = random.Random(20)
    odd = [-(2**63), 2**63 - 1, 0, -1, 7]
    values = [math.nan, math.inf, -math.inf, 0.1, -0.0, 1e308, *(rng.gauss(0, 1) for _ in range(500))]
    points = [
        ("loss/träin %", rng.choice([rng.randrange(50_000), rng.choice(odd)]), rng.choice([rng.randrange(10**12), *odd]),
         rng.choice(values))
        for _ in range(100_000)
    ]  # fmt: skip
    run_id, writers = new_id(), [new_id() for _ in range(3)]
    for i in range(30):
        part = points[i::30]
        events = [start()] if i < 3 else []
        await log(web_client, Batch.of_points(run_id, writers[i % 3], i // 3 + 1, part, events=events))
    expected = Counter((step, time_ms, struct.pack("d", value)) for _, step, time_ms, value in points)

    assert Counter(await read_points(web_client, run_id, "loss/träin %", 17_000, packed=False)) == expected
    assert Counter(await read_points(web_client, run_id, "loss/träin %", 33_333, packed=True)) == expected

    sql = f"SELECT step, time_ms, value FROM metrics WHERE run_id = '{run_id.hex}'"
    answer = await (await web_client.post("/api/v1/sql", json={"sql": sql})).json()
    assert Counter((s, t, struct.pack("d", float(v))) for s, t, v in answer["rows"]) == expected


@pytest.mark.parametrize("limit", [1, 7, 100])
async def test_a_page_may_end_inside_a_chunk(web_client, limit):
    run_id = new_id()
    for seq in (1, 2):
        events = [start()] if seq == 1 else []
        points = [("a", i, seq, float(i)) for i in range(30)]
        await log(web_client, Batch.of_points(run_id, run_id, seq, points, events=events))

    found = await read_points(web_client, run_id, "a", limit, packed=True)
    assert Counter(point[:2] for point in found) == Counter((i, seq) for i in range(30) for seq in (1, 2))


async def test_pages_go_on_while_compaction_moves_the_points_to_other_rows(web_client, services):
    """The first half is read from small chunks, the second from merged ones: every point once, in order of step."""
    from ingest.compaction.worker import Progress, compact_all
    from ingest.store.compaction import Compaction

    run_id, rng = new_id(), random.Random(3)
    logged = [
        ("a", rng.randrange(300), rng.randrange(5), rng.choice([math.nan, 1.0, 2.0])) for _ in range(2_000)
    ]
    for seq in range(1, 21):
        events = [start()] if seq == 1 else []
        await log(
            web_client,
            Batch.of_points(run_id, run_id, seq, logged[seq * 100 - 100 : seq * 100], events=events),
        )

    found: list[tuple[int, int, str]] = []
    token: str | None = ""
    turn = 0
    while token is not None:
        page = await get(
            web_client, f"/api/v1/runs/{run_id.hex}/series/a/points?limit=150&page_token={token}"
        )
        found += zip(page["steps"], page["times_ms"], map(str, page["values"]), strict=True)
        token, turn = page["next_page_token"], turn + 1
        if turn == 5:
            async with Compaction.open(services.database_url) as compaction:
                assert compaction is not None
                await compact_all(compaction, Progress(), everything=True)
            sql = {"sql": "SELECT (SELECT count(*) FROM packed_chunks), (SELECT count(*) FROM metric_chunks)"}
            packed, plain = (await (await web_client.post("/api/v1/sql", json=sql)).json())["rows"][0]
            assert (packed > 0, plain) == (True, 0)

    assert Counter(found) == Counter((s, t, "NaN" if math.isnan(v) else str(v)) for _, s, t, v in logged)
    assert [point[:2] for point in found] == sorted(point[:2] for point in found)


async def test_listings_come_in_pages_without_gap_or_repeat(web_client):
    runs = [new_id() for _ in range(7)]
    for i, run_id in enumerate(runs):
        event = start(f"run-{i}", start_time_ms=i // 2, experiment=f"e{i % 3}")
        await log(web_client, Batch(run_id=run_id, writer_id=new_id(), seq=1, sent_ms=0, events=[event]))

    listed = await pages(web_client, "/api/v1/runs", "runs", 2)
    assert sorted(run["run_id"] for run in listed) == sorted(run_id.hex for run_id in runs)
    assert [run["start_time_ms"] for run in listed] == sorted(
        (run["start_time_ms"] for run in listed), reverse=True
    )
    experiments = await pages(web_client, "/api/v1/experiments", "experiments", 1)
    assert {experiment["name"] for experiment in experiments} == {"Default", "e0", "e1", "e2"}
    mine = await get(web_client, "/api/v1/runs?experiment=e1")
    assert {run["name"] for run in mine["runs"]} == {"run-1", "run-4"}
    one = await get(web_client, f"/api/v1/experiments/{mine['runs'][0]['experiment_id']}")
    assert (one["name"], one["tags"]) == ("e1", {})


async def test_a_run_shows_all_that_was_said_of_it(web_client):
    run_id, writer_id = new_id(), new_id()
    events = [
        start("whole", 5),
        Event("writer", 0, {"rank": 1, "host": "h", "pid": 7}),
        Event("params", 0, {"lr": "0.1"}),
        Event("tags", 0, {"team": "ä"}),
        Event("heartbeat", 0, {"accepted": 2}),
    ]
    points = [("b", 1, 1, math.nan), ("a", 3, 9, -1.5), ("a", 2, 8, 4.0)]
    await log(web_client, Batch.of_points(run_id, writer_id, 1, points, events=events))

    run = await get(web_client, f"/api/v1/runs/{run_id}")
    assert (run["run_id"], run["name"], run["status"], run["experiment"]) == (
        run_id.hex,
        "whole",
        "RUNNING",
        "reads",
    )
    assert (run["params"], run["tags"]) == ({"lr": "0.1"}, {"team": "ä"})
    (writer,) = run["writers"]
    assert (writer["writer_id"], writer["rank"], writer["stats"]) == (writer_id.hex, 1, {"accepted": 2})

    a, b = await pages(web_client, f"/api/v1/runs/{run_id.hex}/series", "series", 1)
    assert (a["key"], a["n"], a["last_step"], a["last_value"]) == ("a", 2, 3, -1.5)
    assert (a["min_value"], a["min_step"], a["max_value"]) == (-1.5, 3, 4.0)
    assert (b["last_value"], b["min_value"], b["non_finite"]) == ("NaN", None, 1)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("runs/" + "0" * 32, 404), ("runs/" + "0" * 32 + "/series", 404), ("runs/" + "0" * 32 + "/series/a/points", 404),
        ("runs/xyz", 400), ("experiments/99", 404), ("experiments/x", 400), ("experiments/" + "9" * 30, 400),
        ("runs?experiment=nope", 404), ("runs?limit=0", 400), ("runs?limit=-1", 400), ("runs?limit=x", 400),
        ("runs?page_token=zzz", 400), ("runs?lifecycle=x", 400), ("runs?limit=99999999", 200),
    ],
)  # fmt: skip
async def test_what_is_not_there_or_not_understood_is_said(web_client, path, status):
    assert await get(web_client, f"/api/v1/{path}", status=status)
