"""Searches over 100,000 runs with 20 params and 50 metrics each: pages, counts, compares, keys of one run; each answer checked.

    python bench/search.py                     100,000 runs, 3 to 4 minutes, most of it seeding
    python bench/search.py --runs 10000        a tenth of it

The runs are made by formulas, in SQL on the one side and in numpy on the other, so that the ids and the count of every answer are
compared with brute force in the same run. `open` is the same question while no run is sealed, as right after an import.
Times are those of a client on the same machine: HTTP, JSON and all; the first question of each kind is not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg
import numpy as np
import numpy.typing as npt
import orjson

from ingest.bench.api import Api
from ingest.bench.machine import machine_facts, postgres_facts
from ingest.bench.results import write_result
from ingest.bench.service import Service
from ingest.bench.timing import duration_text, summarize
from ingest.store.sealing import Sealing, seal_some

PARAMS, METRICS, WIDE_KEYS = 20, 50, 20_000
MODULUS: Final = 1_000_003
ALL_AT_REST: Final = Sealing(quiet=-7200, patience=-7200, min_runs=1)
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

SEED_RUNS = """
INSERT INTO ingest.runs (run_id, experiment_id, name, user_name, status, start_time_ms, end_time_ms, heartbeat_at)
SELECT lpad(to_hex(i), 32, '0')::uuid, 1, 'run-' || i, 'user' || i % 10, (ARRAY['FINISHED', 'FAILED', 'KILLED'])[1 + i % 3],
       1700000000000 + i, 1700000001000 + i, now() + interval '1 hour'
FROM generate_series($1::bigint, $2::bigint) AS i
"""
SEED_PARAMS = f"""
INSERT INTO ingest.params (run_id, key, value)
SELECT lpad(to_hex(i), 32, '0')::uuid, 'p' || lpad(k::text, 2, '0'), 'v' || (i * 31 + k * 17) % (5 * (k + 1))
FROM generate_series($1::bigint, $2::bigint) AS i, generate_series(0, {PARAMS - 1}) AS k
"""  # noqa: S608  numbers of ours
SEED_SERIES = f"""
INSERT INTO ingest.series (run_id, key, n, non_finite, first_step, first_time_ms, first_value, last_step, last_time_ms, last_value,
                    min_value, max_value, min_step, max_step, sum_value)
SELECT lpad(to_hex(i), 32, '0')::uuid, 'metric/' || lpad(k::text, 2, '0'), 1000, 0, 0, 0, v, 999, 999, v, v / 2, v + 1, 0, 9, v
FROM generate_series($1::bigint, $2::bigint) AS i, generate_series(0, {METRICS - 1}) AS k,
     LATERAL (SELECT ((i * 7919 + k * 104729) * (k + 3) % {MODULUS})::float8 / {MODULUS} AS v) AS x
