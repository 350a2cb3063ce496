"""A small world of runs, in the database and in memory, to compare searches with."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from tests.integration.search.model import ModelRun, make_runs


class Sync:
    """A connection for tests that can't be coroutines, such as hypothesis's."""

    def __init__(self, runner: asyncio.Runner, url: str, runs: list[ModelRun]) -> None:
        self.runner = runner
        self.runs = runs
        self.connection: Any = runner.run(_connect(url))

    def run(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine)


async def _connect(url: str) -> Any:
    return await asyncpg.connect(url, server_settings={"search_path": "ingest", "timezone": "UTC"})


async def store(connection: Any, runs: list[ModelRun]) -> None:
    """Put the runs into the tables as the write path would leave them."""
    ids = sorted({run.experiment_id for run in runs})
    await connection.executemany(
        "INSERT INTO experiments (experiment_id, name, created_at_ms, updated_at_ms) VALUES ($1, $2, $1, $1) "
        "ON CONFLICT DO NOTHING",
        [(i, f"experiment {i}") for i in ids],
    )
    await connection.executemany(
        "INSERT INTO runs (run_id, experiment_id, name, user_name, status, lifecycle, start_time_ms, end_time_ms, "
        "heartbeat_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, now() - interval '1 day')",
        [
            (
                r.run_id,
                r.experiment_id,
                r.name,
                r.user_name,
                r.status,
                r.lifecycle,
                r.start_time_ms,
                r.end_time_ms,
            )
            for r in runs
        ],
    )
    for table, rows in (
        ("params", [(r.run_id, k, v) for r in runs for k, v in r.params.items()]),
        ("tags", [(r.run_id, k, v) for r in runs for k, v in r.tags.items()]),
    ):
        await connection.executemany(f"INSERT INTO {table} (run_id, key, value) VALUES ($1, $2, $3)", rows)
    await connection.executemany(
        "INSERT INTO series (run_id, key, n, non_finite, first_step, first_time_ms, first_value, last_step, "
        "last_time_ms, last_value, min_value, max_value, min_step, max_step, sum_value) "
        "VALUES ($1, $2, $3, $4, 0, 0, $5, $6, 0, $7, $8, $9, $10, $11, $12)",
        [
            (
                r.run_id, k, m["count"], m["nonfinite"], m["first"], m["last_step"], m["last"], m["min"], m["max"],
                m["argmin"], m["argmax"], m["sum"],
            )
            for r in runs
            for k, m in r.metrics.items()
        ],
    )  # fmt: skip


@pytest.fixture
def world(database_url: str) -> Iterator[Sync]:
    """Some fifty runs in a fresh database, none of them sealed."""
    runs = make_runs(60)
    with asyncio.Runner() as runner:
        sync = Sync(runner, database_url, runs)
        sync.run(store(sync.connection, runs))
        yield sync
        sync.run(sync.connection.close())
