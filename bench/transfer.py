"""Export and import: points a second, CPU and memory; and that an import gives the same files again.

    python bench/transfer.py [--points 10000000] [--metrics 100] [--output bench/results/transfer.json]

Fills a database with one run through the write path, exports it as it came in and compacted, imports it into a second database,
exports that, and compares the files. Export and import run as commands, in processes of their own, whose CPU time and peak
memory the kernel tells; PostgreSQL's comes on top.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from ingest.bench.machine import machine_facts
from ingest.bench.results import write_result
from ingest.bench.service import Service
from ingest.bench.template import BatchTemplate
from ingest.migrations import migrate
from ingest.store.commit import commit_batches
from ingest.store.connections import connect_writer
from ingest_schema.ids import new_id
from ingest_schema.wire import decode_batch

CHUNK_POINTS = 100


async def fill(url: str, points: int, metrics: int) -> int:
    """One run of about so many points, a hundred of each metric in a batch; how many they are."""
    template = BatchTemplate(
        new_id(), new_id(), metrics=metrics, chunk_points=CHUNK_POINTS, experiment="transfer", seed=1
    )
    connection = await connect_writer(url)
    batches = points // template.points
    for _ in range(batches):
        await commit_batches(connection, [decode_batch(bytes(template.next(0)))])
    await connection.close()
    return batches * template.points


async def second_database(url: str) -> str:
    """An empty, migrated database on the same server."""
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE DATABASE transfer_target")
    await connection.close()
    target = urlunsplit(urlsplit(url)._replace(path="/transfer_target"))
    await migrate(target)
    return target


def command(*arguments: str) -> dict[str, Any]:
    """Run `ingest …`; what it printed as JSON, with its seconds, CPU seconds and peak of memory."""
    began = time.monotonic()
    with tempfile.TemporaryFile() as output:
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-m", "ingest", *arguments, "--json"],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, output.fileno(), 1)],
        )
        _, status, usage = os.wait4(pid, 0)
        output.seek(0)
        text = output.read()
    assert status == 0, f"ingest {' '.join(arguments)} failed"
    told = json.loads(text)
    told.pop("target", None)  # a scratch directory
    return {
        **told,
        "process_seconds": round(time.monotonic() - began, 2),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mib": usage.ru_maxrss // 1024,
    }


def metric_files(path: Path) -> dict[str, str]:
    """The hash of each file of points."""
    manifest = json.loads((path / "manifest.json").read_text())
    return {fact["path"]: fact["sha256"] for fact in manifest["files"]}


def measure(points: int, metrics: int) -> dict[str, Any]:
    """The figures, of points that were compared."""
    with Service() as service, tempfile.TemporaryDirectory(prefix="ingest-transfer-") as scratch:
        root, url = Path(scratch), service.database_url
        stored = asyncio.run(fill(url, points, metrics))
        source = ("--database-url", url, "--no-artifacts")
        figures = {"export": command("export", str(root / "plain"), *source)}
        command("compact", "--database-url", url)
        figures["export compacted"] = command("export", str(root / "packed"), *source)
        target = asyncio.run(second_database(url))
        into = ("--database-url", target, "--no-artifacts")
        figures["import"] = command("import", "export", str(root / "plain"), *into)
        figures["export imported"] = command("export", str(root / "again"), *into)
        first = metric_files(root / "plain")
        assert metric_files(root / "packed") == first, "compaction changed the export"
        assert metric_files(root / "again") == first, "the import is not what was exported"
        assert figures["import"]["points"] == stored
    for figure in figures.values():
        figure["points_per_s"] = round(stored / figure["seconds"])
        figure["points_per_cpu_s"] = round(stored / figure["cpu_seconds"])
    return figures


def main() -> None:
    """Measure, print, and keep the result if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--points", type=int, default=10_000_000)
    parser.add_argument("--metrics", type=int, default=100)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    figures = measure(options.points, options.metrics)
    for name, figure in figures.items():
        print(
            f"{name:18} {figure['points_per_s']:>12,} points/s {figure['points_per_cpu_s']:>12,} per CPU second "
            f"{figure['peak_mib']:>6} MiB {figure.get('size_bytes', 0) / max(figure['points'], 1):>6.1f} bytes/point"
        )
    if options.output is not None:
        settings = {"points": options.points, "metrics": options.metrics, "chunk_points": CHUNK_POINTS}
        write_result(
            options.output,
            {"bench": "transfer", "machine": machine_facts(), "settings": settings, "figures": figures},
        )


if __name__ == "__main__":
    main()
