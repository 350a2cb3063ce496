"""`make bench`: every bench in turn, in its short form; results go to bench/results/local and docs stay as they are.

    python -m bench                        short, a few minutes
    python -m bench --full                 the real measurement: results to bench/results, then docs/performance.md
    python -m bench --only load client     some of: load, latency, overload, client, clients, charts, search, housekeeping, transfer, dashboard, mlflow, chaos

Each bench is the command or script that a user would run, as a process; this file only knows their arguments.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHON = sys.executable
INGEST = str(Path(sys.executable).with_name("ingest"))
SCRIPTS = {
    "clients": ["bench/compare_clients.py"],
    "charts": ["bench/charts.py"],
    "search": ["bench/search.py"],
    "housekeeping": ["bench/housekeeping.py"],
    "transfer": ["bench/transfer.py"],
    "dashboard": ["-m", "bench.dashboard"],
    "mlflow": ["bench/compare_mlflow.py"],
    "chaos": ["bench/chaos.py"],
}
RESULT_FILES = {"mlflow": "compare_mlflow.json"}
"""Where a bench's result is not called like it."""
WORKLOADS = ("chunk_1", "chunk_10", "chunk_100", "chunk_1000", "few_writers")
KINDS = (
    "load",
    "latency",
    "overload",
    "client",
    "clients",
    "charts",
    "search",
    "housekeeping",
    "transfer",
    "dashboard",
    "mlflow",
    "chaos",
)


def commands(results: Path, *, full: bool) -> dict[str, list[str]]:
    """The command of each bench, with paths from the root of the repository."""
    own = own_commands(full=full)
    found = {kind: [INGEST, "bench", *arguments] for kind, arguments in own.items()}
    found |= {kind: [PYTHON, *arguments] for kind, arguments in script_commands(full=full).items()}
    return {
        kind: [*found[kind], "--output", str(results / RESULT_FILES.get(kind, f"{kind}.json"))]
        for kind in KINDS
    }


def own_commands(*, full: bool) -> dict[str, list[str]]:
    """Arguments of `ingest bench`."""
    raw = ["--raw-copy", "--repeat", "5" if full else "1", "--duration", "10" if full else "4"]
    timed = ["--duration", "15" if full else "4"]
    calls = ["--repeat", "5", "--pairs", "9"]
    if not full:
        calls = ["--repeat", "1", "--pairs", "2", "--paced-seconds", "2"]
    return {
        "load": [*load(*WORKLOADS), *raw],
        "latency": [*load("paced_fleet", "small_requests"), *timed],
        "overload": [*load("overload_5x"), *timed],
        "client": ["client", *calls],
    }


def load(*workloads: str) -> list[str]:
    """`ingest bench load` of some workloads."""
    files = [f"bench/workloads/{name}.toml" for name in workloads]
    return ["load", *(part for file in files for part in ("--workload", file))]


def script_commands(*, full: bool) -> dict[str, list[str]]:
    """Arguments of Python, for the scripts beside this one."""
    if full:
        more = {
            "charts": ["--full"],
            "dashboard": ["--full", "--mlflow"],
            "mlflow": ["--points", "1000000"],
            "chaos": ["--rounds", "500"],
        }
    else:
        more = {
            "clients": ["--clients", "ingest", "tensorboard", "--pairs", "2"],
            "search": ["--runs", "10000", "--repeats", "5", "--skip-open"],
            "housekeeping": ["--points", "1000000", "--rounds", "1", "--quiet-seconds", "2"],
            "transfer": ["--points", "1000000"],
            "mlflow": ["--seconds", "2", "--repeat", "1", "--connections", "1", "8", "--runs", "3000"],
            "chaos": ["--rounds", "50"],
        }
    return {kind: [*script, *more.get(kind, [])] for kind, script in SCRIPTS.items()}


def main() -> int:
    """Run them; the first that fails ends it, and its exit code is ours."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--full", action="store_true", help="the real measurement, on an idle machine")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS, help="some of the benches")
    parser.add_argument("--results", type=Path, help="directory of the result files")
    arguments = parser.parse_args()
    results = Path("bench/results" if arguments.full else "bench/results/local")
    if arguments.results is not None:
        results = arguments.results.resolve()
    for kind, command in commands(results, full=arguments.full).items():
        if kind in arguments.only and (code := run(kind, command)) != 0:
            return code
    if arguments.full:
        return run("report", [PYTHON, "bench/report.py"])
    return 0


def run(kind: str, command: Sequence[str]) -> int:
    """Run one bench; its exit code."""
    print(f"\n== {kind}: {' '.join(command)}", flush=True)
    return subprocess.run(command, check=False, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
