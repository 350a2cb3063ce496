"""Reading back what was logged: runs, experiments and whole histories, from the real service."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest

import ingest
from ingest.bench.ports import free_port

NAN_WITH_PAYLOAD = struct.unpack("<d", struct.pack("<Q", 0x7FF8DEADBEEF0001))[0]
STEPS = (5, -(2**63), 2**63 - 1, 5, 0)


@pytest.fixture
def logged(service: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A run that is still going on, in an experiment of its own."""
    monkeypatch.setenv("INGEST_TRACKING_URI", service.url)
    ingest.set_experiment("reading")
    with ingest.start_run(run_name="one", tags={"team": "a"}) as run:
        run.log_params({"lr": 0.1})
        for i, step in enumerate(STEPS):
            run.log_metric("a/b c%2F?", float(i), step=step, timestamp=1_000 + i)
        run.log_metric("bits", NAN_WITH_PAYLOAD, step=1)
        run.log_metric("inf", -math.inf, step=1)
        yield run


def test_a_history_is_there_at_once_and_whole(logged: Any) -> None:
    """The script reads what it has just logged, without a flush of its own."""
    found = ingest.get_metric_history(logged.info.run_id, "a/b c%2F?")

    assert [(m.step, m.value, m.timestamp) for m in found] == [
        (step, float(i), 1_000 + i) for i, step in enumerate(STEPS)
    ]
    assert {m.key for m in found} == {"a/b c%2F?"}
    assert ingest.get_metric_history(logged.info.run_id, "no such metric") == []


def test_a_frame_and_a_table_hold_every_bit(logged: Any) -> None:
    frame = logged.history()
    table = logged.history(["bits", "inf"], output_format="arrow")

    assert list(frame.columns) == ["key", "step", "time_ms", "value"]
    assert sorted(frame["key"].unique()) == ["a/b c%2F?", "bits", "inf"]
    assert list(frame["step"][frame["key"] == "a/b c%2F?"]) == sorted(STEPS)
    assert table.column("key").to_pylist() == ["bits", "inf"]
    bits = table.column("value").chunk(0).buffers()[1].to_pybytes()
    assert bits == struct.pack("<Q", 0x7FF8DEADBEEF0001)
    assert frame[frame["key"] == "bits"]["value"].to_numpy().tobytes() == bits


def test_long_histories_come_in_pages(logged: Any) -> None:
    for step in range(230_000):
        logged.log_metric("long", float(step), step=step)

    batches = list(logged.history("long", output_format="batches"))

    assert [batch.num_rows for batch in batches] == [100_000, 100_000, 30_000]
    assert len(logged.history("long")) == 230_000
    assert [m.step for m in ingest.get_metric_history(logged.info.run_id, "long")[::100_000]] == [
        0,
        100_000,
        200_000,
    ]


@pytest.mark.parametrize("key", [".", "..", "a/../b", "+", "é/日本", "#?&"])
def test_keys_that_look_like_paths(logged: Any, key: str) -> None:
    logged.log_metric(key, 1.5, step=3)

    assert [m.value for m in ingest.get_metric_history(logged.info.run_id, key)] == [1.5]


def test_a_run_has_mlflows_shape(logged: Any) -> None:
    run = ingest.get_run(logged.info.run_id)

    assert (run.info.run_id, run.info.run_name, run.info.status) == (logged.info.run_id, "one", "RUNNING")
    assert run.info.lifecycle_stage == "active"
    assert run.info.end_time is None
    assert run.data.params == {"lr": "0.1"}
    assert run.data.tags["team"] == "a"
    assert run.data.metrics["inf"] == -math.inf
    assert math.isnan(run.data.metrics["bits"])
    assert len(run.history("a/b c%2F?")) == len(STEPS)


def test_experiments_by_id_name_and_filter(logged: Any) -> None:
    logged.flush()
    by_name = ingest.get_experiment_by_name("reading")

    assert by_name is not None
    assert by_name == ingest.get_experiment(by_name.experiment_id)
    assert by_name.creation_time
    assert by_name.lifecycle_stage == "active"
    assert ingest.search_experiments(filter_string="name LIKE 'read%'") == [by_name]
    assert {e.name for e in ingest.search_experiments()} == {"Default", "reading"}
    assert len(ingest.search_experiments(max_results=1)) == 1
    assert ingest.get_experiment_by_name("nobody") is None


def test_what_is_not_there_is_an_error_that_says_so(logged: Any) -> None:
    nobody = "0" * 31 + "1"
    with pytest.raises(ingest.NotFound, match=nobody):
        ingest.get_run(nobody)
    with pytest.raises(ingest.NotFound, match=nobody):
        ingest.get_metric_history(nobody, "loss")
    with pytest.raises(ingest.NotFound):
        ingest.get_experiment(10**6)
    with pytest.raises(ValueError, match="nonsense"):
        ingest.get_run("nonsense")


def test_a_service_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INGEST_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ingest.ReadFailed, match="does not answer"):
        ingest.get_run("0" * 32)
