"""POST /api/v1/sql: what a reader may ask, in which form the answer comes, and what no statement can do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from ingest.store import user_sql


async def ask(web_client: Any, sql: str, **more: object) -> tuple[int, dict[str, Any]]:
    response = await web_client.post("/api/v1/sql", json={"sql": sql, **more})
    return response.status, await response.json()


async def one(web_client: Any, sql: str) -> Any:
    status, answer = await ask(web_client, sql)
    assert status == 200, answer
    return answer["rows"][0][0]


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(database_url, server_settings={"search_path": "ingest"})
    yield connection
    await connection.close()


async def test_rows_come_with_names_and_types_of_columns(web_client):
    status, answer = await ask(web_client, "SELECT name, experiment_id AS id FROM experiments")

    assert status == 200
    assert answer["columns"] == [{"name": "name", "type": "text"}, {"name": "id", "type": "int8"}]
    assert answer["rows"] == [["Default", 0]]
    assert (answer["row_count"], answer["truncated"]) == (1, False)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("'0192f0c1-7b2a-7c3d-8e4f-a1b2c3d4e5f6'::uuid", "0192f0c17b2a7c3d8e4fa1b2c3d4e5f6"),
        ("'2026-01-02 03:04:05.678+02'::timestamptz", "2026-01-02T01:04:05.678000+00:00"),
        ("'2026-01-02'::date", "2026-01-02"),
        ("'NaN'::float8", "NaN"),
        ("'-Infinity'::float8", "-Infinity"),
        ("0.1::float8", 0.1),
        ("9223372036854775807", 9223372036854775807),
        ("12.50::numeric", 12.5),
        ("'NaN'::numeric", "NaN"),
        ("'\\xDEAD'::bytea", "\\xdead"),
        ("""'{"a": [1, null]}'::jsonb""", {"a": [1, None]}),
        ("ARRAY[1.5, 'NaN', NULL]::float8[]", [1.5, "NaN", None]),
        ("NULL::uuid", None),
        ("true", True),
        ("interval '90 minutes'", "1:30:00"),
    ],
)
async def test_each_type_has_its_form_in_json(web_client, expression, expected):
    assert await one(web_client, f"SELECT {expression}") == expected


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE ingest.mine (a int)",
        "CREATE TEMP TABLE mine (a int)",
        "DROP TABLE ingest.runs",
        "INSERT INTO ingest.experiments (name, created_at_ms, updated_at_ms) VALUES ('x', 0, 0)",
        "UPDATE ingest.experiments SET name = 'x'",
        "DELETE FROM ingest.metric_chunks",
        "WITH gone AS (DELETE FROM ingest.experiments RETURNING name) SELECT name FROM gone",
        "TRUNCATE ingest.runs",
        "SELECT name FROM ingest.experiments FOR UPDATE",
        "SELECT name FROM ingest.tokens",
        "SELECT value FROM ingest.secrets",
        "SELECT rolpassword FROM pg_authid",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT pg_ls_dir('/')",
        "SELECT lo_import('/etc/passwd')",
        "COPY (SELECT 1) TO PROGRAM 'touch /tmp/owned'",
        "COPY ingest.experiments FROM '/etc/passwd'",
        "SELECT set_config('role', 'postgres', false)",
        "SET ROLE postgres",
        "SET SESSION AUTHORIZATION postgres",
        "SELECT 1; SELECT 2",
        "SELECT 1; COMMIT; DROP TABLE ingest.runs",
        "SELECT 1) TO STDOUT; --",
        "ALTER ROLE CURRENT_USER SUPERUSER",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename <> current_user AND usename IS NOT NULL",
        "DO $$ BEGIN PERFORM 1; END $$",
        "CALL nothing()",
        "LISTEN everything",
        "",
    ],
)
async def test_no_statement_can_do_more_than_read(web_client, owner, statement):
    """Refused by privilege or by the protocol, never by a look at the text; the service goes on."""
    tables = "SELECT count(*) FROM pg_tables"
    before = await owner.fetchval(tables)

    status, answer = await ask(web_client, statement)

    assert status == 400, answer
    assert answer["code"] == "query_refused"
    assert await owner.fetchval(tables) == before
    assert await one(web_client, "SELECT count(*) FROM experiments") == 1


async def test_what_a_statement_sets_is_gone_with_it(web_client):
    changed = (
        "SELECT set_config('search_path', 'nowhere', false), set_config('statement_timeout', '0', false)"
    )
    assert (await ask(web_client, changed))[0] == 200
    assert await one(web_client, "SHOW search_path") == "ingest"
    assert (await ask(web_client, "SELECT pg_advisory_lock(42)"))[0] == 200
    still_held = (
        "SELECT count(*) FROM pg_locks JOIN pg_database AS d ON d.oid = database "
        "WHERE locktype = 'advisory' AND d.datname = current_database() AND (classid, objid) = (0, 42)"
    )
    assert await one(web_client, still_held) == 0


async def test_a_slow_statement_is_stopped(web_client):
    started = time.perf_counter()
    status, answer = await ask(web_client, "SELECT pg_sleep(60)", timeout=0.3)

    assert (status, answer["sqlstate"]) == (400, "57014")
    assert time.perf_counter() - started < 30


async def test_a_statement_that_lifts_its_own_time_limit_is_stopped_all_the_same(web_client, owner, wait_for):
    """The first rows switch statement_timeout off, the later ones sleep: the service's own clock cuts in."""
    sql = (
        "SELECT CASE WHEN i = 1 THEN set_config('statement_timeout', '0', false) || "
        "set_config('client_connection_check_interval', '0', false) WHEN i > 100 THEN pg_sleep(30)::text END "
        "FROM generate_series(1, 100000) AS i"
    )
    status, answer = await ask(web_client, sql, timeout=0.5)

    assert (status, answer["sqlstate"]) == (400, "57014")
    running = (
        "SELECT count(*) = 0 FROM pg_stat_activity "
        "WHERE application_name = 'ingest sql' AND datname = current_database()"
    )
    assert await wait_for(
        lambda: owner.fetchval(running), timeout=25
    )  # it would sleep for 30 s, again and again


