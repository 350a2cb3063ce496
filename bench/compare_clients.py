"""What logging costs a training loop, and what SIGKILL takes: our client beside TensorBoard's, wandb's and MLflow's, in one run.

    python bench/compare_clients.py
    python bench/compare_clients.py --clients ingest tensorboard --pairs 5
    python bench/compare_clients.py --output bench/results/clients.json

A hundred metrics after every training step of about 10 ms. Each client has a process of its own and an environment of its own, made by pip
below the user's cache directory at the first run (TensorBoard: the one this runs in, since its writer comes with torch).

    ingest         to `ingest serve`, with its bundled PostgreSQL
    tensorboard    torch.utils.tensorboard.SummaryWriter, into a directory
    wandb          offline mode, into a directory
    mlflow         log_metrics to MLflow's own server, on the same PostgreSQL; and the same with synchronous=False

Short blocks with and without logging alternate in one process, and what a block logged is flushed before the next, so that a machine that gets slower or
faster meanwhile changes both alike. The ratio is the median over all pairs of the ratio of their medians, told with the interval in which it lies with 95%
certainty; that of the p99 is of all steps. Then each client is killed while it logs (SIGKILL, the process of the training script alone), and what can be read afterwards, by the tool's own means, is
compared with what its calls had returned for. Ours has to be whole: a lost or doubled point is an exit code of 1.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ingest.bench import BenchError
from ingest.bench.api import Api, sql_id
from ingest.bench.environments import environment_with
from ingest.bench.machine import machine_facts
from ingest.bench.results import write_result
from ingest.bench.service import Service, clean_environment
from ingest.bench.stock_mlflow import PACKAGES as MLFLOW_PACKAGES
from ingest.bench.stock_mlflow import StockServer, mlflow_server
from ingest.bench.timing import median_interval, spread, summarize
from ingest_schema.ids import parse_id

CHILD: Final = Path(__file__).with_name("clients_child.py")
CLIENTS: Final = ("ingest", "tensorboard", "wandb", "mlflow", "mlflow async")
PACKAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "wandb": ("wandb", "numpy"),
    "mlflow": MLFLOW_PACKAGES,
}
STEP_MS: Final = 10.0
METRICS: Final = 100
QUIET: Final = {
    "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false",
    "MLFLOW_TELEMETRY_DISABLED": "1", "DO_NOT_TRACK": "1", "GIT_PYTHON_REFRESH": "quiet", "TF_CPP_MIN_LOG_LEVEL": "3",
    "INGEST_SYSTEM_METRICS": "off", "INGEST_ENVIRONMENT": "off",
}  # fmt: skip
"""One thread of arithmetic, so that services have the other core; nobody talks to the world, and only the metrics of the loop are logged."""
LEFT_BEHIND_TIMEOUT: Final = 30.0
"""Seconds in which what a killed process left behind may still settle: a spool delivered, a helper process that writes on."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Where everything is, for the length of the run."""

    service: Service
    stock: StockServer | None
    scratch: Path
    pairs: int
    block_steps: int
    seconds: float
    kill_after: float

    def target(self, client: str, what: str) -> str:
        """Where a client logs to: an address or a directory."""
        if client == "ingest":
            return self.service.url
        if client.startswith("mlflow"):
            assert self.stock is not None
            return self.stock.url
        return str(self.scratch / f"{client}-{what}")

    def environment(self, client: str) -> dict[str, str]:
        spool = {"INGEST_SPOOL_DIR": str(self.scratch / "spool")} if client == "ingest" else {}
        return clean_environment({**QUIET, **spool})


# --- environments and children ----------------------------------------------------------------------------------------


def python_of(client: str) -> Path:
    """The interpreter of the client's environment, which is made if it is not there."""
    package = client.partition(" ")[0]
    if package not in PACKAGES:
        return Path(sys.executable)
    return environment_with(package, PACKAGES[package])


