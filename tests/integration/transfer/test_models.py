"""Logged models, the registry, retention rules and thinned runs survive an export and an import; exports of version 1 still come in."""

from __future__ import annotations

import hashlib
import math
import uuid

import orjson
import pyarrow as pa
import pytest
from pyarrow import parquet

from ingest.artifacts.library import Artifacts
from ingest.artifacts.opening import open_store
from ingest.compaction.retention import apply_rules
from ingest.service.database import Database
from ingest.service.datasets import Dataset, log_inputs, log_outputs
from ingest.service.experiments import create_experiment
from ingest.service.runs import set_lifecycle
from ingest.store.compaction import Compaction
from ingest.transfer.export import Selection
from ingest.transfer.layout import RUN_TABLES, tables_at
from ingest_schema.events import Event
from ingest_schema.wire import Batch
from tests.integration.transfer.conftest import World, files_of
from tests.integration.transfer.test_round_trip import SIMPLE, batches_of, multiset

MODEL, OTHER = f"m-{1:032x}", f"m-{2:032x}"
TABLES = (
    "retention_rules", "logged_models", "logged_model_metrics", "registered_models", "model_versions", "model_aliases",
)  # fmt: skip


def fill(world: World) -> list[Batch]:
    """Three runs in two experiments, with a model of each experiment, two names and a rule."""
    batches: list[Batch] = batches_of(SIMPLE)
    world.commit(*batches)
    run_id = batches[0].run_id
    world.execute(
        world.source,
        "INSERT INTO retention_rules VALUES (1, NULL, 30, 500, 'keep me')",
        "INSERT INTO logged_models VALUES "
        f"('{MODEL}', 1, 'net', NULL, '{run_id.hex}', 'READY', '', 'active', 5, 6, '{{\"lr\": \"0.1\"}}', '{{}}'), "
        f"('{OTHER}', 2, 'é \"x\"', 'agent', NULL, 'PENDING', 'why', 'deleted', 7, 8, '{{}}', '{{\"a\": \"b\"}}')",
        f"INSERT INTO logged_model_metrics VALUES ('{MODEL}', 'acc', 3, 4, 0.1, '{run_id}', 'd', 'x'), "
        f"('{MODEL}', 'acc', 4, 4, 'NaN', '{run_id}', '', ''), ('{MODEL}', 'acc', 5, 4, '-Infinity', '{run_id}', '', '')",
        "INSERT INTO registered_models VALUES ('best', 'of all', 7, 1, 2, '{\"t\": \"u\"}'), ('empty', NULL, 0, 1, 1, '{}')",
        "INSERT INTO model_versions VALUES "
        f"('best', 5, 'd', 'me', 'models:/{MODEL}', 'mlflow-artifacts:/1/models/{MODEL}/artifacts', '{run_id.hex}', NULL, '{MODEL}', "
        "'Staging', 3, 4, '{\"v\": \"w\"}'), ('best', 7, NULL, '', 's3://x/y', 's3://x/y', NULL, 'http://l', NULL, 'None', 3, 4, '{}')",
        "INSERT INTO model_aliases VALUES ('best', 'champion', 5), ('best', 'new', 7)",
    )
    return batches


async def put(store, path, content):
    async def chunks():
        yield content

    await Artifacts(store, transfers_num=1).receive(path, chunks())


def contents(world: World, url: str) -> list[list[str]]:
    return [
        sorted(repr(tuple(row)) for row in world.execute(url, f"SELECT * FROM {name}")[0]) for name in TABLES
    ]


def test_models_the_registry_and_rules_come_back_as_they_were(world):
    fill(world)
    first = world.export(world.source)
    counts = orjson.loads((first / "manifest.json").read_bytes())["counts"]
    assert (counts["models"], counts["registered_models"]) == (2, 2)
    done = world.load(first)
    assert (done.models, done.model_versions, done.runs) == (2, 2, 3)
    assert contents(world, world.target) == contents(world, world.source)
    assert files_of(world.export(world.target)) == files_of(first)
    again = world.load(first)
    assert (again.models, again.model_versions, again.same) == (0, 0, 3)
    assert contents(world, world.target) == contents(world, world.source)


def test_what_is_there_already_stays_and_no_version_number_is_given_twice(world):
    fill(world)
    world.execute(
        world.target,
        "INSERT INTO registered_models VALUES ('best', 'mine', 5, 1, 2, '{}')",
        "INSERT INTO model_versions VALUES ('best', 5, 'mine', '', 's', 's', NULL, NULL, NULL, 'None', 1, 1, '{}')",
    )
    done = world.load(world.export(world.source))
    assert done.model_versions == 1
    (versions, names) = world.execute(
        world.target,
        "SELECT version, description FROM model_versions ORDER BY version",
        "SELECT description, last_version FROM registered_models WHERE name = 'best'",
    )
    assert [tuple(row) for row in versions] == [(5, "mine"), (7, None)]
    assert tuple(names[0]) == ("mine", 7)


