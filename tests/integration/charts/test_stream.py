"""The live stream over a real socket: news within a second or two, silence when there is none, and a bounded memory."""

import asyncio
import json
import uuid

import pytest

from ingest.live import hub as hub_module
from ingest.web import stream as stream_module


class Reader:
    """Server-sent events off a response."""

    def __init__(self, response):
        self.response = response
        self.bytes = 0

    async def event(self, timeout=60.0):
        """The next event: its cursor and its runs. Comments are passed over."""
        cursor = None
        async with asyncio.timeout(timeout):
            while True:
                line = await self.response.content.readline()
                assert line, "the stream ended"
                self.bytes += len(line)
                if line.startswith(b"id: "):
                    cursor = line[4:].strip().decode()
                elif line.startswith(b"data: "):
                    return cursor, json.loads(line[6:])["runs"]


def watch(client, *run_ids, keys=("loss",), cursor=None):
    params = [("run", run_id.hex) for run_id in run_ids] + [("key", key) for key in keys]
    return client.get("/api/v1/stream", params=params, headers={"Last-Event-ID": cursor} if cursor else {})


async def test_a_point_is_told_of_with_its_metric(web_client, store, run_id):
    await store.log(run_id, (1, 10, 0.5))
    async with watch(web_client, run_id) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        reader = Reader(response)
        _, (run,) = await reader.event()
        assert run["series"] == {"loss": {"n": 1, "step": 1, "time_ms": 10, "value": 0.5}}
        await store.log(run_id, (2, 20, 0.25), (3, 30, 0.125))
        _, (run,) = await reader.event()
        assert run["series"] == {"loss": {"n": 3, "step": 3, "time_ms": 30, "value": 0.125}}
        await store.end(run_id)
        _, (run,) = await reader.event()
        assert (run["status"], run["series"]) == ("FINISHED", {})


async def test_who_comes_back_with_a_cursor_is_told_only_what_is_new(web_client, store):
    run_ids = [uuid.uuid4() for _ in range(3)]
    for run_id in run_ids:
        await store.log(run_id, (1, 10, 0.5))
    async with watch(web_client, *run_ids) as response:
        cursor, runs = await Reader(response).event()
        assert len(runs) == 3
    await store.log(run_ids[1], (2, 20, 0.5))
    async with watch(web_client, *run_ids, cursor=cursor) as response:
        _, runs = await Reader(response).event()
        assert [run["run_id"] for run in runs] == [run_ids[1].hex]


async def test_fifty_idle_runs_cost_next_to_nothing(web_client, store, monkeypatch):
    """One batch in one of fifty runs moves less than 10 kB, and nothing at all when nothing happens."""
    monkeypatch.setattr(stream_module, "HEARTBEAT", 0.2)
    run_ids = [uuid.uuid4() for _ in range(50)]
    for run_id in run_ids:
        await store.log(run_id, (1, 10, 0.5))
    async with watch(web_client, *run_ids, keys=[f"k{i}" for i in range(20)]) as response:
        reader = Reader(response)
        seen = 0
        while seen < 50:
            seen += len((await reader.event())[1])
        before = reader.bytes
        async with asyncio.timeout(60):
            assert await response.content.readline() in {b"\n", b": alive\n"}
        await store.log(run_ids[7], (2, 20, 0.5))
        await reader.event()
        assert reader.bytes - before < 10_000


async def test_streams_are_counted_and_bounded(web_client, store, run_id, monkeypatch):
    monkeypatch.setattr(hub_module, "MAX_WATCHERS", 1)
    await store.log(run_id, (1, 10, 0.5))
    async with watch(web_client, run_id) as response:
        await Reader(response).event()
        refused = await watch(web_client, run_id)
        assert refused.status == 429
        assert (await refused.json())["code"] == "too_many_streams"


@pytest.mark.parametrize("query", ["", "run=x", "&".join(f"run={i:032x}" for i in range(201))])
async def test_a_question_that_makes_no_sense_is_refused(web_client, query):
    answer = await web_client.get(f"/api/v1/stream?{query}")
    assert (answer.status, (await answer.json())["code"]) == (400, "bad_request")