"""  # noqa: S608  numbers of ours


class Wrong(Exception):
    """An answer is not what brute force gives: the bench fails."""


@dataclass(frozen=True)
class Question:
    """A search, and by brute force which runs it finds and by what they are ordered."""

    name: str
    body: dict[str, Any]
    finds: Callable[[World], Mask]
    sorts: Callable[[World], Floats] | None = None


@dataclass
class World:
    """The same runs in numpy; run i is at place i - 1."""

    runs: int
    ids: npt.NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.ids = np.arange(1, self.runs + 1, dtype=np.int64)

    def metric(self, k: int) -> Floats:
        return ((self.ids * 7919 + k * 104729) * (k + 3) % MODULUS).astype(np.float64) / MODULUS

    def param(self, k: int, value: int) -> Mask:
        found: Mask = (self.ids * 31 + k * 17) % (5 * (k + 1)) == value
        return found

    def page(self, question: Question) -> tuple[list[str], int]:
        """The ids of the first 100, and how many there are. Ties: started last first, which is the greater id."""
        mask = question.finds(self)
        places = np.flatnonzero(mask)
        keys = np.zeros(len(places)) if question.sorts is None else question.sorts(self)[places]
        order = np.lexsort((-places, keys))[:100]
        return [f"{self.ids[place]:032x}" for place in places[order]], len(places)


QUESTIONS = (
    Question(
        "a metric of 10%, newest first",
        {"filter": 'metrics."metric/03" < 0.1'},
        lambda w: w.metric(3) < 0.1,
    ),
    Question(
        "a metric of 90%, by another metric",
        {"filter": "metrics.metric/03 < 0.9", "order_by": ["metrics.metric/05 DESC"]},
        lambda w: w.metric(3) < 0.9,
        lambda w: -w.metric(5),
    ),
    Question(
        "a metric and a param, by another metric",
        {
            "filter": "metrics.metric/07 > 0.5 AND params.p04 = 'v3'",
            "order_by": ["metrics.metric/05"],
        },
        lambda w: (w.metric(7) > 0.5) & w.param(4, 3),
        lambda w: w.metric(5),
    ),
    Question(
        "min OR NOT a param, by max",
        {
            "filter": "min(metrics.metric/11) < 0.1 OR NOT params.p01 LIKE 'v1%'",
            "order_by": ["max(metrics.metric/12) DESC"],
        },
        lambda w: (w.metric(11) / 2 < 0.1) | ~(w.param(1, 1)),
        lambda w: -(w.metric(12) + 1),
    ),
    Question(
        "a status, by a metric",
        {"filter": "status = 'FAILED'", "order_by": ["metrics.metric/20"]},
        lambda w: w.ids % 3 == 1,
        lambda w: w.metric(20),
    ),
    Question(
        "no filter, by a metric",
        {"order_by": ["metrics.metric/01"]},
        lambda w: np.ones(w.runs, dtype=np.bool_),
        lambda w: w.metric(1),
    ),
)
COLUMNS = ["name", "status", "params.p00", "params.p01", "metrics.metric/03", "metrics.metric/05"]


async def seed(url: str, runs: int) -> None:
    """All runs, open, in transactions of 20,000 runs."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "INSERT INTO ingest.experiments (experiment_id, name, created_at_ms, updated_at_ms) VALUES (1, 'bench', 0, 0)"
        )
        for start in range(1, runs + 1, 20_000):
            for statement in (SEED_RUNS, SEED_PARAMS, SEED_SERIES):
                await connection.execute(statement, start, min(start + 19_999, runs), timeout=300)
        await connection.execute(
            f"INSERT INTO ingest.series SELECT lpad('f', 32, '0')::uuid, 'layer/' || k || '/weight', 1, 0, 0, 0, k, 0, 0, k, k, k, 0, 0, k "  # noqa: S608
            f"FROM generate_series(0, {WIDE_KEYS - 1}) AS k ON CONFLICT DO NOTHING"
        )
        for table in ("runs", "params", "series"):
            await connection.execute(f"VACUUM ANALYZE ingest.{table}", timeout=300)
    finally:
        await connection.close()


async def seal(url: str) -> dict[str, Any]:
    """Seal everything; how fast, how large, and the longest transaction."""
    connection = await asyncpg.connect(url, server_settings={"search_path": "ingest"})
    try:
        begin, count, longest = time.perf_counter(), 0, 0.0
        while True:
            started = time.perf_counter()
            sealed = await seal_some(connection, ALL_AT_REST)
            longest = max(longest, time.perf_counter() - started)
            if not sealed:
                break
            count += sealed
        seconds = time.perf_counter() - begin
        for table in ("search_segments", "search_metrics", "search_params", "runs"):
            await connection.execute(f"VACUUM ANALYZE {table}", timeout=300)
        size = await connection.fetchval(
            "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relname LIKE 'search\\_%' AND relkind = 'r'"
        )
        series = await connection.fetchval("SELECT pg_total_relation_size('series')")
    finally:
        await connection.close()
    return {
        "runs": count,
        "runs_per_s": count / seconds,
        "longest_transaction_s": longest,
        "bytes": int(size),
        "series_bytes": int(series),
    }


def timed(api: Api, path: str, body: dict[str, Any] | None, repeats: int) -> tuple[list[int], Any]:
    """Nanoseconds of each request but the first, and the answer."""
    raw = None if body is None else orjson.dumps(body)
    durations = []
    answer = b""
    for _ in range(repeats + 1):
        begin = time.perf_counter_ns()
        status, answer = api.request("GET" if raw is None else "POST", path, raw, "application/json")
        durations.append(time.perf_counter_ns() - begin)
        if status != 200:
            raise Wrong(f"{path}: {status} {answer[:300]!r}")
    return durations[1:], orjson.loads(answer)


