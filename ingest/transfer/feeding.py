"""Taking in runs of other tools: each source becomes a writer of its run and goes the way that every batch goes.

A source gives the points of a metric always in the same order and only ever adds to them. So what is here already is skipped by
counting, metric by metric, and an import can be broken off and started again, or repeated when the source has grown: nothing is
doubled and nothing is lost. The numbers of the batches say the same to the write path, which refuses any other.

Ids come from the source where it has ids like ours, else they are made from names (UUID version 5): the same each time.
Memory is bounded by one batch of BATCH_POINTS.
"""

from __future__ import annotations

import asyncio
import os
import socket
from array import array
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self
from uuid import UUID, uuid5

from ingest.artifacts.library import Artifacts
from ingest.artifacts.paths import run_prefix
from ingest.service import experiments
from ingest.service.database import Database
from ingest.service.errors import NameTaken
from ingest.service.runs import NAME_TAG, set_lifecycle
from ingest.store.connections import connect_writer
from ingest.store.outcomes import Gap, Refused, Stored
from ingest.transfer.files_in import File, FilesIn
from ingest.transfer.source_errors import ImportStopped
from ingest.transfer.taken import Taken, storable
from ingest.write.lanes import BatchWriter
from ingest_schema.errors import SchemaError
from ingest_schema.events import END_STATUSES, Event
from ingest_schema.limits import MAX_NAME_BYTES
from ingest_schema.sql import load_queries
from ingest_schema.values import check_key
from ingest_schema.wire import Batch, pack_column

__all__ = ["Feed", "Feeder", "RunFacts", "id_from"]

BATCH_POINTS: Final = 100_000
"""Points of one batch, 2.4 MB: beyond this the transaction grows and the rate does not."""
_SQL: Final = load_queries("feeding")
_NAMESPACE: Final = UUID("5a4c6c1e-31cb-5d5c-9a39-0a3c0a1f2b7d")
_READ_TIMEOUT: Final = 300.0


