"""A PyTorch training loop that logs every batch, and afterwards proves by SQL that the service stored exactly that.

    python bench/fashion_mnist.py                      EfficientNet-B0 on Fashion-MNIST, against INGEST_TRACKING_URI
    python bench/fashion_mnist.py --small --seconds 20 --noise-writers 3

Its purpose is the meaning of steps and timestamps under load: metrics of a batch stand at the number of batches so
far, metrics of an epoch at the number of the epoch, each with its own time, while `--noise-writers` other processes
keep the service busy. It exits with 1 when a step, a timestamp or a value stored is not the one logged.

Images: torchvision's Fashion-MNIST, downloaded once; where that is not possible it says so and takes scikit-learn's
handwritten digits, which are on this disk already and are real images too.

Units: seconds, unless a name ends in _ms or _ns.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision import transforms

import ingest
from ingest.bench import BenchError
from ingest.bench.api import Api, sql_id
from ingest.bench.noise import NoiseOrders
from ingest.bench.timing import duration_text, summarize
from ingest.bench.verify import LOGGED, Point, check
from ingest.bench.worker import Worker
from ingest_schema.ids import parse_id

EXPERIMENT = "fashion-mnist"
FLUSH_TIMEOUT = 60.0
CLASSES = 10
IMAGE_PIXELS = 28
PLAIN_EVERY = 2.0
"""Between two lines of progress where the output is no terminal."""
COUNT_SQL = f"SELECT count(*) FROM metrics WHERE run_id = {{run_id}} AND {LOGGED}"  # noqa: S608  a constant of ours
RUN_SQL = "SELECT status, params FROM runs_wide WHERE run_id = {run_id}"

Advance = Callable[[str], None]


@dataclass(slots=True)
class Ledger:
    """Everything that was logged, and what each call cost: the other side of the comparison."""

    points: list[Point] = field(default_factory=list)
    call_ns: list[int] = field(default_factory=list)

    def log(self, metrics: dict[str, float], step: int) -> None:
        """Log one set of metrics with the time of now, and remember it."""
        time_ms = time.time_ns() // 1_000_000
        begin = time.perf_counter_ns()
        ingest.log_metrics(metrics, step=step, timestamp=time_ms)
        self.call_ns.append(time.perf_counter_ns() - begin)
        self.points += [(key, step, time_ms, value) for key, value in metrics.items()]


# --- images ---------------------------------------------------------------------------------------------------------


def load_images(arguments: argparse.Namespace) -> tuple[Any, Any, str]:
    """Training set, validation set, and where they are from."""
    directory = Path(arguments.data_dir)
    fashion = torchvision.datasets.FashionMNIST
    on_disk = (directory / "FashionMNIST" / "raw" / "train-images-idx3-ubyte").exists()
    if arguments.data == "digits" or (arguments.data == "local" and not on_disk):
        return *load_digits(), "scikit-learn digits"
    try:
        if not on_disk:
            print(f"Downloading Fashion-MNIST to {directory} …", flush=True)
            check_reachable(f"{fashion.mirrors[0]}{fashion.resources[0][0]}", arguments.download_timeout)
        transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])
        training, validation = (
            fashion(str(directory), train=train, transform=transform, download=True)
            for train in (True, False)
        )
    except (OSError, RuntimeError) as error:
        if arguments.data == "fashion":
            raise BenchError(f"Fashion-MNIST can't be downloaded: {error}") from error
        print(
            f"Fashion-MNIST can't be downloaded ({error}); taking scikit-learn's digits instead.", flush=True
        )
        return *load_digits(), "scikit-learn digits"
    return training, validation, "Fashion-MNIST"


def check_reachable(url: str, timeout: float) -> None:
    """Ask for the first byte in a thread of its own: looking up a name has no time-out that could be set.

    Raises:
        OSError: No answer within `timeout` seconds.
    """
    failure: list[BaseException] = [TimeoutError(f"no answer within {timeout:.0f} s")]

    def ask() -> None:
        try:
            with urllib.request.urlopen(url, timeout=timeout) as answer:  # torchvision's own mirror
                answer.read(1)
            failure.clear()
        except OSError as error:
            failure[:] = [error]

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout)
    if failure:
        raise OSError(str(failure[0])) from failure[0]


def load_digits() -> tuple[Any, Any]:
    """1,797 scanned digits of 8 × 8, enlarged to the size of Fashion-MNIST; every fifth is kept for validation."""
    import sklearn.datasets

    digits = sklearn.datasets.load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 8.0 - 1.0
    images = nn.functional.interpolate(images, size=(IMAGE_PIXELS, IMAGE_PIXELS), mode="bilinear")
    labels = torch.tensor(digits.target)
    held_out = torch.arange(len(labels)) % 5 == 0
    return (
        TensorDataset(images[~held_out], labels[~held_out]),
        TensorDataset(images[held_out], labels[held_out]),
    )


# --- model and loop -------------------------------------------------------------------------------------------------


def build_model(*, small: bool) -> Any:
    """EfficientNet-B0 for one channel and ten classes, or a network that a laptop trains in seconds."""
    if small:
        return nn.Sequential(
            nn.Conv2d(1, 8, kernel_size=3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 16, kernel_size=3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * (IMAGE_PIXELS // 4) ** 2, 64),
            nn.ReLU(),
            nn.Linear(64, CLASSES),
        )
    model = torchvision.models.efficientnet_b0(weights=None)
    model.features[0][0] = nn.Conv2d(1, 32, kernel_size=3, stride=2, padding=1, bias=False)
    model.classifier[1] = nn.Linear(1280, CLASSES)
    return model


@dataclass(slots=True)
class Training:
    """Model, optimizer and data of one training, and how far it is."""

    model: Any
    optimizer: Any
    device: str
    training: Any
    validation: Any
    ledger: Ledger
    deadline: float
    batches: int = 0
    """Batches so far, over all epochs: the step of everything that is logged for a batch."""

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self.deadline

    def train_epoch(self, epoch: int, advance: Advance) -> None:
        """One pass over the training images; stops early when the time is over, and counts what it saw."""
        self.model.train()
        began = time.perf_counter()
        total_loss = correct = seen = 0.0
        for images, classes in self.training:
            inputs, labels = images.to(self.device), classes.to(self.device)
            self.optimizer.zero_grad()
            logits = self.model(inputs)
            loss = nn.functional.cross_entropy(logits, labels)
            loss.backward()
            self.optimizer.step()

            batch_loss, batch_correct = loss.item(), (logits.argmax(dim=1) == labels).sum().item()
            accuracy = batch_correct / len(labels)
            self.ledger.log({"Loss": batch_loss, "Batch Accuracy": accuracy}, step=self.batches)
            self.batches += 1
            total_loss += batch_loss * len(labels)  # the last batch of an epoch is smaller
            correct += batch_correct
            seen += len(labels)
            advance(f"epoch {epoch + 1}, loss {batch_loss:.3f}")
            if self.is_over:
                break
        took = time.perf_counter() - began
        summary = {"Train Accuracy": correct / seen, "Average Loss": total_loss / seen, "Time Taken": took}
        self.ledger.log(summary, step=epoch)

    def validate(self, epoch: int) -> float:
        """Share of the validation images whose class was found."""
        self.model.eval()
        correct = seen = 0
        with torch.no_grad():
            for inputs, labels in self.validation:
                predicted = self.model(inputs.to(self.device)).argmax(dim=1)
                correct += (predicted == labels.to(self.device)).sum().item()
                seen += len(labels)
        self.ledger.log({"Test Accuracy": correct / seen}, step=epoch)
        return correct / seen


def train(arguments: argparse.Namespace) -> tuple[Ledger, str]:
    """Train, log, and wait until the service has everything; the ledger and the run's id."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(arguments.seed)
    training_set, validation_set, source = load_images(arguments)
    print(
        f"{source}: {len(training_set):,} images for training, {len(validation_set):,} for validation",
        flush=True,
    )
    workers = 0 if isinstance(training_set, TensorDataset) else 2
    options = {"batch_size": arguments.batch_size, "num_workers": workers, "persistent_workers": workers > 0}
    model = build_model(small=arguments.small).to(device)
    state = Training(
        model=model,
        optimizer=torch.optim.Adam(model.parameters(), lr=arguments.learning_rate),
        device=device,
        training=DataLoader(training_set, shuffle=True, **options),
        validation=DataLoader(validation_set, **options),
        ledger=Ledger(),
        deadline=time.monotonic() + arguments.seconds if arguments.seconds else float("inf"),
    )
    ingest.set_tracking_uri(arguments.url)
    ingest.set_experiment(EXPERIMENT)
    params = {
        "Batch Size": arguments.batch_size,
        "Epochs": arguments.epochs,
        "Optimizer": "adam",
        "Learning Rate": arguments.learning_rate,
        "GPU Used": device,
        "Model": "small CNN" if arguments.small else "EfficientNet-B0",
        "Data": source,
    }
    with ingest.start_run(run_name=params["Model"]) as run:
        ingest.log_params(params)
        with progress(len(state.training) * arguments.epochs, arguments.seconds) as advance:
            for epoch in range(arguments.epochs):
                state.train_epoch(epoch, advance)
                state.validate(epoch)
                if state.is_over:
                    break
        if not run.flush(timeout=FLUSH_TIMEOUT):
            raise BenchError(f"not everything was acknowledged within {FLUSH_TIMEOUT:.0f} s: {run.stats()}")
        run_id = run.info.run_id
    return state.ledger, run_id


