"""What holds for every page: no serious barrier in either theme, and nothing wider than a phone; operations and the registry, which are little more."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import fits, serious_findings
from tests.browser.test_registry import call

OpenPage = Callable[..., Page]
PAGES = (
    "/experiments",
    "/experiments?life=deleted",
    "{fashion}",
    "{fashion}?group=params.model",
    "{fashion}?show=table&filter=name='nobody'",
    "{fashion}?show=charts&full=train/loss",
    "{empty}",
    *(f"/runs/{{run}}?tab={tab}" for tab in ("overview", "charts", "system", "environment", "writers", "points", "models")),
    *(f"/runs/{{run}}?tab=artifacts{file}" for file in ("", "&file=table.csv", "&file=images/samples/cat", "&file=report.md")),
    *(f"/compare?{{compared}}&tab={tab}" for tab in ("differences", "plots", "curves")),
    "/compare",
    "/sql?run=1",
    "/sql?run=1&show=plot&sql=SELECT+1+AS+step,+2+AS+value",
    "/operations",
    "/models",
    "/models/looked-at",
)  # fmt: skip


@pytest.fixture(scope="session")
def places(dashboard: str, runs: list[str]) -> dict[str, str]:
    """What stands in the addresses of PAGES, apart from experiments; and a model to look at."""
    api = "/api/2.0/mlflow"
    call(dashboard, f"{api}/registered-models/create", {"name": "looked-at", "description": "# What it *is*"})
    version = {"name": "looked-at", "source": f"runs:/{runs[0]}/model", "run_id": runs[0]}
    call(dashboard, f"{api}/model-versions/create", version)
    return {"run": runs[0], "compared": "&".join(f"run={run_id}" for run_id in runs)}


@pytest.mark.parametrize("path", PAGES)
def test_no_page_has_serious_barriers_or_is_wider_than_the_screen(
    open_page: OpenPage, places: dict[str, str], experiment: Callable[[str], str], path: str
) -> None:
    page = open_page(path.format(fashion=experiment("fashion"), empty=experiment("empty"), **places))
    expect(page.locator("h1, h2").first).to_be_visible()
    if path != "/operations":  # which asks again and again
        page.wait_for_load_state("networkidle")
    assert serious_findings(page) == []
    page.emulate_media(color_scheme="dark")
    expect(page.locator(":root")).to_have_attribute("data-theme", "dark")
    page.set_viewport_size({"width": 390, "height": 844})
    assert serious_findings(page) == []
    assert fits(page, 390)


def test_operations_name_what_lies_there_and_go_on(open_page: OpenPage, runs: list[str]) -> None:
    page = open_page("/operations")
    expect(page.get_by_text("Largest runs")).to_be_visible()
    expect(page.locator(".largest").first).to_contain_text("inspected")
    expect(page.locator("svg.sparkline")).to_be_visible()


def test_a_search_in_the_registry_that_finds_nothing_says_so(open_page: OpenPage) -> None:
    page = open_page("/models?find=nothing-like-this")
    expect(page.get_by_text("No model is called so")).to_be_visible()
