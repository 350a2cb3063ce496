"""MLflow's own server and ours, on the same PostgreSQL, in one run: the same requests of MLflow's REST API to both.

    python bench/compare_mlflow.py
    python bench/compare_mlflow.py --seconds 10 --points 1000000 --runs 10000 --output bench/results/compare_mlflow.json

MLflow is in an environment of its own, made by pip below the user's cache directory at the first run, with `uvloop`: without it each request
of MLflow's server costs 40 ms more, which would flatter us. Both databases lie on the PostgreSQL that our service starts; the one that is not being
measured is idle. Each scenario is run on one, then on the other.

    log-metric     one point a request               raw HTTP, 1, 8 and 32 connections
    log-batch      10, 100, 1,000 points a request   the same; ten metrics, steps going forward
    client         log_metric of the stock client    one process
    get-history    pages of 25,000, as the client reads; whole
    curve          2,000 of a long series: the interval samples that MLflow's UI draws, from both; and our buckets, which sample nothing
    runs/search    by a metric, ordered by another, pages of 100 and of 1,000; right after the runs were filled in, and when ours are at rest

Every point is counted in the database afterwards; a difference is an exit code of 1. Histories and runs to read are
filled by SQL on MLflow's side, since its REST API would take hours.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, TypeVar
from urllib.parse import urlsplit

import asyncpg

from ingest.bench.environments import environment_with
from ingest.bench.machine import machine_facts
from ingest.bench.results import write_result
from ingest.bench.service import Service
from ingest.bench.stock_mlflow import PACKAGES, mlflow_server
from ingest.store.connections import connect_writer
from ingest.store.sealing import Sealing, seal_some

T = TypeVar("T")
API = "/api/2.0/mlflow/"
KEYS = 10
CURVE_POINTS = 2_000
"""Of a curve: about as many as a screen is wide."""
CLIENT = """
import sys, time
import mlflow
run, seconds = sys.argv[1], float(sys.argv[2])
client = mlflow.MlflowClient()
client.log_metric(run, "warm", 0.0)
begin, number = time.perf_counter(), 0
while time.perf_counter() - begin < seconds:
    client.log_metric(run, "loss", number / 3, step=number)
    number += 1
