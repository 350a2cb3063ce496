"""Curves of a run whose ranks log the same metric: together as a mean in a band, or a line for each."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
import textwrap
import urllib.request
import uuid
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from ingest_schema import Batch, Event, encode_batch
from ingest_schema.wire import pack_column
from tests.browser.conftest import client_environment
from tests.browser.test_charts import drawn
from tests.browser.test_options import repainted

SCRIPT = """
    import os, ingest
    ingest.set_experiment("ranked")
    with ingest.start_run(run_name="three ranks") as run:
        for step in range(20):
            run.log_metrics({"loss": 10.0 * int(os.environ["RANK"]) + step / 100}, step=step)
        assert run.flush(60)
"""


@pytest.fixture(scope="module")
def _ranked(dashboard: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A run that three processes logged, as a launcher starts them."""
    environment = client_environment(dashboard, tmp_path_factory.mktemp("spool"))
    job = {"WORLD_SIZE": "3", "INGEST_JOB_ID": "browser-ranks"}
    ranks = [
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(SCRIPT)], env=environment | job | {"RANK": str(rank)})
        for rank in range(3)
    ]  # fmt: skip
    assert [rank.wait(120) for rank in ranks] == [0, 0, 0]


def at_the_end(page: Page, chart: Locator, *says: str) -> None:
    """The chart says all of this at its last step, a frame or more after the pointer has come there."""
    text = ""
    for nudge in range(200):
        box = chart.locator(".u-over").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] - 2, box["y"] + 20 + nudge % 2)
        page.wait_for_timeout(100)
        text = chart.locator(".chart-tip").inner_text()
        if all(word in text for word in says):
            return
    raise AssertionError(text)


@pytest.mark.usefixtures("_ranked")
def test_ranks_are_a_mean_in_a_band_or_a_line_each(
    open_page: Callable[..., Page], experiment: Callable[[str], str]
) -> None:
    page = open_page(experiment("ranked") + "?show=charts")
    chart = drawn(page, "loss")
    expect(chart.locator(".chart-told")).to_have_text("60 points")
    together = chart.locator("canvas").evaluate("canvas => canvas.toDataURL()")
    at_the_end(page, chart, "10.19", "0.19 … 20.19")  # the mean of 0.19, 10.19 and 20.19
    page.get_by_role("button", name="Options").click()
    page.get_by_label("One line for each rank").check()
    page.keyboard.press("Escape")
    expect(page).to_have_url(re.compile("ranks=1"))
    expect(chart.locator(".chart-told")).to_have_text("3 lines, 60 points")
    repainted(chart, together)
    at_the_end(page, chart, "three ranks · rank 0", "three ranks · rank 2", "20.19")

    page.get_by_role("button", name="Table", exact=True).click()
    page.get_by_role("link", name="three ranks").click()
    page.get_by_role("tab", name="Charts").click()
    page.get_by_role("button", name="Options").click()
    expect(page.get_by_label("One line for each rank")).to_be_enabled()


def log_ranks(url: str, experiment: str, count: int) -> None:
    """A run to which so many ranks log one point each: a batch from each."""
    run_id = uuid.uuid4()
    for rank in range(count):
        start = {"name": "many ranks", "start_time_ms": 1, "experiment": experiment}
        events = [
            Event("run_start", 1, start),
            Event("writer", 1, {"rank": rank, "world_size": count, "host": "node", "pid": 1}),
        ]
        batch = Batch(
            run_id=run_id, writer_id=uuid.uuid4(), seq=1, sent_ms=2, events=events, keys=("loss",), counts=pack_column("I", [1]),
            steps=struct.pack("<q", 5), times_ms=struct.pack("<q", 1), values=struct.pack("<d", rank),
        )  # fmt: skip
        headers = {"Content-Type": "application/msgpack"}
        request = urllib.request.Request(f"{url}/api/v1/batches", encode_batch(batch), headers)
        urllib.request.urlopen(request, timeout=30).close()


def test_that_some_ranks_have_no_line_is_told_with_what_shows_all(
    open_page: Callable[..., Page], experiment: Callable[[str], str], dashboard: str
) -> None:
    log_ranks(dashboard, "many-ranks", 70)
    page = open_page(experiment("many-ranks") + "?show=charts&ranks=1")
    chart = drawn(page, "loss")
    expect(chart.locator(".chart-told")).to_have_text("64 lines, 64 points")
    told = page.get_by_role("status").filter(has_text="64 of the 70 ranks of many ranks have a line")
    expect(told).to_contain_text("the lowest")
    page.get_by_role("button", name="Show the band").click()
    expect(chart.locator(".chart-told")).to_have_text("70 points")
    expect(told).to_have_count(0)
    expect(page).not_to_have_url(re.compile("ranks=1"))