@contextmanager
def progress(batches: int, seconds: float | None) -> Iterator[Advance]:
    """A bar on a terminal, a line now and then elsewhere; measured in seconds when those are the limit."""
    began = shown = time.monotonic()
    count = 0
    if sys.stdout.isatty():
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("training"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f}%"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, TextColumn("{task.description}")) as bar:
            task = bar.add_task("", total=seconds or batches)

            def advance(text: str) -> None:
                nonlocal count
                count += 1
                bar.update(task, completed=time.monotonic() - began if seconds else count, description=text)

            yield advance
        return

    def advance_plainly(text: str) -> None:
        nonlocal count, shown
        count += 1
        now = time.monotonic()
        if now - shown >= PLAIN_EVERY:
            shown = now
            done = (now - began) / seconds if seconds else count / batches
            print(f"  {min(done, 1.0):4.0%}  {count:6,} batches, {text}", flush=True)

    yield advance_plainly


# --- noise and proof --------------------------------------------------------------------------------------------------


@contextmanager
def noise(arguments: argparse.Namespace) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Other writers, busy until the function given is called, which tells what they logged."""
    with ExitStack() as stack:
        spool = stack.enter_context(tempfile.TemporaryDirectory(prefix="ingest-noise-"))
        writers: list[Worker] = []
        for number in range(arguments.noise_writers):
            orders = NoiseOrders(url=arguments.url, experiment=f"{EXPERIMENT}/noise", number=number)
            writers.append(Worker("ingest.bench.noise", asdict(orders), {"INGEST_SPOOL_DIR": spool}))
            stack.callback(writers[-1].close)

        def stop() -> list[dict[str, Any]]:
            for writer in writers:
                writer.go()
            return [writer.result() for writer in writers]

        yield stop


def prove(arguments: argparse.Namespace, run_id: str, ledger: Ledger, others: list[dict[str, Any]]) -> None:
    """Ask the service for everything, and compare.

    Raises:
        BenchError: A point is missing, doubled, or not what was logged; or the run did not end as it should.
    """
    with Api(arguments.url) as api:
        print(check(api, parse_id(run_id), ledger.points))
        status, params = api.sql(RUN_SQL.format(run_id=sql_id(parse_id(run_id)))).rows[0]
        if status != "FINISHED" or "Learning Rate" not in params:
            raise BenchError(f"the run is {status} with the params {params}")
        for other in others:
            stored = int(api.sql(COUNT_SQL.format(run_id=sql_id(parse_id(other["run_id"])))).scalar)
            if stored != other["points"]:
                raise BenchError(
                    f"noise run {other['run_id']}: logged {other['points']:,}, stored {stored:,}"
                )
        if others:
            total = sum(other["points"] for other in others)
            print(f"meanwhile {len(others)} other writers: logged {total:,} = stored {total:,}")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument(
        "--url", default=ingest.get_tracking_uri(), help="the service (default: as for any client)"
    )
    parser.add_argument("--small", action="store_true", help="a small CNN instead of EfficientNet-B0")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seconds", type=float, help="stop after so many seconds, whatever --epochs says")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=0.001)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--data",
        choices=("auto", "fashion", "digits", "local"),
        default="auto",
        help="auto: Fashion-MNIST, else digits; local: Fashion-MNIST if it is on disk, else digits; no network",
    )
    parser.add_argument(
        "--data-dir", default=str(Path.home() / ".cache" / "ingest-bench"), help="for the download"
    )
    parser.add_argument(
        "--download-timeout", type=float, default=5.0, help="seconds to wait for the mirror to answer"
    )
    parser.add_argument("--noise-writers", type=int, default=0, help="other processes that log meanwhile")
    parser.add_argument(
        "--summary", type=Path, help="file that receives run id, counts and cost of a call as JSON"
    )
    return parser.parse_args()


def main() -> int:
    """Train under noise, prove, and say what a call cost."""
    arguments = parse_arguments()
    try:
        with noise(arguments) as stop_noise:
            ledger, run_id = train(arguments)
            others = stop_noise()
        prove(arguments, run_id, ledger, others)
    except BenchError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    cost = summarize(ledger.call_ns)
    print(
        f"a logging call in the loop: median {duration_text(cost.median_ns)}, p99 {duration_text(cost.p99_ns)}, "
        f"over {cost.n:,} calls"
    )
    if arguments.summary is not None:
        summary = {"run_id": run_id, "points": len(ledger.points), "call": cost.as_json()}
        arguments.summary.write_text(json.dumps(summary), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
