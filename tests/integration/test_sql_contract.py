"""The SQL contract: every view and column is explained, and what docs/sql.md and Grafana's dashboard ask is answered."""

from __future__ import annotations

import asyncio
import json
import math
import re
from pathlib import Path

import asyncpg
import pytest

from ingest.store.commit import commit_batches
from ingest.store.connections import connect_writer
from ingest_schema.events import Event
from ingest_schema.ids import new_id
from ingest_schema.wire import Batch
from tests.conftest import run_ingest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/sql.md").read_text()
QUESTIONS = re.findall(r"^(\d+)\. .*?```sql\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)
GRAFANA = ROOT / "deploy/grafana"
DASHBOARD = json.loads((GRAFANA / "dashboards/ingest-runs.json").read_text())
VIEWS = ("latest_metrics", "metric_summaries", "metrics", "runs_wide", "sql_contract")
BEGAN_MS = 1_700_000_000_000


@pytest.fixture
async def runs(database_url):
    """Two runs of experiment `mnist`, `baseline` and `variant`; the second one diverges at the end."""
    writer = await connect_writer(database_url)
    found = []
    for i, name in enumerate(("baseline", "variant")):
        start = {"experiment": "mnist", "name": name, "start_time_ms": BEGAN_MS + i}
        events = [
            Event("run_start", 0, start),
            Event("params", 0, {"lr": str(0.1 * (i + 1)), "batch_size": "32"}),
            Event("run_end", 0, {"status": "FINISHED", "end_time_ms": BEGAN_MS + 10_000}),
        ]
        points = [
            point
            for step in range(100)
            for point in (
                ("loss", step, BEGAN_MS + 100 * step, 1 / (step + 1 + i)),
                ("accuracy", step, BEGAN_MS + 100 * step, 1 - 0.9 ** (step + i)),
            )
        ]
        points += [("loss", 100, BEGAN_MS + 10_000, math.nan)] * i
        run_id = new_id()
        await commit_batches(writer, [Batch.of_points(run_id, new_id(), 1, points, events=events)])
        found.append(run_id)
    await writer.close()
    return found


@pytest.fixture
async def reader(database_url, runs):
    """As psql and Grafana log in."""
    done = await asyncio.to_thread(run_ingest, "reader", "--database-url", database_url)
    assert done.returncode == 0, done.stderr
    connection = await asyncpg.connect(done.stdout.strip())
    yield connection
    await connection.close()


def test_there_are_ten_questions():
    assert [int(number) for number, _ in QUESTIONS] == list(range(1, 11))


async def test_the_ten_questions_are_answered(reader):
    answers = {int(number): await reader.fetch(sql) for number, sql in QUESTIONS}
    assert [(r["name"], r["lr"]) for r in answers[1]] == [("variant", "0.2"), ("baseline", "0.1")]
    assert [(r["name"], r["min_step"]) for r in answers[2]] == [("variant", 99), ("baseline", 99)]
    assert [r["value"] for r in answers[3]] == [1 / (step + 1) for step in range(100)]
    assert (sum(r["points"] for r in answers[4]), answers[4][0]["greatest"]) == (100, 1.0)
    assert [(r["name"], r["key"], r["non_finite"], r["points"]) for r in answers[5]] == [
        ("variant", "loss", 1, 101)
    ]
    assert [(r["lr"], r["runs"]) for r in answers[6]] == [("0.2", 1), ("0.1", 1)]
    assert [(r["step"], r["runs"]) for r in answers[7]] == [(step, 2) for step in range(100)]
    assert [(r["name"], r["reached_at"]) for r in answers[8]] == [("variant", 15), ("baseline", 16)]
    assert {r["name"]: round(float(r["points_a_second"]), 1) for r in answers[9]} == {
        "variant": 10.1,
        "baseline": 10.1,
    }
    assert [tuple(r) for r in answers[10]] == [("lr", "0.1", "0.2")]


async def test_every_view_and_column_of_the_contract_is_explained(reader):
    rows = await reader.fetch(
        "SELECT c.relname AS view, a.attname AS name, obj_description(c.oid) AS about, "
        "col_description(c.oid, a.attnum) AS meaning FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid "
        "WHERE c.relnamespace = 'ingest'::regnamespace AND c.relkind = 'v' AND a.attnum > 0"
    )
    assert {row["view"] for row in rows} == set(VIEWS)
    assert [(row["view"], row["name"]) for row in rows if not (row["about"] and row["meaning"])] == []


async def test_the_contract_tells_its_version(reader):
    """And what each version added, so that a reader can ask for one."""
    (version,) = await reader.fetchrow("SELECT version FROM sql_contract")
    about = await reader.fetchval("SELECT col_description('sql_contract'::regclass, 1)")
    assert about.startswith(f"{version}: ")


async def test_summaries_agree_with_the_points(reader):
    rows = await reader.fetch(
        "SELECT s.*, m.n, m.mean, m.least FROM metric_summaries AS s JOIN (SELECT run_id, key, count(*) AS n, "
        "avg(value) FILTER (WHERE value <> 'NaN') AS mean, min(value) AS least FROM metrics GROUP BY 1, 2) AS m USING (run_id, key)"
    )
    assert len(rows) == 4
    for row in rows:
        assert (row["points"], row["min_value"]) == (row["n"], row["least"])
        assert row["mean_value"] == pytest.approx(row["mean"], rel=1e-12)


async def test_the_reader_can_only_read(reader):
    for statement in (
        "DELETE FROM runs",
        "CREATE TABLE mine (x int)",
        "SELECT * FROM secrets",
        "SELECT * FROM tokens",
    ):
        with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.ReadOnlySQLTransactionError)):
            await reader.execute(statement)


