"""Charts as somebody uses them: zoom to a spike, follow a live run, search among 20,000 metrics, share what is seen."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.conftest import client_environment
from tests.browser.seed import SPIKE_STEP


def chart_of(page: Page, metric: str):
    return page.locator(f'[data-metric="{metric}"]').first


def drawn(page: Page, metric: str):
    """The chart, once its curves are painted."""
    chart = chart_of(page, metric)
    expect(chart.locator(".plot[data-drawn]")).to_be_visible()
    return chart


def drag(page: Page, chart, low: float, high: float) -> None:
    """Over the plot of the chart, from one share of its width to another."""
    plot = chart.locator(".u-over")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + low * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + high * box["width"], y, steps=4)
    page.mouse.up()


def shown_range(page: Page) -> tuple[float, float]:
    low, high = (re.search(rf"[?&]{name}=([-\d.]+)", page.url) for name in ("from", "to"))
    assert low, page.url
    assert high, page.url
    return float(low[1]), float(high[1])


def test_a_spike_of_one_point_is_seen_at_every_zoom_down_to_the_point(open_page, experiment):
    page = open_page(experiment("fashion") + "?filter=name='mlp-03'")
    chart = drawn(page, "train/loss")
    expect(chart.locator(".chart-told")).to_have_text(re.compile(r"6,000 points in \d+ buckets"))
    share = (SPIKE_STEP + 9) / 5_999  # amid its bucket of 20 steps
    box = chart.locator(".u-over").bounding_box()
    page.mouse.move(box["x"] + share * box["width"], box["y"] + 20)
    expect(chart.locator(".chart-tip")).to_contain_text("99")  # the bucket's greatest value, not a sample
    drag(page, chart, share - 0.02, share + 0.02)
    expect(chart.locator(".chart-told")).to_have_text(re.compile(r"^\d{2,3} points$"))
    low, high = shown_range(page)
    assert low < SPIKE_STEP < high
    share = (SPIKE_STEP - low) / (high - low)
    head_of_tip(page, chart, share, lambda head: head == f"{SPIKE_STEP:,}")
    expect(chart.locator(".chart-tip b")).to_have_text("99")
    # Zoom is linked, and taken back by a double click, or by the browser's own button.
    expect(drawn(page, "train/accuracy").locator(".chart-told")).to_have_text(re.compile(r"\d points$"))
    chart.locator(".u-over").dblclick()
    expect(chart.locator(".chart-told")).to_contain_text("buckets")
    page.go_back()
    expect(chart.locator(".chart-told")).not_to_contain_text("buckets")


def test_values_that_are_no_numbers_are_marked_and_told(open_page, experiment):
    page = open_page(experiment("fashion") + "?filter=name='mlp-05'")
    expect(drawn(page, "train/loss").locator(".marks")).to_contain_text("non-finite")


def test_a_live_run_is_followed_while_the_zoom_stays(open_page, dashboard, tmp_path: Path):
    """A point is in the chart within seconds of being logged, without a reload."""
    script = """
        import sys, ingest
        ingest.set_experiment("live")
        with ingest.start_run(run_name="live") as run:
            step = 0
            for line in sys.stdin:
                for _ in range(int(line)):
                    run.log_metrics({"loss": 1 / (step + 1)}, step=step)
                    step += 1
                run.flush(timeout=60)
                print(step, flush=True)
    """
    trainer = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=client_environment(dashboard, tmp_path / "spool"),
    )

    def log(n: int) -> None:
        assert trainer.stdin
        assert trainer.stdout
        trainer.stdin.write(f"{n}\n")
        trainer.stdin.flush()
        assert trainer.stdout.readline()

    try:
        log(50)
        page = open_page("/runs?filter=name='live'")
        chart = drawn(page, "loss")
        expect(page.locator(".status.running")).to_have_count(1)
        expect(chart.locator(".chart-told")).to_have_text("50 points")
        log(25)
        expect(chart.locator(".chart-told")).to_have_text("75 points")
        drag(page, chart, 0.2, 0.6)
        expect(page).to_have_url(re.compile("from="))
        before = shown_range(page)
        log(25)
        log(1)
        assert trainer.stdin
        trainer.stdin.close()
        trainer.stdin = None
        assert trainer.wait(30) == 0
        expect(page.locator(".status.finished")).to_have_count(1)
        assert shown_range(page) == before
        page.keyboard.press("z")
        expect(chart.locator(".chart-told")).to_have_text("101 points")
    finally:
        trainer.kill()
        trainer.communicate(timeout=90)


def test_a_link_shows_somebody_else_the_same(open_page, experiment):
    page = open_page(experiment("fashion"))
    page.get_by_role("combobox", name="Filter runs").fill("params.model = 'cnn'")
    expect(page.locator(".table-row")).to_have_count(6)
    page.get_by_role("checkbox", name="Select cnn-02").check()
    page.get_by_role("checkbox", name="Select cnn-04").check()
    page.get_by_label("Smoothing").fill("90")
    page.get_by_placeholder("Search metrics").fill("train/*loss")
    drag(page, drawn(page, "train/loss"), 0.1, 0.4)
    expect(chart_of(page, "train/loss").locator(".chart-told")).to_contain_text("2 lines")
    expect(page).to_have_url(re.compile("from="))

    other = open_page(page.url, color_scheme="dark")
    expect(other.locator(".table-row.selected")).to_have_count(2)
    expect(other.get_by_role("combobox", name="Filter runs")).to_have_value("params.model = 'cnn'")
    expect(other.get_by_placeholder("Search metrics")).to_have_value("train/*loss")
    expect(other.locator("figure.chart")).to_have_count(1)
    chart = drawn(other, "train/loss")
    expect(chart.locator(".chart-told")).to_have_text(
        chart_of(page, "train/loss").locator(".chart-told").inner_text()
    )
    assert shown_range(other) == shown_range(page)


def test_of_twenty_thousand_metrics_those_in_sight_are_mounted(open_page, experiment):
    page = open_page(experiment("wide"))
    expect(page.locator(".charts .search .count")).to_have_text("20,000")
    drawn(page, "layer_000/weight_00")
    assert page.locator("figure.chart").count() < 60
    for pattern, count in (
        ("weight_07", "200"),
        ("layer_01?/weight_00", "10"),
        ("/^layer_1.*_5$/", "0"),
        ("/^layer_1.*5$/", "1,000"),
    ):
        page.get_by_placeholder("Search metrics").fill(pattern)
        expect(page.locator(".charts .search .count")).to_have_text(count)
    page.mouse.move(1_000, 600)
    page.mouse.wheel(0, 100_000)
    expect(page.locator("figure.chart .plot[data-drawn]").last).to_be_visible()


def head_of_tip(page, chart, share, holds=lambda head: True):
    """What the chart says first at this share of its width, once that holds.

    It is said a frame after the pointer has moved, and of the curve that is drawn by then.
    """
    head = ""
    for nudge in range(200):
        box = chart.locator(".u-over").bounding_box()
        page.mouse.move(box["x"] + share * box["width"], box["y"] + 20 + nudge % 2)
        page.wait_for_timeout(100)
        head = chart.locator(".chart-tip .tip-head").inner_text()
        if holds(head):
            return head
    raise AssertionError(f"the chart says {head!r}")


def test_x_may_be_time_or_another_metric(open_page, experiment):
    page = open_page(experiment("fashion") + "?filter=name='mlp-03'&show=charts")
    chart = drawn(page, "train/loss")
    axis = page.get_by_label("x axis")
    for name, told in (
        ("Relative time", r" s| ms"),
        ("Wall time", r"\d\d:\d\d:\d\d"),
        ("Another metric", r"^(0\.\d+|1) "),  # an accuracy
    ):
        axis.select_option(name)
        if name == "Another metric":
            page.get_by_label("Metric on x").fill("train/accuracy")
            page.get_by_label("Metric on x").press("Tab")
            expect(page).to_have_url(re.compile("x=metric&xkey=train/accuracy"))
        expect(chart.locator(".spinner")).to_have_count(0)
        expect(chart.locator(".chart-told")).to_contain_text("6,000 points")
        head_of_tip(page, chart, 0.5, re.compile(told).search)


def test_a_logarithmic_x_axis_gives_the_first_tenth_of_a_curve_most_of_its_width(open_page, experiment):
    page = open_page(experiment("fashion") + "?filter=name='mlp-03'&show=charts")
    chart = drawn(page, "train/loss")
    head_of_tip(page, chart, 0.5, lambda head: 2_500 < step_in(head) < 3_500)
    page.get_by_role("button", name="Options").click()
    page.get_by_label("Logarithmic x").check()
    page.keyboard.press("Escape")
    expect(page).to_have_url(re.compile("logx=1"))
    head_of_tip(page, chart, 0.5, lambda head: step_in(head) < 600)


def step_in(head):
    return int(head.split(" ")[0].replace(",", ""))


def test_the_cursors_of_charts_are_linked_and_values_shown_where_the_pointer_is(open_page, experiment):
    page = open_page(experiment("fashion") + "?filter=name='mlp-03'&show=charts")
    other = drawn(page, "train/accuracy")
    head_of_tip(page, drawn(page, "train/loss"), 0.5)
    expect(other.locator(".u-cursor-x")).to_be_visible()
    expect(other.locator(".chart-tip")).to_be_hidden()
    assert "translate" in other.locator(".u-cursor-x").get_attribute("style")


def test_a_section_is_folded_and_a_link_keeps_it_so(open_page, experiment):
    page = open_page(experiment("fashion") + "?show=charts")
    drawn(page, "train/loss")
    page.get_by_role("button", name=re.compile("^train")).click()
    expect(chart_of(page, "train/loss")).to_have_count(0)
    shared = open_page(page.url)
    drawn(shared, "val/loss")
    expect(chart_of(shared, "train/loss")).to_have_count(0)
    shared.get_by_role("button", name=re.compile("^train")).click()
    drawn(shared, "train/loss")


def test_a_chart_is_read_and_zoomed_by_keys(open_page, experiment):
    page = open_page(experiment("fashion") + "?filter=name='mlp-03'&show=charts")
    first = page.locator("figure.chart").first
    expect(first.locator(".plot[data-drawn]")).to_be_visible()
    page.keyboard.press("v")
    page.keyboard.press("ArrowRight")
    expect(first.locator(".chart-tip .tip-head")).to_contain_text(
        "3,1"
    )  # a fiftieth right of the middle of 6,000
    page.keyboard.press("+")
    expect(page).to_have_url(re.compile("from="))
    low, high = shown_range(page)
    assert 2_900 < high - low < 3_100
    page.keyboard.press("Shift+ArrowRight")
    expect(page).not_to_have_url(re.compile(f"from={low:.0f}&"))
    assert shown_range(page)[0] > low + 600
    page.keyboard.press("z")
    expect(page).not_to_have_url(re.compile("from="))


def test_a_chart_fills_the_screen_and_is_saved(open_page, experiment, tmp_path: Path):
    page = open_page(experiment("fashion"))
    drawn(page, "train/loss").hover()
    page.get_by_role("button", name="Full screen: train/loss").click()
    dialog = page.get_by_role("dialog", name="train/loss")
    expect(dialog.locator(".plot[data-drawn]")).to_be_visible()
    assert "full=train/loss" in page.url
    for kind, start in (("PNG", b"\x89PNG"), ("SVG", b"<svg"), ("CSV", b"run,id,")):
        dialog.get_by_role("button", name="More about train/loss").click()
        with page.expect_download() as download:
            dialog.get_by_role("menuitem", name=kind).click()
        path = tmp_path / kind
        download.value.save_as(path)
        assert path.read_bytes().startswith(start)
        assert os.path.getsize(path) > 2_000
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def test_charts_are_pinned_and_put_in_order(open_page, experiment):
    page = open_page(experiment("fashion"))
    for metric in ("val/loss", "train/accuracy"):
        drawn(page, metric).hover()
        page.get_by_role("button", name=f"More about {metric}").click()
        page.get_by_role("menuitem", name="Pin to the top").click()
    page.evaluate("scrollTo(0, 0)")
    expect(page.locator("figure.chart").first).to_have_attribute("data-metric", "val/loss")
    page.locator("figure.chart").nth(1).locator("figcaption").drag_to(
        page.locator("figure.chart").first.locator("figcaption")
    )
    expect(page.locator("figure.chart").first).to_have_attribute("data-metric", "train/accuracy")
