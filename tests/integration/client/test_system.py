"""What accompanies a run: metrics of the machine by a writer of their own, and where the run comes from, both in the background."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
import time
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import ingest
from ingest_client import _environment, _machine, _system
from ingest_client._launch import Ranks
from ingest_client._run import Run
from ingest_client._warn import Warner
from tests.conftest import ServiceProcess
from tests.integration.client.stub import Stub, quickest, wait_until

INTERVAL = 0.2


@pytest.fixture(autouse=True)
def clean_system() -> Iterator[None]:
    _environment._kept.clear()
    yield
    wait_until(lambda: "ingest-system" not in {thread.name for thread in threading.enumerate()})


@pytest.fixture
def sampled(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> Stub:
    return switch_on(stub, monkeypatch, INGEST_SYSTEM_METRICS="on", INGEST_SYSTEM_METRICS_INTERVAL=str(INTERVAL))  # fmt: skip


@pytest.fixture
def captured(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> Stub:
    """The end of a run waits for what is found out as long as that takes; that it waits a second at most has a test of its own."""
    monkeypatch.setattr(_system, "accompany", partial(_system.accompany, end_patience=60.0))
    return switch_on(stub, monkeypatch, INGEST_ENVIRONMENT="on", INGEST_SHUTDOWN_TIMEOUT="60")


def switch_on(stub: Stub, monkeypatch: pytest.MonkeyPatch, **variables: str) -> Stub:
    for name, value in {"INGEST_TRACKING_URI": stub.url, "INGEST_MAX_AGE": "0.05", **variables}.items():
        monkeypatch.setenv(name, value)
    return stub


def machine_points(stub: Stub) -> list[tuple[str, int, int, float]]:
    return [point for point in stub.points() if point[0].startswith("system/")]


def tags_of(stub: Stub, run: Run) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for event in stub.events(run.id):
        if event.kind == "tags":
            found |= event.body
    return found


def is_delivered(run: Run) -> bool:
    return run.is_delivered


def has_machine_points(stub: Stub, run: Run) -> bool:
    return any(point[0].startswith("system/") for point in stub.points(run.id))


def settle(run: Run) -> None:
    """End it, and wait until all of it has arrived."""
    ingest.end_run()
    wait_until(lambda: run.is_delivered, timeout=30)


# --- metrics of the machine -------------------------------------------------------------------------------------------


def test_the_machine_is_logged_by_a_writer_of_its_own(sampled: Stub):
    run = ingest.start_run(run_name="mine")
    for step in range(5):
        ingest.log_metric("loss", 1.0, step=step)
    wait_until(lambda: len({p[2] for p in machine_points(sampled)}) >= 2, timeout=30)
    settle(run)
    keys = {p[0] for p in machine_points(sampled)}
    assert {
        "system/cpu_percent",
        "system/memory_bytes",
        "system/process_memory_bytes",
        "system/disk_used_percent",
    } <= keys
    by_writer: dict[Any, set[str]] = {}
    for batch in sampled.batches:
        by_writer.setdefault(batch.writer_id, set()).update(p[0].partition("/")[0] for p in batch.points())
    assert sorted(map(sorted, by_writer.values())) == [["loss"], ["system"]]
    assert [p[1] for p in sampled.points() if p[0] == "loss"] == [0, 1, 2, 3, 4]
    assert run.stats().accepted_num == 5, "the run's own account is of what its script logged"
    starts = [event.body for event in sampled.events(run.id) if event.kind == "run_start"]
    assert [start["start_time_ms"] for start in starts] == [run.info.start_time] * 2, (
        "no second start to revive an ended run"
    )
    hosts = [event.body["host"] for event in sampled.events(run.id) if event.kind == "writer"]
    assert hosts == [os.uname().nodename] * 2
    wait_until(lambda: sampled.kinds(run.id).count("writer_end") == 2, timeout=30)
    assert sampled.kinds(run.id).count("run_end") == 1


def test_steps_are_seconds_since_the_start_of_the_run(sampled: Stub):
    run = ingest.start_run()
    run._start_ms -= 100_000  # as if it had begun a hundred seconds ago
    wait_until(lambda: machine_points(sampled), timeout=30)
    settle(run)
    for _, step, time_ms, _ in machine_points(sampled):
        assert step == round((time_ms - run.info.start_time) / 1000)
        assert 100 <= step < 160


def test_a_run_shorter_than_an_interval_has_none_and_no_second_writer(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
):
    switch_on(stub, monkeypatch, INGEST_SYSTEM_METRICS="on", INGEST_SYSTEM_METRICS_INTERVAL="60")
    with ingest.start_run() as run:
        ingest.log_metric("loss", 1.0)
    wait_until(lambda: run.is_delivered)
    assert machine_points(stub) == []
    assert len({batch.writer_id for batch in stub.batches}) == 1


def test_switched_off_no_thread_is_started(stub: Stub, monkeypatch: pytest.MonkeyPatch):
    switch_on(stub, monkeypatch)
    with ingest.start_run() as run:
        assert run.companion is None
        assert "ingest-system" not in {thread.name for thread in threading.enumerate()}


def test_runs_of_one_process_share_a_thread_and_each_has_its_metrics(sampled: Stub):
    first = ingest.start_run()
    second = ingest.start_run(nested=True)
    assert [thread.name for thread in threading.enumerate()].count("ingest-system") == 1
    for run in (first, second):
        wait_until(partial(has_machine_points, sampled, run), timeout=30)
    settle(second)
    wait_until(lambda: sampled.kinds(second.id).count("writer_end") == 2)
    ended = len(sampled.points(second.id))
    more = len(sampled.points(first.id))
    wait_until(lambda: len(sampled.points(first.id)) > more, timeout=30)
    assert len(sampled.points(second.id)) == ended, "an ended run has no more metrics"
    settle(first)


def test_gpus_are_logged_with_their_number(sampled: Stub, monkeypatch: pytest.MonkeyPatch):
    nvml = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda i: i,
        nvmlDeviceGetUtilizationRates=lambda i: SimpleNamespace(gpu=90 + i),
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    run = ingest.start_run()
    wait_until(lambda: machine_points(sampled), timeout=30)
    settle(run)
    gpus = {(key, value) for key, _, _, value in machine_points(sampled) if "gpu" in key}
    assert gpus == {("system/gpu0/utilization_percent", 90.0), ("system/gpu1/utilization_percent", 91.0)}


def test_a_machine_that_tells_nothing_is_said_once(
    sampled: Stub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(_machine, "find_probe", lambda: None)
    monkeypatch.setattr(_system, "warn", Warner())
    monkeypatch.setitem(sys.modules, "pynvml", None)
    for _ in range(2):
        with ingest.start_run() as run:
            wait_until(lambda: _system._server is None, timeout=30)
        wait_until(partial(is_delivered, run))
    assert machine_points(sampled) == []
    assert sum(record.message.count("psutil is not installed") for record in caplog.records) == 1


def test_a_machine_that_breaks_costs_the_metrics_only(
    sampled: Stub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def broken() -> Any:
        raise OSError("the /proc of this container has gone")

    monkeypatch.setattr(_system, "warn", Warner())
    monkeypatch.setattr(_machine, "find_probe", lambda: broken)
    run = ingest.start_run()
    wait_until(lambda: _system._server is None, timeout=30)
    ingest.log_metric("loss", 1.0)
    settle(run)
    assert [p[0] for p in sampled.points()] == ["loss"]
    assert "has gone" in caplog.text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_samples_for_a_run_of_its_own_only(sampled: Stub, script: Any):
    source = """
        import os, time
        import ingest

        def wait_sampled(run):
            while run.companion._writer is None:  # made with the first sample
                time.sleep(0.01)

        run = ingest.start_run(run_name="parent")
        wait_sampled(run)
        pid = os.fork()
        if pid == 0:
            ingest.log_metric("child", 1.0)
            time.sleep(0.6)
            with ingest.start_run(run_name="own", nested=True) as own:
                wait_sampled(own)
            os.kill(os.getpid(), 15)
            time.sleep(10)
        os.waitpid(pid, 0)
        ingest.end_run()
    """
    process = script(
        source, sampled.url, INGEST_SYSTEM_METRICS="on", INGEST_SYSTEM_METRICS_INTERVAL=str(INTERVAL)
    )
    output, errors = process.communicate(timeout=90)
    assert process.returncode == 0, output + errors
    names = {e.body["name"]: b.run_id for b in sampled.batches for e in b.events if e.kind == "run_start"}
    writers: dict[Any, set[str]] = {}
    for batch in sampled.batches:
        if batch.run_id == names["parent"]:
            writers.setdefault(batch.writer_id, set()).update(p[0].partition("/")[0] for p in batch.points())
    assert sorted(sorted(kinds) for kinds in writers.values() if kinds) == [["child"], ["system"]]
    assert {p[0].partition("/")[0] for p in sampled.points(names["own"])} == {"system"}


@pytest.mark.parametrize(
    ("ranks", "expected"),
    [
        (None, (True, True)),
        (Ranks("x", 0, 8, 0, 4), (True, True)),
        (Ranks("x", 1, 8, 1, 4), (False, False)),
        (Ranks("x", 4, 8, 0, 4), (True, False)),
        (Ranks("x", 0, 8, None, None), (True, True)),
        (Ranks("x", 4, 8, None, None), (False, False)),
    ],
)
def test_one_rank_a_machine_samples_and_one_a_job_captures(ranks: Ranks | None, expected: tuple[bool, bool]):
    assert (_system.samples(ranks), _system.captures(ranks)) == expected


def test_starting_a_run_waits_for_neither(stub: Stub, monkeypatch: pytest.MonkeyPatch):
    """A machine on which finding out takes long: the start is as quick as without, and the end waits its second at most."""
    switch_on(stub, monkeypatch, INGEST_ENVIRONMENT="on", INGEST_SYSTEM_METRICS="on")
    go_on = threading.Event()
    monkeypatch.setattr(_environment, "capture", lambda *_: go_on.wait(20) and ({}, {}))
    began = time.monotonic()
    run = ingest.start_run()
    ingest.log_metric("loss", 1.0)
    assert time.monotonic() - began < 5
    began = time.monotonic()
    ingest.end_run()
    assert time.monotonic() - began < 10
    go_on.set()
    wait_until(lambda: run.is_delivered, timeout=30)
    assert "ingest.env.host" in tags_of(stub, run), "what was known by then"


# --- where a run comes from -------------------------------------------------------------------------------------------


def test_the_shortest_run_says_where_it_comes_from(captured: Stub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MY_SECRET", "tr0ub4dor")
    monkeypatch.setenv("ELSEWHERE", "x tr0ub4dor y")
    with ingest.start_run() as run:
        pass
    wait_until(lambda: run.is_delivered, timeout=30)
    tags = tags_of(captured, run)
    assert {
        "mlflow.source.name",
        "mlflow.source.type",
        "ingest.env.command",
        "ingest.env.packages_num",
    } <= set(tags)
    assert tags["ingest.env.host"] == os.uname().nodename
    files = captured.artifacts.of(run.id.hex)
    assert b"pytest==" in files["environment/packages.txt"]
    assert b"ELSEWHERE=x *** y\n" in files["environment/environment.txt"]
    assert not [text for text in (*map(str.encode, tags.values()), *files.values()) if b"tr0ub4dor" in text]


def test_tags_of_the_user_stay_as_they_are(captured: Stub):
    run = ingest.start_run(tags={"mlflow.source.name": "mine", "ingest.env.host": None})
    settle(run)
    found = [e.body for e in captured.events(run.id) if e.kind == "tags"]
    assert [body["mlflow.source.name"] for body in found if "mlflow.source.name" in body] == ["mine"]
    assert [body["ingest.env.host"] for body in found if "ingest.env.host" in body] == [None]
    assert "ingest.env.python" in tags_of(captured, run)


def test_a_nested_run_leaves_the_files_to_its_parent(captured: Stub):
    with ingest.start_run() as outer, ingest.start_run(nested=True) as inner:
        pass
    for run in (outer, inner):
        wait_until(partial(is_delivered, run), timeout=30)
        assert "ingest.env.command" in tags_of(captured, run)
    assert outer.stats().artifacts_accepted_num >= 2
    assert inner.stats().artifacts_accepted_num == 0


def test_a_run_gone_on_with_by_its_id_keeps_its_environment(captured: Stub):
    with ingest.start_run() as run:
        pass
    wait_until(lambda: run.is_delivered, timeout=30)
    before = captured.kinds(run.id).count("tags")
    with ingest.start_run(run_id=run.id.hex) as again:
        pass
    wait_until(lambda: again.is_delivered)
    assert captured.kinds(run.id).count("tags") == before
    with ingest.start_run(run_id=run.id.hex, resume_from_step=3) as resumed:
        pass
    wait_until(lambda: resumed.is_delivered, timeout=30)
    assert captured.kinds(run.id).count("tags") > before


async def test_an_event_loop_does_not_wait_at_the_end(captured: Stub, monkeypatch: pytest.MonkeyPatch):
    go_on = threading.Event()
    monkeypatch.setattr(_environment, "first_facts", lambda *_: go_on.wait(20) and {})
    async with ingest.AsyncClient(captured.url) as client:
        runs = [client.start_run() for _ in range(3)]
        assert quickest(lambda: runs.pop().end()) < 0.5
        go_on.set()


# --- with the service -------------------------------------------------------------------------------------------------


def test_a_resume_supersedes_no_metric_of_the_machine(service: ServiceProcess, spool_dir: Path):
    """The second attempt resumes from step 0, so that every later step of the first is superseded, but for the machine's."""
    source = """
        import sys, time
        import ingest
        run_id, step = sys.argv[1:]
        resume = int(step) if step != "-" else None
        with ingest.start_run(run_id=run_id, resume_from_step=resume) as run:
            for step in range(1, 6):
                ingest.log_metric("loss", 1.0, step=step)
            time.sleep(2.5)  # the machine's steps are seconds
        ingest.flush(30)
    """
    run_id = "0123456789abcdef0123456789abcdef"
    environment = {
        **os.environ, "INGEST_TRACKING_URI": service.url, "INGEST_SPOOL_DIR": str(spool_dir), "INGEST_SHUTDOWN_TIMEOUT": "20",
        "INGEST_SYSTEM_METRICS": "on", "INGEST_SYSTEM_METRICS_INTERVAL": "0.5", "INGEST_ENVIRONMENT": "on",
    }  # fmt: skip
    for step in ("-", "0"):
        subprocess.run(
            [sys.executable, "-c", textwrap.dedent(source), run_id, step], env=environment, check=True, timeout=150
        )  # fmt: skip

    def ask(path: str) -> Any:
        with urllib.request.urlopen(f"{service.url}/api/v1/runs/{run_id}{path}", timeout=30) as answer:
            return json.load(answer)

    told = ask("")
    assert told["status"] == "FINISHED"
    assert sorted(writer["attempt"] for writer in told["writers"]) == [1, 1, 2, 2]
    assert len({writer["host"] for writer in told["writers"]}) == 1

    def counted(key: str, attempt: str = "") -> int:
        return len(ask(f"/series/{key}{attempt}")["columns"]["step"])

    assert (counted("loss"), counted("loss", "?attempt=1")) == (5, 5)
    first, second = (counted("system%2Fcpu_percent", f"?attempt={number}") for number in (1, 2))
    assert min(first, second) >= 2
    assert counted("system%2Fcpu_percent") == first + second
