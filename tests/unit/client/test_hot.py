"""The logging call in C does what the closures do, byte for byte, and holds on to nothing."""

from __future__ import annotations

import sys
import uuid
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_client._recorder import Recorder

HotPath = pytest.importorskip("ingest_client._hot", reason="this build has no C extension").HotPath

KEYS = st.sampled_from(["loss", "acc", "läuft", "😀/x", "k" * 1000])
VALUES = st.one_of(
    st.floats(width=64),
    st.integers(-(2**80), 2**80),
    st.booleans(),
    st.floats(width=32).map(np.float32),
    st.floats().map(np.float64),
    st.integers(-(2**31), 2**31 - 1).map(np.int32),
    st.sampled_from(["0.5", None, 10**400, np.array([1.0]), np.array([1.0, 2.0])]),
)
STEPS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.sampled_from([None, True, 1.0, 2**63, np.int64(4)]))
TIMES = st.one_of(st.integers(-(2**63), 2**63 - 1), st.sampled_from([0.5, -(2**63) - 1]))
CALLS = st.lists(st.tuples(st.dictionaries(KEYS, VALUES, max_size=4), STEPS, TIMES), max_size=12)


class Sink:
    """A spool in memory: the least of one that a recorder needs."""

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.shapes: dict[int, tuple[str, ...]] = {}

    def write(self, record: bytes) -> int:
        self.records.append(record)
        return len(record)

    def put(self, record: bytes, points: int) -> None:
        assert points
        self.records.append(record)

    def define(self, keys: tuple[str, ...]) -> int:
        self.shapes[16 + len(self.shapes)] = keys
        return 15 + len(self.shapes)


def make(*, accelerated: bool) -> tuple[Recorder, Sink]:
    sink = Sink()
    spool: Any = sink
    recorder = Recorder(lambda: spool, accelerated=accelerated)
    recorder.attach(sink.write)
    recorder.open()
    return recorder, sink


def outcome(call: Any, *args: Any, **options: Any) -> str:
    try:
        call(*args, **options)
    except Exception as error:  # noqa: BLE001 - which one is what is compared
        return f"{type(error).__name__}: {error}"
    return "stored"


@given(CALLS)
def test_any_calls_leave_the_same_records_and_raise_the_same_errors(calls):
    """Each call twice, since the second one finds its keys and types known."""
    (fast, fast_sink), (slow, slow_sink) = make(accelerated=True), make(accelerated=False)
    for metrics, step, time_ms in calls:
        for _ in range(2):
            assert outcome(fast.log_metrics, metrics, step, time_ms) == outcome(
                slow.log_metrics, metrics, step, time_ms
            )
        for key, value in metrics.items():
            options = {"step": step, "timestamp": time_ms}
            assert outcome(fast.log_metric, key, value, **options) == outcome(
                slow.log_metric, key, value, **options
            )
    assert fast_sink.records == slow_sink.records
    assert fast_sink.shapes == slow_sink.shapes


def test_the_usual_call_never_reaches_python():
    """Else all of this would be for nothing, and nothing would tell."""
    recorder, sink = make(accelerated=True)
    recorder.log_metrics({"a": 1.0, "b": 2.0}, 1)
    recorder.log_metric("a", 1.0, 1)
    closures: list[str] = []
    hot = HotPath(
        recorder._shapes,
        recorder._singles,
        lambda *_, **__: closures.append("log_metrics"),
        lambda *_, **__: closures.append("log_metric"),
        sink.write,
    )
    hot.log_metrics({"a": 3.0, "b": 4.0})
    hot.log_metrics({"a": 3.0, "b": 4.0}, 2, 5)
    hot.log_metrics({"a": 3.0, "b": 4.0}, timestamp=None, step=2)
    hot.log_metric("a", 3, 2)
    hot.log_metric("a", True, timestamp=7)
    assert closures == []
    assert len(sink.records) == 7


