"""The dashboard in Debian's Chromium, measured as somebody waits for it: from the click or the key to the painted answer.

    python -m bench.dashboard                   10,000 runs, series of 100,000 points: 2 to 3 minutes
    python -m bench.dashboard --full            100,000 runs, series of 1 million points: 10 minutes, most of it seeding
    python -m bench.dashboard --data-dir DIR    keeps what was seeded, and measures again without seeding
    python -m bench.dashboard --mlflow          afterwards the same pages of MLflow's own interface: see bench/dashboard_mlflow.py

    wide     a run with 20,000 metrics: from the address to the first charts painted, and memory of the tab, scrolled through
    table    all runs: from the filter typed to its runs painted; their ids are compared with brute force
    charts   20 charts of 10 runs: from the address to all painted; zoom: from the mouse button to all redrawn with finer buckets.
             The legend's points are compared with SQL; a spike of one sample has to be told and painted
    live     a run logged by the real client while its chart is looked at: from the logging call of each point to the painted chart

Every repetition of wide and charts has a browser context of its own, so nothing is cached. Times are of the page's own clock and end
in the task after the frame that shows the answer. Browser, service, PostgreSQL and whoever logs share the machine.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import sync_playwright

from bench.dashboard_browser import SCREEN, Bench, Wrong
from bench.dashboard_mlflow import Rival, bench_mlflow, ui_packages
from bench.dashboard_ours import bench_charts, bench_live, bench_table, bench_wide
from bench.dashboard_seed import Sizes, seeded
from ingest.bench.api import Api
from ingest.bench.machine import machine_facts, postgres_facts
from ingest.bench.results import write_result
from ingest.bench.service import Service

KINDS = ("wide", "table", "charts", "live")
SHORT = Sizes(runs=10_000, charts=20, chart_runs=10, points=100_000, wide_keys=20_000)
FULL = replace(SHORT, runs=100_000, points=1_000_000)
LIMITS = {
    "wide: first paint, ms": 2_000,
    "wide: memory of the tab, MB": 500,
    "table: filter to shown, ms": 300,
    "charts: all drawn, ms": 1_500,
    "charts: zoom to redrawn, ms": 200,
    "live: logged to visible, ms": 2_000,
}
"""What the dashboard promises; a median above it is told, and makes the exit code 1 with --strict."""


def measure(bench: Bench, kinds: list[str], seconds: float) -> None:
    """One after the other, told as they end."""
    acts: dict[str, Callable[[], None]] = {
        "wide": lambda: bench_wide(bench),
        "table": lambda: bench_table(bench),
        "charts": lambda: bench_charts(bench),
        "live": lambda: bench_live(bench, seconds),
    }
    for kind in kinds:
        acts[kind]()
        for name, values in bench.notes.items():
            if name.startswith(f"{kind}:"):
                print(f"  {name:46} {line(name, values)}", flush=True)


def line(name: str, values: list[float]) -> str:
    """Median and extremes, and the limit if there is one."""
    limit = LIMITS.get(name)
    verdict = "" if limit is None else f"   limit {limit:,}{'' if median(values) <= limit else '  MISSED'}"
    return f"{median(values):10,.0f}   ({min(values):,.0f} to {max(values):,.0f}, {len(values)}){verdict}"


def main() -> int:
    """Seed, look, compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--full", action="store_true", help="100,000 runs, series of 1 million points")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--repeat", type=int, default=5, help="times that each page is opened")
    parser.add_argument("--seconds", type=float, default=12.0, help="that the live run is logged")
    parser.add_argument("--mlflow", action="store_true", help="the same pages of MLflow's interface, too")
    parser.add_argument(
        "--mlflow-limit", type=float, default=120.0, help="seconds that one of its pages is waited for"
    )
    parser.add_argument("--data-dir", type=Path, help="keep the seeded service here")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a limit is missed")
    parser.add_argument("--output", type=Path, help="file that receives the result as JSON")
    given = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("no chromium on the PATH; Debian: apt-get install chromium")
    try:
        result = measured(given, chromium)
    except (Wrong, PlaywrightError) as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    if given.output is not None:
        write_result(given.output, result)
    else:
        print(json.dumps(result["figures"])[:200] + " …")
    missed = [one for one in result["figures"].values() if one["limit"] and one["median"] > one["limit"]]
    return 1 if given.strict and missed else 0


def measured(given: argparse.Namespace, chromium: str) -> dict[str, Any]:
    """The whole result.

    Raises:
        Wrong, PlaywrightError: A page of ours does not show what it has to.
    """
    sizes = FULL if given.full else SHORT
    settings: dict[str, object] = {"COMPACTION": "false"}
    with ExitStack() as stack:
        variables: dict[str, str] = {}
        version = ""
        if given.mlflow:
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="ingest-bench-mlflow-"))
            variables, version = ui_packages(Path(scratch))
            settings["MLFLOW_UI"] = "true"
        service = stack.enter_context(
            Service(data_dir=given.data_dir, settings=settings, environment=variables)
        )
        place = seeded(service, sizes)
        api = stack.enter_context(Api(service.url, timeout=120.0))  # none idles while it is seeded
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        stack.callback(browser.close)
        bench = Bench(browser, api, place, given.repeat)
        measure(bench, given.only, given.seconds)
        result = {
            "bench": "dashboard",
            "machine": machine_facts(),
            "postgres": postgres_facts(api),
            "settings": {
                "chromium": browser.version,
                "repeat": given.repeat,
                "screen": SCREEN,
                **vars(sizes),
            },
            "figures": {name: figure(name, values) for name, values in bench.notes.items()},
        }
        if given.mlflow:
            result["mlflow_ui"] = beside(bench_mlflow(bench, given.only, version, given.mlflow_limit))
    return result


def beside(rival: Rival) -> dict[str, Any]:
    """MLflow's interface in the result: its figures with their ratio to ours, and what it can't show."""
    figures = {}
    for name, values in rival.notes.items():
        figures[name] = figure(name, values) | {"limit": None}
        ours = rival.bench.notes.get(name)
        figures[name]["ratio"] = round(median(values) / median(ours), 2) if ours else None
        print(f"  MLflow's {name:37} {line('', values)}   {figures[name]['ratio'] or '–'} ×", flush=True)
    for name, reason in rival.cannot.items():
        print(f"  MLflow's {name:37} can't be shown: {reason}", flush=True)
    return {"version": rival.version, "figures": figures, "cannot": rival.cannot, "told": rival.told}


def figure(name: str, values: list[float]) -> dict[str, Any]:
    """Of one measurement, as results keep it."""
    return {
        "median": round(median(values), 1),
        "min": round(min(values), 1),
        "max": round(max(values), 1),
        "n": len(values),
        "limit": LIMITS.get(name),
    }


if __name__ == "__main__":
    sys.exit(main())