@contextmanager
def child(
    bench: Bench, client: str, what: str, **orders: Any
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A process of the client's, and the file of its answer."""
    folder = Path(tempfile.mkdtemp(dir=bench.scratch))
    answer = folder / "answer.json"
    told = {
        "what": what,
        "client": client,
        "target": bench.target(client, what),
        "answer": str(answer),
        "step_ms": STEP_MS,
    }
    (folder / "orders.json").write_text(json.dumps({**told, **orders}), encoding="utf-8")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [python_of(client), CHILD, folder / "orders.json"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, env=bench.environment(client),
        )  # fmt: skip
    try:
        yield process, answer
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(30)


def outcome(bench: Bench, client: str, what: str, timeout: float, **orders: Any) -> dict[str, Any]:
    """Run a child to its end; its answer."""
    with child(bench, client, what, **orders) as (process, answer):
        if process.wait(timeout) != 0:
            raise BenchError(
                f"{client}, {what}:\n{(answer.parent / 'log').read_text(errors='replace')[-3000:]}"
            )
        found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        return found


# --- measurements -----------------------------------------------------------------------------------------------------


def measure_steps(bench: Bench, client: str) -> dict[str, Any]:
    """Step times with and without logging."""
    found = outcome(
        bench, client, "steps", 300 + 5 * bench.seconds,
        pairs=bench.pairs, block_steps=bench.block_steps, seconds=bench.seconds,
    )  # fmt: skip
    if client == "ingest" and (stored := stored_by_us(bench, found["run_id"])) != found["points"]:
        raise BenchError(f"{found['points']} points were logged and {stored} are stored")
    pairs = [(summarize(pair["with"]), summarize(pair["without"])) for pair in found["pairs"]]
    ratios = [logging.median_ns / without.median_ns for logging, without in pairs]
    logging, without = (
        summarize([ns for pair in found["pairs"] for ns in pair[which]]) for which in ("with", "without")
    )
    return {
        "client": client,
        "version": found["version"],
        "step_median_ns": without.median_ns,
        "ratio_of_medians": spread(ratios) | {"interval": median_interval(ratios)},
        "ratio_of_p99": logging.p99_ns / without.p99_ns,
        "call": summarize(found["calls"]).as_json(),
    }


def kill_one(bench: Bench, client: str) -> dict[str, int]:
    """Kill it while it logs; points whose calls had returned, and points that can be read afterwards."""
    returned_file = bench.scratch / f"returned-{client.replace(' ', '-')}"
    with child(bench, client, "killed", returned=str(returned_file)) as (process, answer):
        deadline = time.monotonic() + 120
        while not returned_file.exists() or not returned_file.stat().st_size:
            if process.poll() is not None or time.monotonic() > deadline:
                raise BenchError(
                    f"{client} did not begin:\n{(answer.parent / 'log').read_text(errors='replace')[-3000:]}"
                )
            time.sleep(0.05)
        time.sleep(bench.kill_after)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(30)
        run_id = json.loads(answer.read_text(encoding="utf-8"))["run_id"]
    (steps,) = struct.unpack("<q", returned_file.read_bytes())
    readable = settle(bench, client, run_id)
    return {"returned": steps * METRICS, "readable": readable, "lost": max(0, steps * METRICS - readable)}


def settle(bench: Bench, client: str, run_id: str) -> int:
    """Points that can be read once nothing changes any more."""
    if client == "ingest":
        command = [sys.executable, "-c", "from ingest.cli import main; main()", "sync"]
        environment = {**bench.environment(client), "INGEST_TRACKING_URI": bench.service.url}
        subprocess.run(command, env=environment, check=True, timeout=120, stdout=subprocess.DEVNULL)
        return stored_by_us(bench, run_id)
    last, until = -1, time.monotonic() + LEFT_BEHIND_TIMEOUT
    while (found := readable_now(bench, client, run_id)) != last and time.monotonic() < until:
        last = found
        time.sleep(3)
    return found


def readable_now(bench: Bench, client: str, run_id: str) -> int:
    """What the other tool can read at this moment."""
    if client.startswith("mlflow"):
        return stored_by_mlflow(bench, run_id)
    found = outcome(bench, client, "count", 120, target=bench.target(client, "killed"))
    return int(found["points"])


def stored_by_us(bench: Bench, run_id: str) -> int:
    """Points of the run in our database."""
    with Api(bench.service.url) as api:
        return int(api.sql(f"SELECT count(*) FROM metrics WHERE run_id = {sql_id(parse_id(run_id))}").scalar)  # noqa: S608  an id


def stored_by_mlflow(bench: Bench, run_id: str) -> int:
    """Points of the run in MLflow's database."""
    import asyncio

    import asyncpg

    assert bench.stock is not None
    url = bench.stock.database_url

    async def ask() -> int:
        connection = await asyncpg.connect(url)
        try:
            return int(await connection.fetchval("SELECT count(*) FROM metrics WHERE run_uuid = $1", run_id))
        finally:
            await connection.close()

    return asyncio.run(ask())


# --- the run ----------------------------------------------------------------------------------------------------------


@contextmanager
def servers(clients: list[str], scratch: Path) -> Iterator[tuple[Service, StockServer | None]]:
    """Our service, and MLflow's if it is wanted."""
    with Service() as service:
        if not any(client.startswith("mlflow") for client in clients):
            yield service, None
            return
        with mlflow_server(python_of("mlflow"), service, scratch) as stock:
            yield service, stock


def main() -> int:
    """Measure each client, kill each, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--clients", nargs="+", choices=CLIENTS, default=list(CLIENTS))
    parser.add_argument("--pairs", type=int, default=100, help="of blocks with and without logging")
    parser.add_argument("--block-steps", type=int, default=50, help="training steps of one block")
    parser.add_argument(
        "--seconds", type=float, default=120.0, help="after which a slow client has had enough pairs"
    )
    parser.add_argument("--kill-after", type=float, default=5.0, help="seconds of logging before SIGKILL")
    parser.add_argument("--output", type=Path, help="file that receives the result as JSON")
    arguments = parser.parse_args()
    lines = []
    with (
        tempfile.TemporaryDirectory(prefix="ingest-clients-") as scratch,
        servers(arguments.clients, Path(scratch)) as (service, stock),
    ):
        bench = Bench(
            service, stock, Path(scratch),
            arguments.pairs, arguments.block_steps, arguments.seconds, arguments.kill_after,
        )  # fmt: skip
        for client in arguments.clients:
            print(f"… {client}", file=sys.stderr, flush=True)
            lines.append({**measure_steps(bench, client), "killed": kill_one(bench, client)})
    for line in lines:
        ratio, killed = line["ratio_of_medians"], line["killed"]
        low, high = ratio["interval"]
        print(
            f"{line['client']:13} {line['version']:9} step x {ratio['median']:.4f} ({low:.4f} to {high:.4f}, {ratio['n']} pairs), "
            f"p99 x {line['ratio_of_p99']:.3f}; a call {line['call']['median_ns'] / 1e3:,.1f} us, p99 {line['call']['p99_ns'] / 1e3:,.1f} us; "
            f"killed: {killed['lost']:,} of {killed['returned']:,} points lost"
        )
    ours = [line for line in lines if line["client"] == "ingest"]
    if any(
        line["killed"]["lost"] or line["killed"]["readable"] > line["killed"]["returned"] + METRICS
        for line in ours
    ):
        print("FAILED: our client lost or doubled points", file=sys.stderr)
        return 1
    if arguments.output is not None:
        figures = {
            "step_ms": STEP_MS,
            "metrics": METRICS,
            "block_steps": arguments.block_steps,
            "clients": lines,
        }
        write_result(arguments.output, {"bench": "clients", "machine": machine_facts(), "figures": figures})
    return 0


if __name__ == "__main__":
    sys.exit(main())
