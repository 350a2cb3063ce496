"""Charts of long series, compaction, and what 50 readers of charts do to ingestion; each answer is checked for what it must say.

    python bench/charts.py                     1 million points, 2 minutes at most
    python bench/charts.py --full              also 5 and 10 million
    python bench/charts.py --only storm

    charts     series of 1 and 10 million points to 2,000 buckets: service time (the header Server-Timing: from the handler's start
               to the encoded body) and time at the client; as they came in, in chunks of 100, and compacted; whole and zoomed
    spike      a series with one spike of one sample and one NaN: both are in the answer at every zoom level
    compaction bytes a point on disk before and after, and points a second; the same count and checksum afterwards, by SQL
    storm      latency of batches of 100 runs, each of which sends one a second, while 50 readers draw charts, and without them, in turn

Everything is on one machine: service, PostgreSQL and this generator share its cores.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import math
import multiprocessing
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import aiohttp
import msgpack
import numpy as np
import uvloop

from ingest.bench.api import Api, sql_id
from ingest.bench.machine import machine_facts, postgres_facts
from ingest.bench.results import write_result
from ingest.bench.service import Service
from ingest.bench.timing import duration_text, summarize
from ingest.compaction.worker import Progress, compact_all
from ingest.store.compaction import Compaction
from ingest_schema import Batch, Event, encode_batch
from ingest_schema.wire import pack_column

KINDS = ("charts", "storm")
BUCKETS = 2_000
START_MS = 1_700_000_000_000
WRITERS = 100


class Wrong(Exception):
    """An answer does not say what it must: the bench fails."""


def sample(n: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Steps, times and values of a training loop: a falling loss with noise, a step each 5 to 15 ms, as float64."""
    dice = np.random.default_rng(n)
    values = np.exp(-np.arange(n) / n) + dice.normal(0, 0.01, n)
    return np.arange(n), START_MS + np.cumsum(dice.integers(5, 16, n)), values


def batch_of(
    run_id: uuid.UUID, writer_id: uuid.UUID, seq: int, key: str, columns: Any, *, end: bool = False
) -> Batch:
    """A writer's batch of one metric; the first starts the run."""
    steps, times_ms, values = columns
    events: list[Event] = []
    if seq == 1:
        start = {"experiment": "bench charts", "name": key, "start_time_ms": START_MS}
        events.append(Event("run_start", START_MS, start))
    if end:
        events.append(Event("run_end", START_MS, {"status": "FINISHED", "end_time_ms": START_MS + 10**12}))
    n = len(steps)
    return Batch(
        run_id=run_id,
        writer_id=writer_id,
        seq=seq,
        sent_ms=0,
        events=events,
        keys=(key,) if n else (),
        counts=pack_column("I", [n] if n else []),
        steps=np.asarray(steps).astype("<i8").tobytes(),
        times_ms=np.asarray(times_ms).astype("<i8").tobytes(),
        values=np.asarray(values).astype("<f8").tobytes(),
    )


