"""`make bench`: every bench in turn, in its short form; results go to bench/results/local and docs stay as they are.

    python -m bench                        short, a few minutes
    python -m bench --full                 the real measurement: results to bench/results, then docs/performance.md
    python -m bench --only load client     some of: load, latency, overload, client, clients, charts, search, housekeeping, transfer, dashboard, chaos

Each bench is the command or script that a user would run, as a process; this file only knows their arguments.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
INGEST = str(Path(sys.executable).with_name("ingest"))
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
    "chaos",
)


def commands(results: Path, *, full: bool) -> dict[str, list[str]]:
    """The command of each bench."""

    def load(*workloads: str) -> list[str]:
        chosen = [
            part for name in workloads for part in ("--workload", str(HERE / "workloads" / f"{name}.toml"))
        ]
        return [INGEST, "bench", "load", *chosen]

    raw = ["--raw-copy", "--repeat", "5" if full else "1", "--duration", "10" if full else "4"]
    calls = (
        ["--repeat", "5", "--pairs", "9"]
        if full
        else ["--repeat", "1", "--pairs", "2", "--paced-seconds", "2"]
    )
    rounds = ["--rounds", "500" if full else "50"]
    timed = ["--duration", "15" if full else "4"]
    return {
        "load": [*load(*WORKLOADS), *raw, "--output", str(results / "load.json")],
        "latency": [
            *load("paced_fleet", "small_requests"),
            *timed,
            "--output",
            str(results / "latency.json"),
        ],
        "overload": [*load("overload_5x"), *timed, "--output", str(results / "overload.json")],
        "client": [INGEST, "bench", "client", *calls, "--output", str(results / "client.json")],
        "clients": [
            sys.executable,
            str(HERE / "compare_clients.py"),
            *([] if full else ["--clients", "ingest", "tensorboard", "--pairs", "2"]),
            "--output",
            str(results / "clients.json"),
        ],
        "charts": [
            sys.executable,
            str(HERE / "charts.py"),
            *(["--full"] if full else []),
            "--output",
            str(results / "charts.json"),
        ],
        "search": [
            sys.executable,
            str(HERE / "search.py"),
            *([] if full else ["--runs", "10000", "--repeats", "5", "--skip-open"]),
            "--out",
            str(results / "search.json"),
        ],
        "housekeeping": [
            sys.executable,
            str(HERE / "housekeeping.py"),
            *([] if full else ["--points", "1000000", "--rounds", "1", "--quiet-seconds", "2"]),
            "--output",
            str(results / "housekeeping.json"),
        ],
        "transfer": [
            sys.executable,
            str(HERE / "transfer.py"),
            *([] if full else ["--points", "1000000"]),
            "--output",
            str(results / "transfer.json"),
        ],
        "dashboard": [
            sys.executable,
            "-m",
            "bench.dashboard",
            *(["--full"] if full else []),
            "--output",
            str(results / "dashboard.json"),
        ],
        "chaos": [sys.executable, str(HERE / "chaos.py"), *rounds, "--output", str(results / "chaos.json")],
    }


def main() -> int:
    """Run them; the first that fails ends it, and its exit code is ours."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--full", action="store_true", help="the real measurement, on an idle machine")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS, help="some of the benches")
    parser.add_argument("--results", type=Path, help="directory of the result files")
    arguments = parser.parse_args()
    results = (arguments.results and arguments.results.resolve()) or HERE / "results" / (
        "" if arguments.full else "local"
    )
    for kind, command in commands(results, full=arguments.full).items():
        if kind in arguments.only and (code := run(kind, command)) != 0:
            return code
    if arguments.full:
        return run("report", [sys.executable, str(HERE / "report.py")])
    return 0


def run(kind: str, command: Sequence[str]) -> int:
    """Run one bench; its exit code."""
    print(f"\n== {kind}: {' '.join(command)}", flush=True)
    return subprocess.run(command, check=False, cwd=HERE.parent).returncode


if __name__ == "__main__":
    sys.exit(main())