@pytest.mark.parametrize(
    ("args", "options"),
    [
        ((), {}),
        (({"a": 1.0}, 1, 2, 3), {}),
        (({"a": 1.0}, 1), {"step": 1}),
        (({"a": 1.0},), {"steps": 1}),
        ((), {"metrics": {"a": 1.0}}),
        ((OrderedDict(a=1.0),), {}),
        (({"a": 1.0, "b": 2.0, "c": 3.0},), {}),
        (({},), {}),
        (({1: 1.0},), {}),
        (({"a": "1"},), {}),
    ],
)
def test_the_unusual_call_reaches_python_untouched(args, options):
    recorder, sink = make(accelerated=True)
    recorder.log_metrics({"a": 1.0}, 1)
    seen: list[Any] = []
    hot = HotPath(
        recorder._shapes,
        recorder._singles,
        lambda *a, **o: seen.append((a, o)),
        recorder.log_metric,
        sink.write,
    )
    before = len(sink.records)
    hot.log_metrics(*args, **options)
    assert seen == [(args, options)]
    assert len(sink.records) == before


def test_a_write_that_fails_is_done_over_by_python():
    """A full segment raises ValueError; the closure opens the next one."""
    recorder, sink = make(accelerated=True)
    recorder.log_metrics({"a": 1.0}, 1, 1)

    def full(record: bytes) -> None:
        raise ValueError("data out of range")

    recorder.attach(full)
    recorder.log_metrics({"a": 2.0}, 2, 2)  # the slow path puts it
    assert len(sink.records) == 2
    recorder.attach(sink.write)
    recorder.log_metrics({"a": 3.0}, 3, 3)
    assert [record[8] for record in sink.records] == [1, 2, 3]


def test_new_shapes_after_a_fork_are_not_mistaken_for_the_old_ones():
    """`forget` clears the shapes; the keys of the last call are remembered by address and must go as well."""
    recorder, _ = make(accelerated=True)
    metrics = {"a": 1.0, "b": 2.0}
    recorder.log_metrics({"other": 1.0}, 0)
    recorder.log_metrics(metrics, 1)
    recorder.log_metrics(metrics, 2)
    recorder.forget()
    fresh: Any = Sink()
    recorder._open_spool = lambda: fresh
    recorder.attach(fresh.write)
    recorder.log_metrics(metrics, 3)
    recorder.log_metrics(metrics, 4)
    assert {int.from_bytes(record[4:8], "little") for record in fresh.records} == set(fresh.shapes)


def test_calls_keep_no_references():
    recorder, sink = make(accelerated=True)
    value, key, step = 12345.678, uuid.uuid4().hex, 2**40
    metrics = {key: value}
    for _ in range(2):  # the second call remembers the keys
        recorder.log_metrics(metrics, step)
        recorder.log_metric(key, value, step)
    sink.records.clear()
    before = [sys.getrefcount(thing) for thing in (value, key, step, metrics)]
    for _ in range(1000):
        recorder.log_metrics(metrics, step)
        recorder.log_metric(key, value, step)
        recorder.log_metrics(metrics, step=step, timestamp=step)
        with pytest.raises(TypeError):
            recorder.log_metric(key, value, stop=step)
    assert [sys.getrefcount(thing) for thing in (value, key, step, metrics)] == before
    assert {sys.getrefcount(record) for record in sink.records} == {2 + 1}  # the list, the loop, the call


def test_wide_records_have_the_checksum_of_zlib():
    """Beyond 5,552 bytes the sums have to be reduced in between."""
    import zlib

    recorder, sink = make(accelerated=True)
    for width in (1, 7, 100, 689, 690, 691, 4096):
        metrics = {f"k{i}": -1.0e300 * i for i in range(width)}
        recorder.log_metrics(metrics, -1, -1)
        recorder.log_metrics(metrics, -1, -1)
        by_python, by_c = sink.records[-2:]
        assert by_c == by_python
        assert int.from_bytes(by_c[-8:], "little") == zlib.adler32(by_c[:-8])