def asked_by_grafana(sql, run_ids):
    """What Grafana makes of a panel's SQL."""
    listed = ", ".join(f"'{run_id}'" for run_id in run_ids)
    sql = (
        sql.replace("${run:sqlstring}", listed).replace("${experiment}", "mnist").replace("${metric}", "loss")
    )
    sql = re.sub(r"\$__timeFilter\(([^)]+)\)", r"\1 BETWEEN '2023-01-01' AND '2024-01-01'", sql)
    sql = re.sub(r"\$__timeGroup\(([^,]+), \$__interval\)", r"floor(extract(epoch from \1)/60)*60", sql)
    assert "$" not in sql, sql
    return sql


async def test_grafana_s_dashboard_asks_what_is_answered(reader, runs):
    for variable in DASHBOARD["templating"]["list"]:
        assert await reader.fetch(asked_by_grafana(variable["query"], runs)), variable["name"]
    for panel in DASHBOARD["panels"]:
        (target,) = panel["targets"]
        rows = await reader.fetch(asked_by_grafana(target["rawSql"], runs))
        assert rows, panel["title"]
        if target["format"] == "time_series":
            assert {"time", "metric", "value"} == set(rows[0].keys())
    yaml = (GRAFANA / "provisioning/datasources/ingest.yaml").read_text()
    assert f"uid: {DASHBOARD['panels'][0]['datasource']['uid']}\n" in yaml


async def test_ingest_sql_schema_prints_the_views_with_their_comments(start_service, database_url, runs):
    service = await asyncio.to_thread(start_service, "--database-url", database_url)
    done = await asyncio.to_thread(run_ingest, "sql", "--schema", "--url", service.url)
    assert done.returncode == 0, done.stderr
    for view in VIEWS:
        assert f"\n{view}  " in "\n" + done.stdout
    assert "the greatest by step, then time, then value" in done.stdout
    done = await asyncio.to_thread(run_ingest, "sql", "--schema", "--json", "--url", service.url)
    assert {one["name"] for one in json.loads(done.stdout) if one["kind"] == "view"} == set(VIEWS)
    assert (await asyncio.to_thread(run_ingest, "sql", "--url", service.url)).returncode == 2
