"""One writer of `ingest bench load --client`: the same points as `load_worker`, logged through the real client.

Run as `python -m ingest.bench.load_client`, with the orders and the protocol of `load_worker`. A logging call has one
step of all metrics. Flat out, the loop waits while the client has BACKLOG_POINTS that are not acknowledged: a logging
call never waits, and what a full spool drops would be nobody's throughput.

Units: seconds; *_ns nanoseconds.
"""

from __future__ import annotations

import resource
import time
from array import array
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ingest
from ingest.bench.child import read_orders, say, wait_for_go
from ingest.bench.load_worker import Orders, WriterResult
from ingest.bench.template import START_MS, metric_keys, series_values

BACKLOG_POINTS = 1_000_000
FLUSH_TIMEOUT = 120.0
LOOK_EVERY = 64
"""Calls between two looks at the counters."""


def log_for(orders: Orders, run: ingest.Run, result: WriterResult, calls_ns: array[int]) -> float:
    """Log until the time is over and everything is acknowledged; seconds from the end of the warm-up until then."""
    points = orders.metrics * orders.chunk_points
    values = series_values(points, result.seed).reshape(orders.metrics, orders.chunk_points).T.tolist()
    keys = metric_keys(orders.metrics)
    rows = [dict(zip(keys, row, strict=True)) for row in values]
    measure_from = time.monotonic() + orders.warmup
    end = measure_from + orders.duration
    step = logged_before = 0
    due = time.monotonic()
    while (now := time.monotonic()) < end:
        if now < measure_from:
            logged_before = step
        for row in rows:  # whole batches of the workload, so that the sums follow from their number
            begin = time.perf_counter_ns()
            run.log_metrics(row, step=step, timestamp=START_MS + step)
            calls_ns.append(time.perf_counter_ns() - begin)
            step += 1
            if step % LOOK_EVERY == 0 and orders.interval is None:
                _wait_for_backlog(run)
        if orders.interval is not None:
            due += orders.interval
            time.sleep(max(0.0, due - time.monotonic()))
    if not run.flush(timeout=FLUSH_TIMEOUT):
        raise RuntimeError(f"not acknowledged within {FLUSH_TIMEOUT:.0f} s: {run.stats()}")
    result.acknowledged = step // orders.chunk_points
    result.measured = (step - logged_before) // orders.chunk_points
    return time.monotonic() - measure_from


def _wait_for_backlog(run: ingest.Run) -> None:
    while run.stats().spooled_num > BACKLOG_POINTS:
        time.sleep(0.002)


def main() -> None:
    """Take orders, log, print the result."""
    orders = Orders(**read_orders())
    run_id, _, seed = orders.writers[0]
    result = WriterResult(run_id, seed)
    say("ready")
    if not wait_for_go():
        return
    ingest.set_tracking_uri(orders.url)
    ingest.set_experiment(orders.experiment)
    calls_ns = array("q")
    cpu_before = time.process_time()
    with ingest.start_run() as run:
        result.run_id = run.info.run_id
        try:
            elapsed = log_for(orders, run, result, calls_ns)
            result.measured = int(result.measured * orders.duration / elapsed)
        except Exception as error:  # noqa: BLE001  # told to the parent, which fails by it
            result.failure = f"{type(error).__name__}: {error}"
        stats = run.stats()
    with Path(orders.latencies_path).open("wb") as file:
        calls_ns.tofile(file)
        calls_ns.tofile(file)
    report: dict[str, Any] = {
        "writers": [asdict(result)],
        "cpu": time.process_time() - cpu_before,
        "rss_peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "stats": asdict(stats),
    }
    say(report)


if __name__ == "__main__":
    main()
