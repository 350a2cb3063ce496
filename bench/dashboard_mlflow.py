"""The same pages of MLflow's own user interface: the same runs, in the same browser, in the same run of `bench/dashboard.py`.

The interface is the build that the `mlflow` package brings, as it is, in a service of ours (`ingest serve --mlflow-ui`): what it asks is answered
by our backend out of the very database that our dashboard reads. That flatters it. What MLflow's own server needs for such requests is measured
by `bench/compare_mlflow.py`.

    wide     the charts of the run with 20,000 metrics; the list of their latest values
    table    the same filters, where its grammar has them, from Enter to the first row painted: it shows 100 runs, and no count of all
    charts   the same 20 charts of 10 runs: from the address until all have been painted, scrolled through, since they are larger and fewer are in
             sight; zoom: from the mouse button to the one chart redrawn. It draws a sample of each series; how large, and whether the spike of one
             point is in it, is told

The live chart is left out. Each wait is bounded. What it can't show is told with the reason, and not asked again. Only its assistant,
which opens over a third of the screen at the first visit, has been closed before.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Page

from bench.dashboard_browser import PROBE, SCREEN, Bench, drag, rss_of_tabs
from bench.dashboard_ours import LISTED, filters
from bench.dashboard_seed import SPIKE, Sizes
from bench.search import World
from ingest.bench.api import Api
from ingest.bench.environments import environment_with
from ingest.bench.stock_mlflow import PACKAGES

NOISE = "ResizeObserver loop"
"""A notice of Chromium's about layout, which libraries of grids and plots raise on any server."""
FAILED = 'document.body?.innerText.includes("Something went wrong")'
FIRST_ROW = """document.querySelector('[row-index="0"] a[href*="/runs/"]')"""
CARDS = """[...document.querySelectorAll("[data-testid=experiment-view-compare-runs-card]")]
  .filter((card) => { const box = card.getBoundingClientRect(); return box.height && box.top < innerHeight && box.bottom > 0; })"""
PLOT = 'document.querySelector(".js-plotly-plot")'


class NotShown(Exception):
    """The interface does not show what was asked for; the message says what happened instead."""


@dataclass
class Rival:
    """MLflow's interface in the browser: what was measured, what it can't show, and what else is to be told.

    Attributes:
        limit: Seconds that anything is waited for.
        storage: What the browser keeps of somebody who closed the assistant.
    """

    bench: Bench
    version: str
    limit: float
    storage: Any = None
    notes: dict[str, list[float]] = field(default_factory=dict)
    cannot: dict[str, str] = field(default_factory=dict)
    told: dict[str, Any] = field(default_factory=dict)

    def note(self, name: str, value: float) -> None:
        self.notes.setdefault(name, []).append(value)

    def tried(self, name: str, act: Callable[[], None]) -> None:
        """As often as ours was, until it can't be shown."""
        for _ in range(self.bench.repeat):
            if name in self.cannot:
                return
            try:
                act()
            except (NotShown, PlaywrightError) as error:
                self.cannot[name] = " ".join(str(error).split())[:300]

    @contextmanager
    def page(self, address: str) -> Iterator[Sight]:
        """A page of a context of its own, at an address behind the interface's `#`."""
        context = self.bench.browser.new_context(viewport=SCREEN, storage_state=self.storage)
        context.add_init_script(PROBE)
        page = context.new_page()
        page.set_default_timeout(self.limit * 1_000)
        sight = Sight(page, self.limit)
        page.goto(f"{self.bench.api.url}/mlflow#{address}", wait_until="commit")
        try:
            yield sight
        finally:
            context.close()

    def close_assistant(self) -> None:
        """As somebody does at the first visit; from then on it stays closed."""
        with self.page("/experiments") as sight:
            close = sight.page.get_by_role("button", name="Close")
            close.last.click()
            close.last.wait_for(state="detached")
            self.storage = sight.page.context.storage_state()


