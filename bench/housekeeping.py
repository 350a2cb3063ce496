"""Deletion for good and compaction of a long run, while batches come in; what went and what stayed is counted in the same run.

    python bench/housekeeping.py               three runs of 10 million points, twice
    python bench/housekeeping.py --points 1000000 --rounds 1

    compaction   bytes a point on disk before and after, and points a second, by `ingest compact`; the same count afterwards
    gc           `ingest gc` as a process, sampled for its memory; meanwhile a writer sends a small batch every 10 ms to another run, and
                 every answer is timed. The same writer without gc, in turn, says what the machine does by itself; and every few
                 milliseconds PostgreSQL is asked whether a writer of the service waits for a lock of gc's
    afterwards   nothing of the deleted run is left in any table, and every batch of the other run was stored

Everything is on one machine: service, PostgreSQL, gc and this generator share its cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import asyncpg
import numpy as np
import psutil

from ingest.bench.api import Api
from ingest.bench.machine import machine_facts
from ingest.bench.results import write_result
from ingest.bench.service import Service
from ingest.store.gone import RUN_TABLES
from ingest_schema import Batch, Event, encode_batch
from ingest_schema.wire import pack_column

INGEST = str(Path(sys.executable).with_name("ingest"))
START_MS = 1_700_000_000_000
KEYS = 50
CHUNK_POINTS = 200
PACE_SECONDS = 0.01
LOOK_SECONDS = 0.005
GOAL_BYTES, GOAL_SECONDS = 64 * 1024 * 1024, 0.1


class Wrong(Exception):
    """Something is left, or something is lost: the bench fails."""


def send(api: Api, batch: Batch) -> None:
    """Send a batch, and fail unless it is stored."""
    status, body = api.request("POST", "/api/v1/batches", encode_batch(batch), "application/msgpack")
    if status != 200:
        raise Wrong(f"a batch was answered {status}: {body[:200]!r}")


def start(name: str) -> Event:
    """The first event of a run."""
    return Event(
        "run_start", START_MS, {"experiment": "bench housekeeping", "name": name, "start_time_ms": START_MS}
    )


def fill(api: Api, points: int) -> str:
    """A finished run of so many points; its id."""
    dice = np.random.default_rng(1)
    run_id, writer_id = uuid.uuid4(), uuid.uuid4()
    rounds = points // (KEYS * CHUNK_POINTS)
    for i in range(rounds):
        steps = np.tile(np.arange(i * CHUNK_POINTS, (i + 1) * CHUNK_POINTS), KEYS)
        end = Event("run_end", START_MS, {"status": "FINISHED", "end_time_ms": START_MS + 10**9})
        events = [start("doomed")] if i == 0 else [end] if i == rounds - 1 else []
        send(api, Batch(
            run_id=run_id, writer_id=writer_id, seq=i + 1, sent_ms=0, events=events,
            keys=tuple(f"metric/{k}" for k in range(KEYS)), counts=pack_column("I", [CHUNK_POINTS] * KEYS),
            steps=steps.astype("<i8").tobytes(), times_ms=(START_MS + 10 * steps).astype("<i8").tobytes(),
            values=dice.normal(size=len(steps)).astype("<f8").tobytes(),
        ))  # fmt: skip
    return run_id.hex


class Pulse(threading.Thread):
    """A writer of another run: a small batch every 10 ms, each answer timed, until `stop`."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url, self.run_id, self.writer_id = url, uuid.uuid4(), uuid.uuid4()
        self.seq = 0
        self.seconds: list[float] = []
        self.failure: BaseException | None = None
        self._end = threading.Event()

    def run(self) -> None:
        try:
            with Api(self.url) as api:
                while not self._end.is_set():
                    self.seq += 1
                    events = [start("pulse")] if self.seq == 1 else []
                    batch = Batch.of_points(
                        self.run_id, self.writer_id, self.seq, [("a", self.seq, START_MS, 1.0)], events=events
                    )
                    began = time.perf_counter()
                    send(api, batch)
                    self.seconds.append(time.perf_counter() - began)
                    self._end.wait(PACE_SECONDS)
        except BaseException as error:  # noqa: BLE001  # raised again by `taken`
            self.failure = error

    def stop(self) -> None:
        self._end.set()
        self.join(60)
        if self.failure is not None:
            raise self.failure

    def taken(self) -> list[float]:
        """The times since the last call."""
        seconds, self.seconds = self.seconds, []
        return seconds


