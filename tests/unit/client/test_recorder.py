"""The logging call: what it accepts, what it refuses, and that refusing stores nothing."""

from __future__ import annotations

import signal
import threading
import time
import uuid
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from ingest_client._columns import BatchLimits, Columns
from ingest_client._recorder import Recorder
from ingest_client._spool import Spool
from ingest_schema.errors import BadKey, BadStep, BadTime, BadValue


@pytest.fixture(params=[True, False], ids=["C", "Python"])
def recorder(request, tmp_path):
    recorder = make(tmp_path, 1 << 26, accelerated=request.param)
    yield recorder
    recorder.spool.dispose(delete=True)


def make(root, max_bytes, *, accelerated=True):
    made = Recorder(
        lambda: Spool(
            root,
            uuid.uuid4(),
            uuid.uuid4(),
            max_bytes=max_bytes,
            meta={},
            on_switch=made.attach,
            wake=lambda: None,
            warn=lambda cause, message: None,
        ),
        accelerated=accelerated,
    )
    made.open()
    return made


def stored(recorder):
    import struct

    rows = []
    for segment in recorder.spool.segments:
        columns = Columns()
        columns.collect(
            segment.words,
            2,
            recorder.spool.limit(segment),
            recorder.spool.shapes,
            limits=BatchLimits(points=1 << 40, keys=1 << 40),
            breathe=lambda: None,
        )
        keys, counts, steps, times, values = columns.finish()
        names = [
            key for key, n in zip(keys, struct.iter_unpack("<I", counts), strict=True) for _ in range(n[0])
        ]
        rows += [
            (name, s[0], t[0], v[0])
            for name, s, t, v in zip(
                names,
                struct.iter_unpack("<q", steps),
                struct.iter_unpack("<q", times),
                struct.iter_unpack("<d", values),
                strict=True,
            )
        ]
    return rows


@pytest.mark.parametrize(
    ("value", "number"),
    [(1, 1.0), (True, 1.0), (0.1, 0.1), (np.float32(0.5), 0.5), (np.int64(-3), -3.0), (np.uint8(7), 7.0),
     (np.bool_(True), 1.0), (np.array([2.5]), 2.5), (float("inf"), float("inf")), (2**53 + 1, 2.0**53)],
)  # fmt: skip
def test_numbers_of_all_kinds(recorder, value, number):
    """Twice, since the second call of a kind takes the fast path."""
    for step in (1, 2):
        recorder.log_metrics({"x": value, "y": 0.0}, step, 9)
        recorder.log_metric("z", value, step, 9)
    assert [row for row in stored(recorder) if row[0] != "y"] == [
        ("x", 1, 9, number), ("x", 2, 9, number), ("z", 1, 9, number), ("z", 2, 9, number)
    ]  # fmt: skip


def test_a_cpu_tensor_is_read_at_once(recorder):
    torch = pytest.importorskip("torch")
    recorder.log_metrics({"loss": torch.tensor(0.25), "n": torch.tensor([3])}, 1, 1)
    assert stored(recorder) == [("loss", 1, 1, 0.25), ("n", 1, 1, 3.0)]


@pytest.mark.parametrize("value", ["0.5", None, Decimal(1), 1j, np.array([1.0, 2.0]), [1.0], 10**400])
def test_what_is_no_number_is_refused_by_name(recorder, value):
    """Also when the same keys went well before; and nothing of the call is stored."""
    recorder.log_metrics({"good": 1.0, "bad": 1.0}, 1)
    before = stored(recorder)
    with pytest.raises(BadValue, match="bad"):
        recorder.log_metrics({"good": 1.0, "bad": value}, 2)
    with pytest.raises(BadValue, match="bad"):
        recorder.log_metric("bad", value, 2)
    assert stored(recorder) == before


@pytest.mark.parametrize("step", [1.0, "1", 2**63, -(2**63) - 1, True])
def test_bad_steps(recorder, step):
    recorder.log_metrics({"a": 1.0}, 1)
    with pytest.raises(BadStep):
        recorder.log_metrics({"a": 1.0}, step)
    with pytest.raises(BadStep):
        recorder.log_metric("a", 1.0, step)


def test_bad_times_and_keys_and_containers(recorder):
    with pytest.raises(BadTime, match="milliseconds"):
        recorder.log_metric("a", 1.0, 1, time.time())
    for key in ("", "a\0b", "x" * 1001, 5):
        with pytest.raises(BadKey):
            recorder.log_metrics({"fine": 1.0, key: 1.0}, 1)
    with pytest.raises(TypeError, match="mapping"):
        recorder.log_metrics([("a", 1.0)], 1)
    assert stored(recorder) == []


def test_any_int64_step_and_no_step(recorder):
    steps: list[Any] = [-(2**63), 2**63 - 1, 0, -1, np.int32(5)]
    for step in steps:
        recorder.log_metric("a", 1.0, step)
    recorder.log_metric("a", 1.0)
    recorder.log_metrics({"a": 1.0}, None)
    assert [row[1] for row in stored(recorder)] == [*(int(s) for s in steps), 0, 0]


