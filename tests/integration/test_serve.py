"""`ingest serve` as a process: start, stop, drain, workers, kill -9, and what it says when it can't start."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest

from ingest.bench.ports import free_port
from ingest.postgres import running_database_url
from ingest.serving import SAME_SIGNAL
from ingest.store.connect import connect
from ingest.workers import METRICS_PREFIX, remove_abandoned_metrics
from ingest_schema.events import Event
from ingest_schema.ids import new_id
from ingest_schema.wire import Batch, encode_batch
from tests.conftest import (
    ServiceProcess,
    StartService,
    new_database,
    run_apart,
    run_ingest,
)

WaitFor = Callable[..., Awaitable[Any]]


def request(url: str, *, body: bytes | None = None, token: str | None = None) -> tuple[int, dict[str, Any]]:
    """Status and JSON of one request on a connection of its own."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    asked = urllib.request.Request(url, data=body, headers=headers)
    try:
        with urllib.request.urlopen(asked, timeout=30) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def batch(run_id: UUID, writer_id: UUID, seq: int, points: int = 10) -> bytes:
    now = int(time.time() * 1000)
    start = Event("run_start", now, {"experiment": "e", "name": "r", "start_time_ms": now})
    return encode_batch(
        Batch.of_points(
            run_id, writer_id, seq, [("loss", step, now, 0.5) for step in range(points)],
            events=[start] if seq == 1 else [], sent_ms=now,
        )
    )  # fmt: skip


def send(service: ServiceProcess, body: bytes, token: str | None = None) -> tuple[int, dict[str, Any]]:
    return request(f"{service.url}/api/v1/batches", body=body, token=token)


async def stored_points(url: str) -> int:
    async with connect(url, purpose="test") as connection:
        return int(await connection.fetchval("SELECT coalesce(sum(points), 0) FROM writers"))


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


# ---------------------------------------------------------------------------------------------------- start and stop


def test_with_nothing_given_it_brings_its_own_database_and_stops_cleanly(
    start_service: StartService, scratch: Path
) -> None:
    service = start_service()
    run_id, writer_id = new_id(), new_id()

    assert request(service.url + "/readyz")[0] == 200
    assert send(service, batch(run_id, writer_id, 1))[0] == 200
    url = running_database_url(scratch / "data")
    assert url is not None
    assert run_apart(lambda: stored_points(url)) == 10
    assert service.stop() == 0
    assert running_database_url(scratch / "data") is None
    assert f"listening on {service.url}" in service.output().splitlines()

    again = start_service()
    assert send(again, batch(run_id, writer_id, 1))[1]["status"] == "repeated"


def test_a_killed_service_is_followed_by_one_that_adopts_its_database(
    start_service: StartService, scratch: Path
) -> None:
    first = start_service()
    assert send(first, batch(new_id(), new_id(), 1))[0] == 200
    first.kill()
    left = running_database_url(scratch / "data")
    assert left is not None

    second = start_service()

    assert "adopted the PostgreSQL" in second.output()
    assert run_apart(lambda: stored_points(left)) == 10
    assert second.stop() == 0


async def test_postgresql_killed_while_serving_comes_back(
    start_service: StartService, scratch: Path, wait_for: WaitFor
) -> None:
    from ingest.postgres.cluster import find_running_server

    service = start_service()
    run_id, writer_id = new_id(), new_id()
    assert send(service, batch(run_id, writer_id, 1))[0] == 200
    server = find_running_server(scratch / "data" / "postgres")
    assert server is not None

    os.kill(server.pid, signal.SIGKILL)

    async def stored() -> bool:
        status, _ = await asyncio.to_thread(send, service, batch(run_id, writer_id, 2))
        assert status in {200, 503}
        return status == 200

    await wait_for(stored, timeout=60, interval=0.1)
    assert service.stop() == 0


def test_a_second_service_on_the_same_data_is_refused(start_service: StartService, scratch: Path) -> None:
    first = start_service()

    second = start_service(wait=False)

    assert second.process.wait(60) == 1
    assert f"in use by another ingest process (pid {first.pid})" in second.output()