def facts(seconds: list[float]) -> dict[str, Any]:
    """Percentiles, in ms."""
    milliseconds = np.array(seconds) * 1000
    p50, p99 = np.percentile(milliseconds, [50, 99]).tolist()
    return {"batches": len(seconds), "p50_ms": round(p50, 2), "p99_ms": round(p99, 2),
            "max_ms": round(float(milliseconds.max()), 2)}  # fmt: skip


def command(service: Service, *arguments: str) -> tuple[dict[str, Any], int]:
    """Run `ingest …` to its end: its JSON, and the most memory that it had (resident, sampled every 5 ms)."""
    process = subprocess.Popen(
        [
            INGEST,
            *arguments,
            "--json",
            "--database-url",
            service.database_url,
            "--data-dir",
            str(service.data_dir),
        ],
        stdout=subprocess.PIPE,
    )
    watched, most_bytes = psutil.Process(process.pid), 0
    while process.poll() is None:
        try:
            most_bytes = max(most_bytes, watched.memory_info().rss)
        except psutil.NoSuchProcess:
            break
        time.sleep(0.005)
    output, _ = process.communicate(timeout=600)
    if process.returncode:
        raise Wrong(f"ingest {arguments[0]} ended with {process.returncode}")
    return json.loads(output), most_bytes


def bytes_of(api: Api, table: str) -> int:
    """What the points in a table take on disk, indexes included."""
    return int(api.sql(f"SELECT pg_total_relation_size('ingest.{table}')").scalar)


def packed_bytes_of(api: Api) -> int:
    """What compaction made of all points. The space that they leave is given back when nobody's snapshot needs it any more."""
    left = int(api.sql("SELECT count(*) FROM metric_chunks").scalar)
    if left:
        raise Wrong(f"{left} chunks are left after compaction")
    return bytes_of(api, "packed_chunks")


class Watch(threading.Thread):
    """Looks every few milliseconds whether a writer of the service waits for a lock that gc holds, until `stop`."""

    QUESTION = """
        SELECT EXISTS (SELECT FROM pg_stat_activity AS w, unnest(pg_blocking_pids(w.pid)) AS blocker
                       JOIN pg_stat_activity AS g ON g.pid = blocker
                       WHERE w.application_name = 'ingest writer' AND g.application_name = 'ingest gc')
    """

    def __init__(self, database_url: str) -> None:
        super().__init__(daemon=True)
        self.database_url = database_url
        self.looks = 0
        self.longest = 0.0
        """Seconds of the longest wait that was seen, from the last look before it to the first after it."""
        self.failure: BaseException | None = None
        self._end = threading.Event()

    def run(self) -> None:
        try:
            asyncio.run(self._look())
        except BaseException as error:  # noqa: BLE001  # raised again by `stop`
            self.failure = error

    async def _look(self) -> None:
        connection = await asyncpg.connect(self.database_url, timeout=10, command_timeout=10)
        free = time.perf_counter()
        while not self._end.is_set():
            waits = await connection.fetchval(self.QUESTION)
            now = time.perf_counter()
            self.looks += 1
            if waits:
                self.longest = max(self.longest, now - free)
            else:
                free = now
            await asyncio.sleep(LOOK_SECONDS)
        connection.terminate()

    def stop(self) -> None:
        self._end.set()
        self.join(20)
        if self.failure is not None:
            raise self.failure
        if not self.looks:
            raise Wrong("nobody looked whether writers wait for gc")


