"""Taking in runs of other tools: each source becomes a writer of its run (`feed`) and goes the way that every batch goes.

What is here already is skipped by counting, metric by metric, and an import can be broken off and started again, or repeated when the
source has grown: nothing is doubled and nothing is lost.

Ids come from the source where it has ids like ours, else they are made from names (UUID version 5): the same each time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final, Self
from uuid import UUID, uuid5

from ingest.artifacts.library import Artifacts
from ingest.service import experiments
from ingest.service.database import Database
from ingest.service.errors import NameTaken
from ingest.store.connections import connect_writer
from ingest.transfer.feed import Feed, RunFacts, Ways
from ingest.transfer.files_in import FilesIn
from ingest.transfer.taken import Taken, storable
from ingest.write.lanes import BatchWriter
from ingest_schema.sql import load_queries

__all__ = ["Feeder", "id_from"]

_SQL: Final = load_queries("feeding")
_NAMESPACE: Final = UUID("5a4c6c1e-31cb-5d5c-9a39-0a3c0a1f2b7d")
_READ_TIMEOUT: Final = 300.0


def id_from(*parts: str) -> UUID:
    """The id that belongs to these names, the same everywhere and always."""
    return uuid5(_NAMESPACE, "\0".join(parts))


class _Silent:
    """Nobody counts here."""

    def committed(self, batches: int, seconds: float) -> None: ...

    def retried(self, reason: str) -> None: ...


class Feeder:
    """One import under way. `open` makes one."""

    def __init__(self, db: Database, writer: BatchWriter, artifacts: Artifacts | None) -> None:
        self.taken = Taken()
        self.db = db
        self.writer = writer
        self.files = FilesIn(artifacts, self.taken)
        self._made: dict[str, int] = {}

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, artifacts: Artifacts | None = None) -> AsyncIterator[Self]:
        """Connected for as long as the block."""
        writer = BatchWriter(lambda: connect_writer(url), lanes=1, observer=_Silent())
        async with Database.open(url, readers=2, timeout=_READ_TIMEOUT) as db:
            running = asyncio.create_task(writer.run(), name="ingest import")
            try:
                yield cls(db, writer, artifacts)
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    async def make_experiment(self, name: str, tags: Mapping[str, str]) -> int:
        """Make it, unless there is one of the name: that keeps its tags, and the runs are added to it. Its number."""
        kept = storable(tags, "tag", f"experiment {name!r}", self.taken)
        try:
            self._made[name] = await experiments.create_experiment(self.db, name, kept)
        except NameTaken:
            return (await experiments.get_experiment_by_name(self.db, name)).experiment_id
        return self._made[name]

    async def delete_experiment(self, name: str) -> None:
        """What the source has deleted is deleted here too, if it was made by this import."""
        if name in self._made:
            await experiments.set_lifecycle(self.db, self._made[name], "deleted")

    async def begin(self, facts: RunFacts) -> Feed | None:
        """The run, to be given its points; None if it is not ours to fill, as a note then says."""
        row = await self.db.fetchrow(_SQL["known_writer"], facts.run_id, facts.writer_id)
        is_known = row["last_seq"] is not None
        if row["has_run"] and not is_known and not await self._is_imported(facts):
            self.taken.skip("runs that are here from elsewhere")
            self.taken.note(
                f"run {facts.run_id.hex} is here already and was not imported; it was left as it is"
            )
            return None
        stored: dict[str, int] = {}
        if is_known:
            found = await self.db.fetch(_SQL["points_by_key"], facts.run_id, facts.writer_id)
            stored = {key["key"]: key["n"] for key in found}
            if sum(stored.values()) != row["points"]:
                self.taken.skip("runs that were thinned here")
                self.taken.note(
                    f"points of run {facts.run_id.hex} were thinned here since; it was left as it is"
                )
                return None
        is_complete = is_known and row["ended_at_ms"] is not None
        ways = Ways(self.db, self.writer, self.files, self.taken)
        return Feed(ways, facts, last_seq=row["last_seq"] or 0, stored=stored, is_complete=is_complete)

    async def _is_imported(self, facts: RunFacts) -> bool:
        if facts.first_writer_id in {None, facts.writer_id}:
            return False
        first = await self.db.fetchrow(_SQL["known_writer"], facts.run_id, facts.first_writer_id)
        return first["last_seq"] is not None
