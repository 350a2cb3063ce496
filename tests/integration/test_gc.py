"""Deleting for good: everything of the run goes, nothing else does, and nothing brings half of it back."""

from __future__ import annotations

import asyncio
import json
import uuid
from functools import partial

import asyncpg
import pytest

from ingest.cli.gc import parse_duration
from ingest.compaction.worker import Progress, compact_all
from ingest.gc import collect, preview
from ingest.store.commit import BatchRefused, commit_batches
from ingest.store.compaction import Compaction
from ingest.store.connections import connect_writer
from ingest.store.gone import RUN_TABLES, DueExperiment, Gone, Which
from ingest.store.outcomes import Refused, Stored
from ingest.store.posts import Post, RunUnknown
from ingest_schema.events import Event
from ingest_schema.ids import new_id
from ingest_schema.wire import Batch, encode_batch
from tests.conftest import run_ingest, wait_until


@pytest.fixture
async def db(services):
    connection = await asyncpg.connect(services.database_url, server_settings={"search_path": "ingest"})
    yield connection
    await connection.close()


@pytest.fixture
async def writer(services):
    connection = await connect_writer(services.database_url)
    yield connection
    await connection.close()


def start(experiment="doomed", **more):
    return Event("run_start", 1000, {"experiment": experiment, "name": "r", "start_time_ms": 1000, **more})


