"""Export, import into an empty database, export again: the same files, byte for byte."""

from __future__ import annotations

import struct
import uuid
from collections import Counter

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.transfer.errors import BadExport, TargetExists
from ingest.transfer.export import Selection
from ingest_schema.events import Event
from ingest_schema.wire import Batch
from tests.integration.transfer.conftest import World, files_of

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=6)
POINT = st.tuples(
    TEXT | st.just("loss"),
    INT64 | st.integers(-3, 3),
    INT64 | st.integers(0, 2),
    st.floats(width=64) | st.just(float("nan")),
)
BATCHES = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), st.lists(POINT, max_size=12)), max_size=12)


def batches_of(spec, params=None, tags=None):
    """Batches of up to three runs with two writers each; the first of a writer opens its run."""
    runs = [uuid.uuid4() for _ in range(3)]
    writers = {(r, w): uuid.uuid4() for r in range(3) for w in range(2)}
    seqs: Counter[tuple[int, int]] = Counter()
    made = []
    for run, writer, points in spec:
        seqs[run, writer] += 1
        events = []
        if seqs[run, writer] == 1:
            start = {"experiment": f"experiment {run % 2}", "name": f"run {run}", "start_time_ms": run}
            about = {"rank": writer, "host": "h", "pid": 7}
            events = [Event("run_start", 1, start), Event("writer", 1, about)]
            events += [Event("params", 1, params or {"lr": "0.1"}), Event("tags", 1, tags or {"team": "x"})]
        made.append(
            Batch.of_points(runs[run], writers[run, writer], seqs[run, writer], points, events=events)
        )
    return made


def multiset(world: World, url: str) -> Counter[tuple[object, ...]]:
    (rows,) = world.execute(url, "SELECT run_id, key, step, time_ms, value, rank, attempt FROM metrics")
    return Counter(
        (
            r["run_id"],
            r["key"],
            r["step"],
            r["time_ms"],
            struct.pack(">d", r["value"]),
            r["rank"],
            r["attempt"],
        )
        for r in rows
    )


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    spec=BATCHES,
    compacted=st.booleans(),
    params=st.dictionaries(TEXT, TEXT, min_size=1, max_size=4),
    tags=st.dictionaries(TEXT, TEXT, min_size=1, max_size=4),
)
def test_anything_survives_bit_for_bit(world, spec, compacted, params, tags):
    world.empty()
    world.commit(*batches_of(spec, params, tags))
    first = world.export(world.source)
    if compacted:
        world.compact()
        assert files_of(world.export(world.source)) == files_of(first)
    done = world.load(first)
    assert (done.same, done.different) == (0, [])
    assert multiset(world, world.target) == multiset(world, world.source)
    assert files_of(world.export(world.target)) == files_of(first)
    query = "SELECT * FROM series ORDER BY run_id, key"
    for here, there in zip(
        *(world.execute(url, query)[0] for url in (world.source, world.target)), strict=True
    ):
        assert {k: repr(v) for k, v in here.items() if k != "sum_value"} == {
            k: repr(v) for k, v in there.items() if k != "sum_value"
        }


SIMPLE = [(r, w, [("loss", i, i, float(i)) for i in range(50)]) for r in range(3) for w in range(2)]


def test_an_import_may_be_repeated_and_changes_nothing_more(world):
    world.commit(*batches_of(SIMPLE))
    path = world.export(world.source)
    assert (world.load(path).runs, world.load(path).runs, world.load(path).same) == (3, 0, 3)
    assert multiset(world, world.target) == multiset(world, world.source)


def test_a_run_with_another_content_is_reported_and_left_alone(world):
    batches = batches_of(SIMPLE)
    world.commit(*batches)
    path = world.export(world.source)
    world.load(path)
    world.execute(world.target, f"UPDATE tags SET value = 'changed' WHERE run_id = '{batches[0].run_id}'")
    before = multiset(world, world.target)
    done = world.load(path)
    assert (done.runs, done.same, done.different) == (0, 2, [batches[0].run_id.hex])
    assert multiset(world, world.target) == before


def test_an_interrupted_import_leaves_whole_runs_and_goes_on(world, monkeypatch):
    from ingest.store.storing import store_points

    world.commit(*batches_of(SIMPLE))
    path = world.export(world.source)
    calls = []

    async def fail_in_the_second_run(connection, prepared):
        calls.append(1)
        await store_points(connection, prepared)
        if len(calls) == 2:
            raise RuntimeError("killed")

    monkeypatch.setattr("ingest.transfer.load.store_points", fail_in_the_second_run)
    with pytest.raises(RuntimeError):
        world.load(path)
    assert len(world.execute(world.target, "SELECT * FROM runs")[0]) == 1
    assert sum(multiset(world, world.target).values()) == 100
    monkeypatch.undo()
    done = world.load(path)
    assert (done.runs, done.same) == (2, 1)
    assert files_of(world.export(world.target)) == files_of(path)


def test_late_batches_of_an_imported_run_go_on_where_they_were(world):
    """The spool of a client may hold the rest of a run whose server was moved."""
    batches = batches_of([(0, 0, [("loss", 1, 1, 1.0)]), (0, 0, [("loss", 1, 1, 2.0)])])
    world.commit(batches[0])
    world.load(world.export(world.source))
    world.source, world.target = world.target, world.source
    world.commit(batches[0], batches[1])
    (rows,) = world.execute(world.source, "SELECT last_value, n FROM series")
    assert [tuple(row) for row in rows] == [(2.0, 2)]