def test_a_port_in_use_is_said_at_once(start_service: StartService, database_url: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        service = start_service("--database-url", database_url, port=port, wait=False)
        assert service.process.wait(60) == 1
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in service.output()


def test_a_database_that_is_away_is_tried_and_then_given_up(start_service: StartService) -> None:
    url = f"postgresql://u:hidden@127.0.0.1:{free_port()}/x"
    service = start_service("--database-url", url, wait=False, env={"INGEST_DATABASE_WAIT": "1"})

    assert service.process.wait(60) == 1
    assert "trying again" in service.output()
    assert "hidden" not in service.output()


def test_a_signal_while_waiting_for_the_database_is_obeyed(start_service: StartService) -> None:
    service = start_service("--database-url", f"postgresql://u@127.0.0.1:{free_port()}/x", wait=False)
    deadline = time.monotonic() + 60
    while "trying again" not in service.output():
        assert time.monotonic() < deadline
        time.sleep(0.05)

    assert service.stop() == 0


def test_an_unmigrated_database_of_the_users_is_left_alone(
    start_service: StartService, empty_database_url: str
) -> None:
    service = start_service("--database-url", empty_database_url, wait=False)

    assert service.process.wait(60) == 1
    assert "run: ingest migrate --database-url" in service.output()

    migrated = run_ingest("migrate", "--database-url", empty_database_url, "--json")
    assert json.loads(migrated.stdout)["version"] >= 1
    assert request(start_service("--database-url", empty_database_url).url + "/readyz")[0] == 200


# ------------------------------------------------------------------------------------------------------------- drain


async def test_sigterm_commits_what_was_accepted_and_exits_0(
    start_service: StartService, database_url: str, wait_for: WaitFor
) -> None:
    """Clients send while the signal comes: each 200 is in the database, each other answer is not."""
    service = start_service("--database-url", database_url)
    acknowledged = 0

    async def client() -> None:
        nonlocal acknowledged
        run_id, writer_id = new_id(), new_id()
        for seq in range(1, 100_000):
            try:
                status, _ = await asyncio.to_thread(send, service, batch(run_id, writer_id, seq, points=100))
            except OSError:
                return  # the port is closed
            if status != 200:
                assert status == 503
                return
            acknowledged += 100

    clients = [asyncio.create_task(client()) for _ in range(4)]
    await wait_for(lambda: acknowledged >= 2_000)
    assert await asyncio.to_thread(service.stop) == 0
    await asyncio.gather(*clients)

    assert await stored_points(database_url) == acknowledged


def is_admitted(service: ServiceProcess) -> bool:
    """Whether some batch is on its way into the service."""
    return metrics_of(service)[1]["ingest_queue_bytes"] > 0


async def test_a_second_signal_exits_at_once(
    start_service: StartService, database_url: str, wait_for: WaitFor
) -> None:
    """But not the same one told twice: `timeout` signals the process and then its group."""
    service = start_service("--database-url", database_url)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(service.url.rpartition(":")[2]))
    # Half a batch: it was admitted, so the drain waits for the rest.
    writer.write(b"POST /api/v1/batches HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf")
    await writer.drain()
    await wait_for(lambda: is_admitted(service))

    service.process.send_signal(signal.SIGTERM)
    await wait_for(lambda: "received SIGTERM" in service.output())
    service.process.send_signal(signal.SIGTERM)
    await asyncio.sleep(SAME_SIGNAL)
    assert service.process.poll() is None
    service.process.send_signal(signal.SIGTERM)

    assert await asyncio.to_thread(service.process.wait, 60) == 128 + signal.SIGTERM
    writer.close()
    del reader


async def test_the_drain_is_bounded(
    start_service: StartService, database_url: str, wait_for: WaitFor
) -> None:
    service = start_service("--database-url", database_url, env={"INGEST_DRAIN_TIMEOUT": "0.5"})
    with socket.create_connection(("127.0.0.1", int(service.url.rpartition(":")[2]))) as stuck:
        stuck.sendall(b"POST /api/v1/batches HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf")
        await wait_for(lambda: is_admitted(service))
        started = time.monotonic()
        assert await asyncio.to_thread(service.stop) == 0
    assert time.monotonic() - started < 25, "the default is 30 s"
    assert "not everything was committed" in service.output()


# ----------------------------------------------------------------------------------------------------------- workers


def workers_of(service: ServiceProcess) -> list[psutil.Process]:
    """Those that live: a killed one may be a zombie for a moment."""
    children = psutil.Process(service.pid).children()
    return [child for child in children if is_worker(child)]


def is_worker(process: psutil.Process) -> bool:
    try:
        return is_running(process.pid) and "ingest.workers" in process.cmdline()
    except psutil.NoSuchProcess:  # it ended in between
        return False


