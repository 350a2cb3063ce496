"""The operations page's numbers, saved queries, and the schema beside the SQL editor."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from ingest.service import saved_queries
from ingest.store.operations import ACTIVITY_SECONDS, Operations

Client = TestClient[Any, Any]


async def log_points(client: Client, run_name: str, points: int) -> str:
    body = {"experiment_id": "0", "run_name": run_name, "start_time": 1}
    response = await client.post("/api/2.0/mlflow/runs/create", json=body)
    run_id: str = (await response.json())["run"]["info"]["run_id"]
    metrics = [{"key": "loss", "value": i, "timestamp": i, "step": i} for i in range(points)]
    response = await client.post(
        "/api/2.0/mlflow/runs/log-batch", json={"run_id": run_id, "metrics": metrics}
    )
    assert response.status == 200, await response.text()
    return run_id


async def test_operations_tell_what_lies_in_the_database(web_client: Client) -> None:
    small = await log_points(web_client, "small", 3)
    large = await log_points(web_client, "large", 500)

    answer = await (await web_client.get("/api/v1/operations")).json()

    database = answer["database"]
    assert database["writers"]["points"] == 503
    assert [(run["run_id"], run["points"]) for run in database["largest_runs"]] == [(large, 500), (small, 3)]
    (experiment,) = database["largest_experiments"]
    assert (experiment["name"], experiment["runs"], experiment["points"]) == ("Default", 2, 503)
    assert {"status": "RUNNING", "lifecycle": "active", "runs": 2, "sealed": 0} in database["runs"]
    tables = {table["name"]: table for table in database["tables"]}
    assert tables["metric_chunks"]["bytes"] > 0
    assert database["database_bytes"] > tables["metric_chunks"]["bytes"]
    assert database["bytes_per_point"] > 0
    assert answer["service"]["instance"]
    assert answer["service"]["commit"]["count"] >= 0


async def test_sums_over_all_writers_are_made_once_for_all_who_ask_meanwhile() -> None:
    """A dozen open pages must not cost the database a dozen times the work."""
    asked: list[str] = []
    now = 0.0

    class Reader:
        async def fetch(self, query: str, *arguments: object) -> list[Any]:
            asked.append(query)
            await asyncio.sleep(0)
            return [{"points": len(asked)}]

    operations = Operations(Reader(), silent_after=90, clock=lambda: now)
    first = await asyncio.gather(*(operations.activity() for _ in range(12)))
    assert len({id(one) for one in first}) == 1
    once = len(asked)

    now = ACTIVITY_SECONDS
    await operations.activity()
    assert len(asked) == 2 * once


async def test_a_saved_query_is_kept_changed_and_deleted(web_client: Client) -> None:
    path = "/api/v1/saved-queries/best%20runs%2Fweekly"
    for sql in ("SELECT 1", "SELECT 2"):
        response = await web_client.put(path, json={"sql": sql})
        assert response.status == 200, await response.text()

    (saved,) = (await (await web_client.get("/api/v1/saved-queries")).json())["queries"]
    assert (saved["name"], saved["sql"], saved["updated_by"]) == ("best runs/weekly", "SELECT 2", "local")

    assert (await web_client.delete(path)).status == 204
    assert (await web_client.delete(path)).status == 404
    assert (await (await web_client.get("/api/v1/saved-queries")).json())["queries"] == []


@pytest.mark.parametrize("body", [{"sql": ""}, {"sql": 1}, {"sql": "a\0b"}, [], {}])
async def test_a_saved_query_that_is_none_is_refused(web_client: Client, body: Any) -> None:
    response = await web_client.put("/api/v1/saved-queries/x", json=body)
    assert response.status == 400


async def test_there_are_not_endlessly_many_saved_queries(
    web_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved_queries, "MAX_QUERIES", 1)
    assert (await web_client.put("/api/v1/saved-queries/a", json={"sql": "SELECT 1"})).status == 200
    assert (await web_client.put("/api/v1/saved-queries/b", json={"sql": "SELECT 1"})).status == 409
    assert (await web_client.put("/api/v1/saved-queries/a", json={"sql": "SELECT 2"})).status == 200


async def test_the_schema_shows_what_sql_may_read_and_nothing_else(web_client: Client) -> None:
    answer = await (await web_client.get("/api/v1/sql/schema")).json()

    relations = {relation["name"]: relation for relation in answer["relations"]}
    assert relations["metrics"]["kind"] == "view"
    types = {column["name"]: column["type"] for column in relations["metrics"]["columns"]}
    assert (types["step"], types["value"]) == ("bigint", "double precision")
    assert relations["runs"]["comment"] == "One execution of training code."
    assert not {"tokens", "secrets", "sessions", "saved_queries"} & set(relations)


async def test_a_statement_whose_asker_has_gone_is_cancelled(web_client: Client, wait_for: Any) -> None:
    async def sleepers() -> int:
        sql = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(50)%' AND pid <> pg_backend_pid()"
        answer = await (await web_client.post("/api/v1/sql", json={"sql": sql})).json()
        count: int = answer["rows"][0][0]
        return count

    asking = asyncio.create_task(web_client.post("/api/v1/sql", json={"sql": "SELECT pg_sleep(50)"}))
    await wait_for(sleepers)
    asking.cancel()

    async def nobody_sleeps() -> bool:
        return await sleepers() == 0

    await wait_for(nobody_sleeps)
