"""MLflow itself, in an environment of its own, to write the stores that are imported; and `ingest import`."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from tests.conftest import run_ingest

SCRIPTS = Path(__file__).parent / "scripts"
VERSIONS = ("3.17.2", "2.22.5")
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ALLOW_FILE_STORE": "true",
    "PYTHONWARNINGS": "ignore",
}

Import = Callable[..., dict[str, Any]]
WithMlflow = Callable[..., str]


def whole_python(version: str) -> Path:
    """The interpreter of an environment with all of MLflow, server and databases included; made once and kept."""
    home = platformdirs.user_cache_path("ingest-tests", ensure_exists=True)
    folder = home / f"mlflow-importers-{version}-py{sys.version_info.major}{sys.version_info.minor}"
    with (home / "mlflow-importers.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            venv.create(folder, with_pip=True, clear=True)
            packages = [f"mlflow=={version}", "psycopg2-binary", "sqlalchemy<2.1"]  # MLflow 2 knows no newer
            command = [
                str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"
            ]  # fmt: skip
            subprocess.run([*command, *packages], check=True, timeout=580)
            (folder / "complete").touch()
    return folder / "bin" / "python"


@pytest.fixture(scope="session", params=VERSIONS)
def mlflow_python(request: pytest.FixtureRequest) -> Path:
    return whole_python(request.param)


@pytest.fixture
def with_mlflow(mlflow_python: Path) -> WithMlflow:
    """Run a script in MLflow's environment; its output."""

    def run(script: str, *arguments: str) -> str:
        done = subprocess.run(
            [mlflow_python, SCRIPTS / script, *arguments],
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
            env={**os.environ, **QUIET},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def run_import(database_url: str, tmp_path: Path) -> Import:
    """`ingest import … --json` into the test's database; what it reports."""

    def run(*arguments: str, fails: bool = False) -> dict[str, Any]:
        done = run_ingest(
            "import",
            *arguments,
            "--database-url",
            database_url,
            "--data-dir",
            str(tmp_path / "data"),
            "--json",
        )
        if fails:
            assert done.returncode == 1, done.stdout
            return {"error": done.stderr}
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return run