def test_time_is_now_in_milliseconds(recorder):
    before = time.time_ns() // 1_000_000
    recorder.log_metric("a", 1.0)
    recorder.log_metrics({"a": 1.0})
    assert all(before <= row[2] <= time.time_ns() // 1_000_000 for row in stored(recorder))


def test_a_call_that_brings_its_time_is_as_fast_and_as_strict(recorder, monkeypatch):
    """The slow path costs 18 µs; a loop that measures its own time would pay it at every call."""
    recorder.log_metrics({"a": 1.0, "b": 2.0}, 1)
    recorder.log_metric("a", 1.0, 1)
    checked_slowly: list[object] = []
    monkeypatch.setattr("ingest_client._recorder.as_step", checked_slowly.append)
    for time_ms in (-(2**63), 0, 2**63 - 1):
        recorder.log_metrics({"a": 1.0, "b": 2.0}, 2, time_ms)
        recorder.log_metric("a", 1.0, 2, time_ms)
    assert checked_slowly == []
    assert sorted(row[2] for row in stored(recorder) if row[1] == 2) == sorted(3 * [-(2**63), 0, 2**63 - 1])
    monkeypatch.undo()
    for bad_time in (2**63, True, 0.5, "1"):
        with pytest.raises(BadTime):
            recorder.log_metrics({"a": 1.0, "b": 2.0}, 3, bad_time)
        with pytest.raises(BadTime):
            recorder.log_metric("a", 1.0, 3, bad_time)
    assert not [row for row in stored(recorder) if row[1] == 3]


def test_a_call_of_100_000_metrics_is_split(recorder):
    recorder.log_metrics({f"m{i}": float(i) for i in range(100_000)}, 3)
    rows = stored(recorder)
    assert len(rows) == 100_000
    assert {(f"m{i}", float(i)) for i in range(100_000)} == {(row[0], row[3]) for row in rows}


def test_ever_new_sets_of_keys_do_not_grow_for_ever(recorder, monkeypatch):
    monkeypatch.setattr("ingest_client._recorder.MAX_SHAPES", 20)
    for i in range(100):
        recorder.log_metrics({f"k{i % 7}": 1.0, f"q{i % 11}": 2.0}, i)
    assert len(stored(recorder)) == 200
    assert len([keys for keys in recorder.spool.shapes.values() if len(keys) > 1]) <= 20


def test_threads_share_a_run(recorder):
    """No lock in the fast path: records of eight threads neither mix nor vanish across changes of segment."""

    def work(number: int) -> None:
        for step in range(5000):
            recorder.log_metrics({"thread": float(number), "half": step / 2}, step)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = stored(recorder)
    assert len(rows) == 80_000
    assert sorted(row[1] for row in rows if row[0] == "half" and row[3] == row[1] / 2) == sorted(
        [*range(5000)] * 8
    )


def test_a_signal_handler_may_log(recorder):
    """It interrupts the main thread anywhere, also between two steps of a logging call."""
    handled = 0

    def handler(number, frame):
        nonlocal handled
        recorder.log_metric("signal", float(handled), handled)
        handled += 1

    former = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        for step in range(60_000):
            recorder.log_metrics({"a": 1.0, "b": 2.0}, step)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
    rows = stored(recorder)
    assert handled > 5
    assert sum(row[0] == "signal" for row in rows) == handled
    assert len(rows) == 120_000 + handled


def test_a_full_spool_drops_the_newest_and_counts(tmp_path):
    recorder = make(tmp_path, 4 * 2**20)
    for step in range(150_000):
        recorder.log_metric("a", 1.0, step)
    rows, dropped = stored(recorder), recorder.spool.dropped["spool_full"]
    assert dropped > 0
    assert len(rows) + dropped == 150_000
    assert [row[1] for row in rows] == [*range(len(rows))]
    recorder.spool.dispose(delete=True)


def test_a_full_disk_drops_and_counts(tmp_path, monkeypatch):
    """ENOSPC comes when a segment is allocated; never as SIGBUS in the middle of training."""
    recorder = make(tmp_path, 1 << 30)

    def no_space(fd, size):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ingest_client._segment._allocate", no_space)
    for step in range(10_000):
        recorder.log_metric("a", 1.0, step)
    assert recorder.spool.dropped["disk_full"] + len(stored(recorder)) == 10_000
    recorder.spool.dispose(delete=True)


def test_the_spool_is_for_its_owner_only(recorder):
    directory = recorder.spool.directory
    assert directory.stat().st_mode & 0o077 == 0
    assert directory.parent.parent.stat().st_mode & 0o077 == 0
    assert [
        path.name for path in directory.iterdir() if path.suffix == ".seg" and path.stat().st_mode & 0o077
    ] == []