class Sight:
    """One page of the interface, and what it complained of."""

    def __init__(self, page: Page, limit: float) -> None:
        self.page = page
        self.limit = limit
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on(
            "console", lambda message: self.errors.append(message.text) if message.type == "error" else None
        )

    def painted(self, condition: str) -> float:
        """The page's time when this is on the screen.

        Raises:
            NotShown: It is not within the limit, or the interface has given up.
        """
        return self._awaited(
            f"() => bench.painted(() => {FAILED} || ({condition}), {self.limit * 1_000})", condition
        )

    def after(self, event: str, condition: str, act: Callable[[], None]) -> float:
        """Milliseconds from the event that `act` brings about until this is on the screen. Raises as `painted`."""
        self.page.evaluate(
            f"""() => {{
              window.took = bench.after("{event}", async (began) => await bench.painted(() => {FAILED} || ({condition}), {self.limit * 1_000}) - began);
              window.took.catch(() => {{}});
            }}"""
        )
        act()
        return self._awaited("() => window.took", condition)

    def _awaited(self, expression: str, condition: str) -> float:
        # Not by evaluate, which has no time-out: a page may be busy for minutes.
        try:
            at = float(self.page.wait_for_function(expression, timeout=(self.limit + 5) * 1_000).json_value())
        except PlaywrightError as error:
            raise NotShown(f"nothing for {self.limit:.0f} s{self.complaint()}") from error
        if self.page.evaluate(FAILED) and not self.page.evaluate(condition):
            raise NotShown(f'"Something went wrong" after {at / 1_000:.0f} s{self.complaint()}')
        return at

    def complaint(self) -> str:
        """The first error of its console."""
        real = [one for one in self.errors if NOISE not in one]
        return f"; console: {real[0]}" if real else ""


def ui_packages(scratch: Path) -> tuple[dict[str, str], str]:
    """Variables with which a service finds the interface and nothing else of its environment; and MLflow's version."""
    python = environment_with("mlflow", PACKAGES)
    (site,) = python.parent.parent.glob("lib/python3.*/site-packages")
    (facts,) = site.glob("mlflow-[0-9]*.dist-info")
    for found in (site / "mlflow", facts):
        (scratch / found.name).symlink_to(found)
    version = facts.name.removeprefix("mlflow-").removesuffix(".dist-info")
    before = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": f"{scratch}{os.pathsep}{before}" if before else str(scratch)}, version


def bench_mlflow(bench: Bench, kinds: list[str], version: str, limit: float) -> Rival:
    """Those of its pages that were measured of ours."""
    rival = Rival(bench, version, limit)
    rival.close_assistant()
    acts = {"wide": wide, "table": table, "charts": charts}
    for kind in kinds:
        if kind in acts:
            acts[kind](rival)
    return rival


def wide(rival: Rival) -> None:
    """The run with very many metrics: its charts, and the list that its page opens with."""
    bench = rival.bench
    with Api(bench.api.url) as api:  # the bench's own has idled
        experiment = api.get(f"/api/v1/runs/{bench.seeded.wide}")["experiment_id"]
    address = f"/experiments/{experiment}/runs/{bench.seeded.wide}"

    def see_charts() -> None:
        with rival.page(f"{address}/model-metrics") as sight:
            rival.note("wide: first paint, ms", sight.painted(drawn(1)))
            rival.note("wide: memory as opened, MB", rss_of_tabs(bench.browser)[0])

    def see_list() -> None:
        with rival.page(address) as sight:
            rival.note("wide: latest values listed, ms", sight.painted(LISTED))
            rival.note("wide: memory of the list's tab, MB", rss_of_tabs(bench.browser)[0])

    rival.tried("wide: first paint, ms", see_charts)
    rival.tried("wide: latest values listed, ms", see_list)


