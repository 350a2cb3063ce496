"""The table of runs as somebody uses it: find, sort, choose columns, group, edit, delete, restore."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.conftest import serious_findings


def rows(page):
    return page.locator(".table-row")


def test_somebody_finds_a_run(page):
    """From the list of experiments, by a filter that is completed while typing."""
    page.get_by_role("link", name="fashion").click()
    expect(rows(page)).to_have_count(12)
    page.keyboard.press("/")
    page.keyboard.type("params.mo")
    page.get_by_role("option", name="params.model").click()
    page.keyboard.type("= 'cnn' AND depth", delay=5)
    page.get_by_role("option", name="params.depth").click()
    page.keyboard.type("> 7")
    expect(rows(page)).to_have_count(2)
    assert "params.depth" in page.url
    page.go_back()
    expect(rows(page)).to_have_count(12)


def test_a_filter_that_can_not_be_read_says_where(open_page, experiment):
    page = open_page(experiment("fashion"))
    expect(rows(page)).to_have_count(12)
    page.get_by_role("combobox", name="Filter runs").fill("metrics.loss <> <")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("^")
    expect(rows(page)).to_have_count(12)
    page.get_by_role("button", name="Clear the filter").click()
    expect(alert).to_have_count(0)


def test_a_regular_expression_and_an_order(open_page, experiment):
    page = open_page(experiment("fashion") + "?filter=name+~+'^mlp'&show=table")
    expect(rows(page)).to_have_count(6)
    page.get_by_title("depth: sort").click()
    expect(rows(page).first).to_contain_text("mlp-01")
    page.get_by_title("depth: sort").click()
    expect(rows(page).first).to_contain_text("mlp-09")  # params are texts
    expect(page).to_have_url(re.compile("order=params.depth[+]DESC"))


def test_columns_are_chosen_and_survive_a_reload(open_page, experiment):
    page = open_page(experiment("fashion") + "?show=table")
    expect(rows(page)).to_have_count(12)
    page.get_by_role("button", name="Columns").click()
    page.get_by_label("Summary of a metric").select_option("max")
    page.get_by_placeholder("Search fields").fill("train/loss")
    page.get_by_role("checkbox", name="max train/loss").check()
    page.keyboard.press("Escape")
    spiky = rows(page).filter(has_text="mlp-03")
    expect(spiky).to_contain_text("99")
    page.reload()
    expect(spiky).to_contain_text("99")


def test_runs_are_grouped_and_their_curves_averaged(open_page, experiment):
    page = open_page(experiment("fashion"))
    page.get_by_role("button", name="Group").click()
    page.get_by_role("checkbox", name="params.model").check()
    expect(page.get_by_role("button", name=re.compile("model cnn"))).to_be_visible()
    chart = page.locator('[data-metric="train/loss"]')
    expect(chart).to_contain_text("2 lines")


def test_a_run_is_renamed_tagged_and_gets_a_note(open_page, experiment):
    page = open_page(experiment("to-edit") + "?show=table")
    menu = page.get_by_role("button", name="More about third")
    menu.click()
    page.get_by_role("menuitem", name="Rename").click()
    page.get_by_role("textbox", name="Name").fill("the third")
    page.get_by_role("button", name="Save").click()
    expect(rows(page).filter(has_text="the third")).to_have_count(1)
    menu = page.get_by_role("button", name="More about the third")
    menu.click()
    page.get_by_role("menuitem", name="Edit the note").click()
    page.get_by_label("Markdown").fill(
        '# Seen\n\n**bold** [link](javascript:alert(1)) <img src="data:," onerror="alert(1)"> <script>alert(1)</script>'
    )
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Note saved")).to_be_visible()
    menu.click()
    page.get_by_role("menuitem", name="Show the note").click()
    note = page.locator(".markdown")
    expect(note.locator("strong")).to_have_text("bold")
    assert "<img" not in note.inner_html()
    assert "<script" not in note.inner_html()
    assert "javascript:" not in note.inner_html()


def test_a_deleted_run_is_restored(open_page, experiment):
    page = open_page(experiment("to-edit") + "?show=table")
    expect(rows(page)).to_have_count(3)
    page.get_by_role("button", name="More about first").click()
    page.get_by_role("menuitem", name="Delete").click()
    expect(rows(page)).to_have_count(2)
    page.get_by_label("Which runs").select_option("deleted")
    expect(rows(page)).to_have_count(1)
    page.get_by_role("checkbox", name="Select first").check()
    page.get_by_role("button", name="Restore").click()
    expect(rows(page)).to_have_count(0)
    page.get_by_label("Which runs").select_option("active")
    expect(rows(page)).to_have_count(3)


def test_everything_is_reached_by_keys(open_page, experiment):
    page = open_page(experiment("fashion"))
    expect(rows(page)).to_have_count(12)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_contain_text("Filter runs")
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.locator(".table-row.selected")).to_have_count(1)
    page.keyboard.press("g")
    page.keyboard.press("e")
    expect(page.get_by_role("heading", name="Experiments")).to_be_visible()


def test_an_experiment_without_runs_says_how_to_log_one(open_page, experiment, dashboard):
    page = open_page(experiment("empty"))
    expect(page.locator(".code")).to_contain_text(dashboard)
    expect(page.locator(".code")).to_contain_text("import ingest")


def test_nothing_serious_stands_in_the_way_of_assistive_technology(open_page, experiment):
    for theme in ("light", "dark"):
        for path in ("/experiments", experiment("fashion"), experiment("fashion") + "?group=params.model"):
            page = open_page(path, color_scheme=theme)
            page.wait_for_load_state("networkidle")
            assert serious_findings(page) == []


def test_a_phone_shows_it_without_scrolling_sideways(open_page, experiment):
    for path in ("/experiments", experiment("fashion")):
        page = open_page(path, viewport={"width": 390, "height": 844})
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert serious_findings(page) == []
