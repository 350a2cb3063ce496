"""The stock MLflow client, in environments of its own: one for each version, made by pip once and kept.

The client shares nothing with ours but the network: it runs as a process, against a real `ingest serve`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Callable, Sequence
from pathlib import Path

import platformdirs
import pytest

from tests.conftest import ServiceProcess

SCRIPTS = Path(__file__).parent / "scripts"
VERSIONS = ("3.17.2", "2.22.5")
"""The newest 3.x on the index with all its parts, and the last of 2.x."""

QUIET = {
    "MLFLOW_TELEMETRY_DISABLED": "1",
    "DO_NOT_TRACK": "1",
    "GIT_PYTHON_REFRESH": "quiet",
    "PYTHONWARNINGS": "ignore",
}

RunScript = Callable[..., str]


def stock_python(version: str) -> Path:
    """The interpreter of an environment that holds this version of the client."""
    tag = f"mlflow-{version}-py{sys.version_info.major}{sys.version_info.minor}"
    home = platformdirs.user_cache_path("ingest-tests") / tag
    python = home / "bin" / "python"
    complete = home / "complete"
    packages = [f"mlflow-skinny=={version}", "pandas", "pillow"]
    if not complete.exists() or complete.read_text().split() != packages:
        home.parent.mkdir(parents=True, exist_ok=True)
        if not complete.exists():  # else it lacks what a newer test wants
            venv.create(home, with_pip=True, clear=True)
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages],
            check=True,
            timeout=540,
        )
        complete.write_text("\n".join(packages))
    return python


@pytest.fixture(scope="session", params=VERSIONS)
def stock_client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of each version; one test process makes the environment, the others wait for it."""
    import fcntl

    lock = platformdirs.user_cache_path("ingest-tests", ensure_exists=True) / "mlflow.lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        return stock_python(request.param)


@pytest.fixture
def run_stock(stock_client: Path, service: ServiceProcess, tmp_path: Path) -> RunScript:
    """A function that runs a script of `scripts/` or a module in the stock client's environment; its output."""

    def run(*command: str, environment: dict[str, str] | None = None) -> str:
        first, *rest = command
        what: Sequence[str] = ["-m", *command] if not first.endswith(".py") else [str(SCRIPTS / first), *rest]
        done = subprocess.run(
            [stock_client, *what],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            cwd=tmp_path,
            env={**os.environ, **QUIET, "MLFLOW_TRACKING_URI": service.url, **(environment or {})},
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{service.output()[-3000:]}"
        return done.stdout

    return run
