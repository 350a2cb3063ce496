"""MLflow's own user interface with our REST behind it, in Debian's Chromium: what the real client logged is on its pages."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.mlflow.conftest import QUIET
from tests.conftest import ServiceProcess, StartService, ingest_command

if shutil.which("chromium") is None:
    pytest.skip("no chromium on the PATH", allow_module_level=True)

from playwright.sync_api import Page, expect, sync_playwright

pytestmark = [pytest.mark.timeout(1_500), pytest.mark.slow]

SCRIPT = """
import math
import ingest
ingest.set_experiment("curves")
for i in range(3):
    with ingest.start_run(run_name=f"curve-{i}"):
        ingest.log_params({"lr": 0.5 * (i + 1), "depth": i})
        ingest.set_tag("team", "vision")
        for step in range(400):
            ingest.log_metrics({"loss": math.exp(-step / 100) + i, "gap": float("nan") if step == 399 else 1.0}, step=step)
        ingest.log_text("a note for readers", "notes/readme.txt")
        ingest.log_dict({"answer": 42}, "conf.json")
assert ingest.flush(timeout=30)
"""


@pytest.fixture
def with_ui(
    whole_client: Path, start_service: StartService, database_url: str, tmp_path: Path
) -> ServiceProcess:
    """A service that finds the whole mlflow package of that version, and nothing else of its environment."""
    (site,) = whole_client.parent.parent.glob("lib/python3.*/site-packages")
    packages = tmp_path / "packages"
    packages.mkdir()
    for found in (site / "mlflow", *site.glob("mlflow-[0-9]*.dist-info")):
        (packages / found.name).symlink_to(found)
    environment = {"PYTHONPATH": str(packages), **QUIET}
    service = start_service("--database-url", database_url, "--mlflow-ui", env=environment)
    client = {"INGEST_TRACKING_URI": service.url, "INGEST_SPOOL_DIR": str(tmp_path / "spool")}
    subprocess.run([sys.executable, "-c", SCRIPT], env={**os.environ, **client}, check=True, timeout=150)
    return service


@pytest.fixture
def open_ui(with_ui: ServiceProcess) -> Iterator[Callable[[str], Page]]:
    """A function that opens an address behind the interface's `#`. Errors, refusals and requests to elsewhere fail the test."""
    wrong: list[str] = []

    def on_console(message: Any) -> None:
        # A notice of Chromium's about layout, which libraries of grids and plots raise on any server.
        if message.type == "error" and "ResizeObserver loop" not in message.text:
            wrong.append(f"console: {message.text[:300]} {message.location.get('url')}")

    def on_response(answer: Any) -> None:
        if answer.status >= 400:
            wrong.append(f"{answer.status} {answer.request.method} {answer.url}")

    def on_request(request: Any) -> None:
        if not request.url.startswith((with_ui.url, "data:", "blob:")):
            wrong.append(f"request to {request.url}")

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.set_default_timeout(30_000)
        page.on("console", on_console)
        page.on("pageerror", lambda error: wrong.append(f"thrown: {error}"))
        page.on("request", on_request)
        page.on("response", on_response)

        def go(address: str) -> Page:
            page.goto(f"{with_ui.url}/mlflow#{address}")
            return page

        yield go
        browser.close()
    assert not wrong, "\n".join(dict.fromkeys(wrong))


