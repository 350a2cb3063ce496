"""Runs with all that belongs to them: latest metrics, params, tags, inputs, outputs; any number in one query."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final, NamedTuple
from uuid import UUID

from ingest.service.database import Database
from ingest.service.errors import RunUnknown
from ingest_schema.sql import load_queries

__all__ = ["Metric", "RunDocument", "RunInfo", "get_document", "get_documents", "get_info", "is_gone"]

_SQL: Final = load_queries("run_documents")
_WRITE: Final = load_queries("write")


class RunInfo(NamedTuple):
    """What a run itself says. artifact_location: its experiment's, see `ingest.service.locations`."""

    run_id: UUID
    experiment_id: int
    name: str
    user_name: str
    status: str
    lifecycle: str
    start_time_ms: int
    end_time_ms: int | None
    artifact_location: str


class Metric(NamedTuple):
    """The latest point of a metric."""

    key: str
    value: float
    time_ms: int
    step: int


@dataclass(slots=True)
class RunDocument:
    """A run and its lists, in the order of their keys. links: those of data sets and models that are not empty, by name, as JSON texts."""

    info: RunInfo
    parent_run_id: UUID | None
    metrics: list[Metric] = field(default_factory=list)
    params: list[tuple[str, str]] = field(default_factory=list)
    tags: list[tuple[str, str]] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)


_KEY: Final = itemgetter(0)


async def get_info(db: Database, run_id: UUID) -> RunInfo:
    """The run without its lists, deleted or not."""
    row = await db.fetchrow(_SQL["info"], run_id)
    if row is None:
        raise RunUnknown(run_id)
    return _info(row)


async def is_gone(db: Database, run_id: UUID) -> bool:
    """Whether the run is being deleted for good, or was."""
    return await db.fetchrow(_WRITE["gone_runs"], [run_id]) is not None


async def get_document(db: Database, run_id: UUID) -> RunDocument:
    """The run with everything, deleted or not."""
    found = await get_documents(db, [run_id])
    if not found:
        raise RunUnknown(run_id)
    return found[0]


async def get_documents(db: Database, run_ids: Sequence[UUID]) -> list[RunDocument]:
    """Several, in the order of the ids, which differ; those that are not there are left out."""
    if not run_ids:
        return []
    row = await db.fetchrow(_SQL["documents"], run_ids)
    infos = zip(*(row[name] or () for name in RunInfo._fields), strict=True)
    found = [
        RunDocument(RunInfo(*info), parent)
        for info, parent in zip(infos, row["parent_run_id"] or (), strict=True)
    ]
    at = dict(zip(row["run_place"] or (), found, strict=True))
    for place, *metric in _entries(row, "metric", "key", "value", "time_ms", "step"):
        at[place].metrics.append(Metric(*metric))
    for place, key, value in _entries(row, "param", "key", "value"):
        at[place].params.append((key, value))
    for place, key, value in _entries(row, "tag", "key", "value"):
        at[place].tags.append((key, value))
    for place, name, texts in _entries(row, "link", "name", "list"):
        at[place].links[name] = texts
    for document in found:
        document.metrics.sort(key=_KEY)
        document.params.sort(key=_KEY)
        document.tags.sort(key=_KEY)
    return found


def _entries(row: Any, kind: str, *names: str) -> Iterator[tuple[Any, ...]]:
    """What the row says of all entries of a kind: the place of the run that each belongs to, and its columns."""
    return zip(*(row[f"{kind}_{name}"] or () for name in ("place", *names)), strict=True)


def _info(row: Any) -> RunInfo:
    return RunInfo(*(row[name] for name in RunInfo._fields))