def table(rival: Rival) -> None:
    """All runs, filtered."""
    bench, name = rival.bench, "table: filter to shown, ms"
    world, experiment = World(bench.seeded.sizes.runs), str(bench.seeded.many)
    newest = f"{bench.seeded.sizes.runs:032x}"
    asked = {one.body["filter"]: world.page(one)[0][0] for one in filters()}
    known = {
        text: first for text, first in asked.items() if first != newest and is_read(bench, experiment, text)
    }
    rival.told["filters"] = f"{len(known)} of {len(asked)}: the others are not of its grammar"

    def see_all() -> None:
        with rival.page(f"/experiments/{experiment}/runs") as sight:
            rival.note("table: opened (table), ms", sight.painted(FIRST_ROW))
            box = sight.page.locator("[data-testid=runs-search-autocomplete] input")
            for text, first in known.items():
                for typed, run_id in ((text, first), ("", newest)):
                    box.fill(typed)
                    is_there = f'{FIRST_ROW}?.href.endsWith("{run_id}")'
                    rival.note(name, sight.after("keydown", is_there, lambda: box.press("Enter")))

    rival.tried(name, see_all)


def is_read(bench: Bench, experiment: str, text: str) -> bool:
    """Whether MLflow's REST takes this filter."""
    body = json.dumps({"experiment_ids": [experiment], "filter": text, "max_results": 1}).encode()
    with Api(bench.api.url) as api:
        status, _ = api.request("POST", "/api/2.0/mlflow/runs/search", body, "application/json")
    return status == 200


def charts(rival: Rival) -> None:
    """The charts of long series."""
    sizes = rival.bench.seeded.sizes
    address = f"/experiments/{rival.bench.seeded.charts}/runs?compareRunsMode=CHART"

    def see_charts() -> None:
        with rival.page(address) as sight:
            rival.note("charts: those in sight drawn, ms", sight.painted(drawn(sizes.chart_runs)))
            see_drawn(rival, sight.page)
            rival.note("charts: all drawn, ms", scrolled_through(sight, sizes))
            sight.page.mouse.wheel(0, -100_000)
            sight.painted(drawn(sizes.chart_runs, named=sizes.metric(0)))
            finer = f"{PLOT}.data[0].x[0] > {0.2 * sizes.points}"
            box = sight.page.locator(".js-plotly-plot .nsewdrag").first
            took = sight.after("mouseup", finer, lambda: drag(sight.page, box, 0.3, 0.55))
            rival.note("charts: zoom to redrawn, ms", took)

    rival.tried("charts: all drawn, ms", see_charts)


def scrolled_through(sight: Sight, sizes: Sizes) -> float:
    """The page's time when the last chart has been painted: it mounts those in sight only, and somebody scrolls on as soon as these are there.

    Raises:
        NotShown: As `Sight.painted`; or scrolling does not lead to the last one.
    """
    last = drawn(sizes.chart_runs, named=sizes.metric(sizes.charts - 1))
    sight.page.mouse.move(SCREEN["width"] / 2, SCREEN["height"] / 2)
    for _ in range(2 * sizes.charts):
        at = sight.painted(drawn(sizes.chart_runs))
        if sight.page.evaluate(last):
            return at
        sight.page.mouse.wheel(0, SCREEN["height"] / 2)
    raise NotShown(f"{sizes.metric(sizes.charts - 1)} does not come in sight")


def drawn(lines: int, named: str = "") -> str:
    """That all charts in sight have at least so many curves, and one of them is this metric's."""
    return f"""(() => {{
      const cards = {CARDS};
      return cards.some((card) => card.innerText.includes("{named}")) && cards.every((card) => card.querySelectorAll(".js-line[d]").length >= {lines});
    }})()"""


def see_drawn(rival: Rival, page: Page) -> None:
    """How much of it is on the screen, and of the series in the plots."""
    sizes = rival.bench.seeded.sizes
    most, points = page.evaluate(
        f"[Math.max(...{PLOT}.data.flatMap((line) => line.y)), {PLOT}.data[0].x.length]"
    )
    rival.told |= {
        "charts in sight": f"{page.evaluate(f'({CARDS}).length')} of {sizes.charts}",
        "points drawn of a series": f"{points:,} of {sizes.points:,}",
        "the spike of one point is drawn": "yes" if most >= SPIKE else "no",
    }
