"""What somebody does from one page to the next, and what comes in while a page is open."""

from __future__ import annotations

import json
import re
import urllib.request
import uuid
from collections.abc import Callable

from playwright.sync_api import Page, expect

from ingest_schema import Event
from tests.browser.test_runs import log_many, rows, send

OpenPage = Callable[..., Page]
Experiment = Callable[[str], str]


def test_two_runs_are_chosen_in_the_table_and_compared(
    open_page: OpenPage, experiment: Experiment, runs: list[str]
) -> None:
    page = open_page(experiment("inspected") + "?show=table")
    for name in ("run-0", "run-2"):
        page.get_by_role("checkbox", name=f"Select {name}", exact=True).check()
    page.get_by_role("button", name="Compare").click()
    params = page.get_by_role("region", name="Params")
    expect(params.get_by_role("columnheader")).to_have_text(["Key", "run-0", "run-2"])
    expect(params).to_contain_text("lr")
    expect(params).not_to_contain_text("optimizer")  # adam, both
    page.get_by_role("tab", name="Curves").click()
    expect(page.locator('[data-metric="train/loss"] .chart-told')).to_contain_text("2 lines")
    page.get_by_role("button", name="Take run-2 out").click()
    expect(page.get_by_role("heading", name="Compare")).to_be_visible()
    assert runs[2] not in page.url


def test_a_run_that_starts_is_in_the_open_table_and_an_experiment_in_the_open_list(
    open_page: OpenPage, experiment: Experiment, dashboard: str
) -> None:
    start = {"start_time_ms": 1, "experiment": "arrivals"}
    send(dashboard, uuid.uuid4(), Event("run_start", 1, start | {"name": "early"}))
    table, listed = open_page(experiment("arrivals") + "?show=table"), open_page("/experiments")
    expect(rows(table)).to_have_count(1)
    expect(listed.get_by_role("link", name="arrivals")).to_be_visible()
    send(dashboard, uuid.uuid4(), Event("run_start", 1, start | {"name": "late"}))
    send(dashboard, uuid.uuid4(), Event("run_start", 1, start | {"name": "x", "experiment": "arrived"}))
    expect(rows(table).filter(has_text="late")).to_have_count(1)
    expect(rows(table)).to_have_count(2)
    expect(listed.get_by_role("link", name="arrived")).to_be_visible()


def test_an_expression_is_completed_with_the_cursor_between_its_quotes(
    open_page: OpenPage, experiment: Experiment
) -> None:
    page = open_page(experiment("fashion") + "?show=table")
    expect(rows(page)).to_have_count(12)
    page.get_by_role("combobox", name="Filter runs").focus()
    page.keyboard.type("name ")
    page.get_by_role("option", name="~ ''").click()
    page.keyboard.type("^mlp-0[13]$")
    expect(rows(page)).to_have_count(2)
    expect(page.get_by_role("combobox", name="Filter runs")).to_have_value("name ~ '^mlp-0[13]$'")


def test_a_result_is_plotted_by_a_click_and_a_link_shows_the_plot(
    open_page: OpenPage, runs: list[str]
) -> None:
    page = open_page("/sql")
    field = page.get_by_label("SQL statement")
    field.fill("SELECT step, value FROM metrics WHERE key = 'train/loss' ORDER BY step")
    field.press("Control+Enter")
    expect(page.get_by_role("table", name="Result")).to_be_visible()
    page.get_by_role("button", name="Plot").click()
    expect(page.get_by_role("img", name="value over step").locator("canvas")).to_be_visible()
    shared = open_page(page.url)
    expect(shared.get_by_role("img", name="value over step").locator("canvas")).to_be_visible()


def test_a_link_with_as_many_runs_as_can_be_chosen_is_opened(
    open_page: OpenPage, experiment: Experiment, dashboard: str
) -> None:
    log_many(dashboard, "crowd", 205)
    path = experiment("crowd")
    body = json.dumps(
        {"experiments": [int(path.rsplit("/", 1)[1])], "limit": 200, "columns": ["name"]}
    ).encode()
    request = urllib.request.Request(f"{dashboard}/api/v1/runs/search", body)
    with urllib.request.urlopen(request, timeout=30) as answer:
        ids = [run["run_id"] for run in json.load(answer)["runs"]]
    assert len(ids) == 200
    table = open_page(path + "?show=table&" + "&".join(f"sel={one}" for one in ids))
    expect(table.locator(".runs-tools .count")).to_have_text("200 selected")
    table.get_by_role("button", name="Compare").click()
    expect(table.get_by_text("200 runs")).to_be_visible()
    table.get_by_role("tab", name="Plots").click()
    colours = "".join(f"&colour={one}:e64980" for one in ids)
    compared = open_page(re.sub(r"^https?://[^/]+", "", table.url) + colours)
    expect(compared.get_by_text("200 runs")).to_be_visible()