async def test_rows_are_cut_at_the_limit_and_said_to_be(web_client):
    status, answer = await ask(web_client, "SELECT generate_series(1, 1000000000)", max_rows=5)
    assert status == 200
    assert answer["rows"] == [[1], [2], [3], [4], [5]]
    assert answer["truncated"] is True

    status, answer = await ask(web_client, "SELECT * FROM generate_series(1, 5) AS i", max_rows=5)
    assert (answer["row_count"], answer["truncated"]) == (5, False)


async def test_bytes_are_bounded_too(web_client, monkeypatch):
    monkeypatch.setattr(user_sql, "SOFT_MAX_BYTES", 1_000_000)
    status, answer = await ask(web_client, "SELECT repeat('x', 10000) FROM generate_series(1, 100000)")

    assert status == 200
    assert answer["truncated"] is True
    assert 100 <= answer["row_count"] <= 250


async def test_a_huge_row_never_reaches_memory(web_client):
    status, answer = await ask(web_client, "SELECT repeat('x', 900000000)")

    assert (status, answer["sqlstate"]) == (400, "54000")
    assert await one(web_client, "SELECT 1") == 1


async def test_an_error_says_where_and_what(web_client):
    status, answer = await ask(web_client, "SELECT nothing FROM runs")

    assert (status, answer["sqlstate"], answer["position"]) == (400, "42703", 8)
    assert "nothing" in answer["detail"]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"sql": 1}', b'{"sql": "SELECT 1", "max_rows": 0}',
             b'{"sql": "SELECT 1", "timeout": -1}', b'{"sql": "SELECT 1", "x": 1}', b'{"sql": "a\\u0000"}'],
)  # fmt: skip
async def test_a_body_of_another_form_is_refused(web_client, body):
    response = await web_client.post("/api/v1/sql", data=body)
    assert response.status == 400
    assert (await response.json())["code"] == "bad_request"


async def test_many_statements_take_turns(web_client):
    answers = await asyncio.gather(*(one(web_client, f"SELECT {i}") for i in range(20)))
    assert answers == list(range(20))
