"""The measurements of our own pages, and the proof that they show what is in the database; started by `bench/dashboard.py`."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from typing import Any

from playwright.sync_api import Page

from bench.dashboard_browser import Bench, Wrong, drag, rss_of_tabs
from bench.dashboard_seed import SPIKE
from bench.search import QUESTIONS, Question, World
from ingest.bench.service import clean_environment

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
LISTED = 'document.body?.innerText.includes("layer_000/weight_00")'
"""That the run with very many metrics shows the first of them."""


def settled(page: Page, charts: int) -> float:
    """The page's time when so many charts and all others in sight are painted."""
    return float(page.evaluate("(n) => bench.painted(() => bench.drawn(n))", charts))


# --- a run with very many metrics ------------------------------------------------------------------------------------


def bench_wide(bench: Bench) -> None:
    """A run with very many metrics: the list of their latest values; the charts, opened, scrolled, searched."""
    for _ in range(bench.repeat):
        with bench.page(f"/runs/{bench.seeded.wide}") as page:
            at = page.evaluate(f"bench.painted(() => {LISTED})")
            bench.note("wide: latest values listed, ms", at)
            bench.note("wide: memory of the list's tab, MB", rss_of_tabs(bench.browser)[0])
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
    for show in ("table", "both"):
        with bench.page(f"/experiments/{bench.seeded.many}?show={show}") as page:
            everything = f"{bench.seeded.sizes.runs:,} runs"
            began = page.evaluate(
                "(told) => bench.painted(() => document.querySelector('.runs-tools .count')?.textContent === told && document.querySelector('.table-row'))",
                everything,
            )
            bench.note(f"table: opened ({show}), ms", began)
            page.wait_for_timeout(1_500)  # its charts are drawn
            for question in filters() * max(1, bench.repeat // 2):
                ids, count = world.page(question)
                name = (
                    "table: filter to shown, ms"
                    if show == "table"
                    else "table: filter to shown beside charts, ms"
                )
                bench.note(name, filtered(page, question.body["filter"], count, ids))
                bench.note(name, filtered(page, "", bench.seeded.sizes.runs, []))


def filters() -> list[Question]:
    """What is filtered by; newest first."""
    return [
        replace(one, body={"filter": one.body["filter"]}, sorts=None)
        for one in QUESTIONS
        if "filter" in one.body
    ]


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
    drag(page, page.locator("figure.chart .u-over").first, low, high)
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
        tip = ""
        for aside in (0, 1, -1, 2, -2):  # pixels: it may lie on the border of its bucket
            page.mouse.move(box["x"] + share * box["width"] + aside, box["y"] + box["height"] / 2)
            page.evaluate("bench.painted(() => true)")
            if f"{SPIKE:g}" in (tip := plot.locator(".chart-tip").inner_text()):
                break
        else:
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
