"""What logging does to the time of a training step: blocks of steps with and without it, alternating in one process.

Run as `python -m ingest.bench.client_steps`; takes its orders as one line of JSON on standard input and prints one line
of JSON. A step is a forward and a backward pass of a small network in torch, or, where torch is missing, the same
arithmetic in numpy; its size is tuned to a few milliseconds at the start. A logging block logs ten scalars after each
step and lasts long enough for the sender to work within it; what is left is flushed before the next block begins.
The order within a pair changes from pair to pair, so that a machine that slows down does not look like a result.

Units: nanoseconds where a name ends in _ns, else seconds.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ingest
from ingest.bench.child import read_orders, say
from ingest.bench.timing import spread, summarize

FLUSH_TIMEOUT = 60.0
SCALARS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOrders:
    """What is compared."""

    url: str
    pairs: int
    """Of one block with logging and one without."""
    block: float
    """Seconds of one block."""
    step_ms: float
    """Wanted duration of one step."""
    threads: int
    """Of torch. One, so that on two cores the service has the other."""


def measure(orders: StepOrders) -> dict[str, Any]:
    """Alternate the blocks; the ratio of the median step times of each pair, and the spread over the pairs."""
    step, backend = make_step(orders)
    ingest.set_tracking_uri(orders.url)
    ingest.set_experiment("bench/steps")
    run = ingest.start_run()
    number = 0

    def block(*, logging: bool) -> list[int]:
        nonlocal number
        times: list[int] = []
        end = time.monotonic() + orders.block
        while time.monotonic() < end:
            begin = time.perf_counter_ns()
            loss = step()
            if logging:
                number += 1
                run.log_metrics({f"train/scalar_{i}": loss + i for i in range(SCALARS)}, step=number)
            times.append(time.perf_counter_ns() - begin)
        if logging and not run.flush(timeout=FLUSH_TIMEOUT):
            raise RuntimeError("what a block logged was not acknowledged in time")
        return times

    block(logging=True)
    pairs = []
    for i in range(orders.pairs):
        times = {logging: block(logging=logging) for logging in ((True, False) if i % 2 else (False, True))}
        pairs.append((summarize(times[True]), summarize(times[False])))
    return {
        "backend": backend,
        "threads": orders.threads,
        "scalars": SCALARS,
        "step_median_ns": spread([float(without.median_ns) for _, without in pairs]),
        "ratio_of_medians": spread([logging.median_ns / without.median_ns for logging, without in pairs]),
        "ratio_of_p99": spread([logging.p99_ns / without.p99_ns for logging, without in pairs]),
        "points": number * SCALARS,
        "run_id": run.info.run_id,
    }


def make_step(orders: StepOrders) -> tuple[Callable[[], float], str]:
    """A step of about the wanted duration that returns a loss, and what it is made of."""
    build = _torch_step if importlib.util.find_spec("torch") else _numpy_step
    rows = 16
    while True:
        step = build(rows, orders.threads)
        for _ in range(5):
            step()
        begin = time.perf_counter_ns()
        for _ in range(10):
            step()
        took_ms = (time.perf_counter_ns() - begin) / 10e6
        if took_ms > orders.step_ms * 0.7 or rows > 1 << 16:
            return step, build.__name__.strip("_").removesuffix("_step")
        rows = int(rows * min(4.0, max(1.3, orders.step_ms / took_ms)))


def _torch_step(rows: int, threads: int) -> Callable[[], float]:
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(256, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    inputs, labels = torch.randn(rows, 256), torch.randint(0, 10, (rows,))

    def step() -> float:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step


def _numpy_step(rows: int, threads: int) -> Callable[[], float]:
    import numpy as np

    del threads
    dice = np.random.default_rng(0)
    inputs, weights = dice.standard_normal((rows, 256)), dice.standard_normal((256, 256)) * 0.01

    def step() -> float:
        nonlocal weights
        hidden = np.maximum(inputs @ weights, 0)
        weights = weights - 1e-6 * (inputs.T @ hidden) / rows
        return float((hidden * hidden).mean())

    return step


def main() -> None:
    """Take orders, measure, print the result; the run ends when the parent has looked at it."""
    orders = StepOrders(**read_orders())
    say(measure(orders))


if __name__ == "__main__":
    main()
