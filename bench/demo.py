"""`make demo`: the whole way, from a PyTorch training loop through client and service into PostgreSQL, and out by SQL.

Starts `ingest serve` on a free port with a PostgreSQL of its own in a scratch directory, trains the example there for
some twenty seconds, shows the run as `ingest sql` sees it, what was logged against what is stored, and what a logging
call cost; then stays until Ctrl-C. With --no-keep it exits. Everything it started is stopped on every way out, and the
scratch directory is removed. Needs no network.

Units: seconds, unless a name ends in _ns.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NoReturn

from ingest.bench import BenchError
from ingest.bench.api import Api
from ingest.bench.service import Service, clean_environment
from ingest.bench.timing import duration_text
from ingest.bench.verify import LOGGED

EXAMPLE = Path(__file__).with_name("fashion_mnist.py")
SQL_TIMEOUT = 60.0
TABLE_SQL = """
SELECT key AS metric, points, step AS last_step, round(value::numeric, 4) AS last_value
FROM latest_metrics WHERE run_id = '{run_id}' ORDER BY points DESC, key
"""
COUNT_SQL = f"SELECT count(*) FROM metrics WHERE run_id = '{{run_id}}' AND {LOGGED}"  # noqa: S608  a constant of ours
CURVE_SQL = "SELECT step, value FROM metrics WHERE key = 'Loss' ORDER BY step DESC LIMIT 5"


def main() -> int:
    """Show everything; 0 if all of it is as promised."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument(
        "--no-keep", action="store_true", help="exit when done, instead of staying until Ctrl-C"
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="of training")
    parser.add_argument("--noise-writers", type=int, default=0, help="other processes that log meanwhile")
    arguments = parser.parse_args()
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, _interrupt)
    try:
        return demo(arguments)
    except KeyboardInterrupt:
        print("\nStopped.")
        return 130
    except BenchError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1


def demo(arguments: argparse.Namespace) -> int:
    """Start the service, train, show, wait."""
    print("Starting ingest serve with a PostgreSQL of its own …", flush=True)
    began = time.monotonic()
    with Service() as service, tempfile.TemporaryDirectory(prefix="ingest-demo-") as scratch:
        print(f"Ready at {service.url} after {time.monotonic() - began:.1f} s. Training:", flush=True)
        summary = train(service, arguments, Path(scratch))
        show(service, summary)
        if not arguments.no_keep:
            stay(service)
    print("The service has stopped and its data is removed.", flush=True)
    return 0


def train(service: Service, arguments: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Run the example as a user would, as a program of its own; its summary.

    Raises:
        BenchError: It failed; it has said why.
    """
    summary = scratch / "summary.json"
    command = [sys.executable, str(EXAMPLE), "--small", "--data", "local", "--epochs", "100000"]
    command += ["--seconds", str(arguments.seconds), "--noise-writers", str(arguments.noise_writers)]
    environment = clean_environment(
        {
            "INGEST_TRACKING_URI": service.url,
            "INGEST_SPOOL_DIR": str(scratch / "spool"),
            "PYTHONUNBUFFERED": "1",
        }
    )
    example = subprocess.Popen([*command, "--summary", str(summary)], env=environment)
    try:
        code = example.wait(timeout=arguments.seconds + 300.0)
    except BaseException:
        stop(example)
        raise
    if code != 0:
        raise BenchError(f"the example ended with exit code {code}")
    found: dict[str, Any] = json.loads(summary.read_text(encoding="utf-8"))
    return found


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a child: Ctrl-C has reached it already if it came from a terminal."""
    for ending in (signal.SIGTERM, signal.SIGKILL):
        try:
            process.wait(timeout=5.0)
            return
        except subprocess.TimeoutExpired:
            process.send_signal(ending)
    process.wait(timeout=5.0)


def show(service: Service, summary: dict[str, Any]) -> None:
    """The run as a table, the count, the cost.

    Raises:
        BenchError: What is stored is not what was logged.
    """
    run_id = summary["run_id"]
    print(f"\nRun {run_id}, by `ingest sql`:", flush=True)
    ingest_sql(service, TABLE_SQL.format(run_id=run_id))
    with Api(service.url) as api:
        stored = int(api.sql(COUNT_SQL.format(run_id=run_id)).scalar)
    if stored != summary["points"]:
        raise BenchError(f"logged {summary['points']:,}, stored {stored:,}")
    call = summary["call"]
    print(f"logged {summary['points']:,} = stored {stored:,}")
    print(
        f"one logging call in the training loop cost {duration_text(call['median_ns'])} (median), "
        f"{duration_text(call['p99_ns'])} (p99), over {call['n']:,} calls",
        flush=True,
    )


def ingest_sql(service: Service, statement: str) -> None:
    """Run the command `ingest sql` against the service, its output to our terminal.

    Raises:
        BenchError: It failed.
    """
    command = [
        str(Path(sys.executable).with_name("ingest")),
        "sql",
        "--url",
        service.url,
        " ".join(statement.split()),
    ]
    if subprocess.run(command, env=clean_environment(), timeout=SQL_TIMEOUT, check=False).returncode != 0:
        raise BenchError(f"`ingest sql` failed: {' '.join(command)}")


def stay(service: Service) -> None:
    """Say what can be looked at, and wait for Ctrl-C or the service's end."""
    print(
        f"\nThe service stays up until Ctrl-C. Look at {service.url}/api/v1/runs, or ask it in another terminal:"
    )
    print(f'  {Path(sys.executable).with_name("ingest")} sql --url {service.url} "{CURVE_SQL}"', flush=True)
    try:
        while service.is_running:
            time.sleep(0.5)
        raise BenchError(f"the service ended by itself:\n{service.log_tail()}")
    except KeyboardInterrupt:
        print("\nStopping …", flush=True)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
