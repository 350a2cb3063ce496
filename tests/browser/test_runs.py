"""The table of runs as somebody uses it: find, sort, choose columns, group, edit, delete, restore."""

from __future__ import annotations

import re
import time
import urllib.request
import uuid

import asyncpg
from playwright.sync_api import expect

from ingest_schema import Batch, Event, encode_batch
from ingest_schema.sql import load_queries
from ingest_schema.wire import pack_column
from tests.browser.test_charts import drawn
from tests.conftest import run_apart


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


def test_a_run_gets_a_colour_of_its_own(open_page, experiment):
    page = open_page(experiment("fashion") + "?filter=name='mlp-03'")
    dot = rows(page).first.locator(".dot")
    before = dot.evaluate("dot => getComputedStyle(dot).backgroundColor")
    page.get_by_role("button", name="More about mlp-03").click()
    page.get_by_role("menuitem", name="Pink").click()
    expect(dot).to_have_css("background-color", "rgb(230, 73, 128)")
    expect(page).to_have_url(re.compile("colour="))
    drawn(page, "train/loss").locator(".u-over").hover()
    expect(page.locator(".chart-tip i").first).to_have_css("background-color", "rgb(230, 73, 128)")

    shared = open_page(page.url)
    expect(rows(shared).first.locator(".dot")).to_have_css("background-color", "rgb(230, 73, 128)")
    page.get_by_role("button", name="More about mlp-03").click()
    page.get_by_role("menuitem", name="As it was").click()
    expect(dot).to_have_css("background-color", before)


def test_selected_runs_are_tagged_and_grouped_by_the_tag(open_page, experiment):
    page = open_page(experiment("to-edit") + "?show=table&filter=name+LIKE+'%25d'")
    expect(rows(page)).to_have_count(2)
    page.get_by_role("checkbox", name="Select all").check()
    page.get_by_role("button", name="Tag the selected runs").click()
    page.get_by_label("key=value").fill("verdict=keep")
    page.get_by_role("button", name="Set").click()
    expect(page.get_by_text("Tagged 2 runs")).to_be_visible()
    page.goto(page.url + "&group=tags.verdict")
    expect(page.get_by_role("button", name=re.compile("verdict keep"))).to_be_visible()


def test_a_list_of_any_length_is_loaded_as_somebody_scrolls(open_page, experiment, dashboard):
    """By pages of 200."""
    log_many(dashboard, "long", 210)
    page = open_page(experiment("long") + "?show=table&order=name")
    expect(page.locator(".runs-tools .count")).to_have_text("210 runs")
    expect(rows(page).filter(has_text="run-0000")).to_have_count(1)
    assert rows(page).count() < 80
    rows(page).first.click()
    for loaded, last in ((200, "run-0199"), (210, "run-0209")):
        expect(page.get_by_role("table", name="Runs")).to_have_attribute("aria-rowcount", str(loaded + 1))
        page.keyboard.press("End")
        expect(rows(page).filter(has_text=last)).to_have_count(1)


def log_many(url, experiment, count):
    """Runs that begin and end, a batch each."""
    for i in range(count):
        start = Event("run_start", 1, {"name": f"run-{i:04}", "start_time_ms": 1, "experiment": experiment})
        send(url, uuid.uuid4(), start, Event("run_end", 2, {"status": "FINISHED", "end_time_ms": 2}))


def send(url, run_id, *events):
    """A batch of these events, as a client sends it."""
    batch = Batch(
        run_id=run_id, writer_id=uuid.uuid4(), seq=1, sent_ms=2, events=list(events), keys=(), counts=pack_column("I", []),
        steps=b"", times_ms=b"", values=b"",
    )  # fmt: skip
    headers = {"Content-Type": "application/msgpack"}
    request = urllib.request.Request(f"{url}/api/v1/batches", encode_batch(batch), headers)
    urllib.request.urlopen(request, timeout=30).close()


def test_a_running_run_has_a_stopwatch_and_one_that_fell_silent_is_lost(
    open_page, experiment, dashboard, dashboard_database
):
    run_id = uuid.uuid4()
    now = int(time.time() * 1000)
    send(
        dashboard,
        run_id,
        Event("run_start", now, {"name": "mute", "start_time_ms": now, "experiment": "mute"}),
    )
    page = open_page(experiment("mute") + "?show=table")
    expect(page.locator(".status.running")).to_have_text("Running")
    elapsed = page.locator(".elapsed")
    first = elapsed.inner_text()
    expect(elapsed).not_to_have_text(first)

    async def age():
        """An hour of silence, and what the service's upkeep then does; it may have the whole seed to compact before."""
        connection = await asyncpg.connect(dashboard_database, server_settings={"search_path": "ingest"})
        try:
            await connection.execute(
                "UPDATE writers SET heartbeat_at = now() - interval '1 h' WHERE run_id = $1", run_id
            )
            await connection.fetch(load_queries("liveness")["mark_lost"], 90.0, 1)
        finally:
            await connection.close()

    run_apart(age)
    expect(page.locator(".status.lost")).to_have_text("Lost")
    expect(open_page(f"/runs/{run_id.hex}").locator(".status.lost")).to_contain_text("last heard")


def test_the_theme_is_chosen_and_remembered(open_page):
    page = open_page("/experiments", color_scheme="light")
    root = page.locator(":root")
    expect(root).to_have_attribute("data-theme", "light")
    page.get_by_role("button", name="Theme: auto").click()
    page.get_by_role("button", name="Theme: light").click()
    expect(root).to_have_attribute("data-theme", "dark")
    page.reload()
    expect(root).to_have_attribute("data-theme", "dark")
    expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()


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
