"""The page of a run, comparisons, SQL, operations and models, as somebody uses them in a browser."""

from __future__ import annotations

import json
import re
import urllib.request
import uuid
from collections.abc import Callable
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect

from ingest_schema import Batch, Event, encode_batch
from ingest_schema.wire import pack_column

OpenPage = Callable[..., Page]


# ---------------------------------------------------------------------------------------------------------- one run


def test_a_run_shows_its_summaries_params_and_note(open_page: OpenPage, runs: list[str]) -> None:
    page = open_page(f"/runs/{runs[0]}")

    expect(page.get_by_role("heading", name="run-0")).to_be_visible()
    loss = page.get_by_role("row").filter(has_text="train/loss")
    expect(loss).to_contain_text("300")
    expect(page.get_by_role("row").filter(has_text="optimizer")).to_contain_text("adam")
    expect(page.get_by_role("heading", name="Baseline")).to_be_visible()
    assert page.evaluate("window.harmed") is None, "a note ran a script"


def test_tags_and_note_are_edited(open_page: OpenPage, runs: list[str]) -> None:
    page = open_page(f"/runs/{runs[1]}")
    page.get_by_label("Name of a new tag").fill("verdict")
    page.get_by_label("Its value").fill("keep")
    page.get_by_role("button", name="Add tag").click()
    expect(page.get_by_role("row").filter(has_text="verdict")).to_contain_text("keep")

    page.get_by_role("button", name="Add a note").click()
    page.get_by_label("Markdown").fill("It is **good**.")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".markdown strong")).to_have_text("good")

    again = open_page(f"/runs/{runs[1]}")
    expect(again.locator(".markdown strong")).to_have_text("good")
    again.get_by_role("button", name="Delete verdict").click()
    expect(again.get_by_role("row").filter(has_text="verdict")).to_have_count(0)
    again.get_by_role("button", name="Undo").click()
    expect(again.get_by_role("row").filter(has_text="verdict")).to_contain_text("keep")


def test_a_run_is_renamed_deleted_and_restored(open_page: OpenPage, runs: list[str]) -> None:
    page = open_page(f"/runs/{runs[3]}")
    page.get_by_title("More of this run").click()
    page.get_by_role("menuitem", name="Rename").click()
    page.get_by_label("Name", exact=True).fill("renamed")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="renamed")).to_be_visible()

    page.get_by_title("More of this run").click()
    page.get_by_role("menuitem", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("deleted", exact=True)).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("deleted", exact=True)).to_have_count(0)


def test_pictures_of_a_series_are_stepped_through(open_page: OpenPage, runs: list[str]) -> None:
    page = open_page(f"/runs/{runs[0]}?tab=artifacts")
    for folder in ("images", "samples", "cat"):
        page.get_by_role("treeitem", name=folder, exact=True).click()
    picture = page.get_by_role("img", name="Step 200")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 16

    page.get_by_role("slider").press("ArrowLeft")
    expect(page.get_by_role("img", name="Step 10", exact=True)).to_be_visible()


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("report.md", "It works."),
        ("config.json", '"answer": 42'),
        ("table.csv", "x, 3"),
        ("environment/git.diff", "+lr = 0.01"),
    ],
)
def test_a_file_is_shown_as_what_it_is(open_page: OpenPage, runs: list[str], file: str, words: str) -> None:
    page = open_page(f"/runs/{runs[0]}?tab=artifacts&file={quote(file, safe='')}")
    expect(page.get_by_label("File", exact=True)).to_contain_text(words)


def test_a_long_table_draws_only_the_rows_in_sight(open_page: OpenPage, runs: list[str]) -> None:
    page = open_page(f"/runs/{runs[0]}?tab=artifacts&file=table.csv")
    table = page.get_by_role("table", name="Table")
    expect(table).to_contain_text("x, 3")
    assert table.get_by_role("row").count() < 60
    table.evaluate("box => box.scrollTop = box.scrollHeight")
    expect(table).to_contain_text("x, 499")


@pytest.mark.parametrize("file", ["page.html", "drawing.svg"])
def test_what_a_run_logged_can_not_act(open_page: OpenPage, runs: list[str], file: str) -> None:
    page = open_page(f"/runs/{runs[0]}?tab=artifacts&file={file}")
    if file.endswith("html"):
        words = page.frame_locator("iframe").get_by_text("plain words")
        expect(words).to_be_visible()
        expect(words).to_have_css("color", "rgb(0, 128, 0)")  # its own style
        assert page.locator("iframe").get_attribute("sandbox") == ""
    else:
        expect(page.get_by_role("img", name=file)).to_be_visible()
    page.wait_for_timeout(300)  # a script would have run by now
    assert page.evaluate("window.harmed") is None


