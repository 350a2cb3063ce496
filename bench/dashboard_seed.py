"""Fills a service with what `bench/dashboard.py` looks at: many runs, runs with long series, and a run with very many metrics.

The many runs are those of `bench/search.py`: made by a formula in SQL, so that every page of the table can be compared with numpy.
Points go through the batch path as any writer's do, and are compacted before anybody looks at them. A directory that was filled
before, with the same sizes, is taken as it is.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import asyncpg
import numpy as np

from bench.search import seal, seed
from ingest.bench import BenchError
from ingest.bench.api import Api
from ingest.bench.service import Service
from ingest.compaction.worker import Progress, compact_all
from ingest.store.compaction import Compaction
from ingest_schema import Batch, Event, encode_batch
from ingest_schema.wire import pack_column

START_MS = 1_700_000_000_000
BATCH_STEPS = 5_000
WRITERS = 2
SPIKE, SPIKE_AT = 7.5, 3 / 7
"""Value of the one point that stands out in the first run's first metric, and its place in the series."""
WIDE_POINTS = 20


@dataclass(frozen=True)
class Sizes:
    """How much there is to look at."""

    runs: int
    charts: int
    chart_runs: int
    points: int
    wide_keys: int

    def metric(self, k: int) -> str:
        return f"train/metric_{k:02d}"

    @property
    def spike_step(self) -> int:
        return int(self.points * SPIKE_AT)


@dataclass(frozen=True)
class Seeded:
    """Where it is: ids of runs in hexadecimal, of experiments as numbers."""

    sizes: Sizes
    many: int
    charts: int
    chart_runs: list[str]
    wide: str


def seeded(service: Service, sizes: Sizes) -> Seeded:
    """Fill the service's database, unless that was done before; sealed and compacted."""
    note = Path(service.data_dir) / "bench-dashboard.json"
    if note.exists():
        known = json.loads(note.read_text(encoding="utf-8"))
        known["sizes"] = Sizes(**known["sizes"])
        if known["sizes"] == sizes:
            return Seeded(**known)
        raise SystemExit(f"{service.data_dir} was filled with {known['sizes']}; give another --data-dir")
    told("runs", lambda: asyncio.run(seed_runs(service.database_url, sizes.runs)))
    api = Api(service.url)
    ids = [uuid.uuid4() for _ in range(sizes.chart_runs)]
    wide = uuid.uuid4()
    told("points", lambda: log_charts(service.url, sizes, ids))
    log_wide(api, sizes, wide)
    experiments = {one["name"]: int(one["experiment_id"]) for one in api.get("/api/v1/experiments?limit=1000")["experiments"]}  # fmt: skip
    told("compaction", lambda: asyncio.run(compact(service.database_url)))
    done = Seeded(sizes, experiments["bench"], experiments["charts"], [one.hex for one in ids], wide.hex)
    note.write_text(json.dumps(asdict(done)), encoding="utf-8")
    return done


def told(what: str, act: Any) -> None:
    """Do it and say how long it took."""
    began = time.perf_counter()
    act()
    print(f"  seeded: {what} in {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)


async def seed_runs(url: str, runs: int) -> None:
    """The runs of bench/search.py, at rest."""
    await seed(url, runs)
    connection = await asyncpg.connect(url)
    try:  # the experiment was given its id by hand
        await connection.execute("SELECT setval(pg_get_serial_sequence('ingest.experiments', 'experiment_id'), 100)")  # fmt: skip
    finally:
        await connection.close()
    await seal(url)


def log_charts(url: str, sizes: Sizes, ids: list[uuid.UUID]) -> None:
    """The long series, by as many writers at once as the machine has cores."""
    noise = np.random.default_rng(1).normal(0, 0.02, sizes.points)

    def work(own: list[uuid.UUID]) -> None:
        with Api(url, timeout=300.0) as api:
            for run_id in own:
                log_run(api, sizes, run_id, ids.index(run_id), noise)

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(work, [ids[i::WRITERS] for i in range(WRITERS)]))


def log_run(api: Api, sizes: Sizes, run_id: uuid.UUID, number: int, noise: Any) -> None:
    """All metrics of one run: falling losses with noise; the first run's first one has a spike of one point."""
    writer = uuid.uuid4()
    falling = np.exp(-np.arange(sizes.points) * (2.0 + number) / sizes.points)
    keys = tuple(sizes.metric(k) for k in range(sizes.charts))
    for seq, low in enumerate(range(0, sizes.points, BATCH_STEPS), start=1):
        high = min(low + BATCH_STEPS, sizes.points)
        columns = [
            noise[(np.arange(low, high) + 7919 * (k + 31 * number)) % sizes.points]
            + falling[low:high] * (1 + k / 10)
            for k in range(sizes.charts)
        ]
        if number == 0 and low <= sizes.spike_step < high:
            columns[0][sizes.spike_step - low] = SPIKE
        steps = np.arange(low, high, dtype="<i8")
        events = []
        if seq == 1:
            events.append(start_event("charts", f"run-{number}", number))
        if high == sizes.points:
            events.append(end_event())
        send(api, run_id, writer, seq, events, keys, steps, columns)


def log_wide(api: Api, sizes: Sizes, run_id: uuid.UUID) -> None:
    """One run with very many metrics."""
    keys = tuple(f"layer_{i // 100:03d}/weight_{i % 100:02d}" for i in range(sizes.wide_keys))
    steps = np.arange(WIDE_POINTS, dtype="<i8")
    columns = [np.sin(steps / 3 + i) for i in range(sizes.wide_keys)]
    events = [start_event("wide", "wide", 0), end_event()]
    send(api, run_id, uuid.uuid4(), 1, events, keys, steps, columns)


def start_event(experiment: str, name: str, number: int) -> Event:
    """Of a run's first batch."""
    return Event("run_start", START_MS, {"experiment": experiment, "name": name, "start_time_ms": START_MS + number})  # fmt: skip


def end_event() -> Event:
    """Of its last one."""
    return Event("run_end", START_MS, {"status": "FINISHED", "end_time_ms": START_MS + 10**9})


def send(  # noqa: PLR0917  a batch has these parts
    api: Api, run_id: uuid.UUID, writer: uuid.UUID, seq: int, events: list[Event], keys: Any, steps: Any, columns: Any
) -> None:  # fmt: skip
    """One batch, the same steps for every key; sent again while the service is busy."""
    n, width = len(steps), len(keys)
    batch = Batch(
        run_id=run_id,
        writer_id=writer,
        seq=seq,
        sent_ms=0,
        events=events,
        keys=keys,
        counts=pack_column("I", [n] * width),
        steps=steps.tobytes() * width,
        times_ms=(START_MS + steps * 10).astype("<i8").tobytes() * width,
        values=np.concatenate(columns).astype("<f8").tobytes(),
    )
    body, status, answer = encode_batch(batch), 0, b""
    for _ in range(600):
        status, answer = api.request("POST", "/api/v1/batches", body, "application/msgpack")
        if status == 200:
            return
        if status not in {429, 503}:
            break
        time.sleep(0.1)
    raise BenchError(f"a batch was answered {status}: {answer[:200]!r}")


async def compact(url: str) -> None:
    """All of it, at once; what the service itself does in the background is over then."""
    async with Compaction.open(url, purpose="bench") as compaction:
        if compaction is None:
            raise BenchError("somebody else compacts")
        await compact_all(compaction, Progress(), everything=True)
        await compaction.vacuum()
