"""The dashboard in Debian's Chromium, against a real `ingest serve` whose data was logged through the real client.

    runs       (session) ids of four runs with files and notes: see seed_inspect.py
    dashboard  (session) the service's address, with runs in it: see seed.py
    open_page  a function `open_page(path, **context options) -> Page`; each page has a browser context of its own
    page       one such page

Whatever a test does, a page that logged an error, threw one, or asked another host fails it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import migrated_database, serving

if shutil.which("chromium") is None:
    pytest.skip("no chromium on the PATH", allow_module_level=True)

from playwright.sync_api import Browser, Page, expect, sync_playwright

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
SEED = Path(__file__).parent / "seed.py"
INSPECTED = Path(__file__).parent / "seed_inspect.py"
expect.set_options(timeout=30_000)


def client_environment(url: str, spool: Path) -> dict[str, str]:
    """Of a process that logs to the service."""
    return {**os.environ, "INGEST_TRACKING_URI": url, "INGEST_SPOOL_DIR": str(spool)}


def create_experiment(url: str, name: str) -> None:
    body = json.dumps({"name": name}).encode()
    urllib.request.urlopen(urllib.request.Request(f"{url}/api/v1/experiments", body), timeout=30).close()


@pytest.fixture(scope="session")
def dashboard_database(bundled_postgres: str, _template: str) -> Iterator[str]:
    """URL of the database below `dashboard`, for what only time or an accident would bring about."""
    with migrated_database(bundled_postgres, _template) as database:
        yield database


@pytest.fixture(scope="session")
def dashboard(dashboard_database: str) -> Iterator[str]:
    """Address of a service with runs."""
    with tempfile.TemporaryDirectory(prefix="ingest-test-browser-", ignore_cleanup_errors=True) as name:
        home = Path(name)
        with serving(dashboard_database, home) as url:
            environment = client_environment(url, home / "spool")
            subprocess.run([sys.executable, SEED], env=environment, check=True, timeout=120)
            create_experiment(url, "empty")
            yield url


@pytest.fixture(scope="session")
def runs(dashboard: str, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Ids of four runs of the experiment `inspected`; the first has files and a note."""
    environment = client_environment(dashboard, tmp_path_factory.mktemp("spool"))
    told = subprocess.run(
        [sys.executable, INSPECTED], env=environment, check=True, timeout=120, capture_output=True, text=True
    )
    ids: list[str] = json.loads(told.stdout.splitlines()[-1])
    return ids


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser for one module: as long as Playwright is there its event loop runs in this thread, and no coroutine of another
    test can."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Browser, dashboard: str) -> Iterator[Callable[..., Page]]:
    wrong: list[str] = []
    contexts = []

    def watch(page: Page) -> None:
        def on_console(message: Any) -> None:
            refused = "status of 400" in message.text and message.location["url"].endswith("/runs/search")
            blocked = "/frames/" in message.text and "'allow-scripts'" in message.text  # as it has to be
            if (
                message.type in {"error", "warning"} and not refused | blocked
            ):  # a filter that is no filter, yet
                wrong.append(f"console: {message.text}")

        def on_request(request: Any) -> None:
            own = (
                dashboard,
                "data:",
                "blob:",
                "chrome-extension:",
                "chrome:",
            )  # the last two: the viewer of PDF files
            if not request.url.startswith(own):
                wrong.append(f"request to {request.url}")

        page.on("console", on_console)
        page.on("pageerror", lambda error: wrong.append(f"thrown: {error}"))
        page.on("request", on_request)

    def open_it(path: str, **options: Any) -> Page:
        context = chromium.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        watch(page)
        page.goto(path if path.startswith("http") else dashboard + path)
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture
def page(open_page: Callable[..., Page]) -> Page:
    return open_page("/experiments")


@pytest.fixture
def experiment(dashboard: str) -> Callable[[str], str]:
    """The address of an experiment's page by its name."""

    def path(name: str) -> str:
        with urllib.request.urlopen(f"{dashboard}/api/v1/experiments?limit=1000", timeout=30) as answer:
            found = {one["name"]: one["experiment_id"] for one in json.load(answer)["experiments"]}
        return f"/experiments/{found[name]}"

    return path


def fits(page: Page, width: int) -> bool:
    """Whether nothing is wider than that, once everything has its place."""
    for _ in range(100):
        if page.evaluate("document.documentElement.scrollWidth") <= width:
            return True
        page.wait_for_timeout(100)
    return False


def serious_findings(page: Page) -> list[str]:
    """What axe-core finds on the page, of impact serious or worse."""
    if not AXE.exists():
        pytest.skip("no axe-core, which npm ci brings")
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {one['help']}: {[node['html'][:160] for node in one['nodes'][:3]]}"
        for one in found["violations"]
        if one["impact"] in {"serious", "critical"}
    ]
