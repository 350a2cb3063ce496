"""`ingest bench client`: what a logging call costs, beside the cheapest things that could be done instead.

Every contender runs in a process of its own (`client_calls`), one after the other, with the same metrics; each
measurement of ours is repeated and stands beside the floors of the same repetition. The service is healthy, slow
(each request delayed by a proxy) or dead (nobody listens). Then the step time of a training loop with and without
logging (`client_steps`). What was logged is looked for in the database: a fast call that lost a point fails the bench.

Units: nanoseconds where a name ends in _ns, else seconds.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ingest.bench import BenchError
from ingest.bench.api import Api, sql_id
from ingest.bench.client_calls import CallOrders
from ingest.bench.client_steps import StepOrders
from ingest.bench.machine import postgres_facts
from ingest.bench.ports import free_port
from ingest.bench.proxy import Faults, ProxyThread
from ingest.bench.service import Service
from ingest.bench.timing import spread
from ingest.bench.verify import check_counters
from ingest.bench.worker import Worker
from ingest_schema.ids import parse_id

FLOORS = ("reference", "append", "os_write")
SERVERS = ("healthy", "slow", "dead")
COUNT_SQL = "SELECT count(*) FROM metrics WHERE run_id = {run_id}"
SLOW = Faults(weights={"delay": 1.0}, delay=(0.5, 0.5))
Report = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientBench:
    """What is measured, and how often."""

    scalars: tuple[int, ...] = (1, 10, 100)
    servers: tuple[str, ...] = SERVERS
    calls: int = 20_000
    """Flat out; a tenth of them for 100 scalars and more, as a training loop never logs a gigabyte a second."""
    warmup_calls: int = 500
    pace: float = 1000.0
    """Calls a second of the paced form."""
    paced_seconds: float = 3.0
    repeat: int = 3
    pairs: int = 5
    """Of blocks of training steps with and without logging; 0 leaves that part out."""
    block: float = 2.5
    step_ms: float = 4.0
    threads: int = 1
    settings: dict[str, Any] = field(default_factory=dict)
    """Of the service that is started."""

    def call_count(self, scalars: int, *, paced: bool) -> int:
        if paced:
            return int(self.pace * self.paced_seconds)
        return self.calls if scalars < 100 else max(self.calls // 10, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One line of the table."""

    contender: str
    server: str
    scalars: int
    paced: bool


def run_client(bench: ClientBench, report: Report = lambda _: None) -> dict[str, Any]:
    """Measure everything against a service of our own.

    Args:
        report: Told what is being measured now.

    Raises:
        BenchError: Something that was logged is not in the database, or was dropped.
    """
    with Service(settings=bench.settings) as service, slow_proxy(service) as slow_url:
        urls = {"healthy": service.url, "slow": slow_url, "dead": f"http://127.0.0.1:{free_port()}"}
        measured: dict[Case, list[dict[str, Any]]] = {case: [] for case in cases(bench)}
        for number in range(bench.repeat):
            for case, results in measured.items():
                report(f"{number + 1}/{bench.repeat}: {describe(case)}")
                results.append(measure_call(bench, case, urls, service.url))
        figures: dict[str, Any] = {"calls": [_figures(case, results) for case, results in measured.items()]}
        if bench.pairs:
            report("training steps with and without logging")
            figures["steps"] = measure_steps(bench, service.url)
        with Api(service.url) as api:
            figures["postgres"] = postgres_facts(api)
    return figures


@contextmanager
def slow_proxy(service: Service) -> Iterator[str]:
    """The URL of a proxy that delays each request to the service."""
    parts = urlsplit(service.url)
    with ProxyThread((str(parts.hostname), int(parts.port or 80)), faults=SLOW) as proxy:
        yield proxy.url


def cases(bench: ClientBench) -> Iterator[Case]:
    """All lines of the table; a floor stands before what is compared with it."""
    for paced in (False, True):
        for scalars in bench.scalars:
            for contender in FLOORS:
                yield Case(contender=contender, server="-", scalars=scalars, paced=paced)
            for server in bench.servers:
                yield Case(contender="ingest", server=server, scalars=scalars, paced=paced)


def describe(case: Case) -> str:
    """The case in a few words."""
    pace = "paced" if case.paced else "flat out"
    server = f", server {case.server}" if case.contender == "ingest" else ""
    return f"{case.contender}, {case.scalars} scalars, {pace}{server}"


def measure_call(bench: ClientBench, case: Case, urls: dict[str, str], service_url: str) -> dict[str, Any]:
    """One contender in a process of its own; what it logged is looked for afterwards."""
    spool = Path(tempfile.mkdtemp(prefix="ingest-bench-spool-"))
    expect_delivery = case.contender == "ingest" and case.server != "dead"
    orders = CallOrders(
        contender=case.contender,
        scalars=case.scalars,
        calls=bench.call_count(case.scalars, paced=case.paced),
        warmup_calls=bench.warmup_calls,
        interval=1.0 / bench.pace if case.paced else None,
        url=urls.get(case.server, ""),
        spool_dir=str(spool),
        expect_delivery=expect_delivery,
    )
    worker = Worker("ingest.bench.client_calls", asdict(orders), {"INGEST_SPOOL_DIR": str(spool)})
    try:
        result = worker.result()
        if case.contender == "ingest":
            check_nothing_lost(result, describe(case), service_url if expect_delivery else None)
        worker.go()
        return result
    finally:
        worker.close()
        shutil.rmtree(spool, ignore_errors=True)


def check_nothing_lost(result: dict[str, Any], what: str, service_url: str | None) -> None:
    """Hold one measurement to the law of the counters, and to the database where there is one.

    Raises:
        BenchError: A point is missing.
    """
    stats, points = result["stats"], result["points"]
    check_counters(stats, points, what)
    if service_url is None:
        return
    if not result["flushed"]:
        raise BenchError(f"{what}: not everything was acknowledged in time: {stats}")
    with Api(service_url) as api:
        stored = api.sql(COUNT_SQL.format(run_id=sql_id(parse_id(result["run_id"])))).scalar
    if int(stored) != points:
        raise BenchError(f"{what}: {points} points were logged and {stored} are stored")


def measure_steps(bench: ClientBench, url: str) -> dict[str, Any]:
    """The training loop with and without logging."""
    spool = Path(tempfile.mkdtemp(prefix="ingest-bench-spool-"))
    orders = StepOrders(
        url=url, pairs=bench.pairs, block=bench.block, step_ms=bench.step_ms, threads=bench.threads
    )
    worker = Worker("ingest.bench.client_steps", asdict(orders), {"INGEST_SPOOL_DIR": str(spool)})
    try:
        return worker.result()
    finally:
        worker.close()
        shutil.rmtree(spool, ignore_errors=True)


def _figures(case: Case, results: list[dict[str, Any]]) -> dict[str, Any]:
    """One line: of each percentile the median over the repetitions, and its extremes."""
    summaries = [result["summary"] for result in results]
    figures: dict[str, Any] = {
        **asdict(case),
        "calls": summaries[0]["n"],
        "repeat": len(results),
        "clock_overhead_ns": spread([float(result["clock_overhead_ns"]) for result in results])["median"],
    }
    for name in ("median_ns", "p99_ns", "p999_ns", "max_ns"):
        figures[name] = spread([float(summary[name]) for summary in summaries])
    if case.contender == "ingest":
        figures["sender_cpu_per_million"] = spread([result["sender_cpu_per_million"] for result in results])
    return figures