def test_locations_follow_an_experiment_whose_number_is_taken(world):
    fill(world)
    world.execute(
        world.target,
        "INSERT INTO experiments (experiment_id, name, created_at_ms, updated_at_ms) VALUES (1, 'mine', 6, 6)",
    )
    world.load(world.export(world.source))
    (found, rules) = world.execute(
        world.target,
        "SELECT v.storage_location, v.source, m.experiment_id FROM model_versions AS v JOIN logged_models AS m USING (model_id)",
        "SELECT experiment_id FROM retention_rules",
    )
    location, source, number = found[0]
    assert number != 1
    assert (location, source) == (
        f"mlflow-artifacts:/{number}/models/{MODEL}/artifacts",
        f"models:/{MODEL}",
    )
    assert [row["experiment_id"] for row in rules] == [number]


def test_a_choice_of_runs_brings_their_models_and_versions_only(world):
    batches = fill(world)
    chosen = world.export(world.source, Selection(run_ids=[batches[0].run_id]))
    done = world.load(chosen)
    assert (done.runs, done.models, done.model_versions) == (1, 1, 1)
    (aliases, names) = world.execute(
        world.target, "SELECT alias FROM model_aliases", "SELECT name FROM registered_models"
    )
    assert ([row["alias"] for row in aliases], [row["name"] for row in names]) == (["champion"], ["best"])
    others = world.load(world.export(world.source, Selection(experiment_ids=[2])))
    assert (others.models, others.model_versions) == (1, 0)


def test_files_of_models_come_along(world, tmp_path):
    fill(world)
    content = b"weights" * 1000
    store = open_store(str(tmp_path / "here"), {})
    world.run(put(store, f"1/models/{MODEL}/artifacts/deep/net.pt", content))
    first = world.export(world.source, artifacts=store)
    (row,) = parquet.read_table(first / "model_artifacts.parquet").to_pylist()
    digest = hashlib.sha256(content).hexdigest()
    assert row == {"model_id": MODEL, "path": "deep/net.pt", "size_bytes": 7000, "sha256": digest}
    target = open_store(str(tmp_path / "there"), {})
    done = world.load(first, artifacts=Artifacts(target, transfers_num=1))
    assert done.artifacts == 1
    assert files_of(world.export(world.target, artifacts=target)) == files_of(first)
    (stored,) = (tmp_path / "there").rglob("net.pt")
    assert stored.read_bytes() == content
    world.run(store.close())
    world.run(target.close())


def test_a_thinned_run_says_what_was_logged_and_is_not_thinned_again(world):
    batches = batches_of(SIMPLE[:1])
    run_id, writer_id = batches[0].run_id, batches[0].writer_id
    end = Batch.of_points(
        run_id, writer_id, 2, [], events=[Event("run_end", 9, {"status": "FAILED", "end_time_ms": 9})]
    )
    world.commit(*batches, end)
    world.execute(
        world.source,
        "UPDATE runs SET thinned_at = '2026-03-04 05:06:07.123456Z'",
        "UPDATE series SET n = 5000, min_value = -3.25, min_step = 17, sum_value = 1e300",
    )
    first = world.export(world.source)
    world.load(first)
    queries = ("SELECT thinned_at FROM runs", "SELECT * FROM series", "SELECT end_status FROM writers")
    assert world.execute(world.target, *queries) == world.execute(world.source, *queries)
    assert world.execute(world.target, "SELECT end_status FROM writers")[0][0]["end_status"] == "FAILED"
    assert files_of(world.export(world.target)) == files_of(first)
    (later,) = world.execute(
        world.target, "SELECT 1 FROM writers JOIN runs USING (run_id) WHERE writers.heartbeat_at > thinned_at"
    )
    assert later == []


