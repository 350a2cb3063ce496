"""One life of a trainer under chaos: logs through the real client, keeps its ledger, and gets killed sooner or later.

Run as `python -m ingest.bench.chaos_writer`; orders as one line of JSON on standard input. It logs until its standard
input says "go", then ends its run and prints one line of JSON. Usually it does not come to that.

What it logs follows from slot and step alone (`expected_value`, `expected_time_ms`), so the ledger's two counters say
everything about what must be stored.

Units: seconds; *_ms milliseconds.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import ingest
from ingest.bench.chaos_ledger import Ledger
from ingest.bench.child import is_told, read_orders, say

START_MS: Final = 1_760_000_000_000
METRICS: Final = ("loss", "accuracy", "grad_norm")
FLUSH_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterOrders:
    """Who the trainer is."""

    url: str
    experiment: str
    run_id: str
    slot: int
    """Number among the writers; its metrics carry it, since several writers share a run."""
    ledger: str
    calls_per_s: float


def metric_key(slot: int, metric: str) -> str:
    """The metric's name in the run that this writer shares with others."""
    return f"writer_{slot}/{metric}"


def expected_value(slot: int, metric: str, step: int) -> float:
    """Exact in float64, and different for every writer, metric and step."""
    return step + slot / 16 + METRICS.index(metric) / 256


def expected_time_ms(step: int) -> int:
    """A time on an axis of its own."""
    return START_MS + 7 * step


def log_until_told(orders: WriterOrders, ledger: Ledger) -> dict[str, Any]:
    """Log at the given pace until standard input speaks; the counters at the end."""
    keys = [(metric_key(orders.slot, metric), metric) for metric in METRICS]
    ingest.set_tracking_uri(orders.url)
    ingest.set_experiment(orders.experiment)
    calls = 0
    with ingest.start_run(run_id=orders.run_id) as run:
        due = time.monotonic()
        while not is_told(max(0.0, due - time.monotonic())):
            due = max(due + 1.0 / orders.calls_per_s, time.monotonic() - 0.1)
            step = ledger.begun
            metrics = {key: expected_value(orders.slot, metric, step) for key, metric in keys}
            ledger.begin(step)
            run.log_metrics(metrics, step=step, timestamp=expected_time_ms(step))
            ledger.end(step)
            calls += 1
        flushed = run.flush(timeout=FLUSH_TIMEOUT)
        return {"flushed": flushed, "points": calls * len(METRICS), "stats": asdict(run.stats())}


def main() -> None:
    """Take orders, log, say how it ended."""
    orders = WriterOrders(**read_orders())
    with Ledger(Path(orders.ledger)) as ledger:
        say(log_until_told(orders, ledger))


if __name__ == "__main__":
    main()
