"""How charts and tables are arranged and shown: axes, smoothing, outliers, bands, columns, sizes; all of it in the address."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.test_charts import drawn

OpenPage = Callable[..., Page]
Experiment = Callable[[str], str]


def picture(chart: Locator) -> str:
    """What is painted, as a data URL."""
    painted: str = chart.locator("canvas").evaluate("canvas => canvas.toDataURL()")
    return painted


def repainted(chart: Locator, before: str) -> str:
    """What is painted, once it is not what was."""
    chart.locator("canvas").evaluate(
        """async (canvas, before) => {
          for (const end = Date.now() + 10_000; canvas.toDataURL() === before; ) {
            if (Date.now() > end) throw new Error("nothing was painted anew");
            await new Promise((done) => setTimeout(done, 50));
          }
        }""",
        before,
    )
    return picture(chart)


def test_axes_smoothing_and_outliers_change_the_picture_and_the_address(
    open_page: OpenPage, experiment: Experiment
) -> None:
    page = open_page(experiment("fashion") + "?filter=name='mlp-03'&show=charts")
    chart = drawn(page, "train/loss")
    plain = picture(chart)
    page.keyboard.press("o")
    expect(page).to_have_url(re.compile("clip=1"))
    clipped = repainted(chart, plain)  # the spike is out of sight
    page.keyboard.press("l")
    expect(page).to_have_url(re.compile("logy=1"))
    repainted(chart, clipped)
    page.keyboard.press("l")
    page.keyboard.press("o")
    expect(page).not_to_have_url(re.compile("logy|clip"))
    page.get_by_label("Smoothing").fill("95")
    expect(page).to_have_url(re.compile("smooth=95"))
    smooth = repainted(chart, plain)

    shared = open_page(page.url)
    assert picture(drawn(shared, "train/loss")) == smooth


def test_a_group_is_shown_with_its_deviation_or_its_extremes(
    open_page: OpenPage, experiment: Experiment
) -> None:
    page = open_page(experiment("fashion") + "?group=params.model&show=charts")
    chart = drawn(page, "train/loss")
    extremes = picture(chart)
    page.get_by_role("button", name="Options").click()
    page.get_by_label("Band of a group").select_option("std")
    expect(page).to_have_url(re.compile("band=std"))
    deviation = repainted(chart, extremes)
    page.get_by_label("Band of a group").select_option("none")
    repainted(chart, deviation)


def test_charts_are_made_wider_and_higher(open_page: OpenPage, experiment: Experiment) -> None:
    page = open_page(experiment("fashion") + "?show=charts")
    chart = drawn(page, "train/loss")
    before = chart.bounding_box()
    page.get_by_role("button", name="Options").click()
    page.locator("label.field").filter(has_text="Columns").locator("select").select_option("1")
    page.get_by_label("Height").fill("400")
    expect(page).to_have_url(re.compile("cols=1.*high=400|high=400.*cols=1"))
    expect(chart.locator(".plot")).to_have_css("height", "400px")
    after = chart.bounding_box()
    assert before is not None
    assert after is not None
    assert after["width"] > 2 * before["width"]
    assert after["height"] > before["height"] + 100


def test_columns_are_resized_moved_and_kept_in_sight(open_page: OpenPage, experiment: Experiment) -> None:
    page = open_page(
        experiment("fashion") + "?show=table&col=name&col=params.lr&col=params.depth&col=params.model"
    )
    heads = page.get_by_role("columnheader")
    expect(heads).to_have_text(["", "Name", "lr", "depth", "model"])
    page.get_by_role("separator", name="Width of depth").press("ArrowRight")
    expect(page).to_have_url(re.compile("width="))
    heads.nth(3).drag_to(heads.nth(2))
    expect(heads).to_have_text(["", "Name", "depth", "lr", "model"])
    page.keyboard.press("h")
    heads.nth(2).get_by_role("button").focus()
    page.keyboard.press("Alt+ArrowRight")
    expect(heads).to_have_text(["", "Name", "lr", "depth", "model"])
    page.keyboard.press("Alt+ArrowLeft")  # the focus went along
    expect(heads).to_have_text(["", "Name", "depth", "lr", "model"])
    page.get_by_role("button", name="Columns").click()
    page.get_by_label("Columns that stay in sight").select_option("2")
    expect(page.locator(".head.pinned")).to_have_count(3)  # with the boxes to select by

    shared = open_page(page.url)
    expect(shared.locator(".head.pinned")).to_have_count(3)
    expect(shared.get_by_role("columnheader").nth(2)).to_have_text("depth")


def test_a_service_that_is_away_is_told_and_what_is_shown_stays(
    chromium: Browser, dashboard: str, experiment: Experiment
) -> None:
    page = chromium.new_page()  # the browser itself reports what fails on its console
    page.goto(dashboard + experiment("fashion"))
    expect(page.locator(".table-row")).to_have_count(12)
    page.context.set_offline(True)
    page.get_by_role("combobox", name="Filter runs").fill("params.model = 'cnn'")
    expect(page.get_by_text("can't be reached").first).to_be_visible()
    expect(page.locator(".table-row").first).to_be_visible()
    page.context.set_offline(False)
    page.get_by_role("combobox", name="Filter runs").fill("params.model = 'mlp'")
    expect(page.locator(".table-row")).to_have_count(6)
    page.close()
