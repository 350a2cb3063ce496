"""`ingest import DIR`: an export into a database; lossless, and safe to repeat.

A run is one transaction: it is there whole or not at all, so an import that was interrupted goes on when it is started again.
A run that is there already is left alone: compared by its digest, it is the same, or it is reported as different.

Experiments are joined by name. A run keeps its id, its writers theirs and the numbers of their last batches, so what a
client still has in its spool arrives after the import as if nothing had happened. Points keep their order of arrival: the
chunks of an import have numbers below those of any batch.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import orjson

from ingest.artifacts.library import Artifacts
from ingest.artifacts.paths import run_prefix
from ingest.store.connections import connect_writer
from ingest.store.errors import DATABASE_ERRORS, translated
from ingest.store.storing import prepare_points, store_points
from ingest.transfer.errors import BadExport
from ingest.transfer.export import run_digest
from ingest.transfer.files import PointSource, RowSource, sha256_of
from ingest.transfer.layout import (
    ARTIFACTS,
    DIGESTS,
    EXPERIMENT_TABLES,
    FORMAT,
    MANIFEST,
    RUN_TABLES,
    VERSION,
    tables_at,
)
from ingest.transfer.load_models import ModelLoader, put_files
from ingest.transfer.points import PointSlice
from ingest_schema.sql import load_queries
from ingest_schema.wire import Batch, pack_column

__all__ = ["Imported", "load"]

_SQL: Final = load_queries("transfer")
_WRITER_COLUMNS: Final = next(table for table in RUN_TABLES if table.name == "writers").column_names
_FIRST_SEQ: Final = -(2**40)
"""Of the chunks of an import: below 1, the number of a writer's first batch."""


@dataclass(slots=True)
class Imported:
    """What was done with each run."""

    runs: int = 0
    points: int = 0
    models: int = 0
    """Logged models that were not there. Those that are stay as they are, and so do versions of registered models."""
    model_versions: int = 0
    artifacts: int = 0
    same: int = 0
    """Runs that were there already, with the same content."""
    different: list[str] = field(default_factory=list)
    """Ids of runs that were there already, with another content. They were left as they are."""
    seconds: float = 0.0


async def load(
    url: str, source: Path, *, artifacts: Artifacts | None = None, checks_files: bool = True
) -> Imported:
    """Import an export.

    Args:
        artifacts: Where the runs' files go; None leaves them out.
        checks_files: Whether to hash every file first and compare it with the manifest.

    Raises:
        BadExport: It is none, or not whole. Nothing was imported.
        StoreError, ArtifactError: Runs that are in already stay; start again.
    """
    started = time.monotonic()
    manifest = read_manifest(source)
    if checks_files:
        _check_files(source, manifest)
    connection = await connect_writer(url)
    try:
        store = artifacts if manifest["has_artifacts"] else None
        loading = _Loading(connection, source, store, manifest["version"])
        await loading.load_all()
    except DATABASE_ERRORS as error:
        raise translated(error) from error
    finally:
        connection.terminate()
    loading.done.seconds = round(time.monotonic() - started, 3)
    return loading.done


