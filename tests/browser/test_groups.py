"""Groups of runs in the charts: a line for each of the first, and how many have none."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.conftest import client_environment

SCRIPT = """
    import ingest
    ingest.set_experiment("seeds")
    for seed in range(14):
        with ingest.start_run(run_name=f"seed {seed}") as run:
            ingest.log_param("seed", seed)
            for step in range(5):
                run.log_metric("loss", seed + step, step=step)
            assert run.flush(60)
"""


def test_more_groups_than_have_curves_are_told(dashboard: str, open_page, experiment, tmp_path: Path):
    environment = client_environment(dashboard, tmp_path / "spool")
    subprocess.run([sys.executable, "-c", textwrap.dedent(SCRIPT)], env=environment, check=True, timeout=120)
    page = open_page(experiment("seeds") + "?group=params.seed")
    expect(page.locator(".chart-cut")).to_contain_text("The first 12 of 14 groups have curves")
    expect(page.locator('[data-metric="loss"]')).to_contain_text("12 lines")
    page.goto(page.url + "&filter=params.seed < 5")
    expect(page.locator('[data-metric="loss"]')).to_contain_text("5 lines")
    expect(page.locator(".chart-cut")).to_have_count(0)
