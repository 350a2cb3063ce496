"""What "Copy as" gives works as it stands: the Python in a fresh process, the SQL on the SQL route."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import client_environment

VIEWS = {
    "overview": ("train/loss", "train/loss"),
    "charts": ("train/loss", "train/loss"),
    "points&metric=train/loss": ("1.0", "1"),
    "artifacts&file=config.json": ("config.json", None),
    "environment": ("gpu-0", "gpu-0"),
    "writers": ("600", "600"),
    "system": ("system/cpu_percent", "system/cpu_percent"),
}
"""By tab: what the Python prints and what the SQL finds; None where there is no such item."""


@pytest.mark.parametrize("view", VIEWS)
def test_what_is_copied_works(
    open_page: Callable[..., Page], dashboard: str, runs: list[str], view: str, tmp_path: Path
) -> None:
    printed, found = VIEWS[view]
    check_copies(open_page, dashboard, f"/runs/{runs[0]}?tab={view}", printed, found, tmp_path)


def test_a_search_is_copied_as_a_search(
    open_page: Callable[..., Page],
    dashboard: str,
    runs: list[str],
    experiment: Callable[[str], str],
    tmp_path: Path,
) -> None:
    path = experiment("inspected") + "?filter=params.optimizer='sgd'"
    check_copies(open_page, dashboard, path, runs[1], "run-1", tmp_path)


def test_a_comparison_is_copied(
    open_page: Callable[..., Page], dashboard: str, runs: list[str], tmp_path: Path
) -> None:
    path = "/compare?" + "&".join(f"run={run_id}" for run_id in runs[:2])
    check_copies(open_page, dashboard, path, "run-1", "run-1", tmp_path)


def test_a_statement_is_copied(
    open_page: Callable[..., Page], dashboard: str, runs: list[str], tmp_path: Path
) -> None:
    sql = quote("SELECT name, 'it''s' AS said FROM runs WHERE name = 'run-1'")
    check_copies(open_page, dashboard, f"/sql?sql={sql}", "it's", None, tmp_path)


def check_copies(  # noqa: PLR0917  what a test has at hand
    open_page: Callable[..., Page], dashboard: str, path: str, printed: str | None, found: str | None, tmp_path: Path
) -> None:  # fmt: skip
    """What the page copies prints this, and finds that."""
    page = open_page(path, permissions=["clipboard-read", "clipboard-write"])
    page.wait_for_load_state("networkidle")

    def copied(what: str) -> str:
        page.get_by_role("button", name="Copy as").first.click()
        page.get_by_role("menuitem", name=what, exact=True).click()
        page.get_by_text(f"{what} copied").first.wait_for()
        text: str = page.evaluate("navigator.clipboard.readText()")
        return text

    if printed is not None:
        environment = client_environment("http://127.0.0.1:1", tmp_path)  # the code names the service itself
        outcome = subprocess.run(
            [sys.executable, "-c", copied("Python")],
            env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert outcome.returncode == 0, outcome.stderr
        assert printed in outcome.stdout
    if found is not None:
        body = json.dumps({"sql": copied("SQL")}).encode()
        with urllib.request.urlopen(
            urllib.request.Request(f"{dashboard}/api/v1/sql", body), timeout=10
        ) as answer:
            assert found in json.dumps(json.load(answer)["rows"])
