"""The client and the real service: what is logged is in the database, bit for bit and once."""

from __future__ import annotations

import json
import math
import urllib.request

import ingest
from ingest_client._run import Run
from tests.conftest import ServiceProcess, run_ingest
from tests.integration.client.conftest import is_parked, settings_for
from tests.integration.client.stub import wait_until


def ask(service, statement):
    request = urllib.request.Request(
        f"{service.url}/api/v1/sql",
        data=json.dumps({"sql": statement}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)["rows"]


def test_steps_times_and_values_arrive_exactly(service: ServiceProcess, monkeypatch):
    monkeypatch.setenv("INGEST_TRACKING_URI", service.url)
    ingest.set_experiment("exact")
    with ingest.start_run(run_name="bits", tags={"team": "a"}) as run:
        ingest.log_params({"lr": 0.1})
        for step in (-(2**63), 2**63 - 1, 0, 0, -5):
            ingest.log_metrics({"x/y z": 0.1 * (step % 7), "inf": math.inf}, step=step)
        run.log_metric("nan", math.nan, 1, timestamp=-(2**63))
        assert run.flush(30)
    wait_until(lambda: run.is_delivered)
    rows = ask(service, "SELECT key, step, value FROM metrics WHERE key = 'x/y z' ORDER BY step")
    assert [(int(r[1]), r[2]) for r in rows] == [
        (step, 0.1 * (step % 7)) for step in (-(2**63), -5, 0, 0, 2**63 - 1)
    ]
    rows = ask(service, "SELECT step, time_ms, value FROM metrics WHERE key = 'nan'")
    assert [(int(r[0]), int(r[1]), str(r[2])) for r in rows] == [(1, -(2**63), "NaN")]
    assert ask(service, "SELECT name, status FROM runs") == [["bits", "FINISHED"]]


def test_a_start_in_an_unknown_experiment_keeps_the_points_and_says_so(service, spool_dir, caplog):
    run = Run(settings_for(service.url, spool_dir), experiment=999)
    run.log_metric("a", 1.0)
    assert run.flush(30)  # nothing of what was logged is lost
    stats = run.stats()
    run.end()
    assert (stats.acknowledged_num, stats.rejected_num, stats.rejected_events_num) == (1, 0, 1)
    assert "there is no experiment 999" in caplog.text
    assert ask(service, "SELECT experiment FROM runs_wide WHERE run_id IN (SELECT run_id FROM metrics)") == [
        ["Default"]
    ]


def test_ingest_sync_delivers_what_was_logged_offline(service: ServiceProcess, spool_dir):
    run = Run(settings_for(service.url, spool_dir, INGEST_MODE="offline"))
    for step in range(1000):
        run.log_metrics({"a": float(step), "b": 1.0}, step)
    run.end()
    wait_until(lambda: is_parked(run))
    done = run_ingest("sync", str(spool_dir), "--json")
    assert done.returncode == 0, done.stderr
    (report,) = json.loads(done.stdout)
    assert (report["status"], report["acknowledged_points"]) == ("delivered", 2000)
    assert ask(service, "SELECT count(*), count(DISTINCT step) FROM metrics") == [[2000, 1000]]
    again = run_ingest("sync", str(spool_dir))
    assert (again.returncode, again.stdout) == (0, "nothing to deliver\n")


def test_ingest_sync_says_what_could_not_be_delivered(spool_dir, dead_settings):
    run = Run(settings_for(dead_settings.tracking_uri, spool_dir, INGEST_MODE="offline"))
    run.log_metric("a", 1.0)
    run.end()
    wait_until(lambda: is_parked(run))
    done = run_ingest("sync", str(spool_dir), "--patience", "0")
    assert done.returncode == 1
    assert "nobody listens" in done.stderr


def test_a_changed_param_is_reported_and_the_rest_is_stored(service: ServiceProcess, spool_dir, caplog):
    run = Run(settings_for(service.url, spool_dir))
    run.log_param("lr", 0.1)
    assert run.flush(30)
    run.log_params({"lr": 0.2, "new": 1})
    run.log_metric("a", 1.0)
    assert run.flush(30)
    run.end()
    wait_until(lambda: run.is_delivered)
    assert run.stats().rejected_events_num == 1
    assert "left out params 'lr'" in caplog.text
    rows = ask(service, "SELECT key, value FROM params ORDER BY key")
    assert rows == [["lr", "0.1"], ["new", "1"]]
