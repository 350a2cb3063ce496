"""One client of `compare_clients.py`, in a process and an environment of its own: training steps, with and without logging.

    python clients_child.py ORDERS.json      writes the file that the orders name

Needs numpy and the client's package, nothing of ours. A step is arithmetic of a fixed amount (about 10 ms, one thread), so that a
loop makes a hundred of them a second; after it a hundred metrics are logged in the client's usual way.

    steps    blocks with and without logging in turn, each step timed; what is left is flushed between blocks
    killed   logs until it is killed, and keeps in a file how many steps' calls had returned
    count    how many points can be read from what a killed one left behind, by the library's own reader
"""

from __future__ import annotations

import json
import os
import struct
import sys
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

METRICS = 100
FEWEST_PAIRS = 5
"""Of blocks, however slow a client is."""

Log = Callable[[dict[str, float], int], object]
Flush = Callable[[], object]


def main() -> None:
    """Do what the orders say."""
    orders = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    answer = {"steps": steps, "killed": killed, "count": count}[orders["what"]](orders)
    Path(orders["answer"]).write_text(json.dumps(answer), encoding="utf-8")


# --- the clients --------------------------------------------------------------------------------------------------------


def open_ingest(target: str) -> tuple[Log, Flush, str]:
    """Ours."""
    import ingest

    ingest.set_tracking_uri(target)
    run = ingest.start_run()

    def flush() -> None:
        if not run.flush(timeout=60):
            raise RuntimeError("not everything was acknowledged in time")

    return (lambda values, step: run.log_metrics(values, step=step)), flush, run.info.run_id


def open_tensorboard(target: str) -> tuple[Log, Flush, str]:
    """An event file, as torch writes it."""
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(target)

    def log(values: dict[str, float], step: int) -> None:
        for key, value in values.items():
            writer.add_scalar(key, value, step)

    return log, writer.flush, ""


def open_wandb(target: str) -> tuple[Log, Flush, str]:
    """Offline: a file, to be sent by `wandb sync`."""
    import wandb

    Path(target).mkdir(parents=True, exist_ok=True)
    run = wandb.init(mode="offline", dir=target, project="bench")
    return (lambda values, step: run.log(values, step=step)), (lambda: time.sleep(0.5)), ""


def open_mlflow(target: str, *, synchronous: bool) -> tuple[Log, Flush, str]:
    """MLflow's client against MLflow's server."""
    import mlflow

    mlflow.set_tracking_uri(target)
    run_id = mlflow.start_run().info.run_id
    flush = (lambda: None) if synchronous else mlflow.flush_async_logging
    return (
        (lambda values, step: mlflow.log_metrics(values, step=step, synchronous=synchronous)),
        flush,
        run_id,
    )


CLIENTS: dict[str, Callable[[str], tuple[Log, Flush, str]]] = {
    "ingest": open_ingest,
    "tensorboard": open_tensorboard,
    "wandb": open_wandb,
    "mlflow": lambda target: open_mlflow(target, synchronous=True),
    "mlflow async": lambda target: open_mlflow(target, synchronous=False),
}
PACKAGE = {"ingest": "metric-ingest", "mlflow async": "mlflow"}


# --- training -----------------------------------------------------------------------------------------------------------


def make_step(step_ms: float) -> Callable[[], float]:
    """A step of about so many milliseconds; its amount of work is fixed at the start."""
    import numpy as np

    dice = np.random.default_rng(0)
    inputs, weights = dice.standard_normal((64, 256)), dice.standard_normal((256, 256)) * 0.01

    def work(rounds: int) -> float:
        nonlocal weights
        loss = 0.0
        for _ in range(rounds):
            hidden = np.maximum(inputs @ weights, 0)
            weights = weights - 1e-9 * (inputs.T @ hidden)
            loss = float((hidden * hidden).mean())
        return loss

    work(50)
    begin = time.perf_counter()
    work(50)
    rounds = max(1, round(50 * step_ms / 1e3 / (time.perf_counter() - begin)))
    return lambda: work(rounds)


