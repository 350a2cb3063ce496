"""The database of an MLflow server, read directly: SQLite or PostgreSQL, MLflow 2 and 3. Nothing is written to it.

Points of a metric come in the order of (time, step, value), which is the order MLflow's primary key has them in: it keeps no
other. It stores ±Inf as ±1.797e308, and NaN of a logged model as 0, and that is what arrives. What a release of MLflow has no table
for, a database of it does not hold.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Self

from ingest.service.datasets import Dataset
from ingest.transfer.files_in import File
from ingest.transfer.mlflow_places import is_local, local_files
from ingest.transfer.mlflow_rows import open_rows
from ingest.transfer.mlflow_source import (
    DELETED_STAGE,
    Inputs,
    Point,
    SourceExperiment,
    SourceModel,
    SourceModelPoint,
    SourceRegistered,
    SourceRun,
    SourceVersion,
    model_status,
)

__all__ = ["SqlStore"]


class SqlStore(AbstractAsyncContextManager["SqlStore"]):
    """The database behind an MLflow server, by the URL that the server was started with; open for the `async with` block.

    Raises:
        BadSource: There is no such file, or it can't be reached.
    """

    def __init__(self, url: str) -> None:
        self._rows = open_rows(url)
        self._tables: frozenset[str] = frozenset()

    async def __aenter__(self) -> Self:
        self._tables = frozenset([row["name"] async for row in self._rows.read(self._rows.tables)])
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._rows.close()

    async def experiments(self) -> AsyncIterator[SourceExperiment]:
        """All, deleted ones too."""
        async for row in self._rows.read("experiments"):
            tags = await self._texts("experiment_tags", row["experiment_id"])
            yield SourceExperiment(
                source_id=str(row["experiment_id"]),
                name=row["name"],
                is_deleted=row["lifecycle_stage"] == "deleted",
                tags=tags,
            )

    async def runs(self, experiment: SourceExperiment) -> AsyncIterator[SourceRun]:
        """All runs of one, deleted ones too."""
        async for row in self._rows.read("runs", int(experiment.source_id)):
            run_id = row["run_uuid"]
            yield SourceRun(
                run_id=run_id,
                name=row["name"] or None,
                user=row["user_id"] or None,
                status=row["status"] or "RUNNING",
                start_time_ms=row["start_time"],
                end_time_ms=row["end_time"],
                is_deleted=row["lifecycle_stage"] == "deleted",
                artifact_uri=row["artifact_uri"],
                params=await self._texts("params", run_id),
                tags=await self._texts("tags", run_id),
            )

    async def points(self, run: SourceRun) -> AsyncIterator[Point]:
        """All points of a run, metric after metric."""
        async for row in self._rows.read("metrics", run.run_id):
            value = float("nan") if row["is_nan"] else float(row["value"])
            yield row["key"], row["step"], row["timestamp"], value

    async def inputs(self, run: SourceRun) -> Inputs:
        """What a run read and made, by name: the database keeps no order."""
        if "inputs" not in self._tables:
            return Inputs()
        datasets = [
            Dataset(
                name=row["name"],
                digest=row["digest"],
                source_type=row["dataset_source_type"],
                source=row["dataset_source"],
                schema=row["dataset_schema"],
                profile=row["dataset_profile"],
                tags=await self._texts("input_tags", row["input_uuid"]),
            )
            async for row in self._rows.read("dataset_inputs", run.run_id)
        ]
        if "logged_models" not in self._tables:
            return Inputs(datasets=datasets)
        return Inputs(
            datasets=datasets,
            models=[row["model_id"] async for row in self._rows.read("model_inputs", run.run_id)],
            made=[
                (row["model_id"], row["step"]) async for row in self._rows.read("model_outputs", run.run_id)
            ],
        )

    def has_files(self, uri: str) -> bool:
        """Whether they lie on this machine."""
        return is_local(uri)

    def files(self, uri: str) -> AsyncIterator[File]:
        """The files at an artifact URI."""
        return local_files(uri)

    async def models(self, experiment: SourceExperiment) -> AsyncIterator[SourceModel]:
        """All logged models of one, deleted ones too."""
        if "logged_models" not in self._tables:
            return
        async for row in self._rows.read("logged_models", int(experiment.source_id)):
            model_id = row["model_id"]
            yield SourceModel(
                model_id=model_id,
                name=row["name"],
                model_type=row["model_type"],
                source_run_id=row["source_run_id"],
                status=model_status(row["status"]),
                status_message=row["status_message"],
                is_deleted=row["lifecycle_stage"] == "deleted",
                created_at_ms=row["creation_timestamp_ms"],
                updated_at_ms=row["last_updated_timestamp_ms"],
                artifact_uri=row["artifact_location"],
                params=await self._texts("logged_model_params", model_id),
                tags=await self._texts("logged_model_tags", model_id),
            )

    async def model_points(self, model: SourceModel) -> AsyncIterator[SourceModelPoint]:
        """All points of a model, metric after metric."""
        async for row in self._rows.read("logged_model_metrics", model.model_id):
            yield SourceModelPoint(
                key=row["metric_name"],
                step=row["metric_step"],
                time_ms=row["metric_timestamp_ms"],
                value=float(row["metric_value"]),
                run_id=row["run_id"],
                dataset_name=row["dataset_name"],
                dataset_digest=row["dataset_digest"],
            )

    async def registered(self) -> AsyncIterator[SourceRegistered]:
        """All names of the registry."""
        if "registered_models" not in self._tables:
            return
        has_aliases = "registered_model_aliases" in self._tables
        async for row in self._rows.read("registered_models"):
            name = row["name"]
            aliases = await self._texts("registered_model_aliases", name) if has_aliases else {}
            yield SourceRegistered(
                name=name,
                description=row["description"],
                created_at_ms=row["creation_time"] or 0,
                updated_at_ms=row["last_updated_time"] or row["creation_time"] or 0,
                tags=await self._texts("registered_model_tags", name),
                aliases={alias: int(version) for alias, version in aliases.items()},
            )

    async def versions(self) -> AsyncIterator[SourceVersion]:
        """All versions of all names."""
        if "model_versions" not in self._tables:
            return
        async for row in self._rows.read("model_versions"):
            facts = dict(row)
            name, version = facts["name"], facts["version"]
            yield _version(facts, await self._texts("model_version_tags", name, version))

    async def _texts(self, query: str, *of: Any) -> dict[str, str]:
        return {row["key"]: row["value"] or "" async for row in self._rows.read(query, *of)}


def _version(facts: Mapping[str, Any], tags: Mapping[str, str]) -> SourceVersion:
    return SourceVersion(
        name=facts["name"],
        version=facts["version"],
        description=facts["description"],
        user=facts.get("user_id"),
        source=facts["source"] or "",
        location=facts.get("storage_location"),
        run_id=facts["run_id"],
        run_link=facts.get("run_link"),
        model_id=None,  # there is no column of it; the source says it
        stage=facts["current_stage"],
        is_deleted=facts["current_stage"] == DELETED_STAGE,
        created_at_ms=facts["creation_time"] or 0,
        updated_at_ms=facts["last_updated_time"] or facts["creation_time"] or 0,
        tags=tags,
    )
