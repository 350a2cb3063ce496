"""Several runs side by side: differences, parallel coordinates, scatter, bars, curves."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

OpenPage = Callable[..., Page]


def comparison(runs: list[str], more: str = "") -> str:
    return "/compare?" + "&".join(f"run={run_id}" for run_id in runs) + more


def test_a_comparison_shows_differences_only_and_all_on_demand(open_page: OpenPage, runs: list[str]) -> None:
    page = open_page(comparison(runs[:2]))
    params = page.get_by_role("region", name="Params")
    expect(params).to_contain_text("optimizer")
    expect(params).not_to_contain_text("depth")
    page.get_by_label("Also what is the same").check()
    expect(params).to_contain_text("depth")
    expect(page.get_by_role("region", name="Code and environment")).to_contain_text("gpu-1")


def test_packages_that_differ_and_what_was_not_committed_are_compared(
    open_page: OpenPage, runs: list[str]
) -> None:
    page = open_page(comparison(runs[:2]))
    packages = page.get_by_role("region", name="Packages and changes")
    expect(packages.get_by_role("row", name=re.compile("numpy"))).to_have_text("numpy2.0.02.1.0")
    expect(packages.get_by_role("row", name=re.compile("not committed"))).to_contain_text("bytes of changes")
    expect(packages).not_to_contain_text("torch")
    page.get_by_label("Also what is the same").check()
    expect(packages).to_contain_text("torch")
    open_page(comparison(runs[2:]))  # neither noted any: no error, and nothing to tell


def test_brushing_an_axis_keeps_the_runs_that_pass_and_a_link_keeps_the_brush(
    open_page: OpenPage, runs: list[str]
) -> None:
    page = open_page(comparison(runs, "&tab=plots"))
    expect(page.locator(".parallel path")).to_have_count(4)
    box = page.get_by_role("slider", name="Range of train/loss").bounding_box()
    assert box is not None
    middle = box["x"] + box["width"] / 2
    page.mouse.move(middle, box["y"] + 2)
    page.mouse.down()
    page.mouse.move(middle, box["y"] + box["height"] * 0.5, steps=5)
    page.mouse.up()
    expect(page.locator(".parallel path.out")).to_have_count(2)

    shared = open_page(page.url)
    expect(shared.locator(".parallel path.out")).to_have_count(2)
    shared.get_by_role("button", name="All runs").click()
    expect(shared.locator(".parallel path.out")).to_have_count(0)


def test_scatter_and_bars_have_a_mark_for_each_run(open_page: OpenPage, runs: list[str]) -> None:
    page = open_page(comparison(runs, "&tab=plots"))
    expect(page.locator(".scatter circle")).to_have_count(4)
    expect(page.locator(".bars li")).to_have_count(4)


def test_the_axes_of_the_scatter_and_the_field_of_the_bars_are_chosen(
    open_page: OpenPage, runs: list[str]
) -> None:
    page = open_page(comparison(runs, "&tab=plots"))
    plot = page.get_by_role("group", name=re.compile("over"))
    page.get_by_label("x", exact=True).select_option("optimizer")
    page.get_by_label("y", exact=True).select_option("lr")
    expect(plot).to_have_attribute("aria-label", "lr over optimizer, 4 runs")
    mark = plot.get_by_role("link", name=re.compile("run-0: optimizer adam, lr 0.1"))
    expect(mark).to_be_visible()
    page.get_by_label("Field of the bars").select_option("lr")
    expect(page.locator(".bars li").first).to_contain_text("0.1")

    shared = open_page(page.url)
    expect(shared.get_by_role("group", name="lr over optimizer, 4 runs")).to_be_visible()
    shared.get_by_role("link", name=re.compile("run-2: optimizer adam")).click()
    expect(shared.get_by_role("heading", name="run-2")).to_be_visible()


def test_the_curves_of_compared_runs_lie_over_each_other(open_page: OpenPage, runs: list[str]) -> None:
    page = open_page(comparison(runs, "&tab=curves"))
    expect(page.get_by_text("train/loss").first).to_be_visible()
    expect(page.locator(".chart-row canvas").first).to_be_visible()
