"""POST /api/v1/runs/search and /compare, and the search for keys of one run."""

from __future__ import annotations

import math
import struct
from typing import Any
from uuid import UUID

import pytest

from ingest.store.commit import commit_batches
from ingest.store.connections import connect_writer
from ingest_schema.events import Event
from ingest_schema.ids import new_id
from ingest_schema.wire import Batch, encode_batch


async def log(
    web_client: Any,
    name: str,
    *,
    params: dict[str, str],
    metrics: dict[str, list[float]],
    experiment: str = "e",
) -> UUID:
    run_id = new_id()
    counts = [len(values) for values in metrics.values()]
    body = Batch(
        run_id=run_id,
        writer_id=new_id(),
        seq=1,
        sent_ms=1,
        events=[
            Event("run_start", 1, {"experiment": experiment, "name": name, "start_time_ms": 1}),
            Event("params", 1, dict(params)),
            Event("tags", 1, {"t": name}),
        ],
        keys=list(metrics),
        counts=struct.pack(f"<{len(counts)}I", *counts),
        steps=b"".join(struct.pack(f"<{n}q", *range(n)) for n in counts),
        times_ms=b"".join(struct.pack(f"<{n}q", *range(n)) for n in counts),
        values=b"".join(struct.pack(f"<{len(v)}d", *v) for v in metrics.values()),
    )
    response = await web_client.post("/api/v1/batches", data=encode_batch(body))
    assert response.status == 200, await response.text()
    return run_id


async def ask(web_client: Any, path: str, status: int = 200, **body: object) -> Any:
    response = await web_client.post(f"/api/v1/runs/{path}", json=body)
    assert response.status == status, await response.text()
    return await response.json()


@pytest.fixture
async def three(web_client: Any) -> list[UUID]:
    return [
        await log(
            web_client, "a", params={"lr": "0.1", "same": "x"}, metrics={"loss": [3.0, 1.0], "only/a": [1.0]}
        ),
        await log(web_client, "b", params={"lr": "0.01", "same": "x"}, metrics={"loss": [1.0, 2.0]}),
        await log(
            web_client, "c", params={"same": "x"}, metrics={"loss": [float("nan")]}, experiment="other"
        ),
    ]


async def test_a_search_filters_orders_and_gives_the_columns_asked_for(
    web_client: Any, three: list[UUID]
) -> None:
    found = await ask(
        web_client,
        "search",
        filter="params.lr < 0.5 OR metrics.loss IS NAN",
        order_by=["metrics.loss DESC"],
        columns=["name", "params.lr", "min(metrics.loss)", "metrics.loss"],
        count=True,
    )

    assert found["count"] == 3
    assert found["runs"][0] == {
        "run_id": three[1].hex,
        "name": "b",
        "params": {"lr": "0.01"},
        "metrics": {"loss": 2.0},
        "summaries": {"min": {"loss": 1.0}},
    }
    assert [run["metrics"]["loss"] for run in found["runs"]] == [2.0, 1.0, "NaN"]


async def test_pages_follow_each_other_while_runs_come_in(web_client: Any, three: list[UUID]) -> None:
    first = await ask(web_client, "search", order_by=["name"], limit=2)
    await log(web_client, "a", params={}, metrics={})
    second = await ask(web_client, "search", order_by=["name"], limit=2, page_token=first["next_page_token"])

    assert [run["name"] for run in first["runs"] + second["runs"]] == ["a", "b", "c"]
    assert second["next_page_token"] is None
    other = await ask(web_client, "search", 400, limit=2, page_token=first["next_page_token"])
    assert other["code"] == "bad_page_token"