def id_from(*parts: str) -> UUID:
    """The id that belongs to these names, the same everywhere and always."""
    return uuid5(_NAMESPACE, "\0".join(parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """A run as its source tells it. Times in ms since the Unix epoch."""

    run_id: UUID
    writer_id: UUID
    first_writer_id: UUID | None = None
    """Of a run that several sources write to: the first of them, by which the run is known as imported."""
    experiment: str
    name: str | None
    start_time_ms: int
    client: str
    """Who wrote it, for the table of writers."""
    user: str | None = None
    parent_run_id: UUID | None = None
    status: str = "FINISHED"
    """What is no final status leaves the run going on."""
    end_time_ms: int | None = None
    is_deleted: bool = False
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


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
        return Feed(self, facts, last_seq=row["last_seq"] or 0, stored=stored, is_complete=is_complete)

    async def _is_imported(self, facts: RunFacts) -> bool:
        if facts.first_writer_id in {None, facts.writer_id}:
            return False
        first = await self.db.fetchrow(_SQL["known_writer"], facts.run_id, facts.first_writer_id)
        return first["last_seq"] is not None


class Feed:
    """One run that is being filled by one source. The caller adds points, then calls `end`."""

    def __init__(
        self, feeder: Feeder, facts: RunFacts, *, last_seq: int, stored: dict[str, int], is_complete: bool
    ) -> None:
        self.facts = facts
        self._feeder = feeder
        self._taken = feeder.taken
        self._last_seq = last_seq
        self._left_to_skip = stored
        self._is_complete = is_complete
        self._columns: dict[str, tuple[array[int], array[int], array[float]]] = {}
        self._held = 0
        self._added = 0
        self._was_known = self._is_begun = last_seq > 0
        self._bad_keys: set[str] = set()
        self._prefix: str | None = None
        self._late: dict[str, dict[str, str]] = {"param": {}, "tag": {}}

    @property
    def _counts(self) -> bool:
        """Whether this is the source by which the run is counted."""
        return self.facts.first_writer_id in {None, self.facts.writer_id}

    @property
    def held_num(self) -> int:
        """Points that wait for `flush`."""
        return self._held

    @property
    def is_full(self) -> bool:
        """Whether `flush` is due."""
        return self._held >= BATCH_POINTS

    def add(self, key: str, step: int, time_ms: int, value: float) -> None:
        """One point, after those of the metric that were added before."""
        left = self._left_to_skip.get(key)
        if left:
            self._left_to_skip[key] = left - 1
            return
        columns = self._columns.get(key)
        if columns is None:
            if not self._isstorable(key):
                return
            columns = self._columns[key] = array("q"), array("q"), array("d")
        columns[0].append(step)
        columns[1].append(time_ms)
        columns[2].append(value)
        self._held += 1

    def add_texts(self, what: Literal["param", "tag"], texts: Mapping[str, str]) -> None:
        """Params or tags that the source tells in the midst of its points. They go with the next points, or at the end."""
        self._late[what].update(texts)

    def _isstorable(self, key: str) -> bool:
        if key not in self._bad_keys:
            try:
                check_key(key)
                return True
            except SchemaError as error:
                self._bad_keys.add(key)
                self._taken.note(f"run {self.facts.run_id.hex}: {error}")
        self._taken.skip("points of metrics with names that can't be stored")
        return False

    async def flush(self) -> None:
        """Commit what is held."""
        if not self._is_begun:
            await self._commit(self._opening())
        elif self._held:
            await self._commit(())

    async def end(self, files: AsyncIterable[File] | None = None, *, end_time_ms: int | None = None) -> None:
        """Everything was added: commit it, bring the run's files, and give it its end.

        Args:
            files: None are asked for where nothing is new.
            end_time_ms: Instead of that of the facts.
        """
        is_final = self.facts.status in END_STATUSES
        is_new = bool(self._held or self._added or not self._was_known)
        if self._is_complete and not is_new:
            self._taken.same += self._counts
            return
        await self.flush()
        if files is not None:
            await self._feeder.files.put_all(await self._own_prefix(), files)
        if self.facts.is_deleted:
            await set_lifecycle(self._feeder.db, self.facts.run_id, "deleted")
        if is_final:
            end_ms = next(
                ms for ms in (end_time_ms, self.facts.end_time_ms, self.facts.start_time_ms) if ms is not None
            )
            body = {"status": self.facts.status, "end_time_ms": end_ms}
            await self._commit((Event("run_end", end_ms, body), Event("writer_end", end_ms, {})))
        if is_new or is_final:
            self._taken.runs += self._counts
        else:
            self._taken.same += self._counts

    def _opening(self) -> Sequence[Event]:
        facts, start_ms = self.facts, self.facts.start_time_ms
        what = f"run {facts.run_id.hex}"
        body: dict[str, Any] = {
            "name": _cut(facts.name),
            "start_time_ms": start_ms,
            "experiment": facts.experiment,
        }
        if facts.user:
            body["user"] = _cut(facts.user)
        if facts.parent_run_id is not None:
            body["parent_run_id"] = facts.parent_run_id.bytes
        writer = {
            "rank": 0,
            "host": socket.gethostname()[:255] or "unknown",
            "pid": os.getpid(),
            "client": facts.client,
        }
        tags = {key: value for key, value in facts.tags.items() if key != NAME_TAG}
        return (
            Event("run_start", start_ms, body),
            Event("writer", start_ms, writer),
            Event("params", start_ms, storable(facts.params, "param", what, self._taken)),
            Event("tags", start_ms, storable(tags, "tag", what, self._taken)),
        )

    def _late_events(self) -> list[Event]:
        """What `add_texts` brought, once."""
        late, self._late = self._late, {"param": {}, "tag": {}}
        whose = f"run {self.facts.run_id.hex}"
        return [
            Event(f"{what}s", self.facts.start_time_ms, storable(texts, what, whose, self._taken))
            for what, texts in late.items()
            if texts
        ]

    async def _commit(self, events: Sequence[Event]) -> None:
        columns, self._columns = self._columns, {}
        held, self._held = self._held, 0
        events = [*self._late_events(), *events] if self._is_begun else [*events, *self._late_events()]
        batch = Batch(
            run_id=self.facts.run_id,
            writer_id=self.facts.writer_id,
            seq=self._last_seq + 1,
            sent_ms=self.facts.start_time_ms,
            events=events,
            keys=tuple(columns),
            counts=pack_column("I", [len(steps) for steps, _, _ in columns.values()]),
            steps=b"".join(pack_column("q", steps) for steps, _, _ in columns.values()),
            times_ms=b"".join(pack_column("q", times) for _, times, _ in columns.values()),
            values=b"".join(pack_column("d", values) for _, _, values in columns.values()),
        )
        outcome = await self._feeder.writer.commit(batch, 24 * held + 10_000)
        match outcome:
            case Stored():
                for rejection in outcome.rejected:
                    self._taken.skip(f"{rejection.kind}s refused")
                    self._taken.note(f"run {self.facts.run_id.hex}: {rejection.message}")
            case Refused():
                raise ImportStopped(f"run {self.facts.run_id.hex}: {outcome.message}")
            case Gap():
                raise ImportStopped(
                    f"run {self.facts.run_id.hex} is being imported by another command; wait for that and start again"
                )
        self._last_seq += 1
        self._is_begun = True
        self._added += held
        self._taken.points += held

    async def put_content(self, path: str, content: bytes) -> bool:
        """Store a file of the run; one of this path and size stays. False: files are left out, or the path can't be one."""
        return await self._feeder.files.put_content(await self._own_prefix(), path, content)

    async def _own_prefix(self) -> str:
        """Where the run's files go. A run that is not there has no files, so it is begun."""
        if self._prefix is None:
            await self.flush()
            row = await self._feeder.db.fetchrow(
                _SQL["known_writer"], self.facts.run_id, self.facts.writer_id
            )
            self._prefix = run_prefix(row["experiment_id"], self.facts.run_id)
        return self._prefix


def _cut(name: str | None) -> str | None:
    """A name as the protocol takes it."""
    plain = (name or "").replace("\0", "").encode("utf-8", "replace")[:MAX_NAME_BYTES]
    return plain.decode("utf-8", "ignore") or None
