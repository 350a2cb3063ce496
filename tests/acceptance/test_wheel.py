"""What is released: the wheel holds all that the code reads at run time, and works away from the checkout."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "ingest": ROOT / "ingest",
    "ingest_client": ROOT / "client" / "ingest_client",
    "ingest_schema": ROOT / "schema" / "ingest_schema",
}
NOT_SHIPPED = {".pyc"}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist of this checkout, built by the backend itself, without a network."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=120,
    )
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    return next(dist.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel unpacked into a folder of its own, to be put first on the path."""
    target = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def files_of(package: str) -> set[str]:
    top = PACKAGES[package]
    found = (path for path in top.rglob("*") if path.is_file() and path.suffix not in NOT_SHIPPED)
    return {f"{package}/{path.relative_to(top).as_posix()}" for path in found}


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_the_wheel_holds_every_file_of_the_package(wheel: Path, package: str) -> None:
    """Above all the .sql files and py.typed, which no import would miss until it is too late."""
    names = set(zipfile.ZipFile(wheel).namelist())

    assert files_of(package) - names == set()
    assert f"{package}/py.typed" in names


def test_the_sdist_builds_the_same_wheel(dist: Path, wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        archive.extractall(tmp_path, filter="data")
    source = next(tmp_path.glob("metric_ingest-*"))

    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "again")]
    subprocess.run(build, cwd=source, check=True, capture_output=True, timeout=120)

    again = next((tmp_path / "again").glob("*.whl"))
    assert sorted(zipfile.ZipFile(again).namelist()) == sorted(zipfile.ZipFile(wheel).namelist())


def test_the_client_runs_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    probe = "import ingest, ingest_client, ingest_schema; print(ingest.__file__, ingest_client.__file__, ingest_schema.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", probe],
        env={"PYTHONPATH": str(installed), "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert all(Path(name).is_relative_to(installed) for name in done.stdout.split())