def read_manifest(source: Path) -> dict[str, Any]:
    """The manifest of an export that this release can import.

    Raises:
        BadExport: Says why it can't.
    """
    try:
        manifest = orjson.loads((source / MANIFEST).read_bytes())
    except OSError as error:
        raise BadExport(f"{source} is no export: {MANIFEST} can't be read ({error.strerror})") from error
    except orjson.JSONDecodeError as error:
        raise BadExport(f"{source / MANIFEST} is no JSON: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BadExport(f"{source / MANIFEST} is not that of an export")
    if manifest.get("version") not in range(1, VERSION + 1):
        raise BadExport(
            f"{source} has version {manifest.get('version')!r} of the format, this release reads 1 to {VERSION}; "
            "import it with the release that made it, or a newer one"
        )
    if manifest.get("file_format") != "parquet":
        raise BadExport(f"{source} holds CSV files, for other programs; export again as Parquet")
    return manifest


def _check_files(source: Path, manifest: Mapping[str, Any]) -> None:
    for fact in manifest["files"]:
        path = source / fact["path"]
        if not path.is_file():
            raise BadExport(f"{fact['path']} is missing in {source}")
        if path.stat().st_size != fact["size_bytes"] or sha256_of(path) != fact["sha256"]:
            raise BadExport(
                f"{fact['path']} in {source} is not the file that was exported: its SHA-256 differs"
            )


class _Loading:
    """One import under way."""

    def __init__(self, connection: Any, source: Path, artifacts: Artifacts | None, version: int) -> None:
        self.done = Imported()
        self._version = version
        self._run_tables = tables_at(version, RUN_TABLES)
        self._connection = connection
        self._source = source
        self._artifacts = artifacts
        self._experiments: dict[int, tuple[int, str]] = {}
        """From the number of an experiment in the export to its number here, and its name."""

    async def load_all(self) -> None:
        await self._load_experiments()
        await self._load_models()
        tables = (*self._run_tables, DIGESTS, ARTIFACTS)
        sources = {table.name: RowSource(self._source, table) for table in tables}
        points = PointSource(self._source)
        for run in sources.pop("runs").all():
            own = {name: source.take(run["run_id"]) for name, source in sources.items()}
            await self._load_run({**own, "runs": [run]}, points.take(run["run_id"]))
        if not points.is_used_up():
            raise BadExport("the points are not in the order of the runs")

    async def _load_experiments(self) -> None:
        tables = tables_at(self._version, EXPERIMENT_TABLES)
        experiments, tags, *others = (RowSource(self._source, table) for table in tables)
        async with self._connection.transaction():
            await self._connection.execute(_SQL["skip_experiment_ids"])
            for row in experiments.all():
                self._experiments[row["experiment_id"]] = await self._experiment(row), row["name"]
            await self._connection.execute(_SQL["skip_experiment_ids"])
            for row in tags.all():
                number, _ = self._experiments[row["experiment_id"]]
                await self._connection.execute(
                    _SQL["import_experiment_tags"], number, [row["key"]], [row["value"]]
                )
            for table, source in zip(tables[2:], others, strict=True):  # data sets, rules
                for row in source.all():
                    number, _ = self._experiments[row["experiment_id"]]
                    rest = [value for name, value in row.items() if name != "experiment_id"]
                    await self._connection.execute(_SQL[f"import_{table.name}"], number, *rest)

    async def _load_models(self) -> None:
        if self._version < 2:
            return
        numbers = {there: here for there, (here, _) in self._experiments.items()}
        loader = ModelLoader(self._connection, self._source, self._artifacts, numbers)
        await loader.load_models()
        await loader.load_registry()
        self.done.models, self.done.model_versions = loader.models, loader.versions
        self.done.artifacts += loader.files

    async def _experiment(self, row: Mapping[str, Any]) -> int:
        """The number here of an experiment of the export, which is made if there is none of its name."""
        facts = [row[name] for name in ("lifecycle", "created_at_ms", "updated_at_ms")]
        known = await self._connection.fetch(_SQL["experiments_by_name"], [row["name"]])
        if known:
            number: int = known[0]["experiment_id"]
            await self._connection.execute(_SQL["adopt_experiment"], number, *facts)
        else:
            number = await self._connection.fetchval(
                _SQL["import_experiment"], row["experiment_id"], row["name"], *facts
            )
        return number

    async def _load_run(self, own: Mapping[str, list[dict[str, Any]]], points: Iterator[PointSlice]) -> None:
        (run,) = own["runs"]
        run_id = UUID(hex=run["run_id"])
        experiment_id, experiment = self._experiments[run["experiment_id"]]
        is_new = not await self._connection.fetchval(_SQL["run_exists"], run_id)
        if is_new:
            await self._connection.execute(
                _SQL["lift_mark"], run_id
            )  # else `ingest gc` would sweep its files
            # Before the run, and outside of its transaction, which must not wait for files.
            await self._put_artifacts(own["artifacts"], run_id, experiment_id)
            async with self._connection.transaction():
                is_new = await self._insert_run(run, run_id, experiment_id)
                if is_new:
                    await self._insert_rows(own, run_id)
                    await self._insert_points(run_id, points, own["digests"])
                    await self._restore_thinned(run_id, own.get("thinned_series", ()))
        if not is_new:
            for _ in points:
                pass
            await self._compare(own, run_id, experiment)

    async def _insert_run(self, run: Mapping[str, Any], run_id: UUID, experiment_id: int) -> bool:
        parent = run["parent_run_id"]
        made = await self._connection.fetchval(
            _SQL["import_run"], run_id, experiment_id, run["name"], run["user_name"], run["status"],
            run["lifecycle"], UUID(hex=parent) if parent else None, run["start_time_ms"], run["end_time_ms"],
            run.get("thinned_at_us"),
        )  # fmt: skip
        return made is not None

    async def _insert_rows(self, own: Mapping[str, list[dict[str, Any]]], run_id: UUID) -> None:
        for name in ("params", "tags"):
            await self._copy(name, ("run_id", "key", "value"), run_id, own[name])
        await self._copy("run_datasets", ("run_id", "name", "digest", "tags"), run_id, own["run_datasets"])
        await self._copy("run_models", ("run_id", "direction", "model_id", "step"), run_id, own["run_models"])
        writers = own["writers"]
        if writers:
            names = [name for name in _WRITER_COLUMNS if name not in {"run_id", "writer_id"}]
            await self._connection.execute(
                _SQL["import_writers"],
                run_id,
                [UUID(hex=writer["writer_id"]) for writer in writers],
                *([writer.get(name) for writer in writers] for name in names),
                own["runs"][0].get("thinned_at_us"),
            )

    async def _copy(
        self, table: str, columns: tuple[str, ...], run_id: UUID, rows: list[dict[str, Any]]
    ) -> None:
        if rows:
            records = [(run_id, *(row[name] for name in columns[1:])) for row in rows]
            await self._connection.copy_records_to_table(table, records=records, columns=list(columns))

    async def _insert_points(
        self, run_id: UUID, points: Iterator[PointSlice], digests: list[dict[str, Any]]
    ) -> None:
        stored = 0
        for seq, piece in enumerate(points, _FIRST_SEQ):
            prepared = prepare_points(_as_batches(run_id, piece, seq))
            if prepared is not None:
                await store_points(self._connection, prepared)
                stored += prepared.table.point_count
        expected = digests[0]["points"] if digests else 0
        if stored != expected:
            raise BadExport(
                f"run {run_id.hex} has {stored:,} points in the files and {expected:,} by its digest; it was not imported"
            )
        self.done.runs += 1
        self.done.points += stored

    async def _restore_thinned(self, run_id: UUID, rows: Sequence[Mapping[str, Any]]) -> None:
        """What a thinned run's metrics were before, which its points don't say any more."""
        for row in rows:
            rest = [value for name, value in row.items() if name != "run_id"]
            await self._connection.execute(_SQL["import_thinned_series"], run_id, *rest)

    async def _put_artifacts(self, files: list[dict[str, Any]], run_id: UUID, experiment_id: int) -> None:
        if self._artifacts is None:
            return
        root, prefix = self._source / "artifacts" / run_id.hex, run_prefix(experiment_id, run_id)
        self.done.artifacts += await put_files(self._artifacts, files, root, prefix)

    async def _compare(self, own: Mapping[str, list[dict[str, Any]]], run_id: UUID, experiment: str) -> None:
        async with self._connection.transaction(isolation="repeatable_read", readonly=True):
            found = await run_digest(self._connection, run_id, experiment, self._run_tables)
        if own["digests"] and found.hexdigest() == own["digests"][0]["blake2b"]:
            self.done.same += 1
        else:
            self.done.different.append(run_id.hex)


def _as_batches(run_id: UUID, piece: PointSlice, seq: int) -> list[Batch]:
    """A slice as batches, one for each writer; the points of a batch stand series by series, as in the slice."""
    ends = piece.counts.cumsum()
    of_writer: dict[UUID, list[int]] = {}
    for i, writer_id in enumerate(piece.writer_ids):
        of_writer.setdefault(writer_id, []).append(i)
    batches = []
    for writer_id, series in of_writer.items():
        spans = [slice(int(ends[i] - piece.counts[i]), int(ends[i])) for i in series]
        batches.append(
            Batch(
                run_id=run_id,
                writer_id=writer_id,
                seq=seq,
                sent_ms=0,
                keys=tuple(piece.keys[i] for i in series),
                counts=pack_column("I", [int(piece.counts[i]) for i in series]),
                steps=b"".join(piece.steps[span].astype("<i8").tobytes() for span in spans),
                times_ms=b"".join(piece.times_ms[span].astype("<i8").tobytes() for span in spans),
                values=b"".join(piece.values[span].astype("<f8").tobytes() for span in spans),
            )
        )
    return batches
