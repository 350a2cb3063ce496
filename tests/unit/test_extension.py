"""The C extensions are built wherever they can be, and nothing but speed is missing where it can't."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from ingest_client._recorder import IS_ACCELERATED

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_an_environment_with_a_compiler_has_the_extensions():
    """Else CI would test only half of the logging call, and look green."""
    assert IS_ACCELERATED, "install again: pip install -e ."
    assert importlib.util.find_spec("ingest.store._weave"), "install again: pip install -e ."


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_they_compile_without_a_warning(build, tmp_path, monkeypatch):
    monkeypatch.setenv("CC", "cc -Werror")
    for source in build.SOURCES:
        assert build.compile_extension(ROOT / source, tmp_path / f"{source.stem}.so") is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["_hot.so", "_weave.so"]


def test_without_a_compiler_the_reason_is_told_and_nothing_is_left(build, tmp_path, monkeypatch):
    monkeypatch.setenv("CC", str(tmp_path / "no-such-compiler"))
    assert "no-such-compiler" in build.compile_extension(ROOT / build.SOURCES[0], tmp_path / "hot.so")
    assert list(tmp_path.iterdir()) == []


def test_a_pure_wheel_logs_as_well(tmp_path):
    """What a machine without a compiler installs."""
    environment = {**os.environ, "INGEST_NO_EXTENSION": "1"}
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT, check=True, capture_output=True, timeout=120, env=environment,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    probe = (
        "import ingest, importlib.util; from ingest_client._recorder import IS_ACCELERATED; assert not IS_ACCELERATED\n"
        "run = ingest.start_run(); run.log_metrics({'a': 1.0}, 1); run.log_metrics({'a': 2.0}, 2)\n"
        "assert run.stats().accepted_num == 2; run.end()"
    )
    settings = {
        "INGEST_SPOOL_DIR": str(tmp_path / "spool"),
        "INGEST_MODE": "offline",
        "INGEST_TRACKING_URI": "http://127.0.0.1:9",
    }
    done = subprocess.run(
        [sys.executable, "-c", probe],
        env={**os.environ, "PYTHONPATH": str(wheel), **settings},
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