print(number, time.perf_counter() - begin)
"""


@dataclass
class Contender:
    """A server and its database. points: what it acknowledged so far; refused: requests that it answered with an error."""

    name: str
    url: str
    database_url: str
    count_sql: str
    points: int = 0
    refused: int = 0
    figures: dict[str, list[float]] = field(default_factory=dict)

    def note(self, name: str, value: float) -> None:
        """Add a figure; those of the same name become a median."""
        self.figures.setdefault(name, []).append(value)

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        request = urllib.request.Request(
            self.url + API + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=600) as response:
            return json.load(response)

    def new_run(self) -> str:
        run_id: str = self.call("POST", "runs/create", {"experiment_id": "0"})["run"]["info"]["run_id"]
        return run_id

    def sql(self, statement: str, *arguments: object) -> Any:
        async def run() -> Any:
            connection = await asyncpg.connect(self.database_url)
            try:
                return await connection.fetchval(statement, *arguments)
            finally:
                await connection.close()

        return asyncio.run(run())


# --- load: a process of its own, one asyncio loop, raw HTTP ------------------------------------------------------------


def metric_body(run_id: str, number: int) -> tuple[str, bytes]:
    """Path and body of one point."""
    return "runs/log-metric", (
        f'{{"run_id": "{run_id}", "run_uuid": "{run_id}", "key": "m{number % KEYS}", "value": {number / 3!r}, '
        f'"timestamp": {1_700_000_000_000 + number}, "step": {number}}}'
    ).encode()


def batch_body(run_id: str, number: int, size: int) -> tuple[str, bytes]:
    """Path and body of `size` points of ten metrics."""
    per_key = size // KEYS
    first = number * per_key
    metrics = ", ".join(
        f'{{"key": "m{key}", "value": {step / 3!r}, "timestamp": {1_700_000_000_000 + step}, "step": {step}}}'
        for key in range(KEYS)
        for step in range(first, first + per_key)
    )
    return (
        "runs/log-batch",
        f'{{"run_id": "{run_id}", "metrics": [{metrics}], "params": [], "tags": []}}'.encode(),
    )


async def one_connection(url: str, run_id: str, size: int, until: float) -> tuple[int, list[float]]:
    """Requests one after the other; how many were refused, and the seconds of each that was answered with 200."""
    host, port = urlsplit(url).hostname, urlsplit(url).port
    reader, writer = await asyncio.open_connection(host, port, limit=2**24)
    times: list[float] = []
    refused = 0
    while time.perf_counter() < until:
        path, body = metric_body(run_id, len(times)) if size == 1 else batch_body(run_id, len(times), size)
        begin = time.perf_counter()
        writer.write(
            f"POST {API}{path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        answer = await reader.readexactly(length)
        if b" 200 " in head.partition(b"\r\n")[0]:
            times.append(time.perf_counter() - begin)
        else:
            refused += 1
            print(f"  {url} refused {size} points: {answer[:200]!r}", file=sys.stderr, flush=True)
    writer.close()
    return refused, times


def load(url: str, runs: list[str], size: int, seconds: float) -> tuple[int, int, float, float]:
    """Requests done and refused, seconds taken, median seconds of one; in the calling process."""

    async def main() -> tuple[int, int, float, float]:
        begin = time.perf_counter()
        done = await asyncio.gather(*(one_connection(url, run, size, begin + seconds) for run in runs))
        taken = time.perf_counter() - begin
        times = [t for _, times in done for t in times]
        return len(times), sum(refused for refused, _ in done), taken, median(times)

    return asyncio.run(main())


def log_points(
    contender: Contender, size: int, connections: int, seconds: float, *, is_noted: bool = True
) -> None:
    """One load, in a process of its own."""
    runs = [contender.new_run() for _ in range(connections)]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        requests, refused, taken, typical = pool.apply(load, (contender.url, runs, size, seconds))
    contender.points += requests * size
    contender.refused += refused
    if not is_noted:
        return
    name = f"log-metric x{connections}" if size == 1 else f"log-batch {size} x{connections}"
    contender.note(f"{name}: points/s", requests * size / taken)
    contender.note(f"{name}: ms a request (p50)", typical * 1000)


def log_by_client(contender: Contender, python: Path, seconds: float) -> None:
    """The stock client, in a process of its own."""
    run_id = contender.new_run()
    environment = {**os.environ, "MLFLOW_TRACKING_URI": contender.url, "MLFLOW_TELEMETRY_DISABLED": "1"}
    done = subprocess.run(
        [python, "-W", "ignore", "-c", CLIENT, run_id, str(seconds)],
        env=environment, check=True, capture_output=True, text=True, timeout=seconds + 120,
    )  # fmt: skip
    number, taken = done.stdout.split()
    contender.points += int(number) + 1
    contender.note("stock client, log_metric: calls/s", int(number) / float(taken))


# --- reads -------------------------------------------------------------------------------------------------------------


def fill_history(ours: Contender, theirs: Contender, points: int) -> tuple[str, str]:
    """The same series on both sides; the runs."""
    mine, other = ours.new_run(), theirs.new_run()
    for first in range(0, points, 1000):
        metrics = [
            {"key": "h", "value": i / 3, "timestamp": 1_700_000_000_000 + i, "step": i}
            for i in range(first, min(first + 1000, points))
        ]
        ours.call("POST", "runs/log-batch", {"run_id": mine, "metrics": metrics})
    theirs.sql(
        "INSERT INTO metrics (run_uuid, key, value, timestamp, step, is_nan) "
        "SELECT $1, 'h', i / 3.0, 1700000000000 + i, i, false FROM generate_series(0, $2::bigint - 1) AS i",
        other, points,
    )  # fmt: skip
    ours.points += points
    theirs.points += points
    return mine, other


def read_history(contender: Contender, run_id: str, points: int) -> None:
    """The series, as the stock client reads it, and in one answer."""
    begin, token, found = time.perf_counter(), "", 0
    while True:
        page = contender.call(
            "GET", f"metrics/get-history?run_id={run_id}&metric_key=h&max_results=25000&page_token={token}"
        )
        found += len(page["metrics"])
        token = page.get("next_page_token", "")
        if not token:
            break
    assert found == points, (contender.name, found)
    contender.note("get-history in pages: s", time.perf_counter() - begin)
    begin = time.perf_counter()
    with urllib.request.urlopen(
        f"{contender.url}{API}metrics/get-history?run_id={run_id}&metric_key=h", timeout=600
    ) as response:
        size_bytes = len(response.read())
    assert size_bytes > 50 * points
    contender.note("get-history whole, not decoded: s", time.perf_counter() - begin)


def typical_ms(question: Callable[[], T], *, times: int, check: Callable[[T], None]) -> float:
    """Median milliseconds of the question, whose every answer is checked off the clock."""
    taken: list[float] = []
    for _ in range(times):
        begin = time.perf_counter()
        answer = question()
        taken.append(time.perf_counter() - begin)
        check(answer)
    return median(taken) * 1000


def ask(url: str) -> Any:
    """The JSON at an address."""
    with urllib.request.urlopen(url, timeout=600) as response:
        return json.load(response)


def draw_curve(contender: Contender, run_id: str, points: int) -> None:
    """A curve of CURVE_POINTS as MLflow's UI asks for it."""
    path = f"/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval?run_ids={run_id}&metric_key=h&max_results={CURVE_POINTS}"

    def check(answer: Any) -> None:
        found = len(answer["metrics"])
        assert min(points, CURVE_POINTS) // 2 <= found <= CURVE_POINTS + 4, (contender.name, found)

    contender.note(
        "curve of 2,000 by MLflow's question: ms",
        typical_ms(lambda: ask(contender.url + path), times=5, check=check),
    )