async def test_experiments_are_named_or_numbered(web_client: Any, three: list[UUID]) -> None:
    found = await ask(web_client, "search", experiments=["other"])
    assert [run["run_id"] for run in found["runs"]] == [three[2].hex]
    by_id = await ask(web_client, "search", experiments=[found["runs"][0]["experiment_id"]])
    assert by_id == found
    assert (await ask(web_client, "search", 404, experiments=["none"]))["code"] == "not_found"
    assert (await ask(web_client, "search", experiments=[]))["runs"] == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"filter": "metrics.loss <"}, "bad_filter"),
        ({"filter": "params.lr ~ '('"}, "bad_filter"),
        ({"columns": ["nothing.x"]}, "bad_filter"),
        ({"order_by": ["loss up"]}, "bad_filter"),
        ({"limit": 0}, "bad_request"),
        ({"limit": True}, "bad_request"),
        ({"view": "some"}, "bad_request"),
        ({"filters": ""}, "bad_request"),
        ({"page_token": "?"}, "bad_page_token"),
    ],
)
async def test_what_can_not_be_asked_is_refused_with_its_reason(
    web_client: Any, body: Any, code: str
) -> None:
    problem = await ask(web_client, "search", 400, **body)

    assert problem["code"] == code
    if "filter" in body and "column" in problem:
        assert "^ column 15" in problem["text"]


async def test_compare_gives_what_differs_and_on_request_everything(
    web_client: Any, three: list[UUID]
) -> None:
    ids = [run_id.hex for run_id in three]
    found = await ask(web_client, "compare", run_ids=ids)

    assert found["params"] == {"lr": ["0.1", "0.01", None]}
    assert found["tags"] == {"t": ["a", "b", "c"]}
    assert found["metrics"]["loss"]["last"] == [1.0, 2.0, "NaN"]
    assert found["metrics"]["loss"]["min"] == [1.0, 1.0, None]
    assert found["metrics"]["only/a"]["count"] == [1, None, None]
    assert [run["run_id"] for run in found["runs"]] == ids
    everything = await ask(web_client, "compare", run_ids=ids, all=True)
    assert everything["params"]["same"] == ["x", "x", "x"]


async def test_two_hundred_runs_are_compared_in_one_call(web_client: Any, services: Any) -> None:
    """As many as may be, with NaN among the latest values and one run that lacks a param."""
    ids = [new_id() for _ in range(200)]
    batches = [
        Batch.of_points(
            run_id,
            new_id(),
            1,
            [("loss", 1, 1, math.nan if i == 7 else float(i))],
            events=[
                Event("run_start", 1, {"experiment": "e", "name": f"r{i}", "start_time_ms": 1}),
                Event("params", 1, {"same": "x"} | ({"lr": str(i % 3)} if i else {})),
            ],
        )
        for i, run_id in enumerate(ids)
    ]
    connection = await connect_writer(services.database_url)
    await commit_batches(connection, batches)
    await connection.close()

    found = await ask(web_client, "compare", run_ids=[run_id.hex for run_id in ids])

    assert [run["run_id"] for run in found["runs"]] == [run_id.hex for run_id in ids]
    assert found["params"] == {"lr": [None, *(str(i % 3) for i in range(1, 200))]}
    expected = [float(i) for i in range(200)]
    assert found["metrics"]["loss"]["last"] == [*expected[:7], "NaN", *expected[8:]]


async def test_compare_says_which_run_is_not_there(web_client: Any, three: list[UUID]) -> None:
    missing = new_id().hex
    assert missing in (await ask(web_client, "compare", 404, run_ids=[three[0].hex, missing]))["detail"]
    await ask(web_client, "compare", 400, run_ids=[])
    await ask(web_client, "compare", 400, run_ids=[new_id().hex for _ in range(201)])


@pytest.mark.parametrize(
    ("match", "keys"),
    [
        ("LOSS", ["loss"]),
        ("only/*", ["only/a"]),
        ("?oss", ["loss"]),
        ("l_ss", []),
        ("/^o.*a$/", ["only/a"]),
        ("", ["loss", "only/a"]),
    ],
)
async def test_keys_of_a_run_are_found_by_piece_glob_or_expression(
    web_client: Any, three: list[UUID], match: str, keys: list[str]
) -> None:
    response = await web_client.get(f"/api/v1/runs/{three[0].hex}/series", params={"match": match})
    assert [series["key"] for series in (await response.json())["series"]] == keys


async def test_a_broken_expression_for_keys_is_refused(web_client: Any, three: list[UUID]) -> None:
    response = await web_client.get(f"/api/v1/runs/{three[0].hex}/series", params={"match": "/(/"})
    assert response.status == 400
