"""The stock MLflow client, in environments of its own: one for each version, made by pip once and kept.

The client shares nothing with ours but the network: it runs as a process, against a real `ingest serve`.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Sequence
from pathlib import Path

import platformdirs
import pytest

from tests.conftest import ServiceProcess

ROOT = Path(__file__).parents[3]
SCRIPTS = Path(__file__).parent / "scripts"
VERSIONS = ("3.17.2", "2.22.5")
"""The newest 3.x on the index with all its parts, and the last of 2.x."""

QUIET = {
    "MLFLOW_TELEMETRY_DISABLED": "1",
    "DO_NOT_TRACK": "1",
    "GIT_PYTHON_REFRESH": "quiet",
    "PYTHONWARNINGS": "ignore",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "OMP_NUM_THREADS": "1",  # the networks are tiny, and threads that wait for each other are not
}

RunScript = Callable[..., str]


def stock_python(version: str, *, whole: bool = False) -> Path:
    """The interpreter of an environment that holds this version of the client.

    Args:
        whole: With the flavours and what they need, and torch and Lightning borrowed from the tests' own environment: they
            are gigabytes, and the client does not care where they lie.
    """
    name = "mlflow-whole" if whole else "mlflow"
    home = platformdirs.user_cache_path("ingest-tests") / (
        f"{name}-{version}-py{sys.version_info.major}{sys.version_info.minor}"
    )
    python = home / "bin" / "python"
    complete = home / "complete"
    package = "mlflow" if whole else "mlflow-skinny"
    packages = [f"{package}=={version}", "pandas", "pillow"]
    if not complete.exists() or complete.read_text().split() != packages:
        home.parent.mkdir(parents=True, exist_ok=True)
        if not complete.exists():  # else it lacks what a newer test wants
            venv.create(home, with_pip=True, clear=True)
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages],
            check=True,
            timeout=900,
        )
        complete.write_text("\n".join(packages))
    if whole:
        _lend(home, "torch")
    return python


def _lend(home: Path, package: str) -> None:
    """Put the directory of a package of ours at the end of that environment's path: its own packages come first."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        pytest.skip(f"{package} is not installed")
    (site,) = home.glob("lib/python3.*/site-packages")
    (site / "zz_borrowed.pth").write_text(f"{Path(found.origin).parent.parent}\n")


@pytest.fixture(scope="session", params=VERSIONS)
def stock_client(request: pytest.FixtureRequest) -> Path:
    """The interpreter of each version; one test process makes the environment, the others wait for it."""
    return locked_python(request.param, whole=False)


@pytest.fixture(scope="session", params=VERSIONS)
def whole_client(request: pytest.FixtureRequest) -> Path:
    """The same with flavours: scikit-learn, PyTorch, Lightning."""
    return locked_python(request.param, whole=True)


def locked_python(version: str, *, whole: bool) -> Path:
    """`stock_python`, made by one test process while the others wait."""
    import fcntl

    lock = platformdirs.user_cache_path("ingest-tests", ensure_exists=True) / "mlflow.lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        return stock_python(version, whole=whole)


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our distribution as it is installed beside MLflow, entry points included."""
    sources, target = tmp_path_factory.mktemp("sources") / "s", tmp_path_factory.mktemp("installed")
    shutil.copytree(
        ROOT, sources, ignore=shutil.ignore_patterns(".git", ".venv", "*.so", "__pycache__", ".*_cache")
    )
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"]
    subprocess.run([*command, target, sources], check=True, timeout=300)
    return target


@pytest.fixture
def run_stock(stock_client: Path, service: ServiceProcess, tmp_path: Path) -> RunScript:
    """A function that runs a script of `scripts/` or a module in the stock client's environment; its output."""
    return _runner(stock_client, service, tmp_path, timeout=100)


@pytest.fixture
def run_whole(whole_client: Path, service: ServiceProcess, tmp_path: Path) -> RunScript:
    """The same with flavours, whose imports alone take a while."""
    return _runner(whole_client, service, tmp_path, timeout=400)


def _runner(python: Path, service: ServiceProcess, directory: Path, *, timeout: float) -> RunScript:
    def run(*command: str, environment: dict[str, str] | None = None) -> str:
        first, *rest = command
        what: Sequence[str] = ["-m", *command] if not first.endswith(".py") else [str(SCRIPTS / first), *rest]
        done = subprocess.run(
            [python, *what],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            cwd=directory,
            env={**os.environ, **QUIET, "MLFLOW_TRACKING_URI": service.url, **(environment or {})},
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{service.output()[-3000:]}"
        return done.stdout

    return run
