"""The SQL page as somebody uses it."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

from playwright.sync_api import Browser, Page, expect

OpenPage = Callable[..., Page]
QUERY = "SELECT name, status\nFROM runs\nORDER BY name"


def test_sql_runs_and_its_link_shows_somebody_else_the_same(open_page: OpenPage, runs: list[str]) -> None:
    page = open_page("/sql")
    page.get_by_label("SQL statement").fill(QUERY)
    page.get_by_label("SQL statement").press("Control+Enter")
    expect(page.get_by_role("table", name="Result")).to_contain_text("run-0")

    second = open_page(page.url)
    expect(second.get_by_label("SQL statement")).to_have_value(QUERY)
    expect(second.get_by_role("table", name="Result")).to_contain_text("run-0")


def test_sql_completes_columns_of_what_it_names(open_page: OpenPage, runs: list[str]) -> None:
    page = open_page("/sql")
    expect(page.get_by_label("Schema")).to_contain_text("latest_metrics")
    field = page.get_by_label("SQL statement")
    field.fill("SELECT * FROM latest_metrics WHERE ")
    field.press("End")
    field.press_sequentially("val")
    expect(page.get_by_role("option", name="value")).to_be_visible()
    field.press("Tab")
    expect(field).to_have_value("SELECT * FROM latest_metrics WHERE value")


def test_a_result_is_plotted(open_page: OpenPage, runs: list[str]) -> None:
    sql = quote("SELECT step, value FROM metrics WHERE key = 'train/loss' ORDER BY step")
    page = open_page(f"/sql?run=1&show=plot&sql={sql}")
    expect(page.get_by_role("img", name="value over step").locator("canvas")).to_be_visible()


def test_a_saved_query_is_there_for_everybody(open_page: OpenPage, runs: list[str]) -> None:
    page = open_page("/sql")
    page.get_by_label("SQL statement").fill(QUERY)
    page.get_by_role("button", name="Save").click()
    page.get_by_label("Name; one that exists is replaced").fill("all runs")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()

    second = open_page("/sql")
    saved = second.get_by_label("Saved queries")
    saved.get_by_role("button", name="all runs local").click()
    expect(second.get_by_role("table", name="Result")).to_contain_text("run-0")
    saved.get_by_role("button", name="Delete all runs").click()
    second.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(saved).to_contain_text("None yet")


def test_a_result_is_sorted_and_downloaded(open_page: OpenPage, runs: list[str]) -> None:
    page = open_page("/sql?run=1&sql=" + quote("SELECT n, 'a,b' AS word FROM generate_series(1, 3) AS n"))
    table = page.get_by_role("table", name="Result")
    table.get_by_role("button", name="n", exact=True).click()
    table.get_by_role("button", name="n ↑").click()
    expect(table.get_by_role("row").nth(1)).to_contain_text("3")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as CSV").click()
    assert download.value.path().read_text().split() == ["n,word", '3,"a,b"', '2,"a,b"', '1,"a,b"']


def test_an_error_points_to_its_place_and_a_slow_statement_is_cancelled(
    chromium: Browser, dashboard: str
) -> None:
    page = chromium.new_page()  # the browser itself reports the 400 on its console
    page.goto(f"{dashboard}/sql")
    field = page.get_by_label("SQL statement")
    field.fill("SELECT name,\n  statsu\nFROM runs")
    field.press("Control+Enter")
    expect(page.get_by_role("alert")).to_contain_text("line 2, column 3")
    expect(page.get_by_role("alert")).to_contain_text("runs.status")

    field.fill("SELECT pg_sleep(50)")
    field.press("Control+Enter")
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("button", name="Run", exact=True)).to_be_enabled()
    page.close()
