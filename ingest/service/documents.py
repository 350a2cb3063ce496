"""Runs with all that belongs to them: latest metrics, params, tags, inputs, outputs; any number in one query.

The lists stay the JSON texts that PostgreSQL made: whoever answers puts them into the answer as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final
from uuid import UUID

from ingest.service.database import Database
from ingest.service.errors import RunUnknown
from ingest_schema.sql import load_queries

__all__ = ["RunDocument", "RunInfo", "get_document", "get_documents", "get_info", "is_gone"]

_SQL: Final = load_queries("run_documents")
_WRITE: Final = load_queries("write")


@dataclass(frozen=True, slots=True)
class RunInfo:
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


@dataclass(frozen=True, slots=True)
class RunDocument:
    """A run and its lists; each a JSON array as text, or None where it would be empty."""

    info: RunInfo
    metrics: str | None
    params: str | None
    tags: str | None
    dataset_inputs: str | None
    model_inputs: str | None
    model_outputs: str | None


_INFO: Final = tuple(field.name for field in fields(RunInfo))
_LISTS: Final = tuple(field.name for field in fields(RunDocument))[1:]


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
    """Several, in the order of the ids; those that are not there are left out."""
    if not run_ids:
        return []
    rows = await db.fetch(_SQL["documents"], run_ids)
    return [RunDocument(_info(row), *(row[name] for name in _LISTS)) for row in rows]


def _info(row: Any) -> RunInfo:
    return RunInfo(*(row[name] for name in _INFO))
