"""The dashboard in Debian's Chromium, measured as somebody waits for it: from the click or the key to the painted answer.

    python -m bench.dashboard                   10,000 runs, series of 100,000 points: 2 to 3 minutes
    python -m bench.dashboard --full            100,000 runs, series of 1 million points: 10 minutes, most of it seeding
    python -m bench.dashboard --data-dir DIR    keeps what was seeded, and measures again without seeding

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
import math
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from playwright.sync_api import Browser, Page, sync_playwright
from playwright.sync_api import Error as PlaywrightError

from bench.dashboard_seed import SPIKE, Seeded, Sizes, seeded
from bench.search import QUESTIONS, World
from ingest.bench.api import Api
from ingest.bench.machine import machine_facts, postgres_facts
from ingest.bench.results import write_result
from ingest.bench.service import Service, clean_environment

KINDS = ("wide", "table", "charts", "live")
SHORT = Sizes(runs=10_000, charts=20, chart_runs=10, points=100_000, wide_keys=20_000)
FULL = replace(SHORT, runs=100_000, points=1_000_000)
SCREEN = {"width": 1920, "height": 1080}
LIMITS = {
    "wide: first paint, ms": 2_000,
    "wide: memory of the tab, MB": 500,
    "table: filter to shown, ms": 300,
    "charts: all drawn, ms": 1_500,
    "charts: zoom to redrawn, ms": 200,
    "live: logged to visible, ms": 2_000,
}
"""What the dashboard promises; a median above it is told, and makes the exit code 1 with --strict."""
PROBE = """
window.bench = {
  /** The page's time in the task after the frame that shows what is waited for. */
  async painted(condition) {
    for (const end = performance.now() + 30_000; !condition(); ) {
      if (performance.now() > end) throw new Error(`not shown within 30 s: ${condition}`);
      await new Promise(requestAnimationFrame);
    }
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    return performance.now();
  },
  /** What `act` gives, given the time of the next such event. */
  after: (event, act) => new Promise((done, failed) => {
    document.addEventListener(event, () => act(performance.now()).then(done, failed), { once: true, capture: true });
    setTimeout(() => failed(new Error(`no ${event}`)), 40_000);
  }),
  drawn(atLeast) {
    const charts = [...document.querySelectorAll("figure.chart")];
    return charts.length >= atLeast && charts.every((chart) => chart.querySelector(".plot[data-drawn]") && !chart.querySelector(".spinner"));
  },
  told: () => [...document.querySelectorAll("figure.chart .chart-told")].map((one) => one.textContent),
};
"""
TRAINER = """
import sys, time, ingest
ingest.set_experiment("live")
with ingest.start_run(run_name="live") as run:
    print(run.info.run_id, flush=True)
    for step in range(int(sys.argv[1])):
        run.log_metric("loss", 1 / (step + 1), step=step)
        print(time.time_ns() // 1_000_000, flush=True)
        time.sleep(float(sys.argv[2]))
"""


class Wrong(Exception):
    """The page does not show what is in the database: the bench fails."""


@dataclass
class Bench:
    """What the measurements share, and the values they note."""

    browser: Browser
    api: Api
    seeded: Seeded
    repeat: int
    notes: dict[str, list[float]] = field(default_factory=dict)

    def note(self, name: str, value: float) -> None:
        self.notes.setdefault(name, []).append(value)

    @contextmanager
    def page(self, path: str, **more: Any) -> Iterator[Page]:
        """A page of a context of its own; one that logs an error fails the bench."""
        context = self.browser.new_context(viewport=more.pop("viewport", SCREEN), **more)
        context.add_init_script(PROBE)
        page = context.new_page()
        page.set_default_timeout(120_000)
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.goto(self.api.url + path, wait_until="commit")
        try:
            yield page
        finally:
            context.close()
        if wrong:
            raise Wrong(f"{path}: {wrong[:3]}")

    def count(self, what: str, where: str) -> int:
        return int(self.api.sql(f"SELECT count(*) FROM {what} WHERE {where}", timeout=120).scalar)  # noqa: S608  of ours


def rss_of_tabs(browser: Browser) -> tuple[float, float]:
    """Of the largest tab: memory in RAM with shared libraries, and what is its alone; in MB."""
    session = browser.new_browser_cdp_session()
    found = session.send("SystemInfo.getProcessInfo")["processInfo"]
    session.detach()
    sizes = [psutil.Process(one["id"]).memory_full_info() for one in found if one["type"] == "renderer"]
    largest = max(sizes, key=lambda one: int(one.rss))
    return largest.rss / 1e6, largest.uss / 1e6


def settled(page: Page, charts: int) -> float:
    """The page's time when so many charts and all others in sight are painted."""
    return float(page.evaluate("(n) => bench.painted(() => bench.drawn(n))", charts))


# --- a run with very many metrics ------------------------------------------------------------------------------------


def bench_wide(bench: Bench) -> None:
    """The charts of a run with very many metrics: opened, scrolled, searched."""
    for _ in range(bench.repeat):
        with bench.page(f"/runs/{bench.seeded.wide}?tab=charts") as page:
            bench.note("wide: first paint, ms", settled(page, 8))
            if (
                shown := page.locator(".charts .search .count").inner_text()
            ) != f"{bench.seeded.sizes.wide_keys:,}":
                raise Wrong(f"{shown} metrics are told, not {bench.seeded.sizes.wide_keys:,}")
            bench.note("wide: memory as opened, MB", rss_of_tabs(bench.browser)[0])
            page.mouse.move(900, 700)
            for _ in range(10):
                page.mouse.wheel(0, 40_000)
                settled(page, 8)
            resident, own = rss_of_tabs(bench.browser)
            bench.note("wide: memory of the tab, MB", resident)
            bench.note("wide: memory of the tab alone, MB", own)
            began = page.evaluate("performance.now()")
            page.get_by_placeholder("Search metrics").fill("/^layer_1.*_07$/")
            page.evaluate(
                "() => bench.painted(() => document.querySelector('.charts .search .count').textContent === '100' && bench.drawn(3))"
            )
            bench.note("wide: regular expression to charts, ms", page.evaluate("performance.now()") - began)


# --- all runs --------------------------------------------------------------------------------------------------------


def bench_table(bench: Bench) -> None:
    """Filters over all runs, with and without charts beside the table."""
    world = World(bench.seeded.sizes.runs)
    questions = [
        replace(one, body={"filter": one.body["filter"]}, sorts=None)
        for one in QUESTIONS
        if "filter" in one.body
    ]
    for show in ("table", "both"):
        with bench.page(f"/experiments/{bench.seeded.many}?show={show}") as page:
            everything = f"{bench.seeded.sizes.runs:,} runs"
            began = page.evaluate(
                "(told) => bench.painted(() => document.querySelector('.runs-tools .count')?.textContent === told && document.querySelector('.table-row'))",
                everything,
            )
            bench.note(f"table: opened ({show}), ms", began)
            page.wait_for_timeout(1_500)  # its charts are drawn
            for question in questions * max(1, bench.repeat // 2):
                ids, count = world.page(question)
                name = (
                    "table: filter to shown, ms"
                    if show == "table"
                    else "table: filter to shown beside charts, ms"
                )
                bench.note(name, filtered(page, question.body["filter"], count, ids))
                bench.note(name, filtered(page, "", bench.seeded.sizes.runs, []))


def filtered(page: Page, text: str, count: int, ids: list[str]) -> float:
    """Type a filter all at once; milliseconds from the key to the painted rows, which must be these."""
    box = page.get_by_role("combobox", name="Filter runs")
    box.focus()
    box.select_text()
    waiting = """([told, first]) => { window.shown = bench.after("input", async (began) => {
        const isShown = () => document.querySelector(".runs-tools .count")?.textContent === told && (!first || document.querySelector(".table-row")?.dataset.id === first);
        return await bench.painted(isShown) - began;
    }); }"""
    page.evaluate(waiting, [f"{count:,} runs", ids[0] if ids else ""])
    page.keyboard.insert_text(text) if text else page.keyboard.press("Delete")
    took = float(page.evaluate("() => window.shown"))
    rows = page.evaluate("[...document.querySelectorAll('.table-row')].map((row) => row.dataset.id)")
    if ids and rows[: len(ids)] != ids[: len(rows)]:
        raise Wrong(f"{text}: {rows[:3]} are shown instead of {ids[:3]}")
    return took


# --- long series -----------------------------------------------------------------------------------------------------


def bench_charts(bench: Bench) -> None:
    """Charts of long series, opened and zoomed; then what they say."""
    sizes = bench.seeded.sizes
    path = f"/experiments/{bench.seeded.charts}?show=charts"
    for _ in range(bench.repeat):
        with bench.page(path) as page:
            bench.note("charts: all drawn, ms", settled(page, sizes.charts))
            told = page.evaluate("bench.told()")
            if len(told) != sizes.charts or not all(f"{sizes.chart_runs} lines" in one for one in told):
                raise Wrong(f"legends say {told[:2]}")
            first, everything = zoomed(page, sizes.charts, 0.3, 0.55)
            bench.note("charts: zoom to redrawn, ms", first)
            bench.note("charts: zoom to all redrawn, ms", everything)
            first, _ = zoomed(page, sizes.charts, 0.4, 0.45)
            bench.note("charts: second zoom to redrawn, ms", first)
    bench.note("charts: points of one chart", see_counts(bench))
    see_spike(bench)


def drag(page: Page, low: float, high: float) -> None:
    """Over the first plot, from one share of its width to another."""
    box = page.locator("figure.chart .u-over").first.bounding_box()
    if box is None:
        raise Wrong("no plot")
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + low * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + high * box["width"], y, steps=3)
    page.mouse.up()


def zoomed(page: Page, charts: int, low: float, high: float) -> tuple[float, float]:
    """Milliseconds from the button's release to the dragged chart with finer buckets, and to all of them."""
    page.evaluate(
        """(n) => {
          const chart = document.querySelector("figure.chart");
          const before = bench.told()[0];
          const isFiner = (one) => !one.querySelector(".spinner");
          window.zoomed = bench.after("mouseup", async (began) => {
            const first = await bench.painted(() => isFiner(chart) && bench.told()[0] !== before) - began;
            return [first, await bench.painted(() => bench.drawn(n)) - began];
          });
        }""",
        charts,
    )
    drag(page, low, high)
    first, everything = page.evaluate("() => window.zoomed")
    return float(first), float(everything)


def see_counts(bench: Bench) -> int:
    """The points that a legend tells, whole and zoomed, are those of SQL. Returns those of one whole series."""
    sizes = bench.seeded.sizes
    run_id = bench.seeded.chart_runs[0]
    of_it = f"run_id = '{run_id}' AND key = '{sizes.metric(0)}'"
    with bench.page(f"/runs/{run_id}?tab=charts&find={sizes.metric(0)}") as page:
        settled(page, 1)
        whole = points_told(page)
        if whole != bench.count("metrics", of_it):
            raise Wrong(f"the legend tells {whole} points")
        zoomed(page, 1, 0.2, 0.25)
        low, high = (int(re.search(rf"[?&]{name}=(\d+)", page.url)[1]) for name in ("from", "to"))  # type: ignore[index]  # a zoom has both
        if (told := points_told(page)) != bench.count(
            "metrics", f"{of_it} AND step BETWEEN {low} AND {high}"
        ):
            raise Wrong(f"the legend tells {told} points from {low} to {high}")
    return whole


def points_told(page: Page) -> int:
    """What the legend of the only chart says."""
    return number_in(page.evaluate("bench.told()[0]"))


def number_in(text: str) -> int:
    """Of `1,000 points in 300 buckets`."""
    found = re.match(r"([\d,]+) points?\b", text)
    if found is None:
        raise Wrong(f"the legend says {text!r}")
    return int(found[1].replace(",", ""))


def see_spike(bench: Bench) -> None:
    """One sample that stands out, among all runs' curves: told under the cursor, and painted at its height."""
    sizes = bench.seeded.sizes
    with bench.page(f"/experiments/{bench.seeded.charts}?show=charts") as page:
        settled(page, sizes.charts)
        plot = page.locator(f'[data-metric="{sizes.metric(0)}"]')
        box = plot.locator(".u-over").bounding_box()
        if box is None:
            raise Wrong("no plot")
        share = sizes.spike_step / (sizes.points - 1)
        page.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
        if f"{SPIKE:g}" not in (tip := plot.locator(".chart-tip").inner_text()):
            raise Wrong(f"the spike is not told: {tip[:200]}")
        page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] - 40)
        bench.note("charts: pixels of a spike of one sample", painted_above(plot, share))


