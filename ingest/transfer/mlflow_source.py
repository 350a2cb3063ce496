"""What the three kinds of MLflow store have in common, and how a run of theirs becomes one here.

    from_mlflow_files    a directory `mlruns`
    from_mlflow_sql      the database of an MLflow server: SQLite or PostgreSQL
    from_mlflow_rest     an MLflow server

Each is a `Source`. Run ids, params, tags, metrics with step, time and order, statuses, deletion, parents, experiments with their
tags stay as they are; experiments are joined by name. Artifacts come along where they lie in a local directory. Logged models,
the registry, traces and data sets are left out and counted where the source has them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit
from uuid import UUID

from ingest.transfer.feeding import Feeder, RunFacts, id_from
from ingest_schema.ids import parse_id

__all__ = ["Point", "Source", "SourceExperiment", "SourceRun", "take_in"]

Point = tuple[str, int, int, float]
"""Key, step, time in ms, value."""

CLIENT: Final = "mlflow import"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceExperiment:
    """An experiment of the source."""

    source_id: str
    name: str
    is_deleted: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRun:
    """A run of the source. Times in ms."""

    run_id: str
    name: str | None
    user: str | None
    status: str
    start_time_ms: int | None
    end_time_ms: int | None
    is_deleted: bool
    artifact_uri: str | None
    params: Mapping[str, str]
    tags: Mapping[str, str]


class Source(Protocol):
    """A store of MLflow's."""

    def experiments(self) -> AsyncIterator[SourceExperiment]:
        """All, deleted ones too."""

    def runs(self, experiment: SourceExperiment) -> AsyncIterator[SourceRun]:
        """All runs of one, deleted ones too."""

    def points(self, run: SourceRun) -> AsyncIterator[Point]:
        """All points of a run; those of a metric always in the same order."""


async def take_in(feeder: Feeder, source: Source, *, only: frozenset[str] = frozenset()) -> None:
    """Import what the source has.

    Args:
        only: Names of experiments; empty: all.
    """
    async for experiment in source.experiments():
        if only and experiment.name not in only:
            continue
        await feeder.make_experiment(experiment.name, experiment.tags)
        async for run in source.runs(experiment):
            await _take_in_run(feeder, source, experiment, run)
        if experiment.is_deleted:
            await feeder.delete_experiment(experiment.name)


async def _take_in_run(feeder: Feeder, source: Source, experiment: SourceExperiment, run: SourceRun) -> None:
    feed = await feeder.begin(_facts(experiment, run))
    if feed is None:
        return
    async for key, step, time_ms, value in source.points(run):
        feed.add(key, step, time_ms, value)
        if feed.is_full:
            await feed.flush()
    files = list(_files(run))
    if not files and run.artifact_uri and _local(run.artifact_uri) is None:
        feeder.taken.skip("runs whose artifacts, if any, do not lie on this machine")
    await feed.end(files)


def _facts(experiment: SourceExperiment, run: SourceRun) -> RunFacts:
    run_id = _run_id(run.run_id)
    parent = run.tags.get("mlflow.parentRunId")
    start_ms = run.start_time_ms if run.start_time_ms is not None else run.end_time_ms or 0
    return RunFacts(
        run_id=run_id,
        writer_id=id_from("mlflow", run_id.hex),
        experiment=experiment.name,
        name=run.name or run.tags.get("mlflow.runName"),
        user=run.user,
        parent_run_id=_run_id(parent) if parent else None,
        start_time_ms=start_ms,
        status=run.status,
        end_time_ms=run.end_time_ms,
        is_deleted=run.is_deleted,
        params=run.params,
        tags=run.tags,
        client=CLIENT,
    )


def _run_id(text: str) -> UUID:
    """MLflow's own ids are ours; a store that was made by other tools may have others."""
    try:
        return parse_id(text)
    except ValueError:
        return id_from("mlflow run", text)


def _files(run: SourceRun) -> Iterator[tuple[str, Path]]:
    root = _local(run.artifact_uri or "")
    if root is None:
        return
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path.relative_to(root).as_posix(), path


def _local(uri: str) -> Path | None:
    """The directory that an artifact URI means, if it is one of this machine."""
    parts = urlsplit(uri)
    if parts.scheme not in {"", "file"} or parts.netloc not in {"", "localhost"}:
        return None
    path = Path(unquote(parts.path) if parts.scheme else uri)
    return path if path.is_absolute() and path.is_dir() else None