class Logger:
    """Sends batches of one run as a writer does."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.run_id = uuid.uuid4()
        self.writer_id = uuid.uuid4()
        self.seq = 0

    def send(self, key: str, steps: Any, times_ms: Any, values: Any, *, end: bool = False) -> None:
        self.seq += 1
        batch = batch_of(self.run_id, self.writer_id, self.seq, key, (steps, times_ms, values), end=end)
        status, body = self.api.request("POST", "/api/v1/batches", encode_batch(batch), "application/msgpack")
        if status != 200:
            raise Wrong(f"a batch was answered {status}: {body[:200]!r}")

    def send_all(self, key: str, columns: Any, chunk_points: int) -> None:
        n = len(columns[0])
        for begin in range(0, n, chunk_points):
            self.send(key, *(column[begin : begin + chunk_points] for column in columns))
        self.send(key, [], [], [], end=True)


def fetch(api: Api, path: str) -> tuple[float, float, Any]:
    """Service time and time at the client, both in ms, and the answer."""
    connection = http.client.HTTPConnection(api.url.removeprefix("http://"), timeout=120)
    try:
        began = time.perf_counter()
        connection.request("GET", path, headers={"Accept": "application/msgpack"})
        answer = connection.getresponse()
        body = answer.read()
        wall = (time.perf_counter() - began) * 1e3
        if answer.status != 200:
            raise Wrong(f"{path}: {answer.status} {body[:200]!r}")
        return float(str(answer.headers["Server-Timing"]).rpartition("=")[2]), wall, msgpack.unpackb(body)
    finally:
        connection.close()


def column(answer: Any, name: str) -> Any:
    """A column of a msgpack answer."""
    return np.frombuffer(answer["columns"][name], answer["dtypes"][name])


def check(answer: Any, columns: Any, low: int, high: int) -> None:
    """The answer against the points: every bucket's count, first, last, least, greatest, and the sum."""
    steps, _, values = columns
    values = values[low : high + 1]
    first, last = column(answer, "first_step") - low, column(answer, "last_step") - low
    if (
        int(column(answer, "n").sum()) != high - low + 1
        or (np.append(last[:-1] + 1, len(values)) != np.append(first[1:], last[-1] + 1)).any()
    ):
        raise Wrong("buckets overlap, or points are missing")
    finite = np.isfinite(values)
    expected = {
        "first": values[first],
        "last": values[last],
        "min": np.minimum.reduceat(np.where(finite, values, np.inf), first),
        "max": np.maximum.reduceat(np.where(finite, values, -np.inf), first),
        "non_finite": np.add.reduceat((~finite).astype(np.int64), first),
    }
    for name, wanted in expected.items():
        if not np.array_equal(column(answer, name), wanted, equal_nan=True):
            raise Wrong(f"{name} is not what the points say")
    if not np.allclose(
        column(answer, "sum"), np.add.reduceat(np.where(finite, values, 0.0), first), rtol=1e-9
    ):
        raise Wrong("sum is not what the points say")
    del steps


