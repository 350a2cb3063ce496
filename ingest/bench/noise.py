"""A writer that only makes noise: logs to a run of its own until its standard input is closed, then says what it logged.

Run as `python -m ingest.bench.noise`; orders as one line of JSON on standard input, one line of JSON as the answer.
The example trains under load from some of these, and afterwards their points are counted too.

Units: seconds.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import ingest
from ingest.bench.child import is_told, read_orders, say

FLUSH_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseOrders:
    """How loud."""

    url: str
    experiment: str
    number: int
    scalars: int = 20
    calls_per_s: float = 500.0


def make_noise(orders: NoiseOrders) -> dict[str, Any]:
    """Log until told to stop; steps are shuffled, repeated and negative, as the service must take them."""
    ingest.set_tracking_uri(orders.url)
    ingest.set_experiment(orders.experiment)
    calls = 0
    with ingest.start_run(run_name=f"noise {orders.number}") as run:
        due = time.monotonic()
        while not is_told(max(0.0, due - time.monotonic())):
            due = max(due + 1.0 / orders.calls_per_s, time.monotonic() - 1.0)
            step = (calls * 7919) % 10_007 - 5_000
            run.log_metrics(
                {f"noise/{i}": math.sin(calls / (i + 7)) for i in range(orders.scalars)}, step=step
            )
            calls += 1
        flushed = run.flush(timeout=FLUSH_TIMEOUT)
        return {"run_id": run.info.run_id, "points": calls * orders.scalars, "flushed": flushed}


def main() -> None:
    """Take orders, make noise, say how much it was."""
    orders = NoiseOrders(**read_orders())
    say(make_noise(orders))


if __name__ == "__main__":
    main()
