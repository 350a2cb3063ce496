"""What runs read and made: datasets, and models by their ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

import orjson

from ingest.service.database import Database
from ingest.service.errors import RunIsDeleted, RunUnknown
from ingest_schema.sql import load_queries

__all__ = ["Dataset", "DatasetSummary", "log_inputs", "log_outputs", "summaries"]

_SQL: Final = load_queries("datasets")

MAX_SUMMARIES: Final = 1_000


class Dataset(NamedTuple):
    """A dataset as a run tells of it. schema, profile: None if it does not. tags: of this run's reading it."""

    name: str
    digest: str
    source_type: str
    source: str
    schema: str | None
    profile: str | None
    tags: Mapping[str, str]


class DatasetSummary(NamedTuple):
    """A dataset of an experiment in one context, such as training; None without one."""

    experiment_id: int
    name: str
    digest: str
    context: str | None


async def log_inputs(
    db: Database, run_id: UUID, datasets: Sequence[Dataset], model_ids: Sequence[str]
) -> None:
    """Add inputs to an active run. One that is there already stays as it is, tags included."""

    async def work(connection: Any) -> None:
        experiment_id = await _lock_active(connection, run_id)
        if datasets:
            columns = [list(column) for column in list(zip(*datasets, strict=True))[:6]]
            await connection.execute(_SQL["add_datasets"], experiment_id, *columns)
            tags = [orjson.dumps(dict(dataset.tags)).decode() for dataset in datasets]
            await connection.execute(_SQL["add_run_datasets"], run_id, *columns[:2], tags)
        if model_ids:
            await _add_models(connection, run_id, "input", [(model_id, 0) for model_id in model_ids])

    await db.edit(work)


async def log_outputs(db: Database, run_id: UUID, models: Sequence[tuple[str, int]]) -> None:
    """Add models that an active run made: pairs of id and step. A later step for the same model replaces it."""

    async def work(connection: Any) -> None:
        await _lock_active(connection, run_id)
        if models:
            await _add_models(connection, run_id, "output", models)

    await db.edit(work)


async def summaries(db: Database, experiment_ids: Sequence[int]) -> list[DatasetSummary]:
    """The datasets that active runs of these experiments read, each once a context; at most MAX_SUMMARIES."""
    return [DatasetSummary(*row) for row in await db.fetch(_SQL["summaries"], experiment_ids, MAX_SUMMARIES)]


async def _add_models(
    connection: Any, run_id: UUID, direction: Literal["input", "output"], models: Sequence[tuple[str, int]]
) -> None:
    different = dict(models)
    await connection.execute(
        _SQL["add_run_models"], run_id, direction, list(different), list(different.values())
    )


async def _lock_active(connection: Any, run_id: UUID) -> int:
    """The run's experiment."""
    row = await connection.fetchrow(_SQL["lock_run"], run_id)
    if row is None:
        raise RunUnknown(run_id)
    if row["lifecycle"] == "deleted":
        raise RunIsDeleted(run_id)
    experiment_id: int = row["experiment_id"]
    return experiment_id
