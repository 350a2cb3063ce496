"""One contender of `ingest bench client`, in a process of its own: what one logging call costs the caller.

Run as `python -m ingest.bench.client_calls`; takes its orders as one line of JSON on standard input and prints one line
of JSON. Every contender gets the same dict of scalars, of which one value changes from call to call, and every call is
timed by itself. The cost of reading the clock is measured in the same process and taken off.

    reference  list.append((step, metrics)): keeps a reference to the caller's dict; not a log, since the caller changes it
    append     list.append((step, time, dict(metrics))): the least that keeps what was logged, and loses it on SIGKILL
    os_write   os.write of the msgpack of (step, time, metrics) to a file: the least that survives SIGKILL without mmap
    ingest     run.log_metrics(metrics, step=step) of the real client, against the URL given

Units: nanoseconds where a name ends in _ns, else seconds.
"""

from __future__ import annotations

import inspect
import os
import resource
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

import ingest
from ingest.bench.child import read_orders, say, wait_for_go
from ingest.bench.timing import clock_overhead_ns, summarize

Metrics = dict[str, float]
Loop = Callable[[Metrics, Iterator[int], "array[int]"], object]
"""Logs once for each number that the iterator gives, and appends what each call took."""
FLUSH_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOrders:
    """What one contender does."""

    contender: str
    """reference, append, os_write or ingest."""
    scalars: int
    """Metrics in one call."""
    calls: int
    warmup_calls: int
    interval: float | None
    """Between two calls; None: flat out."""
    url: str
    spool_dir: str
    expect_delivery: bool
    """Whether the service is there, so that everything must be acknowledged in the end."""


def measure(orders: CallOrders) -> dict[str, Any]:
    """Run one contender and say what its calls cost, and where its points are."""
    if orders.contender == "ingest":
        return _measure_ingest(orders)
    if orders.contender == "reference":
        return timed_calls(orders, _reference_loop)
    if orders.contender == "append":
        return timed_calls(orders, _append_loop)
    with tempfile.TemporaryFile(dir=orders.spool_dir, buffering=0) as file:
        return timed_calls(orders, partial(_os_write_loop, file.fileno()))


# The loops differ in the one statement between the two looks at the clock: a function around it would be measured too.


def _reference_loop(metrics: Metrics, steps: Iterator[int], durations: array[int]) -> object:
    clock, kept, record = time.perf_counter_ns, list[tuple[int, Metrics]](), durations.append
    append = kept.append
    for step in steps:
        begin = clock()
        append((step, metrics))
        record(clock() - begin)
    return kept


def _append_loop(metrics: Metrics, steps: Iterator[int], durations: array[int]) -> object:
    clock, kept, record, now = (
        time.perf_counter_ns,
        list[tuple[int, int, Metrics]](),
        durations.append,
        time.time_ns,
    )
    append = kept.append
    for step in steps:
        begin = clock()
        append((step, now(), dict(metrics)))
        record(clock() - begin)
    return kept


def _os_write_loop(descriptor: int, metrics: Metrics, steps: Iterator[int], durations: array[int]) -> None:
    clock, record, write, pack, now = (
        time.perf_counter_ns,
        durations.append,
        os.write,
        msgpack.Packer().pack,
        time.time_ns,
    )
    for step in steps:
        begin = clock()
        write(descriptor, pack((step, now(), metrics)))
        record(clock() - begin)


def _ingest_loop(run: ingest.Run, metrics: Metrics, steps: Iterator[int], durations: array[int]) -> None:
    clock, record = time.perf_counter_ns, durations.append
    for step in steps:
        begin = clock()
        run.log_metrics(metrics, step=step)
        record(clock() - begin)


def timed_calls(orders: CallOrders, loop: Loop) -> dict[str, Any]:
    """Warm up, then time each call."""
    metrics = {f"layer_{i:03d}/grad_norm": i * 0.731 for i in range(orders.scalars)}
    loop(metrics, ticks(metrics, range(orders.warmup_calls), None), array("q"))
    overhead_ns = clock_overhead_ns()
    durations = array("q")
    began = time.monotonic()
    numbers = range(orders.warmup_calls, orders.warmup_calls + orders.calls)
    loop(metrics, ticks(metrics, numbers, orders.interval), durations)
    return {
        "summary": summarize(np.asarray(durations), overhead_ns=overhead_ns).as_json(),
        "clock_overhead_ns": overhead_ns,
        "calls_per_s": orders.calls / (time.monotonic() - began),
    }


def ticks(metrics: Metrics, steps: range, interval: float | None) -> Iterator[int]:
    """The steps, each when it is due, with one value changed as a training loop would."""
    changing = next(iter(metrics))
    due = time.monotonic()
    for step in steps:
        metrics[changing] = step * 0.5
        if interval is not None:
            due += interval
            if (wait := due - time.monotonic()) > 0:
                time.sleep(wait)
        yield step


def _measure_ingest(orders: CallOrders) -> dict[str, Any]:
    ingest.set_tracking_uri(orders.url)
    ingest.set_experiment("bench/client")
    run = ingest.start_run()
    process_before, caller_before = time.process_time(), time.thread_time()
    result = timed_calls(orders, partial(_ingest_loop, run))
    points = (orders.calls + orders.warmup_calls) * orders.scalars
    if orders.expect_delivery:
        began = time.monotonic()
        result["flushed"] = run.flush(timeout=FLUSH_TIMEOUT)
        result["flush_s"] = time.monotonic() - began
    others = (time.process_time() - process_before) - (time.thread_time() - caller_before)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    result["sender_cpu_per_million"] = (others + children.ru_utime + children.ru_stime) / points * 1e6
    result["points"] = points
    result["run_id"] = run.info.run_id
    result["in_c"] = inspect.isbuiltin(run.log_metrics)
    result["stats"] = asdict(run.stats())
    result["spool_bytes"] = sum(
        file.stat().st_size for file in Path(orders.spool_dir).rglob("*") if file.is_file()
    )
    return result


def main() -> None:
    """Take orders, measure, print the result, and leave without waiting for a dead service."""
    orders = CallOrders(**read_orders())
    say(measure(orders))
    if not orders.expect_delivery:
        os._exit(0)  # what was logged is in the spool; nobody will ever read it
    wait_for_go()


if __name__ == "__main__":
    main()
