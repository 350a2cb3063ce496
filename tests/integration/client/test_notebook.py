"""Notebooks: cells that are run again, and interrupted, in a real IPython; what the person sees, and what is stored afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ingest.bench.api import Api
from tests.conftest import ServiceProcess

pytest.importorskip("IPython")

KERNEL = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.history_manager.enabled = False
seen = []
for cell in json.load(sys.stdin):
    ran = shell.run_cell(cell, store_history=True)
    error = ran.error_before_exec or ran.error_in_exec
    seen.append(None if error is None else type(error).__name__)
print("\\n" + json.dumps([seen, shell.user_ns.get("report")]))
"""

INTERRUPT = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"


@pytest.fixture
def run_cells(service: ServiceProcess, tmp_path: Path):
    """Run cells one after the other; the name of each one's exception, and what they left in the variable `report`."""

    def run(*cells: str):
        env = {**os.environ, "INGEST_TRACKING_URI": service.url, "INGEST_SPOOL_DIR": str(tmp_path / "spool")}
        env |= {
            "IPYTHONDIR": str(tmp_path / "ipython"),
            "INGEST_ENVIRONMENT": "off",
            "INGEST_SHUTDOWN_TIMEOUT": "30",
        }
        done = subprocess.run(
            [sys.executable, "-c", KERNEL], input=json.dumps(["import ingest", *cells]), env=env, cwd=tmp_path,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        seen, report = json.loads(done.stdout.splitlines()[-1])
        return seen[1:], report

    return run


def stored(service: ServiceProcess) -> list[list[object]]:
    """Name, status, points and last step of each run, by the first step."""
    with Api(service.url) as api:
        found = api.sql(
            "SELECT r.name, r.status, count(m.step), max(m.step) FROM runs r LEFT JOIN metrics m USING (run_id)"
            " GROUP BY r.run_id, r.name, r.status ORDER BY min(m.step)"
        )
    return [[name, status, int(n), int(last)] for name, status, n, last in found.rows]


def test_a_cell_that_starts_a_run_is_run_again(run_cells, service):
    """The second time it is refused, as MLflow does; the run of the first time is still the active one and goes on."""
    start = "run = ingest.start_run(run_name='cell')"
    log = "ingest.log_metric('loss', 1.0, step={})"
    seen, report = run_cells(
        start,
        log.format(0),
        start,
        log.format(1),
        "report = [ingest.active_run() is run, run.info.status]",
        "ingest.end_run()",
        start,
        log.format(2),
    )
    assert seen == [None, None, "RunAlreadyActive", None, None, None, None, None]
    assert report == [True, "RUNNING"]
    assert stored(service) == [["cell", "FINISHED", 2, 1], ["cell", "FINISHED", 1, 2]]


def test_a_cell_with_a_with_block_is_run_again(run_cells, service):
    """Each time a run of its own, ended with the cell, whatever the cell before did."""
    cell = "with ingest.start_run(run_name='with'): ingest.log_metric('loss', 1.0, step={}); {}"
    seen, report = run_cells(
        cell.format(0, "1 / 0"),
        cell.format(1, INTERRUPT),
        cell.format(2, "pass"),
        "report = ingest.active_run()",
    )
    assert seen == ["ZeroDivisionError", "KeyboardInterrupt", None, None]
    assert report is None
    assert stored(service) == [["with", "FAILED", 1, 0], ["with", "KILLED", 1, 1], ["with", "FINISHED", 1, 2]]


def test_an_interrupted_training_loop_goes_on_in_the_next_cell(run_cells, service):
    """The button is pressed in the middle of a loop: the run is still there, nothing that a call returned for is lost."""
    endless = """
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
while True:
    ingest.log_metrics({"loss": 1.0 / (step + 1), "acc": 0.5}, step=step)
    step += 1
    time.sleep(0.001)
"""
    seen, report = run_cells(
        "import os, signal, threading, time; step = 0; run = ingest.start_run(run_name='loop')",
        endless,
        endless,
        "report = [step, run.stats().accepted_num, run.info.status, ingest.active_run() is run]",
    )
    assert seen == [None, "KeyboardInterrupt", "KeyboardInterrupt", None]
    steps, accepted, status, is_active = report
    assert (status, is_active) == ("RUNNING", True)
    # An interrupt between a call's return and the next line leaves `step` as it was: that call has returned all the same.
    assert 2 * steps <= accepted <= 2 * (steps + 2)
    ((name, status, points, last),) = stored(service)
    assert (name, status, points) == ("loop", "FINISHED", accepted)
    assert last in {steps - 1, steps}
