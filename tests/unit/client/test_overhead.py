"""What a run says about its own cost."""

from __future__ import annotations

import pytest

from ingest_client._overhead import call_cost_ns


@pytest.mark.parametrize("accelerated", [True, False])
def test_the_cost_of_a_call_is_that_of_the_usual_way(accelerated: bool):
    """A scratch recorder that went the slow way at each call would say many microseconds, and be wrong."""
    cost = min(call_cost_ns(("a", "b", "c"), accelerated=accelerated) or 1e9 for _ in range(5))
    assert 20 < cost < 20_000


def test_nothing_is_tried_for_no_keys_or_for_too_many():
    assert call_cost_ns(()) is None
    assert call_cost_ns(tuple(map(str, range(5000)))) is None


def test_every_call_takes_the_fast_path(monkeypatch: pytest.MonkeyPatch):
    from ingest_client import _overhead
    from ingest_client._recorder import Recorder

    slow: list[object] = []

    class Watched(Recorder):
        def record(self, metrics, step, timestamp):
            slow.append(metrics)
            super().record(metrics, step, timestamp)

    monkeypatch.setattr(_overhead, "Recorder", Watched)
    call_cost_ns(("a", "b"))
    assert len(slow) == 1, "only the first, which defines the keys"
