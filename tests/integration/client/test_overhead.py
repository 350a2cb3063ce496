"""A run reports its own overhead: to its caller, and by the heartbeat to whoever asks the service."""

from __future__ import annotations

import json
import urllib.request

import pytest

from ingest_client import _sender
from ingest_client._run import Run
from tests.conftest import ServiceProcess
from tests.integration.client.conftest import settings_for
from tests.integration.client.stub import wait_until


def test_cost_spool_retries_and_drops_reach_the_service(
    service: ServiceProcess, spool_dir, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(_sender, "HEARTBEAT_PERIOD", 0.2)
    run = Run(settings_for(service.url, spool_dir))
    assert run.stats().call_cost_ns is None
    run.log_metrics({"a": 1.0, "b": 2.0}, 0)

    def told() -> dict[str, int]:
        with urllib.request.urlopen(f"{service.url}/api/v1/runs/{run.id.hex}", timeout=10) as answer:
            stats: dict[str, int] = json.load(answer)["writers"][0]["stats"]
        return stats

    assert run.flush(10)
    wait_until(lambda: told().get("acknowledged") == 2, timeout=10)
    stats = told()
    assert stats["call_cost_ns"] > 0
    assert (
        stats["accepted"] == stats["acknowledged"] + stats["spooled"] + stats["rejected"] + stats["dropped"]
    )
    assert {"spool_bytes", "sent_bytes", "batches", "last_ack_us", "retries"} <= set(stats)
    assert (run.stats().call_cost_ns or 0) > 0
    assert run.stats().accepted_num == 2, "trying the call out is no logging"
    run.end()
