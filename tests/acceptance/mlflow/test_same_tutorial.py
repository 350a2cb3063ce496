"""The tutorial's script again, with `import mlflow` in it: the stock client over HTTP, and with the plug-in beside it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.mlflow.conftest import QUIET, locked_python
from tests.acceptance.test_tutorial import SCRIPT, Effects, check_effects
from tests.conftest import ServiceProcess

pytest.importorskip("torchvision")

pytestmark = [pytest.mark.timeout(1_500), pytest.mark.slow]

VERSION = "2.22.5"
"""The tutorial's: 3.x answers log_model with a URI of another form."""


def script_of_mlflow() -> str:
    """The script without what only our client has."""
    source = SCRIPT.read_text(encoding="utf-8").partition("# --- what MLflow would cut")[0]
    changes = {"import ingest as mlflow\n": "import mlflow\n", "assert mlflow.flush(60)\n": ""}
    for line, other in changes.items():
        assert source.count(line) == 1
        source = source.replace(line, other)
    return source + "print(json.dumps(runs))\n"


@pytest.mark.parametrize("way", ["http", "plug-in"])
def test_the_tutorial_without_a_line_of_ours(
    way: str, service: ServiceProcess, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    python = locked_python(VERSION, whole=True)
    url, beside = service.url, {}
    if way == "plug-in":
        url = service.url.replace("http://", "ingest://")
        beside = {
            "PYTHONPATH": str(request.getfixturevalue("installed")),
            "INGEST_SPOOL_DIR": str(tmp_path / "spool"),
        }
    work = tmp_path / "work"
    work.mkdir()
    (tmp_path / "script.py").write_text(script_of_mlflow(), encoding="utf-8")
    done = subprocess.run(
        [python, tmp_path / "script.py", url, work], capture_output=True, text=True, timeout=400, check=False,
        env={**os.environ, **QUIET, **beside, "MLFLOW_TRACKING_URI": "http://127.0.0.1:1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-5000:]
    check_effects(Effects(service, json.loads(done.stdout.splitlines()[-1])))
