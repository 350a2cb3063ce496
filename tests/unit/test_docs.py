"""What the docs and the deployment files say is what the code does."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from ingest.settings import ENV_PREFIX, Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


@pytest.fixture(scope="module")
def make() -> ModuleType:
    """The script docs/make.py, which is in no package."""
    spec = importlib.util.spec_from_file_location("docs_make", ROOT / "docs" / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_pages_are_up_to_date(make: ModuleType) -> None:
    stale = [name for name, render in make.PAGES.items() if (make.DOCS / name).read_text("utf-8") != render()]
    assert stale == [], "run python docs/make.py"


def test_every_setting_says_what_it_means() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


@pytest.mark.parametrize(
    "path", sorted(path for path in DEPLOY.iterdir() if path.is_file()), ids=lambda path: path.name
)
def test_deployment_files_name_only_settings_that_exist(path: Path) -> None:
    """A misspelt variable is ignored by the service, and the default used in silence."""
    known = {f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields} | {f"{ENV_PREFIX}CONFIG"}
    client = {f"{ENV_PREFIX}TOKEN", f"{ENV_PREFIX}TRACKING_URI"}
    named = set(re.findall(rf"\b{ENV_PREFIX}[A-Z_]+\b", path.read_text("utf-8")))
    assert {name.removesuffix("_FILE") for name in named} - known - client == set()


def test_nobody_kills_the_service_before_it_has_drained() -> None:
    drain = Settings.model_fields["drain_timeout"].default
    unit = re.search(r"^TimeoutStopSec=(\d+)s$", (DEPLOY / "ingest.service").read_text("utf-8"), re.MULTILINE)
    compose = re.search(
        r"^  ingest:.*?stop_grace_period: (\d+)s",
        (DEPLOY / "compose.yaml").read_text("utf-8"),
        re.DOTALL | re.MULTILINE,
    )
    assert unit is not None
    assert compose is not None
    assert min(int(unit[1]), int(compose[1])) > drain


def test_the_compose_file_names_the_present_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    images = re.findall(r"image: ingest:(\S+)", (DEPLOY / "compose.yaml").read_text("utf-8"))
    assert set(images) == {version}


def test_the_table_of_exits_has_every_case_and_no_lost_point(make: ModuleType) -> None:
    """It is taken by docs/exits.py, which takes a minute; whether a case has been added since is seen here."""
    from tests.integration.client.test_exits import BODIES, BOUNDS, ENDS

    page = (make.DOCS / "exits.md").read_text("utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines()]
    found = {(row[0], row[1]): row[2:] for row in rows if len(row) == len(BOUNDS) + 3 and row[0] in BODIES}
    assert set(found) == {(body, end) for body in BODIES for end in ENDS}, "run python docs/exits.py"
    assert {cells[-1] for cells in found.values()} == {"0"}
