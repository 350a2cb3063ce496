"""Many short runs in one process: each is stored once, and the process holds a bounded number of files and threads meanwhile.

The whole form, 10,000 runs: `python bench/many_runs.py`.
"""

from __future__ import annotations

import json
from pathlib import Path

from bench.many_runs import LEDGER_SQL, MAX_FILES, expected_ledger, sweep
from ingest.bench.api import Api
from ingest.bench.ports import free_port
from ingest_client._parking import PLACES
from ingest_client._run import Run
from ingest_client._settings import Settings
from tests.conftest import ServiceProcess
from tests.integration.client.conftest import settings_for
from tests.integration.client.stub import Stub, problem, running_stub, wait_until

RUNS = 40


def log_runs(settings: Settings) -> list[Run]:
    runs = []
    for number in range(RUNS):
        run = Run(settings, run_name=str(number))
        run.log_metrics({"a": float(number), "b": 1.0}, step=number)
        run.log_text("text", "note.txt")
        run.end()
        runs.append(run)
    return runs


def senders_num(runs: list[Run]) -> int:
    return sum(run.sender is not None and run.sender.is_alive() for run in runs)


def test_a_hundred_threads_with_runs_of_their_own(service: ServiceProcess, spool_dir: Path):
    threads, runs = 100, 3
    with sweep(service.url, spool_dir, threads, runs) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ended\n"
        output, _ = process.communicate("go on\n", timeout=100)
    assert process.returncode == 0
    peak = json.loads(output)
    assert peak["is_stored"]
    assert peak["files"] < MAX_FILES
    assert peak["threads"] < 4 * threads
    with Api(service.url) as api:
        assert [int(number) for number in api.sql(LEDGER_SQL).rows[0]] == expected_ledger(threads, runs)
    assert not list(spool_dir.glob("*/*"))


def test_without_a_service_ended_runs_wait_on_the_disk_and_are_counted(
    dead_settings: Settings, spool_dir: Path
):
    runs = log_runs(dead_settings)
    wait_until(lambda: senders_num(runs) <= PLACES)
    stats = [run.stats() for run in runs]
    assert sum(s.spooled_num for s in stats) == 2 * RUNS
    assert sum(s.artifacts_spooled_num for s in stats) == RUNS
    assert all(s.accepted_num == 2 and not s.dropped_num for s in stats)
    assert not any(run.is_delivered for run in runs)
    assert not runs[-1].flush(0.1)
    parked = [run for run in runs if run.sender is not None and run.sender.is_parked]
    assert len(parked) == RUNS - PLACES
    for run in parked:
        (segment,) = Path(run.spool_dir or "").glob("*.seg")
        assert segment.stat().st_size < 4096, "an ended run takes as much of the disk as it has written"


def test_they_are_delivered_by_the_same_process_when_the_service_comes(spool_dir: Path):
    """In order, once, and counted as acknowledged, whichever thread has done it."""
    port = free_port()
    runs = log_runs(settings_for(f"http://127.0.0.1:{port}", spool_dir))
    wait_until(lambda: senders_num(runs) <= PLACES)
    with running_stub(port) as stub:
        assert all(run.flush(30) for run in runs)
        wait_until(lambda: all(run.is_delivered for run in runs), 20)
        assert sorted(p[3] for p in stub.points() if p[0] == "a") == [float(n) for n in range(RUNS)]
        for run in runs:
            assert stub.kinds(run.id) == ["run_start", "writer", "run_end", "writer_end"]
            stats = run.stats()
            assert (stats.accepted_num, stats.acknowledged_num, stats.spooled_num) == (2, 2, 0)
            assert (stats.artifacts_uploaded_num, stats.artifacts_spooled_num) == (1, 0)
    assert not list(spool_dir.glob("*/*"))


def test_each_service_has_places_of_its_own(dead_settings: Settings, settings: Settings):
    """A service that is away must not cost the runs for another one their threads."""
    away = log_runs(dead_settings)
    here = log_runs(settings)
    wait_until(lambda: all(run.is_delivered for run in here), 20)
    assert not any(run.is_delivered for run in away)


def test_what_the_service_refuses_of_a_parked_run_is_told(spool_dir: Path):
    port = free_port()
    runs = log_runs(settings_for(f"http://127.0.0.1:{port}", spool_dir))
    wait_until(lambda: senders_num(runs) <= PLACES)
    strict = Stub()
    strict.misbehave = lambda stub, batch: problem(422, "batch_refused") if batch.point_count else None
    with running_stub(port, strict):
        wait_until(lambda: all(run.is_delivered for run in runs), 20)
    for run in runs:
        stats = run.stats()
        assert (stats.acknowledged_num, stats.rejected_num, stats.spooled_num) == (0, 2, 0)
        assert stats.rejected == {"batch_refused": 2}
        assert not run.flush(0.1)
