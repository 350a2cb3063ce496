"""What a dead process left is delivered once, whatever happened to its files."""

from __future__ import annotations

import os
import shutil
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.bench.ports import free_port
from ingest_client import sync_spool
from ingest_client._delivery import Delivery
from ingest_client._protocol import Gap, Stored
from ingest_client._recover import DeadSpool, deliver, find_spools
from ingest_client._run import Run
from ingest_schema.wire import decode_batch
from tests.integration.client.conftest import is_parked, settings_for
from tests.integration.client.stub import running_stub, wait_until

LOGGER = """
    import ingest, os, signal, sys
    run = ingest.start_run()
    print(run.info.run_id, flush=True)
    for step in range({steps}):
        run.log_metrics({{"a": step / 2, "b": 1.0}}, step=step, timestamp=step)
        print(step, flush=True) if step % 100 == 0 else None
    {end}
"""


class Memory:
    """A service that keeps the contract."""

    def __init__(self):
        self.last_seq, self.points = 0, []

    def __call__(self, body, seq):
        batch = decode_batch(body)
        assert batch.seq == seq
        if seq > self.last_seq + 1:
            return Gap(self.last_seq + 1)
        repeated = seq <= self.last_seq
        if not repeated:
            self.last_seq = seq
            self.points += batch.points()
        return Stored(repeated)


def left_behind(root, copy_to, log):
    """The spool of a run that logged and died, offline, as a copy that may be damaged."""
    run = Run(settings_for("http://127.0.0.1:9", root, INGEST_MODE="offline"))
    log(run)
    shutil.copytree(root, copy_to, ignore=lambda *_: {"spare"})  # the sender may rename it meanwhile
    run.end()
    wait_until(lambda: is_parked(run))
    return next(find_spools(copy_to))[0]


def adopt(directory: Path, service):
    _, run_id, writer_id = next(find_spools(directory.parent.parent))
    return deliver(directory, run_id, writer_id, service, tracking_uri=None)


def test_a_killed_trainer_loses_nothing(script, stub, spool_dir):
    """SIGKILL in the middle of logging; all calls that returned are delivered by the next who looks."""
    process = script(LOGGER.format(steps=50_000, end=""), f"http://127.0.0.1:{free_port()}")
    process.stdout.readline()
    seen = 0
    while seen < 3000:
        seen = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    (report,) = sync_spool(spool_dir, tracking_uri=stub.url)
    assert report.status == "delivered"
    steps = sorted(p[1] for p in stub.points() if p[0] == "a")
    assert steps == [*range(len(steps))]
    assert len(steps) >= seen
    assert list(spool_dir.rglob("*")) == []


def test_the_next_run_delivers_the_orphans_of_its_service(script, stub, spool_dir, monkeypatch):
    monkeypatch.setattr("ingest_client._recover._swept", set())
    port = free_port()
    process = script(LOGGER.format(steps=500, end="os._exit(3)"), f"http://127.0.0.1:{port}")
    assert process.wait(60) == 3
    with running_stub(port) as other:
        run = Run(settings_for(other.url, spool_dir))
        wait_until(lambda: len(other.points()) == 1000)
        run.end()
        wait_until(lambda: run.is_delivered)
    assert stub.points() == []


def test_a_spool_in_use_is_left_to_its_owner(run, stub, spool_dir):
    run.log_metric("a", 1.0)
    (report,) = sync_spool(spool_dir, tracking_uri=stub.url)
    assert report.status == "in_use"


def test_offline_runs_are_delivered_later(stub, spool_dir):
    for number in range(5):
        run = Run(settings_for(stub.url, spool_dir, INGEST_MODE="offline"), experiment=f"e{number}")
        run.log_metrics({"a": number, "b": 2.0}, 1)
        run.end()
        wait_until(partial(is_parked, run))
    assert stub.requests == []
    reports = sync_spool(spool_dir)
    assert [report.status for report in reports] == ["delivered"] * 5
    assert len(stub.points()) == 10
    assert stub.kinds().count("run_end") == 5
    assert sync_spool(spool_dir) == []


