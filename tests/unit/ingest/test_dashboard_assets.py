"""The dashboard's files: what is vendored is what its publishers released, what is served fits together."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from pathlib import Path

import pytest

from ingest.dashboard.assets import load_dashboard
from ingest.web.dashboard import PAGES

DASHBOARD = Path(__file__).parents[3] / "ingest" / "dashboard"
VENDOR = DASHBOARD / "vendor"
LIBRARIES = json.loads((VENDOR / "vendor.json").read_text())
IMPORT = re.compile(r"""(?:from|import)\s*\(?\s*["']([^"']+)["']""")


def test_vendored_files_are_those_that_were_recorded_and_no_others():
    """Nobody edits a library in place, and nothing slips in without a licence and a version."""
    recorded = {path: digest for library in LIBRARIES.values() for path, digest in library["sha256"].items()}
    there = {
        path.relative_to(VENDOR).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR.rglob("*")
        if path.is_file() and path.name != "vendor.json"
    }
    assert there == recorded


@pytest.mark.parametrize("name", LIBRARIES)
def test_each_library_brings_its_licence_and_is_the_version_that_is_type_checked(name):
    library = LIBRARIES[name]
    pinned = json.loads((DASHBOARD.parents[1] / "package.json").read_text())["devDependencies"]
    assert f"{name}/LICENSE" in library["sha256"]
    assert pinned[library["npm"]] == library["version"]


def test_every_import_of_a_module_leads_to_a_file_that_is_served():
    dashboard = load_dashboard()
    named = json.loads(re.search(r'"importmap">(.*?)</script>', dashboard.page.body.decode(), re.DOTALL)[1])  # type: ignore[index]  # it is there
    libraries = {
        name: path.removeprefix(f"/static/{dashboard.digest}/") for name, path in named["imports"].items()
    }
    assert set(libraries.values()) <= set(dashboard.assets)
    for path, asset in dashboard.assets.items():
        if not path.startswith("js/"):
            continue
        for wanted in IMPORT.findall(asset.body.decode()):
            if wanted.startswith("."):
                found = Path("/", path).parent.joinpath(wanted).resolve().as_posix().lstrip("/")
                assert found in dashboard.assets, f"{path} imports {wanted}"


def test_the_page_loads_nothing_from_elsewhere_and_runs_nothing_inline():
    dashboard = load_dashboard()
    page = dashboard.page.body.decode()
    assert not [text for text in ("http:", "https:", "{{") if text in page]
    assert "unsafe" not in dashboard.policy
    for script in re.findall(r"<script([^>]*)>", page):
        assert "src=" in script or "importmap" in script


def test_files_are_compressed_once_and_say_the_same():
    for asset in load_dashboard().assets.values():
        assert gzip.decompress(asset.gzipped) == asset.body


def test_the_pages_of_the_browser_are_addresses_of_the_service():
    """Otherwise a page opens by a click, but not when it is reloaded."""
    own = re.findall(r'path: "([^"]+)"', (DASHBOARD / "js" / "pages.js").read_text())
    known = {re.sub(r"\{\w+\}", "*", page) for page in PAGES}
    assert {re.sub(r":\w+", "*", page) for page in own} <= known
