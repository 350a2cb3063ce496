"""A process that has as many files open as it may: what it logs waits in memory, goes to the disk when it can, and is never taken for lost."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.bench.ports import free_port
from ingest_client import sync_spool
from ingest_client._artifacts_recover import deliver_artifacts, find_artifact_spools
from ingest_client._recover import deliver, find_spools
from ingest_client._run import Run
from ingest_client._settings import Settings
from ingest_client._transport import Transport
from tests.integration.client.conftest import is_parked, settings_for
from tests.integration.client.stub import Stub, running_stub, wait_until
from tests.integration.client.test_recovery import Memory

pytestmark = pytest.mark.timeout(180)

LIMIT = 64

HOG = f"""
    import atexit, os, resource, signal, sys, time
    import ingest
    taken = []
    atexit.register(lambda: os.close(taken.pop()))  # called last: glibc needs a descriptor to end threads
    resource.setrlimit(resource.RLIMIT_NOFILE, ({LIMIT}, {LIMIT}))
    with ingest.start_run() as run:  # whatever is imported with the first run is there
        run.log_metric("first", 1.0)
        run.flush(1)
    def hog():
        try:
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
    def give_back():
        while len(taken) > 1:
            os.close(taken.pop())
    def log(run, steps):
        for step in steps:
            run.log_metrics({{"a": 1.0, "b": step / 2}}, step)
"""


def distinct(stub: Stub) -> tuple[int, int]:
    """Points stored, and how many of them are there once."""
    points = stub.points()
    return len(points), len({point[:2] for point in points})


def test_a_run_goes_on_when_its_process_has_no_descriptor_left(script, stub, spool_dir):
    """New keys, and far more than the segments at hand hold."""
    source = """
    run = ingest.start_run()
    run.log_metric("live", 1.0)
    assert run.flush(20)
    hog()
    log(run, range(20_000))
    stats = run.stats()
    assert (stats.accepted_num, stats.dropped_num) == (40_001, 0), stats
    give_back()
    assert run.flush(20), run.stats()
    """
    process = script(HOG + source, stub.url)
    _, errors = process.communicate(timeout=50)
    assert process.returncode == 0, errors
    assert "as many files open as it may" in errors
    assert distinct(stub) == (40_002, 40_002)
    assert list(spool_dir.rglob("*.seg")) == []


def test_a_run_that_starts_without_a_descriptor_is_on_the_disk_as_soon_as_there_are_some(script, spool_dir):
    """From then on it survives SIGKILL as any other does."""
    source = """
    hog()
    run = ingest.start_run()
    log(run, range(5_000))
    assert not os.path.isdir(run.spool_dir)
    give_back()
    while not run.writer.recorder.spool.is_ashore:
        time.sleep(0.01)
    log(run, range(5_000, 6_000))
    assert run.stats().accepted_num == 12_000
    os.kill(os.getpid(), signal.SIGKILL)
    """
    port = free_port()
    process = script(HOG + source, f"http://127.0.0.1:{port}")
    _, errors = process.communicate(timeout=50)
    assert process.returncode == -signal.SIGKILL, errors
    with running_stub(port) as stub:
        reports = sync_spool(spool_dir)
        assert [(report.status, report.damaged_bytes) for report in reports] == [("delivered", 0)] * 2
        assert distinct(stub) == (12_001, 12_001)


def test_more_runs_at_once_than_there_are_descriptors_for(script, stub, spool_dir):
    source = """
    taken.append(os.open("/dev/null", os.O_RDONLY))
    runs = [ingest.start_run(nested=True) for _ in range(40)]
    for number, run in enumerate(runs):
        log(run, range(100 * number, 100 * number + 100))
    for run in runs:
        run.end()
    assert ingest.flush(30)
    assert sum(run.stats().acknowledged_num for run in runs) == 8_000
    """
    process = script(HOG + source, stub.url)
    _, errors = process.communicate(timeout=50)
    assert process.returncode == 0, errors
    assert distinct(stub) == (8_001, 8_001)
    assert [e.body["status"] for e in stub.events() if e.kind == "run_end"] == ["FINISHED"] * 41
    assert list(spool_dir.rglob("*.seg")) == []


def test_what_goes_down_with_the_process_is_said(script):
    source = """
    hog()
    log(ingest.start_run(), range(100))
    """
    process = script(HOG + source, f"http://127.0.0.1:{free_port()}", INGEST_SHUTDOWN_TIMEOUT="0.5")
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert "200 points of run" in errors
    assert "are lost" in errors


@contextlib.contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """So many more files may be opened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    files: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 32, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                files.append(os.open("/dev/null", os.O_RDONLY))
        for fd in files[len(files) - count :]:
            os.close(fd)
        del files[len(files) - count :]
        yield
    finally:
        for fd in files:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def left_behind(spool_dir: Path) -> Settings:
    """The spools of a run that was logged offline: points, and an artifact."""
    settings = settings_for("http://127.0.0.1:1", spool_dir, INGEST_MODE="offline")
    run = Run(settings)
    run.log_metrics({"a": 1.0, "b": 2.0}, step=1)
    run.log_text("text", "note.txt")
    run.end()
    wait_until(lambda: is_parked(run))
    return settings


@pytest.mark.parametrize("count", range(9))
def test_a_spool_that_can_not_be_read_just_now_is_neither_damaged_nor_empty(left_behind, spool_dir, count):
    """Whichever file it is that there is no descriptor for; afterwards everything is delivered, once."""
    ((points, run_id, writer_id),) = find_spools(spool_dir)
    memory = Memory()
    with descriptors_left(count):
        report = deliver(points, run_id, writer_id, memory, tracking_uri=None)
    assert report.status in {"in_use", "waiting", "delivered"}
    if report.status != "delivered":
        report = deliver(points, run_id, writer_id, memory, tracking_uri=None)
    assert (report.status, report.damaged_bytes) == ("delivered", 0)
    assert [point[0] for point in memory.points] == ["a", "b"]


@pytest.mark.parametrize("count", range(6))
def test_artifacts_that_can_not_be_read_just_now_are_kept(left_behind, spool_dir, stub, count):
    sync = Transport(stub.url, answer_timeout=2.0)  # the stub shares the descriptors of this process
    ((points, run_id, writer_id),) = find_spools(spool_dir)
    assert deliver(points, run_id, writer_id, sync.post_batch, tracking_uri=None).status == "delivered"
    ((artifacts, _, spool_id),) = find_artifact_spools(spool_dir)
    with descriptors_left(count):
        report = deliver_artifacts(artifacts, run_id, spool_id, sync, left_behind, tracking_uri=None)
    assert report.status in {"in_use", "waiting", "delivered"}
    assert report.rejected_artifacts == 0
    sync_spool(spool_dir, tracking_uri=stub.url)
    assert stub.artifacts.of(run_id.hex) == {"note.txt": b"text"}
    sync.close()