def measure(points: int, rounds: int, quiet_seconds: float, *, compacted: bool) -> dict[str, Any]:
    """Runs filled, compacted if asked for, and deleted for good beside a writer, one after the other with pauses as long."""
    with Service(settings={"compaction": "false"}) as service, Api(service.url, timeout=600) as api:
        run_ids = [fill(api, points) for _ in range(rounds)]
        result: dict[str, Any] = {
            "points": points,
            "rounds": rounds,
            "bytes_per_point_before": round(bytes_of(api, "metric_chunks") / (points * rounds), 1),
        }
        if compacted:
            done, _ = command(service, "compact")
            if done["points"] != points * rounds:
                raise Wrong(f"{done['points']} points were compacted of {points * rounds}")
            result |= {"compaction_points_per_second": round(done["points"] / done["seconds"]),
                       "bytes_per_point_after": round(packed_bytes_of(api) / (points * rounds), 1)}  # fmt: skip
        pulse = Pulse(service.url)
        pulse.start()
        time.sleep(1)
        without: list[float] = []
        during: list[float] = []
        seconds, most_bytes, rows, longest = [], 0, 0, 0.0
        for run_id in run_ids:
            stored = api.sql(f"SELECT sum(points) FROM metric_summaries WHERE run_id = '{run_id}'").scalar  # noqa: S608  # our own names and ids
            if int(stored) != points:
                raise Wrong(f"{stored} points were stored of {points}")
            pulse.taken()
            time.sleep(quiet_seconds)
            without += pulse.taken()
            freed, memory, waited = _collect(service, api, run_id, pulse, during)
            _check(api, run_id, freed, points)
            seconds.append(freed["seconds"])
            most_bytes, rows, longest = max(most_bytes, memory), rows + freed["rows"], max(longest, waited)
        pulse.taken()
        time.sleep(quiet_seconds)
        without += pulse.taken()
        pulse.stop()
        _check_pulse(api, pulse)
        return result | {
            "gc_seconds": seconds, "gc_memory_bytes": most_bytes, "gc_rows": rows,
            "longest_wait_for_gc_ms": round(longest * 1000, 1),
            "batches_without_gc": facts(without), "batches_during_gc": facts(during),
        }  # fmt: skip


def _collect(
    service: Service, api: Api, run_id: str, pulse: Pulse, during: list[float]
) -> tuple[dict[str, Any], int, float]:
    """Delete a run for good: what gc says, its memory, and the longest that a writer waited for it."""
    status, body = api.request(
        "PATCH", f"/api/v1/runs/{run_id}", b'{"lifecycle": "deleted"}', "application/json"
    )
    if status != 200:
        raise Wrong(f"deleting was answered {status}: {body[:200]!r}")
    watch = Watch(service.database_url)
    watch.start()
    pulse.taken()
    freed, memory = command(service, "gc")
    during += pulse.taken()
    watch.stop()
    return freed, memory, watch.longest


def _check(api: Api, run_id: str, freed: dict[str, Any], points: int) -> None:
    if freed["points"] != points or freed["runs"] != 1:
        raise Wrong(f"gc says {freed}, and {points} points were to go")
    for table in RUN_TABLES:
        if table == "settled_attempts":
            continue  # not for readers; a run that never resumed has none
        left = api.sql(f"SELECT count(*) FROM {table} WHERE run_id = '{run_id}'").scalar  # noqa: S608  # our own names and ids
        if int(left):
            raise Wrong(f"{left} rows are left in {table}")


def _check_pulse(api: Api, pulse: Pulse) -> None:
    stored = api.sql(f"SELECT count(*) FROM metrics WHERE run_id = '{pulse.run_id}'").scalar  # noqa: S608  # our own names and ids
    if int(stored) != pulse.seq:
        raise Wrong(f"{stored} batches of {pulse.seq} were stored meanwhile")


def is_good(figures: dict[str, Any]) -> bool:
    """Whether the promises are kept. A machine that stalls the writer without gc, too, is not held against gc."""
    without, during = figures["batches_without_gc"]["max_ms"], figures["batches_during_gc"]["max_ms"]
    return bool(
        figures["gc_memory_bytes"] <= GOAL_BYTES
        and figures["longest_wait_for_gc_ms"] <= GOAL_SECONDS * 1000
        and during <= max(GOAL_SECONDS * 1000, without)
    )


def main() -> None:
    """Measure both, print, and write the result if asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", type=int, default=10_000_000, help="of each run")
    parser.add_argument("--rounds", type=int, default=3, help="runs that are deleted, one after the other")
    parser.add_argument(
        "--quiet-seconds", type=float, default=5.0, help="without gc, before each and at the end"
    )
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    points = max(1, options.points // (KEYS * CHUNK_POINTS)) * KEYS * CHUNK_POINTS
    load_before = os.getloadavg()[0]
    figures: dict[str, Any] = {}
    for name, compacted in (("as_it_came", False), ("compacted", True)):
        one = figures[name] = measure(points, options.rounds, options.quiet_seconds, compacted=compacted)
        print(name, json.dumps(one, indent=2), "goals met" if is_good(one) else "GOALS MISSED", flush=True)
    if options.output:
        settings = {"points": points, "rounds": options.rounds, "load_before": round(load_before, 1)}
        write_result(
            options.output,
            {
                "bench": "housekeeping",
                "machine": machine_facts(),
                "settings": settings,
                "figures": figures,
            },
        )


if __name__ == "__main__":
    main()
