"""`ingest sql` and `ingest runs` against a running service."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ingest_schema.events import Event
from ingest_schema.ids import new_id
from ingest_schema.wire import Batch, encode_batch

ROWS = "SELECT * FROM (VALUES (1, 'a,[b]', 'NaN'::float8), (2, NULL, 0.5)) AS t (n, text, value) ORDER BY n"


@pytest.fixture
def ask(service: Any) -> Any:
    from tests.conftest import run_ingest

    return lambda *arguments, **env: run_ingest(*arguments, **{"INGEST_TRACKING_URI": service.url, **env})


def test_sql_prints_a_table_json_csv_or_writes_parquet(ask, tmp_path: Path):
    table = ask("sql", ROWS)
    assert table.returncode == 0, table.stderr
    assert "a,[b]" in table.stdout

    as_json = json.loads(ask("sql", ROWS, "--json").stdout)
    assert as_json["rows"] == [[1, "a,[b]", "NaN"], [2, None, 0.5]]

    assert ask("sql", ROWS, "--csv").stdout == 'n,text,value\n1,"a,[b]",NaN\n2,,0.5\n'

    path = tmp_path / "t.parquet"
    assert ask("sql", ROWS, "--parquet", str(path)).returncode == 0
    columns = pq.read_table(path).to_pydict()
    assert columns["n"] == [1, 2]
    assert math.isnan(columns["value"][0])


def test_a_cut_answer_and_an_error_are_said(ask):
    cut = ask("sql", "SELECT generate_series(1, 9)", "--max-rows", "2")
    assert "cut after 2 rows" in cut.stderr

    wrong = ask("sql", "SELECT nothing")
    assert wrong.returncode == 1
    assert "nothing" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_without_a_service_it_says_so(ask):
    silent = ask("runs", "--url", "http://127.0.0.1:9")
    assert silent.returncode == 1
    assert "ingest serve" in silent.stderr


def test_runs_lists_the_newest_first(ask, service):
    import urllib.request

    for i in range(3):
        start = {"experiment": "list", "name": f"run-{i}", "start_time_ms": 1_700_000_000_000 + i}
        body = encode_batch(
            Batch(
                run_id=new_id(), writer_id=new_id(), seq=1, sent_ms=0, events=[Event("run_start", 0, start)]
            )
        )
        request = urllib.request.Request(service.url + "/api/v1/batches", data=body)
        urllib.request.urlopen(request, timeout=30).close()

    listed = json.loads(ask("runs", "--json", "--limit", "2", "--experiment", "list").stdout)
    assert [run["name"] for run in listed] == ["run-2", "run-1"]
    assert "run-0" in ask("runs").stdout