def draw_exactly(ours: Contender, theirs: Contender, run_id: str, points: int) -> None:
    """Our own chart, in which every point counts, beside MLflow's sample."""
    deadline = time.monotonic() + 120
    while ours.sql("SELECT count(*) FROM ingest.metric_chunks WHERE run_id = $1::text::uuid", run_id):
        assert time.monotonic() < deadline, "not compacted within two minutes"
        time.sleep(0.5)
    path = f"/api/v1/runs/{run_id}/series/h?buckets={CURVE_POINTS}"

    def check(answer: Any) -> None:
        assert sum(answer["columns"]["n"]) == points
        assert answer["columns"]["max"][-1] == (points - 1) / 3

    name = "curve of 2,000, ours exact: ms"
    ours.note(name, typical_ms(lambda: ask(ours.url + path), times=20, check=check))
    theirs.note(name, median(theirs.figures["curve of 2,000 by MLflow's question: ms"]))


def fill_runs(ours: Contender, theirs: Contender, number: int) -> None:
    """Runs with two metrics and a param each, by SQL on both sides."""
    for key in ("acc", "loss"):
        ours.sql(
            "INSERT INTO ingest.series (run_id, key, n, non_finite, first_step, first_time_ms, first_value, last_step, last_time_ms, "
            "last_value, min_value, max_value, min_step, max_step, sum_value) "
            "SELECT md5(i::text)::uuid, $1, 1, 0, 0, 0, v, 0, 0, v, v, v, 0, 0, v FROM generate_series(1, $2::int) AS i, "
            "LATERAL (SELECT (i * 7919 % 10007) / 10007.0::float8) AS x (v)",
            key, number,
        )  # fmt: skip
        theirs.sql(
            "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) "
            "SELECT $1, (i * 7919 % 10007) / 10007.0::float8, 0, 0, false, md5(i::text) FROM generate_series(1, $2::int) AS i",
            key, number,
        ) if _runs_of_mlflow(theirs, number) else None  # fmt: skip
    ours.sql(
        "INSERT INTO ingest.runs (run_id, experiment_id, name, start_time_ms) "
        "SELECT md5(i::text)::uuid, 0, 'run', i FROM generate_series(1, $1::int) AS i",
        number,
    )
    ours.sql(
        "INSERT INTO ingest.params (run_id, key, value) SELECT md5(i::text)::uuid, 'lr', i::text FROM generate_series(1, $1::int) AS i",
        number,
    )
    theirs.sql(
        "INSERT INTO params (key, value, run_uuid) SELECT 'lr', i::text, md5(i::text) FROM generate_series(1, $1::int) AS i",
        number,
    )
    ours.sql("ANALYZE")
    theirs.sql("ANALYZE")


def _runs_of_mlflow(theirs: Contender, number: int) -> bool:
    theirs.sql(
        "INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time, source_version, "
        "lifecycle_stage, artifact_uri, experiment_id) SELECT md5(i::text), 'run', 'UNKNOWN', '', '', '', 'RUNNING', i, '', 'active', '', 0 "
        "FROM generate_series(1, $1::int) AS i ON CONFLICT DO NOTHING",
        number,
    )
    return True


def seal(ours: Contender) -> None:
    """Put the runs at rest, as the service does by itself when nothing was written to them for a while."""

    async def work() -> None:
        connection = await connect_writer(ours.database_url)
        try:
            while await seal_some(connection, Sealing(quiet=-7200, patience=-7200, min_runs=1)):
                pass
            for table in ("search_segments", "search_metrics", "search_params", "runs"):
                await connection.execute(f"VACUUM ANALYZE {table}", timeout=300)
        finally:
            await connection.close()

    asyncio.run(work())