def files_below(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def thin_now(url):
    """By the rules, as the service does with what is old enough."""
    async with Compaction.open(url) as compaction:
        assert compaction is not None
        return [one async for one in apply_rules(compaction)]


def test_everything_at_once_is_byte_for_byte_the_same(world, tmp_path):
    """Models, registry, data sets, files, attempts, NaN and the infinities, a thinned run, a deleted one: no table is empty."""
    batches = fill(world)
    whole, deleted, thinned = (batches[i].run_id for i in (0, 2, 4))
    odd = [("loss", 20, 20, value) for value in (math.nan, -math.nan, math.inf, -math.inf, -0.0, 5e-324)]
    resumed = Event(
        "run_start",
        5,
        {"experiment": "experiment 0", "name": "again", "start_time_ms": 5, "resume_from_step": 10},
    )
    world.commit(Batch.of_points(whole, uuid.uuid4(), 1, odd, events=[resumed]))
    ended = Event("run_end", 9, {"status": "KILLED", "end_time_ms": 9})
    many = [("loss", i, i, float(i % 97)) for i in range(2_000)]
    world.commit(Batch.of_points(thinned, batches[4].writer_id, 2, many, events=[ended]))

    async def add_the_rest(store):
        async with Database.open(world.source, readers=1, timeout=30) as db:
            read = Dataset("d é", "1", "local", "{}", None, '{"n": 3}', {"mlflow.data.context": "training"})
            for run_id in (whole, deleted):
                await log_inputs(db, run_id, [read], [OTHER])
                await log_outputs(db, run_id, [(MODEL, 7)])
            await create_experiment(db, "tagged", {"a": "b\nc"})
            await set_lifecycle(db, deleted, "deleted")
        for path in (
            f"1/{whole.hex}/artifacts/a/ü.txt",
            f"2/{deleted.hex}/artifacts/b",
            f"1/models/{MODEL}/artifacts/c",
        ):
            await put(store, path, path.encode())

    here, there = (open_store(str(tmp_path / name), {}) for name in ("here", "there"))
    world.run(add_the_rest(here))
    world.execute(
        world.source,
        "UPDATE retention_rules SET thin_to = 10, experiment_id = 1",
        "UPDATE writers SET heartbeat_at = heartbeat_at - interval '60 days'",
        "UPDATE runs SET heartbeat_at = heartbeat_at - interval '60 days'",
    )
    assert len(world.run(thin_now(world.source))) == 1

    first = world.export(world.source, artifacts=here)
    assert [path.name for path in first.glob("*.parquet") if not parquet.read_table(path).num_rows] == []
    world.load(first, artifacts=Artifacts(there, transfers_num=1))
    assert files_of(world.export(world.target, artifacts=there)) == files_of(first)
    points = "SELECT run_id, key, step, time_ms, value::text, rank, attempt FROM metrics ORDER BY 1, 2, 3, 4, 5, 6, 7"
    assert world.execute(world.target, points) == world.execute(world.source, points)
    assert files_below(tmp_path / "there") == files_below(tmp_path / "here")
    for store in (here, there):
        world.run(store.close())


@pytest.fixture
def version_1(world):
    """An export as version 1 wrote it: fewer files, fewer columns, the digests of those."""
    from ingest.store.connections import connect_writer
    from ingest.transfer.export import run_digest

    batches = batches_of(SIMPLE)
    world.commit(*batches)
    path = world.export(world.source)
    manifest = orjson.loads((path / "manifest.json").read_bytes())
    old = {table.name: table for table in tables_at(1, RUN_TABLES)}
    new_files = {
        "retention_rules", "logged_models", "logged_model_metrics", "registered_models", "model_versions", "model_aliases",
        "thinned_series", "model_artifacts",
    }  # fmt: skip
    for name in new_files:
        (path / f"{name}.parquet").unlink()
    for name in ("runs", "writers"):
        table = parquet.read_table(path / f"{name}.parquet")
        parquet.write_table(table.select(old[name].column_names), path / f"{name}.parquet")

    async def digests():
        connection = await connect_writer(world.source)
        rows = parquet.read_table(path / "digests.parquet").to_pylist()
        names = dict(
            await connection.fetch(
                "SELECT r.run_id, e.name FROM runs r JOIN experiments e USING (experiment_id)"
            )
        )
        for row in rows:
            run_id = next(run_id for run_id in names if run_id.hex == row["run_id"])
            row["blake2b"] = (
                await run_digest(connection, run_id, names[run_id], tuple(old.values()))
            ).hexdigest()
        await connection.close()
        return rows

    table = parquet.read_table(path / "digests.parquet")
    fresh = pa.Table.from_pylist(world.run(digests()), schema=table.schema)
    parquet.write_table(fresh, path / "digests.parquet")
    kept = [fact for fact in manifest["files"] if fact["path"].removesuffix(".parquet") not in new_files]
    for fact in kept:
        content = (path / fact["path"]).read_bytes()
        fact |= {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (path / "manifest.json").write_bytes(orjson.dumps(manifest | {"version": 1, "files": kept}))
    return path


def test_an_export_of_version_1_comes_in_and_is_known_again(world, version_1):
    done = world.load(version_1)
    assert (done.runs, done.different) == (3, [])
    assert multiset(world, world.target) == multiset(world, world.source)
    again = world.load(version_1)
    assert (again.runs, again.same, again.different) == (0, 3, [])
