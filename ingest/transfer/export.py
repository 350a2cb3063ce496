"""`ingest export`: experiments and runs as files, in one snapshot of the database, while ingestion goes on.

Written into a hidden directory beside the target and renamed at the end: a target that is there is complete. Memory is
bounded by a slice of points and a batch of rows, whatever the size of the export.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson

from ingest.artifacts.paths import model_prefix, run_prefix
from ingest.artifacts.store import Store
from ingest.store.connections import connect_exporter
from ingest.store.errors import DATABASE_ERRORS, translated
from ingest.transfer.contents import RunDigest
from ingest.transfer.errors import TargetExists
from ingest.transfer.files import FileFacts, PointWriter, RowWriter
from ingest.transfer.layout import (
    ARTIFACTS,
    DIGESTS,
    EXPERIMENT_TABLES,
    FORMAT,
    MANIFEST,
    MODEL_ARTIFACTS,
    MODEL_TABLES,
    REGISTRY_TABLES,
    RUN_TABLES,
    VERSION,
    FileFormat,
    Table,
)
from ingest.transfer.points import points_of_run
from ingest_schema.sql import load_queries

__all__ = ["Exported", "Selection", "export", "run_digest"]

_SQL: Final = load_queries("transfer")
RUNS_AT_A_TIME: Final = 500
"""Whose params, tags and writers are read by one query each; so of logged models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What to export: these runs, or all runs of these experiments; both None: everything."""

    run_ids: Sequence[UUID] | None = None
    experiment_ids: Sequence[int] | None = None


@dataclass(slots=True)
class Exported:
    """What was written."""

    target: str
    experiments: int = 0
    runs: int = 0
    points: int = 0
    models: int = 0
    """Logged models."""
    registered_models: int = 0
    artifacts: int = 0
    """Files of runs and of logged models."""
    size_bytes: int = 0
    seconds: float = 0.0


class _Files:
    """The files of the export that is being written."""

    def __init__(self, root: Path, file_format: FileFormat) -> None:
        self.root = root
        self.points = PointWriter(root, file_format)
        self._format: FileFormat = file_format
        self._rows: dict[str, RowWriter] = {}

    def add(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        if table.name not in self._rows:
            self._rows[table.name] = RowWriter(self.root, table, self._format)
        self._rows[table.name].add(rows)

    def close(self) -> list[FileFacts]:
        return [*(writer.close() for writer in self._rows.values()), *self.points.close()]

    def abandon(self) -> None:
        for writer in self._rows.values():
            writer.abandon()
        self.points.abandon()


async def export(
    url: str,
    target: Path,
    selection: Selection,
    *,
    file_format: FileFormat = "parquet",
    artifacts: Store | None = None,
) -> Exported:
    """Write the export.

    Args:
        target: A directory that is not there yet, or is empty.
        artifacts: Where the runs' files lie; None leaves them out.

    Raises:
        TargetExists: Nothing was written.
        TransferError, OSError, StoreError, ArtifactError: What was written is gone again.
    """
    started = time.monotonic()
    with _new_directory(target) as root:
        connection = await connect_exporter(url)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                done = await _write_all(connection, root, selection, file_format, artifacts)
        except DATABASE_ERRORS as error:
            if isinstance(error, OSError) and not isinstance(error, asyncpg.PostgresError | ConnectionError):
                raise  # the disk's, not the database's
            raise translated(error) from error
        finally:
            connection.terminate()
    done.target, done.seconds = str(target), round(time.monotonic() - started, 3)
    return done


@contextmanager
def _new_directory(target: Path) -> Iterator[Path]:
    """A hidden directory that becomes the target if all goes well, and is removed if not."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise TargetExists(f"{target} is there already; choose another place, or remove it")
    target.parent.mkdir(parents=True, exist_ok=True)
    root = target.with_name(f".{target.name}.{secrets.token_hex(4)}.unfinished")
    root.mkdir(mode=0o700)
    try:
        yield root
        root.chmod(0o755)
        root.replace(target)
    finally:
        shutil.rmtree(root, ignore_errors=True)


