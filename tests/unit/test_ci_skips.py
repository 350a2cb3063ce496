"""In CI a skipped test is a failure: the root conftest.py, run over a small suite of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT_CONFTEST = Path(__file__).parents[2] / "conftest.py"

SAMPLES = {
    "skips_itself": ("def test_a(): pytest.skip('no database')", "FAILED"),
    "is_skipped": ("@pytest.mark.skip(reason='no torch')\ndef test_a(): pass", "ERROR"),
    "module_is_skipped": ("pytest.importorskip('no_such_module')\ndef test_a(): pass", "ERROR"),
    "has_no_gpu": ("@pytest.mark.gpu\ndef test_a(): pytest.skip('no CUDA device')", "SKIPPED"),
    "is_to_fail": ("@pytest.mark.xfail\ndef test_a(): raise ValueError", "XFAIL"),
    "passes": ("def test_a(): pass", "PASSED"),
}
"""By the module's name: what it holds, and what becomes of its test."""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The lines of pytest's summary of all samples, under CI=true."""
    folder = tmp_path_factory.mktemp("ci")
    (folder / "conftest.py").write_text(ROOT_CONFTEST.read_text())
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = gpu: needs a CUDA device\n")
    for name, (source, _) in SAMPLES.items():
        (folder / f"test_{name}.py").write_text(f"import pytest\n{source}\n")
    options = ["-rA", "--continue-on-collection-errors", "-p", "no:randomly", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *options], env={**os.environ, "CI": "true"}, cwd=folder,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return done.stdout.partition("short test summary info")[2].splitlines()


@pytest.mark.parametrize("name", SAMPLES)
def test_only_a_missing_gpu_may_skip_a_test_in_ci(outcomes: list[str], name: str) -> None:
    seen = Counter(line.split()[0] for line in outcomes if f"test_{name}.py" in line)
    assert seen == {SAMPLES[name][1]: 1}, outcomes
