"""The README's first screen, as a newcomer types it: a service, the Python block, the SQL."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.conftest import ServiceProcess, run_ingest

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def test_code_comes_before_line_30_and_the_glossary_last() -> None:
    first_code = README.index("import ingest")
    assert README[:first_code].count("\n") < 30
    assert re.findall(r"^## (.+)$", README, re.MULTILINE)[-1] == "Glossary"


def test_the_first_screen_works_as_printed(service: ServiceProcess, scratch: Path) -> None:
    script = blocks("python")[0].replace("http://127.0.0.1:5000", service.url)
    statement = shlex.split(blocks("sh")[1])[-1]
    environment = {"INGEST_SPOOL_DIR": str(scratch / "spool"), "HOME": str(scratch)}

    subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=150)
    shown = run_ingest("sql", statement, "--csv", INGEST_TRACKING_URI=service.url)

    assert shown.returncode == 0, shown.stderr
    assert "loss,1000,999,0.001" in shown.stdout
    assert "accuracy,1000,999,1.0" in shown.stdout