def ask(url: str, body: dict[str, Any] | None = None) -> Any:
    request = urllib.request.Request(
        url, json.dumps(body).encode() if body else None, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def test_experiments_runs_charts_and_artifacts_are_on_its_pages(
    with_ui: ServiceProcess, open_ui: Callable[[str], Page], whole_client: Path
) -> None:
    is_old = "2.22" in str(whole_client)
    expect.set_options(timeout=30_000)
    rest = f"{with_ui.url}/api/2.0/mlflow"
    experiment = ask(f"{rest}/experiments/get-by-name?experiment_name=curves")["experiment"]["experiment_id"]
    runs = ask(f"{rest}/runs/search", {"experiment_ids": [experiment], "filter": "run_name = 'curve-2'"})[
        "runs"
    ]
    run_id = runs[0]["info"]["run_id"]

    page = open_ui("/" if is_old else "/experiments")
    expect(page.get_by_role("link", name="curves")).to_be_visible()

    of_runs = f"/experiments/{experiment}" + ("" if is_old else "/runs")
    page = open_ui(of_runs)
    for i in range(3):
        expect(page.get_by_role("link", name=f"curve-{i}")).to_be_visible()

    page = open_ui(f"{of_runs}?compareRunsMode=CHART")
    expect(page.locator(".js-plotly-plot .scatterlayer .trace").nth(2)).to_be_attached()

    page = open_ui(f"/experiments/{experiment}/runs/{run_id}")
    expect(page.get_by_text(run_id).first).to_be_visible()
    expect(page.get_by_text("1.5", exact=True).first).to_be_attached()  # lr
    expect(page.get_by_text("vision").first).to_be_attached()

    page = open_ui(f"/experiments/{experiment}/runs/{run_id}/model-metrics")
    expect(page.locator(".js-plotly-plot .scatterlayer .trace").first).to_be_attached()

    page = open_ui(f"/experiments/{experiment}/runs/{run_id}/artifacts")
    page.get_by_text("conf.json").first.click()
    expect(page.get_by_text("42").first).to_be_visible()


def test_without_mlflow_it_says_what_to_install(tmp_path: Path) -> None:
    """The tests' own environment has none."""
    done = subprocess.run(
        ingest_command("serve", "--mlflow-ui", "--port", "0", "--data-dir", str(tmp_path)),
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "pip install mlflow" in done.stderr
    assert not list(tmp_path.iterdir())


def test_an_error_stands_in_the_answer_and_what_is_not_known_is_refused(with_ui: ServiceProcess) -> None:
    query = "query Q($data: MlflowGetRunInput!) { mlflowGetRun(input: $data) { apiError { code message } run { info { runName } } } }"
    answer = ask(f"{with_ui.url}/graphql", {"query": query, "variables": {"data": {"runId": "f" * 32}}})
    assert answer["data"]["mlflowGetRun"] == {
        "apiError": {"code": "RESOURCE_DOES_NOT_EXIST", "message": f"Run with id={'f' * 32} not found"},
        "run": None,
    }
    for query in (
        "{ a: mlflowGetRun { apiError { code } } b: mlflowGetRun { apiError { code } } }",
        "{ mlflowListTraces { id } }",
        "{ mlflowGetRun(",
        "{" * 500,
        "mutation { testMutation { output } }",
    ):
        with pytest.raises(urllib.error.HTTPError) as caught:
            ask(f"{with_ui.url}/graphql", {"query": query})
        assert caught.value.code in {400, 501}
        assert json.load(caught.value)["error_code"] in {"INVALID_PARAMETER_VALUE", "NOT_IMPLEMENTED"}


def test_a_search_gives_runs_with_their_experiment(with_ui: ServiceProcess) -> None:
    query = "query Q($d: MlflowSearchRunsInput) { mlflowSearchRuns(input: $d) { runs { info { runName } experiment { name } modelVersions { name } } } }"
    sent = {"experimentIds": ["1"], "filter": "run_name = 'curve-1'", "maxResults": 50_000}
    answer = ask(f"{with_ui.url}/graphql", {"query": query, "variables": {"d": sent}})
    found = {"info": {"runName": "curve-1"}, "experiment": {"name": "curves"}, "modelVersions": []}
    assert answer["data"]["mlflowSearchRuns"]["runs"] == [found]


def test_numbers_that_json_has_not(with_ui: ServiceProcess) -> None:
    rest = f"{with_ui.url}/api/2.0/mlflow"
    runs = ask(f"{rest}/runs/search", {"experiment_ids": ["1"], "max_results": 1})["runs"]
    query = "query Q($d: MlflowGetRunInput) { mlflowGetRun(input: $d) { run { data { metrics { key value step } } } } }"
    variables = {"d": {"runId": runs[0]["info"]["run_id"]}}
    answer = ask(f"{with_ui.url}/graphql", {"query": query, "variables": variables})
    metrics = {one["key"]: one for one in answer["data"]["mlflowGetRun"]["run"]["data"]["metrics"]}
    assert metrics["gap"] == {"key": "gap", "value": None, "step": "399"}
    assert metrics["loss"]["value"] == pytest.approx(2.0, abs=1.1)
