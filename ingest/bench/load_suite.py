"""A whole run of `ingest bench load`: workloads one after the other, each repeated, with raw COPY in between if wanted.

With a URL the service there is measured from outside; without one each workload gets a service of its own, in a scratch
data directory, so that no workload pays for the tables of the one before.

Units: seconds, points.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from ingest.bench import BenchError
from ingest.bench.api import Api
from ingest.bench.load import LoadResult, run_load, run_raw_copy, settle
from ingest.bench.machine import postgres_facts
from ingest.bench.service import Service
from ingest.bench.timing import spread
from ingest.bench.workload import Workload

Report = Callable[[str], None]
CALIBRATION = 4.0
"""Seconds flat out, to find what the service takes before it is offered a multiple of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadBench:
    """How a workload is measured."""

    url: str | None = None
    """None: a service of our own."""
    token: str | None = None
    raw_copy: bool = False
    repeat: int = 1
    """Measurements; with raw COPY so many pairs, in changing order."""


def measure_workload(workload: Workload, bench: LoadBench, report: Report = lambda _: None) -> dict[str, Any]:
    """All figures of one workload.

    Raises:
        BenchError: Points were lost or doubled, memory went over its bound, or raw COPY is asked of a foreign service.
    """
    if bench.raw_copy and bench.url is not None:
        raise BenchError(
            "raw COPY needs the service's PostgreSQL: leave the URL out, and the bench starts a service"
        )
    with ExitStack() as stack:
        service = None
        if bench.url is None:
            report(f"{workload.name}: starting a service")
            service = stack.enter_context(Service(settings=workload.service))
        url = bench.url or (service.url if service is not None else "")
        if workload.overload is not None:
            workload = _overloaded(workload, url, bench, service, report)
        results: list[LoadResult] = []
        raw: list[dict[str, Any]] = []
        for number in range(bench.repeat):
            steps = ["service", "raw"] if number % 2 == 0 else ["raw", "service"]
            for step in steps:
                if service is not None:
                    settle(service)
                if step == "service":
                    report(f"{workload.name}: {workload.duration:.0f} s, {number + 1} of {bench.repeat}")
                    results.append(run_load(url, workload, token=bench.token, service=service))
                elif bench.raw_copy and service is not None:
                    report(f"{workload.name}: raw COPY, {number + 1} of {bench.repeat}")
                    raw.append(run_raw_copy(service, workload))
        with Api(url, token=bench.token) as api:
            facts = postgres_facts(api)
    return {"workload": workload.as_json(), "postgres": facts, **_figures(results, raw)}


def _overloaded(
    workload: Workload, url: str, bench: LoadBench, service: Service | None, report: Report
) -> Workload:
    """The workload on a schedule that is a multiple of what the service takes flat out."""
    report(f"{workload.name}: finding what the service takes")
    flat_out = workload.but(duration=CALIBRATION, warmup=1.0)
    taken = run_load(url, flat_out, token=bench.token, service=service).points_per_s
    return workload.but(rate=taken * (workload.overload or 1.0))


def _figures(results: list[LoadResult], raw: list[dict[str, Any]]) -> dict[str, Any]:
    middle = sorted(results, key=lambda result: result.points_per_s)[len(results) // 2]
    figures: dict[str, Any] = {
        "points_per_s": spread([result.points_per_s for result in results]),
        "median_run": middle.as_json(),
        "runs": [result.as_json() for result in results],
    }
    if raw:
        figures["raw_copy"] = raw
        figures["raw_points_per_s"] = spread([one["points_per_s"] for one in raw])
        pairs = zip(results, raw, strict=True)
        figures["ratio_to_raw_copy"] = spread(
            [ours.points_per_s / theirs["points_per_s"] for ours, theirs in pairs]
        )
    figures["points_proven"] = sum(result.points_stored for result in results)
    figures["rss_peak_bytes"] = _service_memory(results)
    return figures


def _service_memory(results: list[LoadResult]) -> dict[str, float] | None:
    peaks = [result.usage["service"].rss_peak_bytes for result in results if "service" in result.usage]
    return {"max": float(max(peaks)), "median": float(statistics.median(peaks))} if peaks else None
