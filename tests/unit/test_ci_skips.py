"""In CI a skipped test is a failure: the root conftest.py, run over small suites of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT_CONFTEST = Path(__file__).parents[2] / "conftest.py"


@pytest.fixture
def outcome_in_ci(tmp_path: Path) -> Callable[[str], str]:
    """Give a function that runs one test module under CI=true and returns pytest's closing line."""
    env = {**os.environ, "CI": "true"}

    def run(source: str) -> str:
        (tmp_path / "conftest.py").write_text(ROOT_CONFTEST.read_text())
        (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = gpu: needs a CUDA device\n")
        (tmp_path / "test_sample.py").write_text(f"import pytest\n{source}\n")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider"]
        done = subprocess.run(
            command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
        )
        return done.stdout.strip().splitlines()[-1]

    return run


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def test_a(): pytest.skip('no database')", "1 failed"),
        ("@pytest.mark.skip(reason='no torch')\ndef test_a(): pass", "1 error"),
        ("pytest.importorskip('no_such_module')\ndef test_a(): pass", "1 error"),
        ("@pytest.mark.gpu\ndef test_a(): pytest.skip('no CUDA device')", "1 skipped"),
        ("@pytest.mark.xfail\ndef test_a(): raise ValueError", "1 xfailed"),
        ("def test_a(): pass", "1 passed"),
    ],
)
def test_only_a_missing_gpu_may_skip_a_test_in_ci(outcome_in_ci, source: str, expected: str) -> None:
    assert expected in outcome_in_ci(source)