def painted_above(plot: Any, share: float) -> int:
    """Pixels of a curve in the upper half of the plot, where only the spike reaches, near its place."""
    script = """(chart, share) => {
      const canvas = chart.querySelector("canvas"), over = chart.querySelector(".u-over");
      const scale = canvas.width / canvas.clientWidth;
      const [left, top] = [over.offsetLeft * scale, over.offsetTop * scale];
      const [width, height] = [over.clientWidth * scale, over.clientHeight * scale];
      const x = Math.round(left + share * width);
      const { data } = canvas.getContext("2d").getImageData(x - 6, top + height * 0.15, 13, height * 0.35);
      let found = 0;
      for (let i = 0; i < data.length; i += 4) {
        const most = Math.max(data[i], data[i + 1], data[i + 2]), least = Math.min(data[i], data[i + 1], data[i + 2]);
        if (data[i + 3] > 60 && most - least > 20) found++;
      }
      return found;
    }"""
    found = int(plot.evaluate(script, share))
    if found < 20:
        raise Wrong(f"a spike of one sample is painted with {found} pixels")
    return found


# --- a run while it is logged ----------------------------------------------------------------------------------------


def bench_live(bench: Bench, seconds: float) -> None:
    """Points of one metric, four a second; when each is in the chart that is looked at."""
    pause = 0.23
    steps = math.ceil(seconds / pause)
    with tempfile.TemporaryDirectory() as spool:
        environment = clean_environment({"INGEST_TRACKING_URI": bench.api.url, "INGEST_SPOOL_DIR": spool})
        with subprocess.Popen(
            [sys.executable, "-c", TRAINER, str(steps), str(pause)], env=environment, stdout=subprocess.PIPE, text=True
        ) as trainer:  # fmt: skip
            assert trainer.stdout is not None
            run_id = trainer.stdout.readline().strip()
            with bench.page(f"/runs/{run_id}?tab=charts&find=loss") as page:
                settled(page, 1)
                page.evaluate(
                    """() => {
                      window.seen = [];
                      const note = async () => { const told = bench.told()[0]; await bench.painted(() => true); window.seen.push([Date.now(), told]); };
                      new MutationObserver(note).observe(document.querySelector(".chart-told"), { characterData: true, childList: true, subtree: true });
                    }"""
                )
                opened_ms = time.time_ns() // 1_000_000
                logged = [int(line) for line in trainer.stdout]
                page.wait_for_timeout(4_000)
                seen = [(at, number_in(told)) for at, told in page.evaluate("window.seen")]
    if bench.count("metrics", f"run_id = '{run_id}' AND key = 'loss'") != steps or seen[-1][1] != steps:
        raise Wrong(f"{steps} points were logged, {seen[-1][1]} are shown at last")
    for number, at in enumerate(logged, start=1):
        if at >= opened_ms:
            bench.note("live: logged to visible, ms", next(when for when, n in seen if n >= number) - at)


