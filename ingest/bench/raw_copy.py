"""The yardstick of `ingest bench load`: the same chunks by raw binary COPY into an identical, indexed table.

Run as `python -m ingest.bench.raw_copy`, a process of its own; takes its orders as one line of JSON on standard input
and prints one line of JSON. The COPY data is built beforehand, so that nothing but asyncpg's sending and PostgreSQL's
work is measured: that is the most that any service in front of this PostgreSQL could reach.

Each connection repeats transactions of one COPY, which holds `batches` batches: more than the service can usually put
into one, which favours the raw side. synchronous_commit is on, as for the service.

Units: seconds, points.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
import uvloop

from ingest.bench import BenchError
from ingest.bench.child import read_orders, say
from ingest.bench.template import BatchTemplate
from ingest.store.pgcopy import CHUNK_COLUMNS, HEADER, TRAILER, chunk_rows
from ingest.store.points import PointTable
from ingest.store.summaries import summarize
from ingest_schema.ids import new_id
from ingest_schema.wire import decode_batch

SCHEMA: Final = "ingest_bench"
TABLE: Final = "metric_chunks"
_SETUP: Final = f"""
DROP SCHEMA IF EXISTS {SCHEMA} CASCADE;
CREATE SCHEMA {SCHEMA};
CREATE TABLE {SCHEMA}.{TABLE} (LIKE ingest.metric_chunks INCLUDING ALL);
"""
_COUNT: Final = f"SELECT COALESCE(sum(n), 0) FROM {SCHEMA}.{TABLE}"  # noqa: S608  # two constants
_DROP: Final = f"DROP SCHEMA {SCHEMA} CASCADE"
POINTS_PER_COPY: Final = 100_000
"""At least; beyond it COPY does not become faster."""
BYTES_PREPARED: Final = 256 * 1024 * 1024
"""Of prepared COPY data, all connections together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawOrders:
    """What is copied, by how many connections."""

    database_url: str
    connections: int
    metrics: int
    chunk_points: int
    duration: float
    warmup: float


def prepared_copies(orders: RawOrders, seed: int) -> list[bytes]:
    """COPY bodies for one connection, of different batches of one run, as many as the memory's bound allows."""
    template = BatchTemplate(
        new_id(),
        new_id(),
        metrics=orders.metrics,
        chunk_points=orders.chunk_points,
        experiment="raw",
        seed=seed,
    )
    batches = max(1, -(-POINTS_PER_COPY // template.points))
    copies: list[bytes] = []
    size_bytes = 0
    while size_bytes < BYTES_PREPARED // orders.connections and len(copies) < 64:
        table = PointTable.of([decode_batch(bytes(template.next(0))) for _ in range(batches)])
        copies.append(b"".join([HEADER, *chunk_rows(table, summarize(table)), TRAILER]))
        size_bytes += len(copies[-1])
    return copies


async def measure(orders: RawOrders) -> dict[str, Any]:
    """Copy for the given time; points a second.

    Raises:
        BenchError: The table does not hold what was copied.
    """
    copies = [prepared_copies(orders, seed) for seed in range(orders.connections)]
    batch_points = orders.metrics * orders.chunk_points
    points_per_copy = max(1, -(-POINTS_PER_COPY // batch_points)) * batch_points
    connections = [await asyncpg.connect(orders.database_url) for _ in range(orders.connections)]
    try:
        await connections[0].execute(_SETUP)
        settings = await connections[0].fetchval("SHOW synchronous_commit")
        begin = time.monotonic() + orders.warmup
        cpu_before = time.process_time()
        counts = await asyncio.gather(
            *(
                _copy_repeatedly(connection, bodies, begin, begin + orders.duration)
                for connection, bodies in zip(connections, copies, strict=True)
            )
        )
        cpu = time.process_time() - cpu_before
        stored = int(await connections[0].fetchval(_COUNT, timeout=300))
        await connections[0].execute(_DROP)
    finally:
        for connection in connections:
            await connection.close(timeout=10)
    copied = sum(total for total, _ in counts) * points_per_copy
    if stored != copied:
        raise BenchError(f"raw COPY stored {stored:,} points of {copied:,}")
    measured = sum(inside for _, inside in counts) * points_per_copy
    return {
        "points_per_s": measured / orders.duration,
        "points_per_copy": points_per_copy,
        "connections": orders.connections,
        "synchronous_commit": settings,
        "cpu": cpu,
    }


async def _copy_repeatedly(connection: Any, bodies: list[bytes], begin: float, end: float) -> tuple[int, int]:
    """COPYs done in all, and those that ended between `begin` and `end`."""
    total = inside = 0
    while time.monotonic() < end:
        await connection.copy_to_table(
            TABLE,
            schema_name=SCHEMA,
            columns=CHUNK_COLUMNS,
            source=_once(bodies[total % len(bodies)]),
            format="binary",
        )
        total += 1
        inside += begin <= time.monotonic() <= end
    return total, inside


async def _once(body: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(body), 1 << 19):
        yield body[at : at + (1 << 19)]


def main() -> None:
    """Take orders, measure, print the result."""
    orders = RawOrders(**read_orders())
    say(uvloop.run(measure(orders)))


if __name__ == "__main__":
    main()
