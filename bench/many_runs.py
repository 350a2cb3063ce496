"""Many short runs in one process: how long until all are stored, and what the process holds meanwhile.

    python bench/many_runs.py                          100 threads with 100 runs each
    python bench/many_runs.py --threads 100 --runs 20 --away      nobody listens until the last run has ended

Each thread starts run after run, logs some points, params and tags to it and ends it, as a sweep does. The process may open 1,024 files, the
common limit. Afterwards every run and every point is counted by SQL; what is missing, or stored twice, fails the bench.

Service, PostgreSQL and the threads share the machine's cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ingest.bench import BenchError
from ingest.bench.api import Api
from ingest.bench.machine import machine_facts
from ingest.bench.ports import free_port
from ingest.bench.results import write_result
from ingest.bench.service import Service, clean_environment

MAX_FILES = 1024
POINTS = 10
"""Steps of each run; two metrics at each."""
TIMEOUT = 900.0

EXPERIMENT = "many runs"
LEDGER_SQL = f"""
WITH own AS (SELECT r.* FROM runs AS r JOIN experiments AS e USING (experiment_id) WHERE e.name = '{EXPERIMENT}')
SELECT (SELECT count(*) FROM own), (SELECT count(DISTINCT name) FROM own WHERE status = 'FINISHED'),
       (SELECT count(*) FROM params JOIN own USING (run_id)), (SELECT count(*) FROM tags JOIN own USING (run_id) WHERE key = 'number'),
       m.points, m.once, m.wrong
FROM (SELECT count(*) AS points, count(DISTINCT (run_id, key, step)) AS once,
             count(*) FILTER (WHERE value <> CASE key WHEN 'number' THEN split_part(name, '/', 2)::float8 ELSE step / 2.0 END) AS wrong
      FROM metrics JOIN own USING (run_id) WHERE key IN ('number', 'half')) AS m
"""  # noqa: S608  # a constant
"""Runs, finished ones by name, params, tags, points, distinct points, points with a value that was not logged."""


@dataclass(slots=True)
class Peak:
    """The most that the process held at any look."""

    files: int = 0
    threads: int = 0
    memory_bytes: int = 0

    def look(self) -> None:
        """Compare with what it holds now."""
        with open("/proc/self/status", encoding="utf-8") as status:
            lines = dict(line.split(":", 1) for line in status)
        self.files = max(self.files, len(os.listdir("/proc/self/fd")))
        self.threads = max(self.threads, int(lines["Threads"]))
        self.memory_bytes = max(self.memory_bytes, int(lines["VmRSS"].split()[0]) * 1024)


def expected_ledger(threads: int, runs: int) -> list[int]:
    """What LEDGER_SQL must find."""
    total = threads * runs
    return [total, total, total, total, 2 * POINTS * total, 2 * POINTS * total, 0]


def log_runs(threads: int, runs: int) -> None:
    """The sweep itself; returns when the last run has ended."""
    import ingest

    ingest.set_experiment(EXPERIMENT)

    def work(thread: int) -> None:
        for number in range(runs):
            with ingest.start_run(run_name=f"{thread}/{number}", tags={"number": number}) as run:
                run.log_param("thread", thread)
                for step in range(POINTS):
                    run.log_metrics({"number": number, "half": step / 2}, step)

    workers = [threading.Thread(target=work, args=(thread,)) for thread in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def child(threads: int, runs: int) -> None:
    """The process that logs: says when the last run has ended, is told to go on, and says what it took."""
    import resource

    import ingest

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (MAX_FILES, hard))
    peak, is_over = Peak(), threading.Event()

    def watch() -> None:
        while not is_over.wait(0.1):
            peak.look()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        began = time.monotonic()
        log_runs(threads, runs)
        logged = time.monotonic() - began
        print("ended", flush=True)
        sys.stdin.readline()
        began = time.monotonic()
        is_stored = ingest.flush(TIMEOUT)
        delivered = time.monotonic() - began
    finally:
        is_over.set()
        watcher.join()
    print(
        json.dumps({"is_stored": is_stored, "log_s": logged, "flush_s": delivered, **asdict(peak)}),
        flush=True,
    )


def sweep(
    url: str, spool: Path, threads: int, runs: int, *, environment: str = "on"
) -> subprocess.Popen[str]:
    """Start the process that logs."""
    variables = {
        "INGEST_TRACKING_URI": url,
        "INGEST_SPOOL_DIR": str(spool),
        "INGEST_ENVIRONMENT": environment,
    }
    return subprocess.Popen(
        [sys.executable, __file__, "--child", "--threads", str(threads), "--runs", str(runs)],
        env=clean_environment(variables), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def measure(threads: int, runs: int, *, is_away: bool) -> dict[str, Any]:
    """One sweep against a service of its own.

    Raises:
        BenchError: Something is missing, or is there twice.
    """
    with tempfile.TemporaryDirectory(prefix="ingest-bench-") as scratch:
        service = Service(port=free_port())
        spool = Path(scratch) / "spool"
        try:
            if not is_away:
                service.start()
                service.wait_ready()
            with sweep(service.url, spool, threads, runs) as process:
                assert process.stdout is not None
                process.stdout.readline()
                if is_away:
                    service.start()
                    service.wait_ready()
                output, _ = process.communicate("go on\n", timeout=TIMEOUT + 60)
            with Api(service.url) as api:
                ledger = [int(number) for number in api.sql(LEDGER_SQL, timeout=60).rows[0]]
        finally:
            service.close()
        left = sum(1 for _ in spool.glob("*/*/meta.json"))
    if process.returncode or ledger != expected_ledger(threads, runs) or left:
        raise BenchError(
            f"{ledger} instead of {expected_ledger(threads, runs)}, {left} spools left: {output}"
        )
    return dict(json.loads(output))


def main() -> int:
    """Measure, and say it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--threads", type=int, default=100)
    parser.add_argument("--runs", type=int, default=100, help="of each thread")
    parser.add_argument("--away", action="store_true", help="nobody listens until the last run has ended")
    parser.add_argument("--output", type=Path, help="a file for the result")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.threads, arguments.runs)
        return 0
    try:
        found = measure(arguments.threads, arguments.runs, is_away=arguments.away)
    except BenchError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    total = arguments.threads * arguments.runs
    print(
        f"{total:,} runs of {arguments.threads} threads: logged in {found['log_s']:.1f} s, all stored {found['flush_s']:.1f} s later;"
        f" at most {found['files']} files, {found['threads']} threads, {found['memory_bytes'] / 1e6:.0f} MB."
        f" Every run and point is there once, by SQL."
    )
    if arguments.output is not None:
        write_result(
            arguments.output, {"bench": "many_runs", "machine": machine_facts(), "runs": total, **found}
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
