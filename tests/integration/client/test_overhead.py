"""A run reports its own overhead: to its caller, and by the heartbeat to whoever asks the service."""

from __future__ import annotations

import json
import urllib.request

import pytest

from ingest_client import _sender, sync_spool
from ingest_client._run import Run
from tests.conftest import ServiceProcess
from tests.integration.client.conftest import is_parked, settings_for
from tests.integration.client.stub import wait_until


def test_cost_spool_retries_and_drops_reach_the_service(
    service: ServiceProcess, spool_dir, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(_sender, "HEARTBEAT_PERIOD", 0.2)
    run = Run(settings_for(service.url, spool_dir))
    assert run.stats().call_cost_ns is None
    run.log_metrics({"a": 1.0, "b": 2.0}, 0)

    def told() -> dict[str, int]:
        with urllib.request.urlopen(f"{service.url}/api/v1/runs/{run.id.hex}", timeout=30) as answer:
            stats: dict[str, int] = json.load(answer)["writers"][0]["stats"]
        return stats

    assert run.flush(30)
    wait_until(lambda: told().get("acknowledged") == 2, timeout=30)
    stats = told()
    assert stats["call_cost_ns"] > 0
    assert (
        stats["accepted"] == stats["acknowledged"] + stats["spooled"] + stats["rejected"] + stats["dropped"]
    )
    assert {"spool_bytes", "sent_bytes", "batches", "last_ack_us", "retries"} <= set(stats)
    assert (run.stats().call_cost_ns or 0) > 0
    assert run.stats().accepted_num == 2, "trying the call out is no logging"
    run.end()


def test_a_run_shorter_than_a_heartbeat_says_at_its_end_what_it_cost(service: ServiceProcess, spool_dir):
    """Nothing of it waits any more when the service stores that, and the counters say so."""
    run = Run(settings_for(service.url, spool_dir))
    for step in range(10):
        run.log_metrics({"a": 1.0, "b": 2.0}, step)
    run.end()
    wait_until(lambda: run.is_delivered, timeout=30)
    with urllib.request.urlopen(f"{service.url}/api/v1/runs/{run.id.hex}", timeout=30) as answer:
        found = json.load(answer)
    stats = found["writers"][0]["stats"]
    assert found["status"] == "FINISHED"
    assert stats["call_cost_ns"] > 0
    assert stats["sender_cpu_ms"] >= 0
    assert (stats["accepted"], stats["acknowledged"], stats["spooled"], stats["dropped"]) == (20, 20, 0, 0)


def test_a_run_that_was_logged_offline_says_so_too(service: ServiceProcess, spool_dir):
    run = Run(settings_for(service.url, spool_dir, INGEST_MODE="offline"))
    run.log_metric("a", 1.0)
    run.end()
    wait_until(lambda: is_parked(run))
    assert run.stats().spooled_num == 1
    sync_spool(spool_dir)
    with urllib.request.urlopen(f"{service.url}/api/v1/runs/{run.id.hex}", timeout=30) as answer:
        assert json.load(answer)["writers"][0]["stats"]["call_cost_ns"] > 0
    stats = run.stats()
    assert (stats.acknowledged_num, stats.spooled_num) == (1, 0), "delivered by another, and counted so"
    assert run.is_delivered
