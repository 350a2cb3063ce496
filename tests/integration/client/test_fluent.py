"""The fluent face: MLflow's names, through `import ingest as mlflow`."""

from __future__ import annotations

import threading
from uuid import UUID

import pytest

import ingest as mlflow
from ingest_client import RunAlreadyActive
from ingest_client._run import Run
from ingest_schema.run_names import run_name_of
from tests.integration.client.stub import wait_until


@pytest.fixture(autouse=True)
def service(stub, monkeypatch):
    monkeypatch.setenv("INGEST_MAX_AGE", "0.1")
    mlflow.set_tracking_uri(stub.url)
    yield stub
    while mlflow.active_run() is not None:
        mlflow.end_run()


def delivered(run, stub):
    wait_until(lambda: run.is_delivered)
    return stub


def test_logging_starts_a_run_and_end_run_ends_it(stub):
    assert mlflow.active_run() is None
    assert mlflow.log_param("n_estimators", 10) == 10
    mlflow.log_params({"depth": 4})
    run = mlflow.active_run()
    mlflow.log_metric("mse", 2500.0)
    mlflow.log_metrics({"rmse": 50.0, "mse": 2400}, step=3)
    mlflow.end_run()
    assert mlflow.active_run() is None
    assert mlflow.last_active_run() is run
    delivered(run, stub)
    assert sorted(p[:2] + p[3:] for p in stub.points()) == [
        ("mse", 0, 2500.0),
        ("mse", 3, 2400.0),
        ("rmse", 3, 50.0),
    ]


def test_a_with_block_ends_its_run(stub):
    with mlflow.start_run(run_name="named", tags={"a": 1}, description="why") as run:
        mlflow.log_metric(key="quality", value=2, step=-20)
    assert mlflow.active_run() is None
    assert run.info.run_name == "named"
    assert run.info.status == "FINISHED"
    delivered(run, stub)
    tags = [e.body for e in stub.events() if e.kind == "tags"]
    assert tags == [{"mlflow.note.content": "why"}, {"a": "1"}]


def test_a_run_without_a_name_has_the_one_that_the_service_gives_it():
    with mlflow.start_run() as run:
        assert run.info.run_name == run_name_of(run.id)


def test_a_second_run_needs_nested():
    with mlflow.start_run() as outer:
        with pytest.raises(RunAlreadyActive, match="nested=True"):
            mlflow.start_run()
        with mlflow.start_run(nested=True) as inner:
            assert mlflow.active_run() is inner
            assert inner.info.parent_run_id == outer.info.run_id
        assert mlflow.active_run() is outer


def test_experiments_by_name_and_by_id(stub, monkeypatch):
    assert mlflow.set_experiment("mnist").name == "mnist"
    with mlflow.start_run() as first:
        pass
    with mlflow.start_run(experiment_id="7") as second:
        pass
    with mlflow.start_run(experiment_id=mlflow.create_experiment("123")) as third:
        pass
    assert [r.info.experiment for r in (first, second, third)] == ["mnist", 7, "123"]
    with pytest.raises(ValueError, match="either"):
        mlflow.set_experiment()


def test_settings_come_from_the_environment(monkeypatch):
    mlflow.set_tracking_uri("")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://10.0.0.1:5000/")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "from-env")
    assert mlflow.get_tracking_uri() == "http://10.0.0.1:5000"
    monkeypatch.setenv("INGEST_TRACKING_URI", "http://127.0.0.1:1")
    assert mlflow.get_tracking_uri() == "http://127.0.0.1:1"
    with mlflow.start_run() as run:
        assert run.info.experiment == "from-env"


@pytest.mark.parametrize(
    "uri", ["file:///tmp/mlruns", "sqlite:///mlflow.db", "10.0.0.1:5000", "http://h:99999"]
)
def test_an_address_that_is_none_is_refused(uri):
    with pytest.raises(ValueError, match="tracking URI"):
        mlflow.set_tracking_uri(uri)


def test_a_run_is_resumed_by_its_id(stub):
    with mlflow.start_run() as first:
        mlflow.log_metric("a", 1.0, 1)
    delivered(first, stub)
    with mlflow.start_run(run_id=first.info.run_id, resume_from_step=5) as again:
        mlflow.log_metric("a", 2.0, 6)
    delivered(again, stub)
    assert len(stub.points(first.id)) == 2
    starts = [e.body for e in stub.events(first.id) if e.kind == "run_start"]
    assert starts[1]["resume_from_step"] == 5


def test_threads_log_to_the_run_of_the_script(stub):
    with mlflow.start_run() as run:
        thread = threading.Thread(target=mlflow.log_metric, args=("from_thread", 1.0))
        thread.start()
        thread.join()
        assert mlflow.flush(30)
    assert [p[0] for p in stub.points(run.id)] == ["from_thread"]


def test_threads_with_runs_of_their_own_do_not_mix(stub):
    def work(number: int) -> None:
        with mlflow.start_run():
            for step in range(100):
                mlflow.log_metric("thread", number, step)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert mlflow.flush(30)
    by_run: dict[UUID, list[float]] = {}
    for batch in stub.batches:
        by_run.setdefault(batch.run_id, []).extend(p[3] for p in batch.points())
    assert sorted(len(v) for v in by_run.values()) == [100] * 5
    assert all(len(set(values)) == 1 for values in by_run.values())


def test_logging_works_in_tasks():
    import asyncio

    async def main():
        with mlflow.start_run() as run:
            await asyncio.gather(*(child() for _ in range(3)))
            return run.stats().accepted_num

    async def child():
        mlflow.log_metric("a", 1.0)

    assert asyncio.run(main()) == 3


def test_synchronous_waits():
    run = mlflow.start_run()
    mlflow.log_metric("a", 1.0, synchronous=True)
    assert run.stats().acknowledged_num == 1


async def test_the_asyncio_twin_flushes_without_blocking_the_loop(stub):
    import asyncio

    stub.delay = 0.5
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticker = asyncio.create_task(tick())
    client = mlflow.AsyncClient(stub.url)
    async with client, client.start_run(experiment="aio", tags={"a": "b"}) as run:
        run.log_metrics({"loss": 1.0}, step=1)
        run.log_params({"p": 1})
        assert await run.flush(30)
    ticker.cancel()
    assert ticks > 5
    assert run.stats().acknowledged_num == 1
    assert [e.body["status"] for e in stub.events() if e.kind == "run_end"] == ["FINISHED"]


async def test_a_twin_whose_service_is_dead_gives_up_in_time(dead_settings):
    client = mlflow.AsyncClient(dead_settings.tracking_uri)
    run = client.start_run()
    run.log_metrics({"loss": 1.0})
    assert await run.flush(0.2) is False
    assert await client.aclose(0.2) is False


async def test_a_twin_looks_at_waiting_runs_now_and_then_only(stub, monkeypatch):
    """Thousands may wait for a service that is away, and each further start must cost the same as the first."""
    looks = 0
    is_delivered = Run.is_delivered.__get__

    def look(run):
        nonlocal looks
        looks += 1
        return is_delivered(run)

    monkeypatch.setattr(Run, "is_delivered", property(look))
    monkeypatch.setenv("INGEST_MODE", "offline")
    client = mlflow.AsyncClient(stub.url)
    for _ in range(300):
        client.start_run().end()
    assert looks < 4 * 300  # the twin's list, and that of the process
    assert not await client.aclose(timeout=0.1)