def test_a_service_that_is_away_leaves_the_spool_as_it_is(stub, spool_dir):
    run = Run(settings_for(stub.url, spool_dir, INGEST_MODE="offline"))
    run.log_metric("a", 1.0)
    run.end()
    wait_until(lambda: is_parked(run))
    (report,) = sync_spool(spool_dir, tracking_uri=f"http://127.0.0.1:{free_port()}", patience=0.3)
    assert report.status == "waiting"
    assert report.error is not None
    (report,) = sync_spool(spool_dir)
    assert report.status == "delivered"


def test_the_batch_under_way_is_sent_again_as_it_was(tmp_path):
    """Stored, answer lost, killed: the adopter's first batch has the same number and the same points."""
    service = Memory()
    first: list[Any] = []

    def log(run):
        delivery = Delivery(run.writer.recorder.spool)
        for step in range(100):
            run.log_metric("a", 1.0, step)
        first.append(delivery.next_request(0))
        service(first[0].body, first[0].seq)
        for step in range(100, 200):
            run.log_metric("a", 1.0, step)

    directory = left_behind(tmp_path / "spool", tmp_path / "copy", log)
    report = adopt(directory, service)
    assert sorted(p[1] for p in service.points) == [*range(200)]
    assert report.acknowledged_points == 200


def log_mixed(run):
    run.log_params({"p": 1})
    for step in range(40):
        run.log_metrics({"a": step / 2, "b": 1.0} if step % 2 else {"a": step / 2}, step, step)


WHOLE = sorted(
    [("a", s, s, s / 2) for s in range(40)] + [("b", s, s, 1.0) for s in range(40) if s % 2]
)  # what log_mixed logs


@pytest.fixture(scope="module")
def mixed_spool(tmp_path_factory):
    root = tmp_path_factory.mktemp("mixed")
    return left_behind(root / "spool", root / "copy", log_mixed)


files = st.sampled_from(["00000001.seg", "shapes.a", "shapes.b", "cursor.a", "cursor.b", "meta.json"])


@given(files, st.data())
@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_any_cut_or_flipped_bit_costs_only_what_it_hits(mixed_spool, tmp_path_factory, name, data):
    """Damage to any one file: every intact record is delivered, at most the one that was hit is missing, and is reported."""
    root = tmp_path_factory.mktemp("damaged")
    copy = root / mixed_spool.parent.name / mixed_spool.name
    shutil.copytree(mixed_spool, copy)
    content = bytearray((copy / name).read_bytes())
    used = max(1, len(content.rstrip(b"\0")))
    at = data.draw(st.integers(0, used - 1))
    cut = data.draw(st.booleans())
    if cut:
        del content[at:]
    else:
        content[at] ^= 1 << data.draw(st.integers(0, 7))
    (copy / name).write_bytes(content)
    service = Memory()
    report = adopt(copy, service)
    assert report.status == "delivered"
    got = sorted(service.points)
    missing = [p for p in WHOLE if p not in got]
    assert [p for p in got if p not in WHOLE] == []
    assert len(got) + len(missing) == len(WHOLE)
    if name != "00000001.seg":
        assert missing == []
    elif cut:  # the rest of the file is gone: what was before it is there
        assert missing == [p for p in WHOLE if p[1] >= min((p[1] for p in missing), default=99)]
    else:
        assert len(missing) <= 2
        if missing:
            assert report.damaged_bytes > 0
    shutil.rmtree(root)


def test_without_a_cursor_nothing_is_guessed(mixed_spool, tmp_path):
    """What is stored already could not be told from what is not: the spool is kept and reported."""
    copy = tmp_path / mixed_spool.parent.name / mixed_spool.name
    shutil.copytree(mixed_spool, copy)
    for name in ("cursor.a", "cursor.b"):
        (copy / name).write_bytes(b"")
    report = adopt(copy, Memory())
    assert report.status == "damaged"
    assert (copy / "00000001.seg").exists()


def test_a_dead_spool_knows_its_shapes_from_either_file(mixed_spool, tmp_path):
    copy = tmp_path / mixed_spool.parent.name / mixed_spool.name
    shutil.copytree(mixed_spool, copy)
    os.truncate(copy / "shapes.a", 0)
    from ingest_client._cursor import Cursor

    _, run_id, writer_id = next(find_spools(tmp_path))
    cursor = Cursor.open(copy)
    assert cursor is not None
    assert len(DeadSpool(copy, run_id, writer_id, cursor).shapes) == 2
    cursor.close()
