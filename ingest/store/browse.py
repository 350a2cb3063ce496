"""What people choose from before they search: the keys that runs have, the runs that experiments have.

Keys of experiments are those of their newest runs, NEWEST of them: enough to complete what somebody types, and bounded
whatever the experiment holds. Errors: ContentRefused for a regular expression that PostgreSQL can't read, and the reader's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal
from uuid import UUID

from ingest.store.keys import KeyMatch
from ingest.store.search import Reader
from ingest_schema.sql import load_queries

__all__ = ["KEY_KINDS", "KeyKind", "experiment_counts", "keys_of", "newest_runs", "ranks_of"]

_SQL: Final = load_queries("browse")
KeyKind = Literal["metric", "param", "tag"]
KEY_KINDS: Final[tuple[KeyKind, ...]] = ("metric", "param", "tag")
NEWEST: Final = 200
"""Runs whose keys stand for their experiment's."""


async def newest_runs(reader: Reader, experiment_ids: Sequence[int] | None) -> list[UUID]:
    """Ids of the newest active runs of these experiments; None for all."""
    return [row["run_id"] for row in await reader.fetch(_SQL["newest_runs"], experiment_ids, NEWEST)]


async def keys_of(
    reader: Reader, run_ids: Sequence[UUID], kind: KeyKind, *, match: KeyMatch, after: str, limit: int
) -> list[tuple[str, int]]:
    """Different keys in their order, each with how many of the runs have it."""
    rows = await reader.fetch(_SQL[f"{kind}_keys"], run_ids, match.like, match.regex, after, limit)
    return [(row["key"], row["runs"]) for row in rows]


async def ranks_of(reader: Reader, run_ids: Sequence[UUID]) -> list[tuple[UUID, list[int]]]:
    """The ranks that logged to each of these runs, of those with several."""
    return [(row["run_id"], row["ranks"]) for row in await reader.fetch(_SQL["ranks"], run_ids)]


async def experiment_counts(reader: Reader) -> list[dict[str, int]]:
    """Runs, running ones and the last start of each experiment that has runs."""
    return [dict(row) for row in await reader.fetch(_SQL["runs_per_experiment"])]
