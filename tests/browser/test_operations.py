"""The page of operations while points come in and something is refused."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import client_environment

OpenPage = Callable[..., Page]

SCRIPT = """
    import ingest, time
    ingest.set_experiment("busy")
    with ingest.start_run(run_name="busy one") as run:
        for step in range(90_000):  # until it is killed
            run.log_metrics({"loss": 1.0, "accuracy": 0.5}, step=step)
            time.sleep(0.001)
"""


def test_rates_and_lag_move_while_points_come_in(open_page: OpenPage, dashboard: str, tmp_path: Path) -> None:
    page = open_page("/operations")
    logs = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SCRIPT)],
        env=client_environment(dashboard, tmp_path / "spool"),
    )
    try:
        tile = page.locator(".tile")
        expect(tile.filter(has_text="Points a second").locator(".tile-value")).to_have_text(
            re.compile("[1-9]"), timeout=60_000
        )
        expect(tile.filter(has_text="Lag").locator(".tile-value")).to_have_text(
            re.compile(r"\d"), timeout=60_000
        )
        expect(tile.filter(has_text="Writers alive")).not_to_contain_text(re.compile("in 0 runs"))
        expect(page.get_by_role("link", name="busy one")).to_be_visible(timeout=60_000)
        expect(page.get_by_role("link", name="busy", exact=True)).to_be_visible()
    finally:
        logs.kill()
        logs.wait(30)


def test_a_refused_request_is_counted_with_its_reason(open_page: OpenPage, dashboard: str) -> None:
    page = open_page("/operations")
    value = page.locator(".tile").filter(has_text="Rejected requests").locator(".tile-value")
    before = int(value.inner_text().replace(",", ""))
    request = urllib.request.Request(
        f"{dashboard}/api/v1/batches", b"\xc1", {"Content-Type": "application/msgpack"}
    )
    with pytest.raises(urllib.error.HTTPError, match="422") as refused:
        urllib.request.urlopen(request, timeout=30)
    refused.value.close()
    expect(value).not_to_have_text(f"{before:,}")
    expect(page.locator(".pill.bad").filter(has_text="malformed")).to_be_visible()