def test_a_page_that_a_run_logged_can_be_opened_alone_and_still_not_act(
    chromium: Browser, dashboard: str, runs: list[str]
) -> None:
    page = chromium.new_page()  # the browser itself reports what the policy forbids on its console
    answer = page.goto(f"{dashboard}/api/v1/runs/{runs[0]}/frames/page.html")
    assert answer is not None
    assert "sandbox;" in answer.headers["content-security-policy"]
    assert page.evaluate("self.origin") == "null"
    assert page.evaluate("window.harmed") is None
    refused = page.goto(f"{dashboard}/api/v1/runs/{runs[0]}/frames/drawing.svg")
    assert refused is not None
    assert refused.status == 415
    page.close()


def test_a_pdf_is_shown_by_the_browsers_own_viewer(open_page: OpenPage, runs: list[str]) -> None:
    page = open_page(f"/runs/{runs[0]}?tab=artifacts&file=paper.pdf")
    frame = page.locator('iframe[title="paper.pdf"]')
    expect(frame).to_be_visible()
    source = frame.get_attribute("src")
    assert source is not None
    assert source.startswith("blob:")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.path().read_bytes().startswith(b"%PDF-1.4")


def test_a_file_is_downloaded_and_a_directory_as_zip(open_page: OpenPage, runs: list[str]) -> None:
    page = open_page(f"/runs/{runs[0]}?tab=artifacts&file=config.json")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert json.loads(download.value.path().read_text()) == {"answer": 42}
    with page.expect_download() as download:
        page.get_by_role("link", name="All as zip").click()
    assert download.value.path().read_bytes()[:2] == b"PK"


def test_the_curves_of_the_machine_stand_apart(open_page: OpenPage, runs: list[str]) -> None:
    page = open_page(f"/runs/{runs[0]}?tab=charts")
    expect(page.get_by_text("train/loss").first).to_be_visible()
    expect(page.get_by_text("cpu_percent")).to_have_count(0)
    page.get_by_role("tab", name="System").click()
    expect(page.get_by_text("system/cpu_percent").first).to_be_visible()


def test_raw_points_are_exact(open_page: OpenPage, runs: list[str]) -> None:
    page = open_page(f"/runs/{runs[0]}?tab=points&metric=train/loss")
    points = page.get_by_role("table", name="Points")
    expect(points).to_contain_text("0.3333333333333333")
    points.evaluate("box => box.scrollTop = 150 * 28")
    expect(points).to_contain_text("NaN")


def test_environment_and_writers_are_told(open_page: OpenPage, runs: list[str]) -> None:
    page = open_page(f"/runs/{runs[0]}?tab=environment")
    expect(page.get_by_text("gpu-0")).to_be_visible()
    expect(page.locator(".diff .added")).to_have_text("+lr = 0.01")
    page.get_by_role("tab", name="Writers").click()
    expect(page.get_by_role("region", name="Writers of attempt 1")).to_contain_text("600")


def test_what_the_client_costs_is_told(open_page: OpenPage, dashboard: str) -> None:
    """As its heartbeats report it: after a while, so this one is sent by hand."""
    run_id = uuid.uuid4()
    counters = {
        "accepted": 5,
        "spooled": 1_500,
        "retries": 3,
        "dropped": 2,
        "call_cost_ns": 870,
        "sender_cpu_ms": 4_000,
    }
    events = [
        Event("run_start", 1, {"name": "costly", "start_time_ms": 1, "experiment": "inspected"}),
        Event("heartbeat", 2, counters),
    ]
    batch = Batch(
        run_id=run_id, writer_id=uuid.uuid4(), seq=1, sent_ms=2, events=events, keys=(), counts=pack_column("I", []),
        steps=b"", times_ms=b"", values=b"",
    )  # fmt: skip
    headers = {"Content-Type": "application/msgpack"}
    request = urllib.request.Request(f"{dashboard}/api/v1/batches", encode_batch(batch), headers)
    urllib.request.urlopen(request, timeout=30).close()
    page = open_page(f"/runs/{run_id.hex}?tab=writers")
    row = page.get_by_role("region", name="Writers of attempt 1").get_by_role("row").last
    expect(row.get_by_role("cell").nth(-2)).to_have_text("0.87 µs")
    expect(row.get_by_role("cell").nth(-1)).to_have_text(re.compile("^4"))
    expect(row.locator(".bad")).to_have_text("2")


def test_an_unknown_run_says_so(chromium: Browser, dashboard: str) -> None:
    page = chromium.new_page()  # the browser itself reports the 404 on its console
    page.goto(f"{dashboard}/runs/{'0' * 32}")
    expect(page.get_by_text("There is no such run")).to_be_visible()
    page.close()