async def _write_all(
    connection: Any, root: Path, selection: Selection, file_format: FileFormat, artifacts: Store | None
) -> Exported:
    run_ids = await _run_ids(connection, selection)
    experiment_ids = await _experiment_ids(connection, selection, run_ids)
    writing = _Writing(connection, root, file_format, artifacts)
    try:
        await writing.write_experiments(experiment_ids)
        await writing.write_models(selection, experiment_ids, run_ids)
        for begin in range(0, len(run_ids), RUNS_AT_A_TIME):
            await writing.write_runs(run_ids[begin : begin + RUNS_AT_A_TIME])
        facts = writing.files.close()
    except BaseException:
        writing.files.abandon()
        raise
    writing.done.size_bytes += sum(fact.size_bytes for fact in facts)
    _write_manifest(root, file_format, facts, writing.done, has_artifacts=artifacts is not None)
    return writing.done


async def _run_ids(connection: Any, selection: Selection) -> list[UUID]:
    if selection.run_ids is not None:
        return sorted(set(selection.run_ids))
    rows = await connection.fetch(_SQL["all_run_ids"], selection.experiment_ids)
    return [row["run_id"] for row in rows]


async def _experiment_ids(connection: Any, selection: Selection, run_ids: Sequence[UUID]) -> list[int]:
    if selection.run_ids is not None:
        rows = await connection.fetch(_SQL["experiments_of_runs"], run_ids)
    elif selection.experiment_ids is not None:
        return sorted(set(selection.experiment_ids))
    else:
        rows = await connection.fetch(_SQL["all_experiment_ids"])
    return [row["experiment_id"] for row in rows]


