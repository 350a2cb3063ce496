"""Pictures of every page of the dashboard and of what stands where data is not, light and dark, wide and narrow: `make screenshots`.

Starts a service of its own on the bundled PostgreSQL, logs some runs through the real client, and looks at them in Debian's
Chromium. Everything goes to docs/screenshots/, of which only what the README shows is kept in the repository.
"""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

TO = Path(__file__).parents[1] / "docs" / "screenshots"
WIDTHS = {"wide": (1360, 860), "narrow": (390, 800)}
NAMES = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heath")
NOTE = "## Baseline\n\nThe **first** run past 90 %.\n\n| phase | epochs |\n|---|---|\n| warm-up | 5 |\n| cosine | 85 |\n"
WRONG = "SELECT nam\nFROM runs"
LOGGED_OUT = {"needs_token": True, "role": None, "name": None}
QUERY = "SELECT m.step, m.value, r.name\nFROM metrics AS m\nJOIN runs AS r USING (run_id)\nWHERE m.key = 'val/loss'\nORDER BY m.step"


@contextmanager
def service(home: Path) -> Iterator[str]:
    """Address of a service in this directory."""
    ready = home / "ready"
    command = [sys.executable, "-m", "ingest", "serve", "--port", "0", "--ready-file", str(ready)]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen([*command, "--data-dir", str(home / "data")], stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 60
            while not ready.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"the service did not start:\n{(home / 'log').read_text()}")
                time.sleep(0.05)
            yield ready.read_text().strip()
        finally:
            process.terminate()
            process.wait(40)


def log_runs() -> list[str]:
    """A sweep of eight runs; the first has a note, files and pictures. Returns their ids."""
    import numpy as np

    import ingest

    chance = random.Random(3)
    ids = []
    ingest.set_experiment("resnet-cifar")
    for i, name in enumerate(NAMES):
        lr = 10 ** chance.uniform(-3.3, -1.2)
        with ingest.start_run(run_name=f"resnet-{name}") as run:
            ids.append(run.info.run_id)
            ingest.log_params(
                {
                    "lr": f"{lr:.4g}",
                    "batch_size": chance.choice([64, 128, 256]),
                    "optimizer": ["adamw", "sgd"][i % 2],
                }
            )
            ingest.set_tags({"team": "vision", "stage": f"sweep-{1 + i % 2}"})
            for step in range(1_500):
                loss = 2.2 * math.exp(-step * lr * 0.5) + 0.15 + chance.gauss(0, 0.03)
                values = {"train/loss": loss, "train/accuracy": 1 - loss / 2.6}
                values["train/lr"] = lr * (1 + math.cos(math.pi * step / 1_500)) / 2
                if step % 50 == 0:
                    values |= {"val/loss": loss + 0.08, "val/accuracy": 0.97 - loss / 2.6}
                if step % 10 == 0:
                    values |= {
                        "system/cpu_percent": 60 + chance.gauss(0, 6),
                        "system/memory_bytes": 4e9 + chance.gauss(0, 1e8),
                    }
                run.log_metrics(values, step=step)
            if i == 0:
                ingest.set_tag("mlflow.note.content", NOTE)
                ingest.log_text(
                    "epoch,loss\n" + "\n".join(f"{e},{1 / (e + 1):.4f}" for e in range(90)), "table.csv"
                )
                across, down = np.meshgrid(np.linspace(0, 6, 128), np.linspace(0, 6, 128))
                for step in range(0, 500, 50):
                    waves = np.stack(
                        [np.sin(across + step / 90), np.cos(down - step / 70), np.sin(across * down / 4)],
                        axis=-1,
                    )
                    ingest.log_image(((waves + 1) * 127).astype(np.uint8), key="samples/generated", step=step)
            run.flush(timeout=60)
    return ids


def pages(ids: list[str]) -> dict[str, str]:
    """Addresses by the picture's name."""
    run, all_runs = f"/runs/{ids[0]}", "&".join(f"run={one}" for one in ids)
    return {
        "experiments": "/experiments",
        "runs": "/experiments/1",
        "runs-table": "/experiments/1?show=table",
        "runs-groups": "/experiments/1?group=params.optimizer",
        "runs-chart": "/experiments/1?full=train/loss&logx=1",
        "no-run-fits": "/runs?filter=name='nobody'&show=table",
        "bad-filter": "/runs?filter=metrics.loss <> <&show=table",
        "no-runs": "/experiments/0",
        "no-such-run": f"/runs/{'0' * 32}",
        "no-comparison": "/compare",
        "login": "/login",
        "run": run,
        **{
            f"run-{tab}": f"{run}?tab={tab}"
            for tab in ("charts", "system", "environment", "writers", "points", "models")
        },
        "run-artifacts": f"{run}?tab=artifacts&file={quote('images/samples/generated', safe='')}",
        "run-table": f"{run}?tab=artifacts&file=table.csv",
        **{f"compare-{tab}": f"/compare?{all_runs}&tab={tab}" for tab in ("differences", "plots", "curves")},
        "sql": "/sql?run=1",
        "sql-error": f"/sql?run=1&sql={quote(WRONG)}",
        "sql-plot": f"/sql?run=1&show=plot&by=name&sql={quote(QUERY)}",
        "operations": "/operations",
        "models": "/models",
        "model": "/models/resnet",
    }


def register_model(url: str, run_id: str) -> None:
    """A model with a version, by MLflow's REST."""
    named = {"name": "resnet", "description": "Classifies **CIFAR-10**."}
    version = {"name": "resnet", "source": f"runs:/{run_id}/model", "run_id": run_id}
    for path, body in (("registered-models", named), ("model-versions", version)):
        request = urllib.request.Request(
            f"{url}/api/2.0/mlflow/{path}/create",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=10).close()


def take(url: str, ids: list[str]) -> None:
    """Take every picture."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for theme in ("light", "dark"):
            for width, (across, down) in WIDTHS.items():
                context = browser.new_context(viewport={"width": across, "height": down}, color_scheme=theme)
                page = context.new_page()
                for name, path in pages(ids).items():
                    if name == "login":  # this service asks nobody
                        page.route("**/session", lambda route: route.fulfill(json=LOGGED_OUT))
                    page.goto(url + path)
                    page.wait_for_timeout(9_000 if name == "operations" else 1_000)
                    page.screenshot(path=TO / f"{name}-{theme}-{width}.png")
                    page.unroute_all()
                page.goto(f"{url}/experiments/1")
                page.wait_for_timeout(1_500)
                context.set_offline(True)
                page.wait_for_timeout(6_000)
                page.screenshot(path=TO / f"offline-{theme}-{width}.png")
                context.close()
        browser.close()


def main() -> None:
    """Start, log, look."""
    if shutil.which("chromium") is None:
        raise SystemExit("no chromium on the PATH; Debian: apt-get install chromium")
    TO.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ingest-screenshots-") as home, service(Path(home)) as url:
        environment = {**os.environ, "INGEST_TRACKING_URI": url, "INGEST_SPOOL_DIR": f"{home}/spool"}
        told = subprocess.run(
            [sys.executable, "-m", "bench.screenshots", "log"],
            env=environment,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            timeout=300,
        )
        ids = json.loads(told.stdout.splitlines()[-1])
        register_model(url, ids[0])
        take(url, ids)
    print(f"{len(list(TO.glob('*.png')))} pictures in {TO}")


if __name__ == "__main__":
    if sys.argv[1:] == ["log"]:
        print(json.dumps(log_runs()))
    else:
        main()