def chart_times(api: Api, logger: Logger, columns: Any, repeat: int) -> dict[str, Any]:
    """Times for the whole series and for zooms, each answer checked."""
    n = len(columns[0])
    path = f"/api/v1/runs/{logger.run_id.hex}/series/loss?buckets={BUCKETS}"
    ranges = {
        "whole": (0, n - 1),
        "half": (n // 4, 3 * n // 4),
        "tenth": (n // 2, n // 2 + n // 10),
        "hundredth": (n // 3, n // 3 + n // 100),
    }
    figures: dict[str, Any] = {}
    for name, (low, high) in ranges.items():
        question = path if name == "whole" else f"{path}&from={low}&to={high}"
        asked = [fetch(api, question) for _ in range(repeat)]
        service, wall = [took for took, _, _ in asked], [at_client for _, at_client, _ in asked]
        answer = asked[-1][2]
        if answer["form"] == "buckets":
            check(answer, columns, low, high)
        figures[name] = {
            "told": answer["told"],
            "service": summarize([int(x * 1e6) for x in service]).as_json(),
            "client": summarize([int(x * 1e6) for x in wall]).as_json(),
        }
        print(
            f"  {name:10} {answer['told']:40} p50 {duration_text(figures[name]['service']['median_ns']):>8}  p99 {duration_text(figures[name]['service']['p99_ns']):>8}"
        )
    return figures


async def compact(url: str) -> dict[str, Any]:
    """Compact everything, and how fast and how well that went."""
    progress = Progress()
    async with Compaction.open(url, purpose="bench") as compaction:
        if compaction is None:
            raise Wrong("somebody else compacts")
        before = await compaction.sizes()
        began = time.perf_counter()
        await compact_all(compaction, progress, everything=True)
        seconds = time.perf_counter() - began
        await compaction.vacuum()
        after = await compaction.sizes()
    return {
        "points": progress.points,
        "chunks": progress.chunks,
        "rows": progress.rows,
        "seconds": seconds,
        "points_per_s": progress.points / seconds,
        "bytes_per_point_before": before[0] / progress.points,
        "bytes_per_point_after": sum(after) / progress.points,
        "plain_bytes_left": after[0],
        "packed_bytes": after[1],
    }


def checksum(api: Api, logger: Logger) -> list[Any]:
    """Count and sums that change with any point that is lost, doubled or wrong."""
    sums = "count(*), sum(step::numeric), sum(time_ms::numeric), sum(hashtext(step::text || time_ms::text || value::text)::bigint)"
    statement = f"SELECT {sums} FROM metrics WHERE run_id = {sql_id(logger.run_id)}"  # noqa: S608  # an id of ours, hexadecimal
    return [str(x) for x in api.sql(statement, timeout=30).rows[0]]


def bench_charts(n: int, chunk_points: int, repeat: int) -> dict[str, Any]:
    """One series on a service of its own: charts before, compaction, charts after."""
    with Service(settings={"COMPACTION": "false"}) as service:
        api = Api(service.url)
        logger = Logger(api)
        columns = sample(n)
        columns[2][n * 3 // 7] = 1e6
        columns[2][n * 5 // 7] = math.nan
        print(f"{n:,} points in chunks of {chunk_points:,}", flush=True)
        logger.send_all("loss", columns, chunk_points)
        figures: dict[str, Any] = {"points": n, "chunk_points": chunk_points, "postgres": postgres_facts(api)}
        figures["as_they_came"] = chart_times(api, logger, columns, repeat)
        small = n <= 1_000_000
        before = checksum(api, logger) if small else None
        figures["compaction"] = asyncio.run(compact(service.database_url))
        done = figures["compaction"]
        print(
            f"  compacted: {done['points_per_s']:,.0f} points/s, {done['bytes_per_point_before']:.1f} -> {done['bytes_per_point_after']:.1f} bytes a point"
        )
        if small and checksum(api, logger) != before:
            raise Wrong("compaction changed the points")
        figures["compacted"] = chart_times(api, logger, columns, repeat)
        figures["zoom_levels_with_spike_and_nan"] = see_spike(api, logger, n)
    return figures


def see_spike(api: Api, logger: Logger, n: int) -> int:
    """Zoom in on the spike and on the NaN, with 10 to 2,000 buckets; both must be in every answer that covers them."""
    levels = 0
    for place, name, expected in ((n * 3 // 7, "max", 1e6), (n * 5 // 7, "non_finite", 1)):
        width = n
        while width > 10_000:
            low, high = max(0, place - width // 2), min(n - 1, place + width // 2)
            for buckets in (10, 300, BUCKETS):
                *_, answer = fetch(
                    api,
                    f"/api/v1/runs/{logger.run_id.hex}/series/loss?buckets={buckets}&from={low}&to={high}",
                )
                if column(answer, name).max() != expected:
                    raise Wrong(f"{name} is not seen in {buckets} buckets over {width:,} steps")
                levels += 1
            width //= 3
    print(f"  spike and NaN seen in {levels} of {levels} answers")
    return levels


def bench_storm(seconds: float, readers: int, rounds: int) -> dict[str, Any]:
    """Batches of 100 points, one a second from each of WRITERS runs, with and without readers, in turn."""
    with Service() as service:
        api = Api(service.url)
        charted = Logger(api)
        columns = sample(1_000_000)
        charted.send_all("loss", columns, 1_000)
        deadline = time.monotonic() + 60
        while api.sql("SELECT count(*) FROM metric_chunks").rows[0][0]:
            if time.monotonic() > deadline:
                raise Wrong("the service did not compact within a minute")
            time.sleep(0.2)
        rows: dict[str, list[float]] = {"alone": [], "storm": []}
        answers = 0
        for _ in range(rounds):
            rows["alone"] += write_paced(api, seconds)
            spawn = multiprocessing.get_context("spawn")
            stop, count = spawn.Event(), spawn.Value("i", 0)
            crowd = spawn.Process(target=read_all, args=(api.url, charted.run_id.hex, readers, stop, count))
            crowd.start()
            while not count.value:  # they are at it
                time.sleep(0.05)
            count.value = 0
            rows["storm"] += write_paced(api, seconds)
            answers += count.value
            stop.set()
            crowd.join(60)
    figures: dict[str, Any] = {
        name: summarize([int(x * 1e9) for x in some]).as_json() for name, some in rows.items()
    }
    figures["readers"], figures["charts_per_s"] = readers, answers / (seconds * rounds)
    figures["p99_ratio"] = figures["storm"]["p99_ns"] / figures["alone"]["p99_ns"]
    for name in ("alone", "storm"):
        print(
            f"  {name:6} p50 {duration_text(figures[name]['median_ns'])}  p99 {duration_text(figures[name]['p99_ns'])}"
        )
    print(f"  {readers} readers, {figures['charts_per_s']:.0f} charts/s; p99 x {figures['p99_ratio']:.2f}")
    return figures


def write_paced(api: Api, seconds: float) -> list[float]:
    """Seconds from when a batch was due until its acknowledgement, for WRITERS runs that each send one a second, as clients do."""
    return uvloop.run(_write_paced(api.url, int(seconds)))


async def _write_paced(url: str, rounds: int) -> list[float]:
    latencies: list[float] = []
    async with (
        aiohttp.ClientSession(
            base_url=url, connector=aiohttp.TCPConnector(limit=0), raise_for_status=True
        ) as http,
        asyncio.TaskGroup() as writers,
    ):
        began = time.perf_counter() + 0.2
        for number in range(WRITERS):
            writers.create_task(_write_on(http, began + number / WRITERS, rounds, latencies))
    return latencies


async def _write_on(http: aiohttp.ClientSession, began: float, rounds: int, latencies: list[float]) -> None:
    """One writer: it waits for its acknowledgement, then for its next second."""
    run_id, writer_id = uuid.uuid4(), uuid.uuid4()
    for i in range(rounds):
        steps = np.arange(i * 100, (i + 1) * 100)
        batch = batch_of(run_id, writer_id, i + 1, "loss", (steps, START_MS + steps, steps * 0.5))
        await asyncio.sleep(max(0.0, began + i - time.perf_counter()))
        async with http.post(
            "/api/v1/batches", data=encode_batch(batch), headers={"Content-Type": "application/msgpack"}
        ) as answer:
            await answer.read()
        latencies.append(time.perf_counter() - (began + i))


def read_all(url: str, run_id: str, readers: int, stop: Any, count: Any) -> None:
    """The readers, in a process of their own: else the writer's clock would measure their interpreter."""
    threads = [
        threading.Thread(target=read_on, args=(Api(url), run_id, stop, count, i)) for i in range(readers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def read_on(api: Api, run_id: str, stop: Any, count: Any, number: int) -> None:
    """One reader: zooms at random, a chart a second, as somebody does who drags a chart about all the time."""
    dice = np.random.default_rng(number)
    while not stop.is_set():
        width = int(10 ** dice.uniform(4, 6))
        low = int(dice.integers(0, 1_000_001 - width))
        fetch(api, f"/api/v1/runs/{run_id}/series/loss?buckets=500&from={low}&to={low + width - 1}")
        with count.get_lock():
            count.value += 1
        stop.wait(dice.uniform(0.5, 1.5))


def main() -> int:
    """Run what was asked for; 1 if an answer was wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--full", action="store_true", help="also 5 and 10 million points")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--repeat", type=int, default=30, help="requests of each kind")
    parser.add_argument("--seconds", type=float, default=5.0, help="of one half of a round of the storm")
    parser.add_argument("--rounds", type=int, default=2, help="of the storm")
    parser.add_argument("--output", type=Path, help="file that receives the result as JSON")
    given = parser.parse_args()
    result: dict[str, Any] = {"bench": "charts", "machine": machine_facts(), "figures": {}}
    try:
        if "charts" in given.only:
            sizes = [
                (1_000_000, 100),
                (1_000_000, 1_000),
                *([(5_000_000, 1_000), (10_000_000, 1_000)] if given.full else []),
            ]
            result["figures"]["series"] = [bench_charts(n, chunk, given.repeat) for n, chunk in sizes]
        if "storm" in given.only:
            print("50 readers against one writer", flush=True)
            result["figures"]["storm"] = bench_storm(given.seconds, 50, given.rounds)
    except Wrong as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    if given.output is not None:
        write_result(given.output, result)
    else:
        print(json.dumps(result["figures"])[:200] + " …")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