class _Writing:
    """One export under way."""

    def __init__(self, connection: Any, root: Path, file_format: FileFormat, artifacts: Store | None) -> None:
        self.files = _Files(root, file_format)
        self.done = Exported(target="")
        self._connection = connection
        self._artifacts = artifacts
        self._names: dict[int, str] = {}

    async def write_experiments(self, experiment_ids: Sequence[int]) -> None:
        for table in EXPERIMENT_TABLES:
            rows = await self._connection.fetch(_SQL[table.query], experiment_ids)
            self.files.add(table, rows)
            if table.name == "experiments":
                self._names = {row["experiment_id"]: row["name"] for row in rows}
        for table in (*MODEL_TABLES, *REGISTRY_TABLES, *RUN_TABLES, DIGESTS, ARTIFACTS, MODEL_ARTIFACTS):
            self.files.add(table, ())  # there as a file though it may stay empty
        self.done.experiments = len(experiment_ids)

    async def write_models(
        self, selection: Selection, experiment_ids: Sequence[int], run_ids: Sequence[UUID]
    ) -> None:
        """Logged models with their files, and what is registered of them and of the runs."""
        hexes = [run_id.hex for run_id in run_ids]
        made_by = hexes if selection.run_ids is not None else None
        found = await self._connection.fetch(_SQL["model_ids"], experiment_ids, made_by)
        model_ids = [row["model_id"] for row in found]
        for begin in range(0, len(model_ids), RUNS_AT_A_TIME):
            some = model_ids[begin : begin + RUNS_AT_A_TIME]
            for table in MODEL_TABLES:
                rows = await self._connection.fetch(_SQL[table.query], some)
                self.files.add(table, rows)
                if table.name == "logged_models" and self._artifacts is not None:
                    for row in rows:
                        await self._copy_model(self._artifacts, row["experiment_id"], row["model_id"])
        self.done.models = len(model_ids)
        is_all = selection.run_ids is None and selection.experiment_ids is None
        for table in REGISTRY_TABLES:
            chosen = (None, None) if is_all else (hexes, model_ids)
            rows = await self._connection.fetch(_SQL[table.query], *chosen)
            self.files.add(table, rows)
            if table.name == "registered_models":
                self.done.registered_models = len(rows)

    async def write_runs(self, run_ids: Sequence[UUID]) -> None:
        by_run: dict[str, dict[UUID, list[Any]]] = {}
        for table in RUN_TABLES:
            rows = await self._connection.fetch(_SQL[table.query], run_ids)
            self.files.add(table, rows)
            by_run[table.name] = {
                run_id: list(own) for run_id, own in groupby(rows, key=lambda row: row["run_id"])
            }
        for run_id in by_run["runs"]:
            await self._write_run(run_id, {name: rows.get(run_id, []) for name, rows in by_run.items()})

    async def _write_run(self, run_id: UUID, own: Mapping[str, list[Any]]) -> None:
        experiment_id = own["runs"][0]["experiment_id"]
        digest = RunDigest(self._names[experiment_id])
        for table in RUN_TABLES:
            digest.add_rows(table, own[table.name])
        writers = {w["writer_id"]: (w["rank"], w["attempt"]) for w in own["writers"]}
        async for piece in points_of_run(self._connection, run_id):
            digest.add_points(piece)
            self.files.points.add(run_id, piece, writers)
        row = {"run_id": run_id, "points": digest.points, "blake2b": digest.hexdigest()}
        self.files.add(DIGESTS, [row])
        if self._artifacts is not None:
            await self._copy_artifacts(self._artifacts, run_id, experiment_id)
        self.done.runs += 1
        self.done.points += digest.points

    async def _copy_artifacts(self, store: Store, run_id: UUID, experiment_id: int) -> None:
        place = self.files.root / "artifacts" / run_id.hex
        async for facts in self._copy_files(store, run_prefix(experiment_id, run_id), place):
            self.files.add(ARTIFACTS, [{"run_id": run_id, **facts}])

    async def _copy_model(self, store: Store, experiment_id: int, model_id: str) -> None:
        place = self.files.root / "model_artifacts" / model_id
        async for facts in self._copy_files(store, model_prefix(experiment_id, model_id), place):
            self.files.add(MODEL_ARTIFACTS, [{"model_id": model_id, **facts}])

    async def _copy_files(self, store: Store, prefix: str, place: Path) -> AsyncIterator[dict[str, Any]]:
        """Copy all files below a prefix to a place; path, size and hash of each."""
        async for entry in store.walk(prefix):
            relative = entry.path.removeprefix(prefix).lstrip("/")
            target = place / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            digest, size_bytes = hashlib.sha256(), 0
            async with store.open(entry.path) as reader:
                with target.open("wb") as file:
                    async for chunk in reader.chunks(0, reader.entry.size_bytes):
                        file.write(chunk)
                        digest.update(chunk)
                        size_bytes += len(chunk)
            yield {"path": relative, "size_bytes": size_bytes, "sha256": digest.hexdigest()}
            self.done.artifacts += 1
            self.done.size_bytes += size_bytes


async def run_digest(
    connection: Any, run_id: UUID, experiment: str, tables: Sequence[Table] = RUN_TABLES
) -> RunDigest:
    """The digest of a run as it is stored, inside the caller's snapshot. tables: as the version of an export has them."""
    digest = RunDigest(experiment)
    for table in tables:
        digest.add_rows(table, await connection.fetch(_SQL[table.query], [run_id]))
    async for piece in points_of_run(connection, run_id):
        digest.add_points(piece)
    return digest


def _write_manifest(
    root: Path, file_format: FileFormat, facts: Sequence[FileFacts], done: Exported, *, has_artifacts: bool
) -> None:
    from importlib.metadata import version

    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "file_format": file_format,
        "made_by": f"metric-ingest {version('metric-ingest')}",
        "made_at_ms": time.time_ns() // 1_000_000,
        "has_artifacts": has_artifacts,
        "counts": {
            name: value
            for name, value in asdict(done).items()
            if name not in {"target", "size_bytes", "seconds"}
        },
        "files": [asdict(fact) for fact in sorted(facts, key=lambda fact: fact.path)],
    }
    (root / MANIFEST).write_bytes(
        orjson.dumps(manifest, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    )