# --- the whole -------------------------------------------------------------------------------------------------------


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
    parser.add_argument("--data-dir", type=Path, help="keep the seeded service here")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a limit is missed")
    parser.add_argument("--output", type=Path, help="file that receives the result as JSON")
    given = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("no chromium on the PATH; Debian: apt-get install chromium")
    sizes = FULL if given.full else SHORT
    with Service(data_dir=given.data_dir, settings={"COMPACTION": "false"}) as service, ExitStack() as stack:
        place = seeded(service, sizes)
        api = stack.enter_context(Api(service.url, timeout=120.0))  # none idles while it is seeded
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
            )
            bench = Bench(browser, api, place, given.repeat)
            try:
                measure(bench, given.only, given.seconds)
            except (Wrong, PlaywrightError) as error:
                print(f"FAILED: {error}", file=sys.stderr)
                return 1
            version = browser.version
            browser.close()
        result = {
            "bench": "dashboard",
            "machine": machine_facts(),
            "postgres": postgres_facts(api),
            "settings": {"chromium": version, "repeat": given.repeat, "screen": SCREEN, **vars(sizes)},
            "figures": {name: figure(name, values) for name, values in bench.notes.items()},
        }
    if given.output is not None:
        write_result(given.output, result)
    else:
        print(json.dumps(result["figures"])[:200] + " …")
    missed = [
        name for name, limit in LIMITS.items() if name in bench.notes and median(bench.notes[name]) > limit
    ]
    return 1 if given.strict and missed else 0


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
