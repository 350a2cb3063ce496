"""One run of another tool on its way in: a source's points become batches of a writer, whose numbers the write path checks.

A source gives the points of a metric always in the same order and only ever adds to them, so what is here already is skipped by
counting. Memory is bounded by one batch of BATCH_POINTS.
"""

from __future__ import annotations

import os
import socket
from array import array
from collections.abc import AsyncIterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from uuid import UUID

from ingest.artifacts.paths import run_prefix
from ingest.service.database import Database
from ingest.service.runs import NAME_TAG, set_lifecycle
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

__all__ = ["BATCH_POINTS", "Feed", "RunFacts", "Ways"]

BATCH_POINTS: Final = 100_000
"""Points of one batch, 2.4 MB: beyond this the transaction grows and the rate does not."""
_SQL: Final = load_queries("feeding")


@dataclass(frozen=True, slots=True)
class Ways:
    """Where what a feed brings goes."""

    db: Database
    writer: BatchWriter
    files: FilesIn
    taken: Taken


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


class Feed:
    """One run that is being filled by one source. The caller adds points, then calls `end`."""

    def __init__(
        self, ways: Ways, facts: RunFacts, *, last_seq: int, stored: dict[str, int], is_complete: bool
    ) -> None:
        self.facts = facts
        self._ways = ways
        self._taken = ways.taken
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
            await self._ways.files.put_all(await self._own_prefix(), files)
        if self.facts.is_deleted:
            await set_lifecycle(self._ways.db, self.facts.run_id, "deleted")
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
        outcome = await self._ways.writer.commit(batch, 24 * held + 10_000)
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
        return await self._ways.files.put_content(await self._own_prefix(), path, content)

    async def _own_prefix(self) -> str:
        """Where the run's files go. A run that is not there has no files, so it is begun."""
        if self._prefix is None:
            await self.flush()
            row = await self._ways.db.fetchrow(_SQL["known_writer"], self.facts.run_id, self.facts.writer_id)
            self._prefix = run_prefix(row["experiment_id"], self.facts.run_id)
        return self._prefix


def _cut(name: str | None) -> str | None:
    """A name as the protocol takes it."""
    plain = (name or "").replace("\0", "").encode("utf-8", "replace")[:MAX_NAME_BYTES]
    return plain.decode("utf-8", "ignore") or None
