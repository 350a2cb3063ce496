"""`ingest bench load`: offers a service a workload, and proves that all of it arrived once.

The writers live in processes of their own (`load_worker`); this module starts them, watches CPU and memory of the
generator, the service and its PostgreSQL, collects the latencies, and asks the database, through the service's SQL, for
the count and the checksum of each run. With `raw_copy` it measures raw COPY of the same chunks on the same PostgreSQL
in the same run, alternating with the service, since machines are noisy.

Errors: BenchError when something was lost, doubled or wrong; a fast run that lost a point is a failed run.
Units: seconds; *_ns nanoseconds; points and batches are counts.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import asyncpg
import numpy as np
import psutil

from ingest.bench import BenchError
from ingest.bench.api import Api, sql_id
from ingest.bench.load_worker import Orders
from ingest.bench.raw_copy import RawOrders
from ingest.bench.service import Service
from ingest.bench.template import CHECK_SQL, Sums, expected_sums, series_values, sums_of_answer
from ingest.bench.timing import Durations, Summary, summarize
from ingest.bench.usage import Usage, UsageMeter
from ingest.bench.worker import Worker
from ingest.bench.workload import Workload
from ingest_schema.ids import new_id, parse_id

SQL_TIMEOUT = 30.0
CHECKPOINT_TIMEOUT = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """One measurement, proven."""

    workload: Workload
    points_per_s: float
    batches_per_s: float
    request: Summary
    ack: Summary
    points_stored: int
    refused: dict[str, int]
    overdue_points: int
    """Due on the schedule and never sent; a real client has them in its spool."""
    usage: Mapping[str, Usage]
    elapsed: float
    prove_s: float

    def as_json(self) -> dict[str, Any]:
        return {
            "workload": self.workload.as_json(),
            "points_per_s": self.points_per_s,
            "batches_per_s": self.batches_per_s,
            "request": self.request.as_json(),
            "ack": self.ack.as_json(),
            "points_stored": self.points_stored,
            "points_lost": 0,
            "points_doubled": 0,
            "refused": self.refused,
            "overdue_points": self.overdue_points,
            "usage": {name: usage.as_json() for name, usage in self.usage.items()},
            "elapsed": self.elapsed,
            "prove_s": self.prove_s,
        }


def run_load(
    url: str, workload: Workload, *, token: str | None = None, service: Service | None = None
) -> LoadResult:
    """Offer the workload to the service at `url`, and prove what arrived.

    Args:
        service: The service, if the bench started it; then its CPU and memory are measured.

    Raises:
        BenchError: A writer failed, or the database does not hold exactly what was acknowledged.
    """
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ingest-load-")))
        workers: list[Worker] = []
        for orders in _orders(url, token, workload, scratch):
            workers.append(_start_worker(orders, workload, scratch))
            stack.callback(workers[-1].close)
        for worker in workers:
            worker.wait_ready()
        generator = [psutil.Process(worker.process.pid) for worker in workers]

        def groups() -> dict[str, Sequence[psutil.Process]]:
            ours, postgres = service.processes() if service is not None else ([], [])
            return {"generator": generator, "service": ours, "postgres": postgres}

        with UsageMeter(groups) as meter:
            for worker in workers:
                worker.go()
            reports = [worker.result() for worker in workers]
        latencies = _latencies(scratch, reports)
    writers = [writer for report in reports for writer in report["writers"]]
    if failures := [writer["failure"] for writer in writers if writer["failure"]]:
        raise BenchError(f"{len(failures)} of {len(writers)} writers failed: {failures[0]}")
    stored, prove_s = prove(url, token, workload, writers)
    result = _result(workload, writers, latencies, meter, points_stored=stored, prove_s=prove_s)
    check_memory(result)
    return result


def _start_worker(orders: Orders, workload: Workload, scratch: Path) -> Worker:
    module = "ingest.bench.load_client" if workload.client else "ingest.bench.load_worker"
    return Worker(module, asdict(orders), {"INGEST_SPOOL_DIR": str(scratch / "spool")})


def _orders(url: str, token: str | None, workload: Workload, scratch: Path) -> list[Orders]:
    processes = workload.writers if workload.client else min(workload.processes, workload.writers)
    names = [(new_id().hex, new_id().hex, seed) for seed in range(workload.writers)]
    interval = workload.batch_points * workload.writers / workload.rate if workload.rate else None
    return [
        Orders(
            url=url,
            token=token,
            experiment=f"bench/{workload.name}",
            writers=names[i::processes],
            metrics=workload.metrics,
            chunk_points=workload.chunk_points,
            warmup=workload.warmup,
            duration=workload.duration,
            interval=interval,
            latencies_path=str(scratch / f"{i}.ns"),
        )
        for i in range(processes)
    ]


def _latencies(scratch: Path, reports: list[dict[str, Any]]) -> tuple[Durations, Durations]:
    request, ack = [], []
    for i in range(len(reports)):
        column = np.fromfile(scratch / f"{i}.ns", dtype=np.int64)
        request.append(column[: len(column) // 2])
        ack.append(column[len(column) // 2 :])
    return np.concatenate(request), np.concatenate(ack)


def _result(
    workload: Workload,
    writers: list[dict[str, Any]],
    latencies: tuple[Durations, Durations],
    meter: UsageMeter,
    *,
    points_stored: int,
    prove_s: float,
) -> LoadResult:
    refused: Counter[str] = Counter()
    for writer in writers:
        refused.update(writer["refused"])
    batches_per_s = sum(writer["measured"] for writer in writers) / workload.duration
    return LoadResult(
        workload=workload,
        points_per_s=batches_per_s * workload.batch_points,
        batches_per_s=batches_per_s,
        request=summarize(latencies[0]),
        ack=summarize(latencies[1]),
        points_stored=points_stored,
        refused=dict(refused),
        overdue_points=sum(writer["overdue"] for writer in writers) * workload.batch_points,
        usage={name: used for name, used in meter.usage().items() if used.rss_peak_bytes},
        elapsed=meter.elapsed,
        prove_s=prove_s,
    )


def check_memory(result: LoadResult) -> None:
    """Hold the service to the workload's bound.

    Raises:
        BenchError: It took more memory.
    """
    bound, service = result.workload.service_rss_max_bytes, result.usage.get("service")
    if bound is not None and service is not None and service.rss_peak_bytes > bound:
        raise BenchError(
            f"the service took {service.rss_peak_bytes / 2**20:,.0f} MiB, over the bound of {bound / 2**20:,.0f} MiB"
        )


def prove(
    url: str, token: str | None, workload: Workload, writers: list[dict[str, Any]]
) -> tuple[int, float]:
    """Compare count and checksum of each writer's run with what was acknowledged; the points, and seconds it took.

    Raises:
        BenchError: They differ.
    """
    began = time.monotonic()
    total = 0
    with Api(url, token=token, timeout=SQL_TIMEOUT + 10.0) as api:
        for writer in writers:
            values = series_values(workload.batch_points, writer["seed"])
            expected = expected_sums(values, workload.metrics, workload.chunk_points, writer["acknowledged"])
            stored = _stored_sums(api, writer["run_id"])
            if stored != expected:
                raise BenchError(
                    f"run {writer['run_id']}: {expected.points:,} points were acknowledged and {stored.points:,} are "
                    f"stored; the checksum is {stored.check:x}, expected {expected.check:x}"
                )
            total += stored.points
    return total, time.monotonic() - began


def _stored_sums(api: Api, run_id: str) -> Sums:
    answer = api.sql(CHECK_SQL.format(run_id=sql_id(parse_id(run_id))), timeout=SQL_TIMEOUT)
    return sums_of_answer(answer.rows[0])


def settle(service: Service) -> None:
    """Write out what the measurement before left in memory, so that the next one does not pay for it.

    Without it raw COPY was seen at a third of its speed right after a measurement of the service, and the other way round.
    """
    asyncio.run(_checkpoint(service.database_url))
    os.sync()


async def _checkpoint(database_url: str) -> None:
    connection = await asyncpg.connect(database_url, timeout=30.0)
    try:
        await connection.execute("CHECKPOINT", timeout=CHECKPOINT_TIMEOUT)
    finally:
        await connection.close(timeout=10.0)


def run_raw_copy(service: Service, workload: Workload) -> dict[str, Any]:
    """Raw COPY of the workload's chunks into the service's PostgreSQL, with as many connections as writers."""
    orders = RawOrders(
        database_url=service.database_url,
        connections=min(workload.writers, 16),
        metrics=workload.metrics,
        chunk_points=workload.chunk_points,
        duration=workload.duration,
        warmup=workload.warmup,
    )
    worker = Worker("ingest.bench.raw_copy", asdict(orders))
    try:
        return worker.result()
    finally:
        worker.close()