def search(contender: Contender, page: int, state: str) -> None:
    """A page of runs by one metric, ordered by another."""
    question = {
        "experiment_ids": ["0"], "filter": "metrics.acc > 0.5", "order_by": ["metrics.loss DESC"], "max_results": page
    }  # fmt: skip

    def check(answer: Any) -> None:
        assert len(answer["runs"]) == page

    contender.note(
        f"runs/search, page of {page}, {state}: ms",
        typical_ms(lambda: contender.call("POST", "runs/search", question), times=5, check=check),
    )


# --- the run -----------------------------------------------------------------------------------------------------------


def compare(arguments: argparse.Namespace, ours: Contender, theirs: Contender) -> None:
    """Every scenario on one, then on the other."""
    both = (ours, theirs)
    for contender in both:
        log_points(contender, 10, 4, 3.0, is_noted=False)  # warm
    for size in (1, 10, 100, 1000):
        for connections in arguments.connections:
            for _ in range(arguments.repeat):
                for contender in both:
                    log_points(contender, size, connections, arguments.seconds)
            print(f"  {size} points a request, {connections} connections: done", file=sys.stderr, flush=True)
    for _ in range(arguments.repeat):
        for contender in both:
            log_by_client(contender, arguments.mlflow_python, arguments.seconds)
    histories = fill_history(ours, theirs, arguments.points)
    for contender, run_id in zip(both, histories, strict=True):
        read_history(contender, run_id, arguments.points)
        draw_curve(contender, run_id, arguments.points)
    draw_exactly(ours, theirs, histories[0], arguments.points)
    fill_runs(ours, theirs, arguments.runs)
    for state in ("just logged", "at rest"):
        for page in (100, 1000):
            for contender in both:
                search(contender, min(page, arguments.runs // 3), state)
        seal(ours)


def main() -> int:
    """Compare, count, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument(
        "--mlflow-python", type=Path, help="of another environment with mlflow, psycopg2 and uvloop"
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="of each load")
    parser.add_argument("--repeat", type=int, default=3, help="times that each load runs on each, in turn")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--points", type=int, default=100_000, help="of the history that is read")
    parser.add_argument("--runs", type=int, default=10_000, help="that are searched")
    parser.add_argument("--output", type=Path, help="file that receives the result as JSON")
    arguments = parser.parse_args()
    arguments.mlflow_python = arguments.mlflow_python or environment_with("mlflow", PACKAGES)
    with tempfile.TemporaryDirectory() as scratch, Service() as service:
        count = "SELECT count(*) FROM ingest.metrics"
        ours = Contender("ingest", service.url, service.database_url, count)
        with mlflow_server(arguments.mlflow_python, service, Path(scratch)) as stock:
            theirs = Contender(
                "MLflow's server", stock.url, stock.database_url, "SELECT count(*) FROM metrics"
            )
            compare(arguments, ours, theirs)
            for contender in (ours, theirs):
                stored = contender.sql(contender.count_sql)
                print(
                    f"{contender.name}: {stored:,} points stored, {contender.points:,} acknowledged, "
                    f"{contender.refused} requests refused"
                )
                if stored != contender.points or (contender is ours and ours.refused):
                    return 1
    figures = {name: _row(name, values, theirs.figures[name]) for name, values in ours.figures.items()}
    for name, row in figures.items():
        print(f"{name:45} {row['ingest']:12,.1f} {row['mlflow']:12,.1f} {row['ratio']:8.1f}x")
    if arguments.output is not None:
        settings = {name: str(value) for name, value in vars(arguments).items()}
        write_result(
            arguments.output,
            {
                "bench": "compare_mlflow",
                "machine": machine_facts(),
                "settings": settings,
                "figures": figures,
                "refused": {"ingest": ours.refused, "mlflow": theirs.refused},
            },
        )
    return 0


def _row(name: str, ours: list[float], theirs: list[float]) -> dict[str, Any]:
    """Medians, all values, and how many times better ours is."""
    mine, other = median(ours), median(theirs)
    ratio = mine / other if name.endswith("/s") else other / mine
    return {"ingest": mine, "mlflow": other, "ratio": ratio, "all": {"ingest": ours, "mlflow": theirs}}


if __name__ == "__main__":
    sys.exit(main())