def measure(api: Api, world: World, label: str, repeats: int) -> list[dict[str, Any]]:
    """Every question: its page, and its count."""
    figures = []
    for question in QUESTIONS:
        ids, count = world.page(question)
        page, answer = timed(api, "/api/v1/runs/search", {**question.body, "columns": COLUMNS}, repeats)
        if (found := [run["run_id"] for run in answer["runs"]]) != ids:
            raise Wrong(f"{question.name}: {found[:3]} instead of {ids[:3]}")
        both, answer = timed(
            api, "/api/v1/runs/search", {**question.body, "columns": [], "limit": 1, "count": True}, repeats
        )
        if answer["count"] != count:
            raise Wrong(f"{question.name}: {answer['count']} instead of {count}")
        figures.append(
            {
                "question": question.name,
                "runs": label,
                "found": count,
                "page": summarize(page).as_json(),
                "page_of_1_and_count": summarize(both).as_json(),
            }
        )
    return figures


def measure_rest(api: Api, world: World, repeats: int) -> list[dict[str, Any]]:
    """Compares of 200 runs, and keys of a wide run."""
    ids = [f"{i:032x}" for i in world.ids[100:300]]
    compare, answer = timed(api, "/api/v1/runs/compare", {"run_ids": ids}, repeats)
    if len(answer["metrics"]) < METRICS:
        raise Wrong(f"compare: {len(answer['metrics'])} metrics differ, not {METRICS}")
    figures = [{"question": "compare 200 runs", "page": summarize(compare).as_json()}]
    for match, expected in (("layer/1999", 11), ("layer/*99/weight", 200), ("/^layer.19{3}/", 11)):
        path = f"/api/v1/runs/{15:032x}/series?match={match.replace('^', '%5E').replace('{', '%7B').replace('}', '%7D')}"
        keys, answer = timed(api, path, None, repeats)
        if len(answer["series"]) != expected:
            raise Wrong(f"{match}: {len(answer['series'])} keys instead of {expected}")
        figures.append({"question": f"keys {match} of {WIDE_KEYS}", "page": summarize(keys).as_json()})
    return figures


def report(figures: list[dict[str, Any]]) -> None:
    """The figures as a table."""
    print(f"\n{'question':44} {'runs':8} {'page p50':>9} {'p99':>9} {'with count':>10}")
    for figure in figures:
        count = figure.get("page_of_1_and_count")
        print(
            f"{figure['question']:44} {figure.get('runs', ''):8} {duration_text(figure['page']['median_ns']):>9} "
            f"{duration_text(figure['page']['p99_ns']):>9} {duration_text(count['median_ns']) if count else '':>10}"
        )


def main() -> int:
    """Run it; 1 if an answer was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--skip-open", action="store_true", help="do not measure before sealing")
    parser.add_argument("--output", type=Path, help="file for the figures as JSON")
    given = parser.parse_args()
    world = World(given.runs)
    figures: list[dict[str, Any]] = []
    with Service() as service, Api(service.url, timeout=120.0) as api:
        begin = time.perf_counter()
        asyncio.run(seed(service.database_url, given.runs))
        print(f"{given.runs} runs seeded in {time.perf_counter() - begin:.0f} s", file=sys.stderr)
        try:
            if not given.skip_open:
                figures += measure(api, world, "open", max(3, given.repeats // 5))
            sealing = asyncio.run(seal(service.database_url))
            print(f"sealed: {sealing}", file=sys.stderr)
            figures += measure(api, world, "sealed", given.repeats)
            figures += measure_rest(api, world, given.repeats)
        except Wrong as error:
            print(f"WRONG ANSWER: {error}", file=sys.stderr)
            return 1
        report(figures)
        result = {
            "bench": "search",
            "machine": machine_facts(),
            "postgres": postgres_facts(api),
            "settings": {"runs": given.runs, "params": PARAMS, "metrics": METRICS, "repeats": given.repeats},
            "figures": {"sealing": sealing, "questions": figures},
        }
        if given.output:
            write_result(given.output, result)
        else:
            print(orjson.dumps(result, option=orjson.OPT_INDENT_2).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
