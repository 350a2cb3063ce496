"""The process that draws charts: requests through the serving process reach it, and its death costs nobody more than a moment."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import aiohttp
import msgpack
import psutil
import pytest

from ingest import chart_process


def drawing_processes(of: int | None = None) -> list[psutil.Process]:
    """Those that this process, or another, has started itself."""
    return [child for child in psutil.Process(of).children() if draws(child)]


def draws(process: psutil.Process) -> bool:
    """Whether it is one that lives: others may end while they are looked at."""
    try:
        return "ingest.web.chart_worker" in process.cmdline()
    except psutil.NoSuchProcess:
        return False


def socket_of(process: psutil.Process) -> str:
    """Where it listens; empty before it does."""
    return next(
        (str(one.laddr) for one in process.net_connections("unix") if "charts.sock" in str(one.laddr)), ""
    )


@pytest.fixture
async def path(store, run_id):
    await store.log(run_id, *[(i, 1_000 + i, float(i)) for i in range(100)], key="train/loss é")
    return f"/api/v1/runs/{run_id.hex}/series/train%2Floss%20%C3%A9"


async def test_requests_reach_it_and_answers_come_back_whole(web_client, path, run_id):
    assert drawing_processes() == []  # nobody has asked for a chart yet
    answer = await web_client.get(path, params={"buckets": "10"})
    body = await answer.json()
    assert (answer.status, body["told"]) == (200, "100 points in 10 buckets")
    assert "draw;dur=" in answer.headers["Server-Timing"]
    assert "total;dur=" in answer.headers["Server-Timing"]
    assert len(drawing_processes()) == 1

    again = await web_client.get(
        path, params={"buckets": "10"}, headers={"If-None-Match": answer.headers["ETag"]}
    )
    assert (again.status, await again.read()) == (304, b"")
    head = await web_client.head(path)
    assert (head.status, await head.read()) == (200, b"")

    many = await web_client.post(
        "/api/v1/series/query",
        json={"runs": [run_id.hex], "keys": ["train/loss é"], "buckets": 10},
        headers={"Accept": "application/msgpack"},
    )
    assert many.content_type == "application/msgpack"
    assert msgpack.unpackb(await many.read())["series"][0]["told"] == "100 points in 10 buckets"


async def test_a_refusal_keeps_its_form_and_its_request_id(web_client, path):
    absent = await web_client.get(path + "x", headers={"X-Request-Id": "mine"})
    problem = await absent.json()
    assert (absent.status, problem["code"], problem["request_id"]) == (404, "not_found", "mine")
    assert absent.content_type == "application/problem+json"
    wrong = await web_client.get(path, params={"buckets": "0"})
    assert (wrong.status, (await wrong.json())["code"]) == (400, "bad_request")


@pytest.mark.parametrize("delay", [chart_process.FIRST_DELAY, 0.0])
async def test_a_killed_one_is_replaced_before_anybody_sees_an_error(web_client, path, monkeypatch, delay):
    """Also where its death is noticed late: without a delay everybody asks again before."""
    monkeypatch.setattr(chart_process, "FIRST_DELAY", delay)
    assert (await web_client.get(path)).status == 200
    (first,) = drawing_processes()
    first.kill()
    answers = await asyncio.gather(*(web_client.get(path) for _ in range(8)))
    assert [answer.status for answer in answers] == [200] * 8
    (second,) = drawing_processes()
    assert second.pid != first.pid


async def test_one_that_cannot_be_started_is_tried_again_for_who_waits(
    web_client, path, monkeypatch, caplog, wait_for
):
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    asked = asyncio.create_task(web_client.get(path))
    await wait_for(lambda: "can't be started" in caplog.text)
    monkeypatch.undo()
    assert (await asked).status == 200


async def test_one_that_hangs_is_an_answer_that_says_so_and_is_replaced(web_client, path, monkeypatch):
    assert (await web_client.get(path)).status == 200
    (process,) = drawing_processes()
    process.suspend()
    monkeypatch.setattr(chart_process, "ANSWER_TIMEOUT", 0.2)
    answer = await web_client.get(path)
    assert (answer.status, (await answer.json())["code"]) == (503, "charts_unavailable")
    assert "Retry-After" in answer.headers
    monkeypatch.undo()
    assert (await web_client.get(path)).status == 200


async def test_opening_the_dashboard_wakes_it_and_it_ends_with_a_parent_that_was_killed(service, wait_for):
    """SIGKILL leaves the serving process no moment to tell anybody."""
    async with aiohttp.ClientSession() as http, http.get(service.url + "/") as page:
        assert page.status == 200
    await wait_for(lambda: drawing_processes(service.pid), timeout=60)
    (process,) = drawing_processes(service.pid)
    socket = Path(await wait_for(lambda: socket_of(process), timeout=60))
    os.kill(service.pid, signal.SIGKILL)
    await wait_for(lambda: not process.is_running(), timeout=60)
    assert not socket.parent.exists()