def test_experiments_are_joined_by_name_and_numbers_are_not_taken_twice(world):
    world.commit(*batches_of(SIMPLE))
    world.execute(
        world.target,
        "INSERT INTO experiments (name, created_at_ms, updated_at_ms) VALUES ('experiment 1', 5, 5), ('mine', 6, 6)",
    )
    world.load(world.export(world.source))
    (rows,) = world.execute(
        world.target,
        "SELECT e.name, count(r.run_id) AS runs FROM experiments AS e LEFT JOIN runs AS r USING (experiment_id) "
        "GROUP BY e.name ORDER BY e.name",
    )
    assert [tuple(row) for row in rows] == [
        ("Default", 0), ("experiment 0", 2), ("experiment 1", 1), ("mine", 0)
    ]  # fmt: skip
    made = world.execute(
        world.target,
        "INSERT INTO experiments (name, created_at_ms, updated_at_ms) VALUES ('later', 1, 1) RETURNING experiment_id",
    )
    assert made[0]


def test_the_unused_default_of_a_new_server_becomes_the_imported_one(world):
    """Else no export of a new server would equal the one that it was filled from."""
    world.execute(
        world.source, "UPDATE experiments SET created_at_ms = 5, updated_at_ms = 9 WHERE experiment_id = 0"
    )
    first = world.export(world.source)
    world.load(first)
    assert files_of(world.export(world.target)) == files_of(first)
    world.execute(
        world.target, "UPDATE experiments SET created_at_ms = 3, updated_at_ms = 20 WHERE experiment_id = 0"
    )
    world.load(first)
    (rows,) = world.execute(world.target, "SELECT created_at_ms, updated_at_ms FROM experiments")
    assert [tuple(row) for row in rows] == [(3, 20)]


def test_a_choice_of_runs_brings_their_experiments_only(world):
    batches = batches_of(SIMPLE)
    world.commit(*batches)
    path = world.export(world.source, Selection(run_ids=[batches[0].run_id]))
    counts = orjson.loads((path / "manifest.json").read_bytes())["counts"]
    assert (counts["experiments"], counts["runs"], counts["points"]) == (1, 1, 100)


def test_a_series_is_cut_into_slices_without_changing_the_files(world, monkeypatch):
    points = [("loss", (i * 7) % 4000 // 3, i, float(i)) for i in range(4000)]
    world.commit(*batches_of([(0, 0, points[i : i + 100]) for i in range(0, 4000, 100)]))
    world.commit(
        *batches_of([(0, 0, [("loss", i, i, 1.0) for i in range(j, j + 100)]) for j in range(0, 4000, 100)])
    )
    whole = world.export(world.source)
    monkeypatch.setattr("ingest.transfer.points.SLICE_POINTS", 300)
    monkeypatch.setattr("ingest.transfer.points.points_of_run.__kwdefaults__", {"slice_points": 300})
    digests = "digests.parquet"
    cut = world.export(world.source)
    assert files_of(cut)[digests] == files_of(whole)[digests]
    world.load(cut)
    monkeypatch.undo()
    assert files_of(world.export(world.target)) == files_of(whole)


@pytest.mark.parametrize("harm", ["gone", "flipped", "manifest", "version", "csv"])
def test_what_is_no_whole_export_is_refused_before_anything_changes(world, harm):
    world.commit(*batches_of(SIMPLE))
    path = world.export(world.source, file_format="csv" if harm == "csv" else "parquet")
    victim = next(path.glob("metrics/part-*"))
    if harm == "gone":
        victim.unlink()
    elif harm == "flipped":
        content = bytearray(victim.read_bytes())
        content[len(content) // 2] ^= 1
        victim.write_bytes(content)
    elif harm == "manifest":
        (path / "manifest.json").unlink()
    elif harm == "version":
        manifest = orjson.loads((path / "manifest.json").read_bytes()) | {"version": 99}
        (path / "manifest.json").write_bytes(orjson.dumps(manifest))
    with pytest.raises(BadExport):
        world.load(path)
    assert world.execute(world.target, "SELECT * FROM runs", "SELECT * FROM metric_chunks") == [[], []]


def test_a_target_that_is_there_is_not_touched_and_a_failure_leaves_nothing(world, tmp_path, monkeypatch):
    world.commit(*batches_of(SIMPLE))
    (tmp_path / "export-1").mkdir()
    (tmp_path / "export-1" / "mine").write_text("x")
    with pytest.raises(TargetExists):
        world.export(world.source)

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ingest.transfer.files.PointWriter.add", fail)
    with pytest.raises(OSError, match="No space"):
        world.export(world.source)
    assert [path.name for path in tmp_path.iterdir()] == ["export-1"]


def test_csv_holds_the_points_as_texts(world):
    import csv

    world.commit(*batches_of([(0, 0, [("a,b", -5, 7, float("nan")), ("a,b", 2**63 - 1, 7, 0.1)])]))
    path = world.export(world.source, file_format="csv")
    with (path / "metrics" / "part-00000.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["key"], r["step"], r["time_ms"], r["value"]) for r in rows] == [
        ("a,b", "-5", "7", "nan"), ("a,b", "9223372036854775807", "7", "0.1")
    ]  # fmt: skip