async def make_run(writer, *, experiment="doomed", points=5_000, keys=3):
    """A run with params, tags, chunks that wait and chunks that are packed: its id and its writer's next batch."""
    run_id, writer_id = new_id(), new_id()
    events = (start(experiment), Event("params", 0, {"lr": "1"}), Event("tags", 0, {"team": "a"}))
    for seq in range(1, 5):
        logged = [(f"k{i % keys}", i, i, float(i)) for i in range(points // 4)]
        batch = Batch.of_points(run_id, writer_id, seq, logged, events=events if seq == 1 else ())
        assert await commit_batches(writer, [batch]) == [Stored(points // 4)]
    return run_id, Batch.of_points(run_id, writer_id, 5, [("k0", 1, 1, 1.0)])


async def send(web_client, batch):
    return await web_client.post(
        "/api/v1/batches", data=encode_batch(batch), headers={"Content-Type": "application/msgpack"}
    )


async def delete(web_client, run_id):
    answer = await web_client.patch(f"/api/v1/runs/{run_id.hex}", json={"lifecycle": "deleted"})
    assert answer.status == 200


async def compacted(url):
    async with Compaction.open(url) as compaction:
        assert compaction is not None
        await compact_all(compaction, Progress(), everything=True)


async def run_gc(services, which=None, action=collect):
    async with Gone.open(services.database_url) as gone:
        assert gone is not None
        return [one async for one in action(gone, services.artifacts, which or Which())]


async def rows_of(db, run_id):
    """How many rows each table has of the run."""
    found = {
        t: await db.fetchval(f"SELECT count(*) FROM {t} WHERE run_id = $1", run_id)
        for t in ("runs", *RUN_TABLES)
    }
    return {table: number for table, number in found.items() if number}


async def put(web_client, run_id, name, body=b"x" * 100):
    answer = await web_client.put(f"/api/v1/runs/{run_id.hex}/artifacts/{name}", data=body)
    assert answer.status == 200, await answer.text()


async def test_every_table_of_runs_is_emptied(db):
    """A table that a migration adds has to be added to ingest.store.gone as well."""
    rows = await db.fetch(
        "SELECT c.table_name FROM information_schema.columns AS c JOIN information_schema.tables AS t USING (table_schema, table_name) "
        "WHERE c.table_schema = 'ingest' AND c.column_name = 'run_id' AND t.table_type = 'BASE TABLE'"
    )
    # search_segments holds arrays of ids; gone_runs is what says that the run is gone; models outlive the run that made them.
    assert {row["table_name"] for row in rows} == {
        *RUN_TABLES,
        "runs",
        "search_segments",
        "gone_runs",
        "logged_model_metrics",
        "model_versions",
    }


async def test_a_deleted_run_goes_whole_and_others_stay(services, web_client, writer, db):
    kept, _ = await make_run(writer)
    doomed, _ = await make_run(writer)
    await compacted(services.database_url)
    await commit_batches(
        writer, [Batch.of_points(doomed, new_id(), 1, [("fresh", 1, 1, 1.0)], events=(start(),))]
    )
    for run_id in (kept, doomed):
        await put(web_client, run_id, "a/b.txt")
        await put(web_client, run_id, "c.txt")
    before = await rows_of(db, kept)
    assert before["packed_chunks"]
    await delete(web_client, doomed)

    (due,) = await run_gc(services, action=preview)
    assert (due.outcome, due.freed.points, due.files.number) == ("due", 5_001, 2)
    assert (await rows_of(db, doomed))["runs"] == 1

    (gone,) = await run_gc(services)
    assert (gone.outcome, gone.freed.points, gone.freed.series) == ("gone", 5_001, 4)
    assert (gone.files.number, gone.files.size_bytes) == (2, 200)
    assert gone.freed.size_bytes == pytest.approx(due.freed.size_bytes)
    assert await rows_of(db, doomed) == {}
    assert await rows_of(db, kept) == before
    assert [e.path async for e in services.artifacts.store.walk("")] == [
        f"1/{kept.hex}/artifacts/a/b.txt", f"1/{kept.hex}/artifacts/c.txt",
    ]  # fmt: skip
    assert (await web_client.get(f"/api/v1/runs/{doomed.hex}")).status == 404
    assert await run_gc(services) == []


async def test_only_what_was_deleted_long_enough_ago_goes(services, web_client, writer, db):
    old, _ = await make_run(writer, points=4)
    young, _ = await make_run(writer, points=4)
    other, _ = await make_run(writer, points=4, experiment="other")
    for run_id in (old, young, other):
        await delete(web_client, run_id)
    await db.execute("UPDATE runs SET deleted_at = now() - interval '2 days' WHERE run_id <> $1", young)
    gone = await run_gc(services, Which(older_than=86_400, experiment_id=1))
    assert [one.what.run_id for one in gone] == [old]
    assert [one.what.run_id for one in await run_gc(services, Which(run_id=young))] == [young]
    assert await rows_of(db, other) != {}


async def test_late_batches_bring_nothing_back(services, web_client, writer, db):
    """From the writer that the service knows, from a rank that it never saw, and from MLflow's client."""
    run_id, late = await make_run(writer)
    await delete(web_client, run_id)
    await run_gc(services)
    (known,) = await commit_batches(writer, [late])
    assert isinstance(known, Refused)
    assert "deleted for good" in known.message
    for batch in (late, Batch.of_points(run_id, new_id(), 1, [("a", 1, 1, 1.0)], events=(start(),))):
        answer = await send(web_client, batch)
        assert (answer.status, (await answer.json())["code"]) == (422, "batch_refused")
    post = Post(run_id=run_id, tags={"a": "b"})
    assert isinstance(await services.intake.post(post), RunUnknown)
    answer = await web_client.patch(f"/api/v1/runs/{run_id.hex}", json={"lifecycle": "active"})
    assert answer.status == 404
    assert await rows_of(db, run_id) == {}


async def test_a_closed_run_takes_no_batch_and_cannot_be_restored(services, web_client, writer, db):
    """As while its rows go: its writers are there, and so is its own row."""
    run_id, late = await make_run(writer)
    await services.intake.post(Post(run_id=run_id, tags={"a": "b"}))
    await delete(web_client, run_id)
    async with Gone.open(services.database_url) as gone:
        assert gone is not None
        (due,) = [run async for run in gone.due_runs(Which())]
        assert await gone.close_run(due, Which())
        assert isinstance((await commit_batches(writer, [late]))[0], Refused)
        with pytest.raises(BatchRefused):
            await commit_batches(writer, [Batch.of_points(run_id, new_id(), 1, [], events=(start(),))])
        answer = await web_client.patch(f"/api/v1/runs/{run_id.hex}", json={"lifecycle": "active"})
        assert answer.status == 404
        await web_client.patch("/api/v1/experiments/1", json={"lifecycle": "deleted"})
        await web_client.patch("/api/v1/experiments/1", json={"lifecycle": "active"})
        assert await db.fetchval("SELECT lifecycle FROM runs WHERE run_id = $1", run_id) == "deleted"
        outcome = await services.intake.post(Post(run_id=run_id, tags={"a": "c"}))
        assert type(outcome).__name__ == "RunDeleted"
    await run_gc(services)  # goes on with what was closed
    assert await rows_of(db, run_id) == {}


async def test_an_interrupted_call_is_made_good_by_the_next(services, web_client, writer, db):
    run_id, _ = await make_run(writer, points=20_000)
    await put(web_client, run_id, "c.txt")
    await delete(web_client, run_id)
    async with Gone.open(services.database_url) as gone:
        assert gone is not None
        (due,) = [run async for run in gone.due_runs(Which())]
        await gone.close_run(due, Which())
        async for _ in gone.delete_rows(run_id):
            break  # as if it was killed here
    assert (await rows_of(db, run_id))["runs"] == 1
    (one,) = await run_gc(services, Which(older_than=86_400))  # closed is closed
    assert (one.outcome, one.files.number) == ("gone", 1)
    assert await rows_of(db, run_id) == {}


async def test_a_run_that_is_restored_in_time_stays(services, web_client, writer, db):
    run_id, late = await make_run(writer)
    await delete(web_client, run_id)
    async with Gone.open(services.database_url) as gone:
        assert gone is not None
        (due,) = [run async for run in gone.due_runs(Which())]
        answer = await web_client.patch(f"/api/v1/runs/{run_id.hex}", json={"lifecycle": "active"})
        assert answer.status == 200
        assert await gone.close_run(due, Which()) is False
    assert await commit_batches(writer, [late]) == [Stored(1)]


async def test_ranks_that_start_while_the_run_goes_leave_nothing(services, web_client, writer, db):
    """New writers, the hardest case: their rows are not there to be locked when the run is closed."""
    stop = asyncio.Event()
    stored = []

    async def log(run_id):
        while not stop.is_set():
            batch = Batch.of_points(run_id, new_id(), 1, [("a", 1, 1, 1.0)], events=(start(),))
            if (await send(web_client, batch)).status == 200:
                stored.append(run_id)

    def has_logged(run_id):
        return stored.count(run_id) >= 8

    for _ in range(5):
        run_id, _ = await make_run(writer, points=400)
        stop.clear()
        ranks = [asyncio.create_task(log(run_id)) for _ in range(4)]
        await wait_until(partial(has_logged, run_id))
        await delete(web_client, run_id)
        (one,) = await run_gc(services)
        assert one.outcome == "gone"
        await asyncio.sleep(0.05)
        stop.set()
        await asyncio.gather(*ranks)
        assert await rows_of(db, run_id) == {}


async def test_compaction_at_the_same_time_leaves_nothing(services, web_client, writer, db):
    for _ in range(5):
        run_id, _ = await make_run(writer, points=20_000, keys=20)
        await delete(web_client, run_id)
        await asyncio.gather(compacted(services.database_url), run_gc(services))
        assert await rows_of(db, run_id) == {}


async def test_an_experiment_goes_with_its_runs_and_its_name_is_free(services, web_client, writer, db):
    gone_run, _ = await make_run(writer, experiment="doomed", points=4)
    await put(web_client, gone_run, "c.txt")
    kept_run, _ = await make_run(writer, experiment="half", points=4)
    for experiment_id in (0, 1, 2):
        answer = await web_client.patch(f"/api/v1/experiments/{experiment_id}", json={"lifecycle": "deleted"})
        assert answer.status == 200
    await web_client.patch(f"/api/v1/runs/{kept_run.hex}", json={"lifecycle": "active"})
    found = await run_gc(services)
    outcomes = {one.what.name: one.outcome for one in found if isinstance(one.what, DueExperiment)}
    assert outcomes == {"doomed": "gone", "half": "stays"}
    assert [row["name"] for row in await db.fetch("SELECT name FROM experiments ORDER BY 1")] == [
        "Default",
        "half",
    ]
    assert [e.path async for e in services.artifacts.store.walk("1")] == []
    answer = await web_client.post("/api/v1/experiments", json={"name": "doomed"})
    assert (await answer.json())["experiment_id"] == 3


async def post(web_client, path, **body):
    answer = await web_client.post(f"/api/2.0/mlflow/{path}", json=body)
    assert answer.status == 200, await answer.text()
    return await answer.json()


async def log_model(services, web_client, experiment_id, run_id):
    """A logged model with a file; its id."""
    made = await post(
        web_client, "logged-models", experiment_id=str(experiment_id), name="m", source_run_id=run_id.hex
    )
    model_id = made["model"]["info"]["model_id"]
    async with services.artifacts.store.upload(
        f"{experiment_id}/models/{model_id}/artifacts/MLmodel"
    ) as upload:
        await upload.write(b"x" * 10)
        await upload.commit()
    return model_id


async def test_deleted_models_go_and_what_registered_ones_live_on_stays(services, web_client, writer, db):
    run_id, _ = await make_run(writer, points=4)
    doomed, kept = [await log_model(services, web_client, 1, run_id) for _ in range(2)]
    other_run, _ = await make_run(writer, points=4)
    await put(web_client, other_run, "model/MLmodel")
    await post(web_client, "registered-models/create", name="best")
    path = f"mlflow-artifacts:/1/{other_run.hex}/artifacts/model"
    await post(web_client, "model-versions/create", name="best", source=path, run_id=other_run.hex)
    await post(web_client, "model-versions/create", name="best", source=f"models:/{kept}", model_id=kept)
    for model_id in (doomed, kept):
        assert (await web_client.delete(f"/api/2.0/mlflow/logged-models/{model_id}")).status == 200
    await delete(web_client, run_id)
    await delete(web_client, other_run)
    await web_client.patch("/api/v1/experiments/1", json={"lifecycle": "deleted"})
    found = {getattr(one.what, "model_id", None) or one.what.name: one for one in await run_gc(services)}
    assert found[doomed].outcome == "gone"
    assert (found[doomed].files.number, kept in found) == (1, False)
    assert found["doomed"].outcome == "stays"  # the experiment
    paths = {e.path async for e in services.artifacts.store.walk("")}
    assert paths == {f"1/models/{kept}/artifacts/MLmodel", f"1/{other_run.hex}/artifacts/model/MLmodel"}
    assert await rows_of(db, run_id) == {}
    assert (await rows_of(db, other_run))["runs"] == 1
    assert await db.fetchval("SELECT array_agg(model_id) FROM logged_models") == [kept]


async def test_an_experiment_takes_its_models_along(services, web_client, writer, db):
    run_id, _ = await make_run(writer, points=4)
    await log_model(services, web_client, 1, run_id)
    await web_client.patch("/api/v1/experiments/1", json={"lifecycle": "deleted"})
    assert [one.outcome for one in await run_gc(services)] == ["gone", "gone"]
    assert [e.path async for e in services.artifacts.store.walk("")] == []
    assert await db.fetchval("SELECT count(*) FROM logged_models") == 0


async def test_segments_of_searches_are_emptied(services, web_client, writer, db):
    from ingest.store.sealing import Sealing, seal_some

    run_id, late = await make_run(writer, points=4)
    end = Event("run_end", 2000, {"status": "FINISHED", "end_time_ms": 2000})
    await commit_batches(writer, [Batch.of_points(run_id, late.writer_id, 5, [], events=(end,))])
    assert await seal_some(db, Sealing(quiet=-1, patience=-1, min_runs=1)) == 1
    await delete(web_client, run_id)
    await run_gc(services)
    assert await db.fetchval("SELECT count(*) FROM search_segments") == 0
    assert await db.fetchval("SELECT count(*) FROM search_metrics") == 0


async def test_the_command_counts_and_says_what_it_did(services, web_client, writer, db):
    run_id, _ = await make_run(writer, points=400)
    await put(web_client, run_id, "c.txt")
    await delete(web_client, run_id)
    where = ("--database-url", services.database_url, "--data-dir", str(services.settings.data_dir))
    done = await asyncio.to_thread(run_ingest, "gc", "--dry-run", "--json", *where)
    assert done.returncode == 0, done.stderr
    planned = json.loads(done.stdout)
    assert (planned["is_dry_run"], planned["runs"], planned["points"], planned["files"]) == (True, 1, 400, 1)
    assert await rows_of(db, run_id) != {}
    done = await asyncio.to_thread(run_ingest, "gc", "--experiment", "nowhere", *where)
    assert (done.returncode, done.stderr) == (1, "error: there is no experiment 'nowhere'\n")
    done = await asyncio.to_thread(run_ingest, "gc", "--experiment", "doomed", "--older-than", "0", *where)
    assert done.returncode == 0, done.stderr
    assert f"run {run_id.hex} r: 400 points, 1 artifacts" in done.stdout
    assert "freed 1 runs, 0 models and 0 experiments: 400 points of 3 series" in done.stdout
    assert await rows_of(db, run_id) == {}


def test_durations():
    assert [parse_duration(text) for text in ("0", "45s", "90m", "12h", "1.5d", "2w")] == [
        0, 45, 5_400, 43_200, 129_600, 1_209_600,
    ]  # fmt: skip
    for text in ("", "7", "d", "-1d", "1y", "1d2h"):
        with pytest.raises(ValueError, match="duration"):
            parse_duration(text)


@pytest.mark.parametrize("arguments", [("--older-than", "soon"), ("--run", "x")])
def test_the_command_refuses_what_it_does_not_understand(arguments):
    done = run_ingest("gc", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")


async def test_a_run_that_never_was_can_start(services, web_client, writer, db):
    """Only what is in gone_runs is refused."""
    run_id = uuid.uuid4()
    assert await commit_batches(writer, [Batch.of_points(run_id, new_id(), 1, [("a", 1, 1, 1.0)])]) == [
        Stored(1)
    ]


async def test_an_imported_run_lives_again(services, web_client, writer, db, scratch):
    """Exported, deleted for good, imported: it can be written to and edited, and gc leaves its files alone."""
    run_id, _ = await make_run(writer, points=400)
    await put(web_client, run_id, "c.txt")
    where = ("--database-url", services.database_url, "--data-dir", str(services.settings.data_dir))
    done = await asyncio.to_thread(
        run_ingest, "export", str(scratch / "kept"), "--where", "experiment = 'doomed'", *where
    )
    assert done.returncode == 0, done.stderr
    await delete(web_client, run_id)
    await run_gc(services)
    done = await asyncio.to_thread(run_ingest, "import", str(scratch / "kept"), *where)
    assert done.returncode == 0, done.stderr
    assert await run_gc(services) == []
    assert [e.path async for e in services.artifacts.store.walk("")] == [f"1/{run_id.hex}/artifacts/c.txt"]
    batch = Batch.of_points(run_id, new_id(), 1, [("a", 1, 1, 1.0)], events=(start(),))
    assert await commit_batches(writer, [batch]) == [Stored(1)]
    answer = await web_client.patch(f"/api/v1/runs/{run_id.hex}", json={"name": "again"})
    assert (await answer.json())["name"] == "again"
