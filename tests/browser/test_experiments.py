"""The list of experiments, by clicks: one is made, found, renamed, deleted, and comes back."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

OpenPage = Callable[..., Page]


def act(page: Page, name: str, action: str) -> None:
    """Choose from the menu of an experiment."""
    page.get_by_role("button", name=f"More about {name}").click()
    page.get_by_role("menuitem", name=action).click()


def test_an_experiment_is_made_found_renamed_deleted_and_restored(open_page: OpenPage) -> None:
    page = open_page("/experiments")
    page.get_by_role("button", name="New").click()
    page.get_by_role("textbox", name="Name").fill("made by hand")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("link", name="made by hand")).to_be_visible()

    page.get_by_role("searchbox", name="Search experiments").fill("by hand")
    expect(page.locator("tbody tr")).to_have_count(1)
    assert "find=by" in page.url

    act(page, "made by hand", "Rename")
    page.get_by_role("textbox", name="Name").fill("kept by hand")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("link", name="kept by hand")).to_be_visible()
    expect(page.get_by_role("link", name="made by hand")).to_have_count(0)

    act(page, "kept by hand", "Delete")
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("No experiment fits")).to_be_visible()

    page.get_by_label("Which experiments").select_option("deleted")
    act(page, "kept by hand", "Restore")
    expect(page.get_by_text("Restored kept by hand")).to_be_visible()
    page.get_by_label("Which experiments").select_option("active")
    expect(page.get_by_role("link", name="kept by hand")).to_be_visible()


def test_experiments_stand_in_the_order_of_a_heading(open_page: OpenPage) -> None:
    page = open_page("/experiments")
    names = page.locator("tbody td.wide")
    page.get_by_role("button", name="Name").click()
    expect(page.get_by_role("columnheader", name="Name")).to_have_attribute("aria-sort", "ascending")
    shown = names.all_inner_texts()
    assert shown == page.evaluate("names => [...names].sort((a, b) => a.localeCompare(b))", shown)
    page.reload()
    expect(page.get_by_role("columnheader", name="Name")).to_have_attribute("aria-sort", "ascending")
