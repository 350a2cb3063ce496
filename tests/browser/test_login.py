"""The login: a token once, then a session; a read-only one is shown nothing that would be refused."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import fits, serious_findings
from tests.conftest import migrated_database, run_ingest, serving

Tokens = dict[str, str]


@pytest.fixture(scope="module")
def guarded(
    bundled_postgres: str, _template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Tokens, str]]:
    """A service that wants tokens: its address, a token for each role, and the id of a run."""
    with migrated_database(bundled_postgres, _template) as database:
        tokens = {
            role: run_ingest(
                "token", "create", role, "--role", role, INGEST_DATABASE_URL=database
            ).stdout.split()[-1]
            for role in ("read", "write", "admin")
        }
        with serving(database, tmp_path_factory.mktemp("guarded"), "--require-token") as url:
            yield url, tokens, create_run(url, tokens["admin"])


def create_run(url: str, token: str) -> str:
    body = json.dumps({"experiment_id": "0", "run_name": "guarded run", "start_time": 1}).encode()
    request = urllib.request.Request(
        f"{url}/api/2.0/mlflow/runs/create",
        body,
        {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        run_id: str = json.load(answer)["run"]["info"]["run_id"]
    return run_id


def logged_in(browser: Browser, url: str, path: str, token: str) -> Page:
    page = browser.new_context().new_page()
    page.goto(url + path)
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Log in").click()
    return page


def test_whoever_has_no_session_logs_in_and_comes_back_to_where_they_were(
    chromium: Browser, guarded: Any
) -> None:
    url, tokens, run_id = guarded
    page = logged_in(chromium, url, f"/runs/{run_id}?tab=writers", tokens["admin"])
    expect(page.get_by_role("heading", name="guarded run")).to_be_visible()
    assert page.url.endswith(f"/runs/{run_id}?tab=writers")
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert page.evaluate("document.cookie") == ""

    page.goto(f"{url}/operations")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    page.goto(f"{url}/runs/{run_id}")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    page.context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_login_has_no_serious_barriers(chromium: Browser, guarded: Any, theme: Any) -> None:
    page = chromium.new_context(color_scheme=theme, viewport={"width": 390, "height": 844}).new_page()
    page.goto(f"{guarded[0]}/login")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    assert serious_findings(page) == []
    assert fits(page, 390)
    page.context.close()


def test_a_session_may_edit_by_its_cookie_alone(chromium: Browser, guarded: Any) -> None:
    url, tokens, run_id = guarded
    page = logged_in(chromium, url, f"/runs/{run_id}", tokens["admin"])
    page.get_by_label("Name of a new tag").fill("by")
    page.get_by_label("Its value").fill("cookie")
    page.get_by_role("button", name="Add tag").click()
    expect(page.get_by_role("row").filter(has_text="cookie")).to_be_visible()
    page.context.close()


def test_a_read_only_session_sees_nothing_that_changes_things(chromium: Browser, guarded: Any) -> None:
    url, tokens, run_id = guarded
    page = logged_in(chromium, url, f"/runs/{run_id}", tokens["read"])
    expect(page.get_by_role("heading", name="guarded run")).to_be_visible()
    expect(page.get_by_role("button", name="Add tag")).to_have_count(0)
    page.get_by_title("More of this run").click()
    expect(page.get_by_role("menuitem", name="Copy the run's id")).to_be_visible()
    expect(page.get_by_role("menuitem", name="Delete")).to_have_count(0)
    page.context.close()


def ask_as(url: str, token: str, path: str, body: bytes, method: str = "POST") -> None:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(url + path, body, headers, method=method)
    urllib.request.urlopen(request, timeout=30).close()


def test_no_page_offers_a_read_only_session_to_change_anything(chromium: Browser, guarded: Any) -> None:
    """With what an administrator sees there, so that each is looked for under its name."""
    url, tokens, run_id = guarded
    api, admin = "/api/2.0/mlflow", tokens["admin"]
    ask_as(url, admin, f"/api/v1/runs/{run_id}/artifacts/kept.txt", b"words", "PUT")
    ask_as(url, admin, f"{api}/registered-models/create", json.dumps({"name": "guarded"}).encode())
    version = {"name": "guarded", "source": f"runs:/{run_id}/model", "run_id": run_id}
    ask_as(url, admin, f"{api}/model-versions/create", json.dumps(version).encode())
    places = {
        "/experiments": ("New", "More about Default"),
        f"/experiments/0?show=table&sel={run_id}": ("Tag the selected runs", "Delete the selected runs"),
        f"/runs/{run_id}": ("Add tag", "Add a note"),
        f"/runs/{run_id}?tab=artifacts&file=kept.txt": ("Delete",),
        "/models/guarded": ("Describe it", "More of version 1"),
    }
    for role in ("admin", "read"):
        page = logged_in(chromium, url, "/operations", tokens[role])
        expect(page.get_by_role("heading", name="Operations")).to_be_visible()
        for path, names in places.items():
            page.goto(url + path)
            page.wait_for_load_state("networkidle")
            expect(page.locator("h1, h2").first).to_be_visible()
            for name in names:
                button = page.get_by_role("button", name=name, exact=True)
                expect(button).to_have_count(1 if role == "admin" else 0)
        page.goto(f"{url}/experiments/0?show=table")
        page.get_by_role("button", name="More about guarded run").click()
        expect(page.get_by_role("menuitem", name="Copy the id")).to_be_visible()
        for name in ("Rename", "Edit the note", "Set a tag", "Delete"):
            expect(page.get_by_role("menuitem", name=name)).to_have_count(1 if role == "admin" else 0)
        page.context.close()


def test_a_page_whose_session_ends_elsewhere_asks_to_log_in(chromium: Browser, guarded: Any) -> None:
    """Within seconds, although nobody touches it."""
    url, tokens, run_id = guarded
    page = logged_in(chromium, url, f"/runs/{run_id}?tab=charts", tokens["read"])
    expect(page.get_by_role("heading", name="guarded run")).to_be_visible()
    other = page.context.new_page()
    other.goto(f"{url}/operations")
    other.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    assert "next=" in page.url
    page.context.close()


@pytest.mark.parametrize(
    ("token", "says"),
    [
        (lambda tokens: "ingest_" + "A" * 43, "unknown, expired or revoked"),
        (lambda tokens: tokens["write"], "may only write"),
    ],
    ids=["unknown", "write-only"],
)
def test_a_token_that_does_not_do_is_explained(
    chromium: Browser, guarded: Any, token: Callable[[Tokens], str], says: str
) -> None:
    url, tokens, _ = guarded
    page = logged_in(chromium, url, "/experiments", token(tokens))
    expect(page.get_by_role("alert")).to_contain_text(says)
    page.context.close()
