"""What the measurements of `bench/dashboard.py` share: pages whose clock is the page's own, memory of a tab, values that were noted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil
from playwright.sync_api import Browser, Locator, Page, ViewportSize

from bench.dashboard_seed import Seeded
from ingest.bench.api import Api

SCREEN: ViewportSize = {"width": 1920, "height": 1080}
PROBE = """
window.bench = {
  /** The page's time in the task after the frame that shows what is waited for. */
  async painted(condition, mostMs = 30_000) {
    for (const end = performance.now() + mostMs; !condition(); ) {
      if (performance.now() > end) throw new Error(`not shown within ${mostMs / 1_000} s: ${condition}`);
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


def drag(page: Page, plot: Locator, low: float, high: float) -> None:
    """Over a plot, from one share of its width to another."""
    box = plot.bounding_box()
    if box is None:
        raise Wrong("no plot")
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + low * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + high * box["width"], y, steps=3)
    page.mouse.up()
