"""Logs, through the client, what the tests of the dashboard look at. Run as a script, with the service's address in its environment."""

from __future__ import annotations

import math
import random

import ingest

SPIKE_STEP = 4_321
SPIKE = 99.0


def fashion(random_numbers: random.Random) -> None:
    """Twelve ordinary runs; the fourth has a spike of a single point, the sixth two values that are no numbers."""
    ingest.set_experiment("fashion")
    for i in range(12):
        lr, model = [0.1, 0.03, 0.01][i % 3], ["cnn", "mlp"][i % 2]
        with ingest.start_run(run_name=f"{model}-{i:02d}") as run:
            run.log_params({"lr": lr, "model": model, "depth": i})
            run.set_tags({"team": "vision" if i < 6 else "speech"})
            for step in range(6_000):
                noise = random_numbers.gauss(0, 1)
                points = {"train/loss": math.exp(-step * lr / 50) + 0.02 * abs(noise) + 0.1}
                points["train/accuracy"] = 1 - math.exp(-step * lr / 60)
                if i == 3 and step == SPIKE_STEP:
                    points["train/loss"] = SPIKE
                if i == 5 and step in {100, 101}:
                    points["train/loss"] = math.nan
                if step % 10 == 0:
                    points |= {"val/loss": 0.2 + 1 / (step + 1), "system/cpu_percent": 50 + noise}
                run.log_metrics(points, step=step)


def wide() -> None:
    """One run with 20,000 metrics."""
    ingest.set_experiment("wide")
    with ingest.start_run(run_name="wide") as run:
        for step in range(2):
            run.log_metrics(
                {f"layer_{i // 100:03d}/weight_{i % 100:02d}": float(i + step) for i in range(20_000)},
                step=step,
            )


def to_edit() -> None:
    """Runs that tests rename, tag and delete."""
    ingest.set_experiment("to-edit")
    for name in ("first", "second", "third"):
        with ingest.start_run(run_name=name) as run:
            run.log_metric("loss", 1.0, step=1)


if __name__ == "__main__":
    fashion(random.Random(1))
    wide()
    to_edit()
    assert ingest.flush(timeout=100)