def values_of(loss: float) -> dict[str, float]:
    """What a step logs."""
    return {f"train/scalar_{i}": loss + i for i in range(METRICS)}


def steps(orders: dict[str, Any]) -> dict[str, Any]:
    """Alternate the blocks; every step's time and every call's, in ns."""
    log, flush, run_id = CLIENTS[orders["client"]](orders["target"])
    step = make_step(orders["step_ms"])
    number = 0
    calls: list[int] = []
    clock = time.perf_counter_ns

    def block(*, logging: bool) -> list[int]:
        nonlocal number
        times = []
        for _ in range(orders["block_steps"]):
            begin = clock()
            values = values_of(step())
            if logging:
                number += 1
                before = clock()
                log(values, number)
                calls.append(clock() - before)
            times.append(clock() - begin)
        if logging:
            flush()
        return times

    block(logging=True)
    calls.clear()
    pairs: list[dict[str, list[int]]] = []
    until = clock() + orders["seconds"] * 1e9
    for i in range(orders["pairs"]):
        if clock() > until and len(pairs) >= FEWEST_PAIRS:
            break
        order = (True, False) if i % 2 else (False, True)
        times = {logging: block(logging=logging) for logging in order}
        pairs.append({"with": times[True], "without": times[False]})
    flush()
    package = PACKAGE.get(orders["client"], orders["client"])
    return {
        "pairs": pairs,
        "calls": calls,
        "points": number * METRICS,
        "run_id": run_id,
        "version": metadata.version(package),
    }


def killed(orders: dict[str, Any]) -> None:
    """Log until the end comes; eight bytes in a file say how many calls had returned."""
    log, _, run_id = CLIENTS[orders["client"]](orders["target"])
    step = make_step(orders["step_ms"])
    returned = os.open(orders["returned"], os.O_RDWR | os.O_CREAT)
    Path(orders["answer"]).write_text(json.dumps({"run_id": run_id}), encoding="utf-8")
    number = 0
    while True:
        values = values_of(step())
        number += 1
        log(values, number)
        os.pwrite(returned, struct.pack("<q", number), 0)


# --- what is left -------------------------------------------------------------------------------------------------------


def count(orders: dict[str, Any]) -> dict[str, int]:
    """Points that can be read from the files of TensorBoard or wandb."""
    readers = {"tensorboard": count_events, "wandb": count_history}
    return {"points": readers[orders["client"]](Path(orders["target"]))}


def count_events(directory: Path) -> int:
    """Values in event files."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    found = 0
    for path in directory.rglob("*tfevents*"):
        for event in EventFileLoader(str(path)).Load():
            found += sum(1 for value in event.summary.value if value.tag.startswith("train/"))
    return found


def count_history(directory: Path) -> int:
    """Values in wandb's transaction logs, up to the first record that is not whole."""
    from wandb.proto import wandb_internal_pb2

    found = 0
    for path in directory.rglob("*.wandb"):
        for data in log_records(path.read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            if record.WhichOneof("record_type") == "history":
                names = [item.key or "/".join(item.nested_key) for item in record.history.item]
                found += sum(name.startswith("train/") for name in names)
    return found


def log_records(log: bytes) -> Iterator[bytes]:
    """Records of a LevelDB log behind wandb's header of 7 bytes: pieces in blocks of 32 KiB, each with checksum, length and kind."""
    at, record = 7, b""
    while at + 7 <= len(log):
        room = 32_768 - at % 32_768
        if room < 7:
            at += room
            continue
        size, kind = struct.unpack_from("<HB", log, at + 4)
        piece = log[at + 7 : at + 7 + size]
        if kind == 0 or len(piece) < size:
            return
        record += piece
        at += 7 + size
        if kind in {1, 4}:  # whole, or the last of several
            yield record
            record = b""


if __name__ == "__main__":
    main()