async def test_workers_share_a_port_are_replaced_and_end_with_their_parent(
    start_service: StartService, database_url: str, wait_for: WaitFor
) -> None:
    service = start_service("--database-url", database_url, "--workers", "2")
    first = workers_of(service)
    assert len(first) == 2
    for _ in range(8):
        assert send(service, batch(new_id(), new_id(), 1))[0] == 200
    _, counted = await asyncio.to_thread(metrics_of, service)
    assert counted['ingest_points_total{outcome="stored"}'] == 80  # of both workers together

    first[0].kill()
    await wait_for(
        lambda: len({worker.pid for worker in workers_of(service)} - {first[0].pid}) == 2, timeout=20
    )
    assert await asyncio.to_thread(request, service.url + "/readyz") is not None
    assert await asyncio.to_thread(service.stop) == 0
    assert not any(is_running(worker.pid) for worker in first)
    assert await stored_points(database_url) == 80


def metrics_of(service: ServiceProcess) -> tuple[int, dict[str, float]]:
    with urllib.request.urlopen(service.url + "/metrics", timeout=30) as response:
        lines = response.read().decode().splitlines()
        pairs = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
        return response.status, {name: float(value) for name, _, value in pairs}


async def test_workers_stop_when_their_parent_is_killed(
    start_service: StartService, database_url: str, wait_for: WaitFor
) -> None:
    service = start_service("--database-url", database_url, "--workers", "2")
    pids = [worker.pid for worker in workers_of(service)]

    service.kill()

    await wait_for(lambda: not any(is_running(pid) for pid in pids), timeout=60)
    left = f"{METRICS_PREFIX}{service.pid}-"
    remove_abandoned_metrics()
    assert [name for name in os.listdir(tempfile.gettempdir()) if name.startswith(left)] == []


# ------------------------------------------------------------------------------------------------------------ tokens


def test_off_loopback_it_needs_a_token_and_says_how_to_make_one(
    start_service: StartService, database_url: str
) -> None:
    refused = start_service("--database-url", database_url, "--host", "0.0.0.0", wait=False)
    assert refused.process.wait(60) == 1
    assert "ingest token create NAME --role admin" in refused.output()

    made = run_ingest("token", "create", "trainer", "--role", "write", INGEST_DATABASE_URL=database_url)
    token = made.stdout.strip()
    assert token.startswith("ingest_"), made.stderr
    service = start_service("--database-url", database_url, "--host", "0.0.0.0")

    body = batch(new_id(), new_id(), 1)
    assert request(service.url + "/healthz")[0] == 200
    assert send(service, body)[0] == 401
    assert send(service, body, token=token)[0] == 200
    assert request(service.url + "/metrics", token=token)[0] == 403

    listed = json.loads(run_ingest("token", "list", "--json", INGEST_DATABASE_URL=database_url).stdout)
    assert [(row["name"], row["role"], row["is_valid"]) for row in listed] == [("trainer", "write", True)]
    assert token not in json.dumps(listed)
    assert run_ingest("token", "revoke", "trainer", INGEST_DATABASE_URL=database_url).returncode == 0
    deadline = time.monotonic() + 60
    while send(service, body, token=token)[0] != 401:
        assert time.monotonic() < deadline, "a revoked token goes on working"
        time.sleep(0.2)
    assert run_ingest("token", "revoke", "trainer", INGEST_DATABASE_URL=database_url).returncode == 1


# --------------------------------------------------------------------------------------------------- a user's server


def test_a_users_own_server_serves_as_well(start_service: StartService, postgres15: str) -> None:
    with new_database(postgres15) as url:
        assert run_ingest("migrate", "--database-url", url).returncode == 0
        service = start_service("--database-url", url)
        assert send(service, batch(new_id(), new_id(), 1))[0] == 200
        assert run_apart(lambda: stored_points(url)) == 10
        assert "s3cret" not in service.output()
        assert service.stop() == 0


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_log_lines_have_the_chosen_form(
    log_format: str, start_service: StartService, database_url: str
) -> None:
    service = start_service("--database-url", database_url, "--log-format", log_format)
    assert service.stop() == 0

    lines = [line for line in service.output().splitlines() if not line.startswith("listening on")]
    if log_format == "json":
        assert {json.loads(line)["level"] for line in lines} == {"info"}
    else:
        assert any(line.endswith(f"listening on {service.url}") for line in lines)
