"""Models in a browser: a logged one is registered, gets an alias and a stage, and tells how to load it; MLflow's pictures step."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_copy import check_copies

OpenPage = Callable[..., Page]
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def call(url: str, path: str, body: dict[str, Any] | bytes, method: str = "POST") -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


@pytest.fixture
def run_id(dashboard: str) -> str:
    """A run with a logged model, as MLflow's client makes one."""
    api = "/api/2.0/mlflow"
    body = {"experiment_id": "0", "run_name": "with a model", "start_time": 1}
    made: str = call(dashboard, f"{api}/runs/create", body)["run"]["info"]["run_id"]
    call(
        dashboard,
        f"{api}/logged-models",
        {"experiment_id": "0", "name": "classifier", "source_run_id": made, "model_type": "pytorch"},
    )
    return made


def test_a_model_is_registered_named_and_staged(open_page: OpenPage, dashboard: str, run_id: str) -> None:
    page = open_page(f"/runs/{run_id}?tab=models")
    expect(page.get_by_role("heading", name="classifier")).to_be_visible()
    expect(page.get_by_text("ingest.pytorch.load_model(")).to_be_visible()
    page.get_by_role("button", name="Register").click()
    page.get_by_label("Name in the registry").fill("digits")
    page.get_by_role("dialog").get_by_role("button", name="Register").click()
    page.get_by_role("link", name="digits").click()

    expect(page.get_by_role("heading", name="digits", exact=True)).to_be_visible()
    page.get_by_title("More of version 1").click()
    page.get_by_role("menuitem", name="Set an alias").click()
    page.get_by_label("Alias; it moves here").fill("champion")
    page.get_by_role("dialog").get_by_role("button", name="Set").click()
    expect(page.get_by_text("models:/digits@champion")).to_be_visible()

    page.get_by_title("More of version 1").click()
    page.get_by_role("menuitemcheckbox", name="Production").click()
    versions = page.get_by_role("region", name="Versions")
    expect(versions).to_contain_text("Production")
    expect(versions.get_by_role("link", name="with a model")).to_have_attribute("href", f"/runs/{run_id}")
    page.get_by_role("button", name="Describe it").click()
    page.get_by_label("Markdown").fill("Tells **digits** apart.\n\n- top-1 0.99")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".markdown strong")).to_have_text("digits")
    page.get_by_role("button", name="Take @champion away").click()
    expect(page.get_by_text("models:/digits/1")).to_be_visible()

    overview = open_page("/models")
    row = overview.get_by_role("row").filter(has_text="digits")
    expect(row).to_contain_text("v1 Production")
    expect(row.get_by_role("cell", name="Tells digits apart.", exact=True)).to_be_visible()


def test_models_are_copied_as_code(open_page: OpenPage, dashboard: str, run_id: str, tmp_path: Path) -> None:
    check_copies(open_page, dashboard, f"/runs/{run_id}?tab=models", "classifier", "classifier", tmp_path)


def test_pictures_that_mlflow_logged_are_stepped_through(
    open_page: OpenPage, dashboard: str, run_id: str
) -> None:
    for step in (2, 10):
        name = quote(f"images/dog%step%{step}%timestamp%17%0f-{step}.png")
        call(dashboard, f"/api/v1/runs/{run_id}/artifacts/{name}", PIXEL, method="PUT")
    page = open_page(f"/runs/{run_id}?tab=artifacts&file=images")
    expect(page.get_by_role("img", name="Step 10")).to_be_visible()
    page.get_by_role("slider").press("ArrowLeft")
    expect(page.get_by_role("img", name="Step 2", exact=True)).to_be_visible()
