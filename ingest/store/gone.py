"""Deleting runs and experiments for good, in the database: a transaction at a time, each short and each harmless to repeat.

    close     the run enters gone_runs, and its writers get a number that no batch follows: from this commit on nothing is
              stored for it, whoever asks (`ingest.store.commit`, `.posts`), and nobody can restore it
    rows      its points, series, params and tags go in steps of about STEP_SECONDS of work
    finish    the last row, that of the run, goes with the word that it is done

A crash anywhere leaves a closed run, which the next `ingest gc` goes on with. Nothing comes through Python but counts.

Who writes to the run while it is closed, waits for that transaction, or it for them at most LOCK_MS, before it gives up
and is tried again. All locks are taken in the order of batches: writers, then the run.

Errors: DatabaseUnavailable, Contention as everywhere. Units: seconds, bytes.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, Self, TypeVar
from uuid import UUID

import asyncpg

from ingest.store.connect import close_connection
from ingest.store.errors import DATABASE_ERRORS, Contention, NotFound, translated
from ingest_schema.limits import INT64_MIN
from ingest_schema.sql import load_queries

__all__ = ["RUN_TABLES", "DueExperiment", "DueModel", "DueRun", "Freed", "Gone", "Which"]

T = TypeVar("T")

_SQL: Final = load_queries("gc")
_SEARCH: Final = load_queries("search")

LOCK: Final = 0x69_6E67_6763
"""Number of the advisory lock: "inggc". Whoever holds it deletes for good."""
LOCK_MS: Final = 50
"""To wait for a row that somebody else holds; and so the most that others wait for us because of that."""
TRIES: Final = 100
"""With pauses of 10 to 100 ms: a run that is written to all the time is closed between two batches."""
FIRST_ROWS: Final = 500
MOST_ROWS: Final = 20_000
STEP_SECONDS: Final = 0.03
"""Of work in one transaction. It waits for nobody; what it may hold up is the disk."""
STALL_TIMEOUT: Final = 60.0
"""To wait for compaction to let go of rows of a closed run; one merge takes a fraction of a second."""
PAGE: Final = 100
CONNECT_TIMEOUT: Final = 10.0
STATEMENT_TIMEOUT: Final = 60.0

_CHUNK_TABLES: Final = ("metric_chunks", "packed_chunks")  # compaction moves from the first to the second
_PLAIN_TABLES: Final = (
    "series",
    "params",
    "tags",
    "run_datasets",
    "run_models",
    "settled_attempts",
    "writers",
)
RUN_TABLES: Final = (*_CHUNK_TABLES, *_PLAIN_TABLES)
"""Tables with rows of runs, in the order in which they are emptied. A test compares them with the schema."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """What to delete: deleted so long ago or longer, of one experiment or run only if given."""

    older_than: float = 0.0
    experiment_id: int | None = None
    run_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class DueRun:
    """A run to delete.

    is_closed: an earlier call began to, and it can't be restored. is_registered: it stays, as a registered model lives on its files.
    """

    run_id: UUID
    experiment_id: int
    name: str
    is_closed: bool
    is_registered: bool = False


@dataclass(frozen=True, slots=True)
class DueExperiment:
    """A deleted experiment. is_needed: it stays, as it has runs, or files of a registered model."""

    experiment_id: int
    name: str
    is_needed: bool


@dataclass(frozen=True, slots=True)
class DueModel:
    """A logged model that was deleted by itself."""

    model_id: str
    experiment_id: int
    name: str


@dataclass(frozen=True, slots=True)
class Freed:
    """What went: points and all rows, and about how many bytes the points took as stored."""

    points: int = 0
    series: int = 0
    rows: int = 0
    size_bytes: int = 0

    def __add__(self, other: Freed) -> Freed:
        return Freed(
            self.points + other.points,
            self.series + other.series,
            self.rows + other.rows,
            self.size_bytes + other.size_bytes,
        )


class NotDeleted(Exception):
    """The run was restored meanwhile, or is no longer due."""


class Gone:
    """A connection that holds the lock. `open` makes one."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._rows = FIRST_ROWS

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator[Self | None]:
        """The right to delete for as long as the block; None if somebody else has it."""
        try:
            connection = await asyncpg.connect(
                url,
                timeout=CONNECT_TIMEOUT,
                command_timeout=STATEMENT_TIMEOUT,
                server_settings={
                    "application_name": "ingest gc",
                    "search_path": "ingest",
                    # What is closed is on disk, as `close` sets it; the rest is done again after a crash.
                    "synchronous_commit": "off",
                    "idle_in_transaction_session_timeout": str(int(STATEMENT_TIMEOUT * 1000)),
                    "jit": "off",
                },
            )
        except DATABASE_ERRORS as error:
            raise translated(error) from error
        try:
            (row,) = await _fetch(connection, "take_turn", LOCK)
            yield cls(connection) if row[0] else None
        except BaseException:
            connection.terminate()  # gives up the lock soon; a dead server must not hold up the end
            raise
        await close_connection(connection)  # the lock is free when this returns

    async def narrowed(self, which: Which, experiment: str | None) -> Which:
        """The same, of the experiment called so or with this id.

        Raises:
            NotFound: There is none.
        """
        if experiment is None:
            return which
        rows = await _fetch(self._connection, "experiment_id", experiment)
        if not rows:
            raise NotFound(f"there is no experiment {experiment[:200]!r}")
        return replace(which, experiment_id=rows[0]["experiment_id"])

    # --- what is due --------------------------------------------------------------------------------------------------

    async def due_runs(self, which: Which) -> AsyncIterator[DueRun]:
        """Runs to delete for good: first those that an earlier call left half done."""
        only = which.experiment_id, which.run_id
        async for row in self._pages("unfinished_runs", *only):
            yield DueRun(**row, is_closed=True)
        async for row in self._pages("due_runs", which.older_than, *only):
            yield DueRun(**row, is_closed=False)

    async def lately_gone(self, seconds: float) -> AsyncIterator[tuple[UUID, int]]:
        """Runs, each with its experiment, that went so lately."""
        after = UUID(int=0)
        while rows := await _fetch(self._connection, "lately_gone", seconds, after, PAGE):
            for row in rows:
                yield row["run_id"], row["experiment_id"]
            after = rows[-1]["run_id"]

    async def due_experiments(self, which: Which) -> AsyncIterator[DueExperiment]:
        """Deleted experiments, those that are needed included; none if one run only is meant."""
        after = 0
        while which.run_id is None:
            rows = await _fetch(
                self._connection, "due_experiments", after, which.older_than, which.experiment_id, PAGE
            )
            for row in rows:
                yield DueExperiment(**row)
            if len(rows) < PAGE:
                return
            after = rows[-1]["experiment_id"]

    async def due_models(self, which: Which) -> AsyncIterator[DueModel]:
        """Deleted logged models that no registered version was made of; none if one run only is meant."""
        after = ""
        while which.run_id is None:
            rows = await _fetch(
                self._connection, "due_models", after, which.older_than, which.experiment_id, PAGE
            )
            for row in rows:
                yield DueModel(**row)
            if len(rows) < PAGE:
                return
            after = rows[-1]["model_id"]

    async def sizes(self, run_id: UUID) -> Freed:
        """What would go with the run; its series and points only."""
        (row,) = await _fetch(self._connection, "sizes", run_id)
        return Freed(row["points"], row["series"], row["row_count"], row["size_bytes"])

    async def _pages(self, query: str, *arguments: object) -> AsyncIterator[Any]:
        after = UUID(int=0)
        while rows := await _fetch(self._connection, query, after, *arguments, PAGE):
            for row in rows:
                yield row
            after = rows[-1]["run_id"]

    # --- a run --------------------------------------------------------------------------------------------------------

    async def close_run(self, run: DueRun, which: Which) -> bool:
        """From the commit of this on nothing is stored for the run. False: it was restored, and nothing was done."""

        async def work() -> None:
            connection = self._connection
            await connection.execute("SET LOCAL synchronous_commit = on")
            await connection.execute(_SQL["close_writers"], run.run_id)
            experiment_id = await connection.fetchval(_SQL["lock_deleted"], run.run_id, which.older_than)
            if experiment_id is None:
                raise NotDeleted
            if await connection.fetchval(_SQL["open_writers"], run.run_id):
                raise Contention("a writer came in between")
            await connection.execute(_SQL["close_run"], run.run_id, experiment_id)
            await connection.execute(_SQL["unseal"], run.run_id)

        try:
            await self._impatiently(work)
        except NotDeleted:
            return False
        return True

    async def delete_rows(self, run_id: UUID) -> AsyncIterator[Freed]:
        """Delete what a closed run has, but its own row; after each transaction what went.

        The caller rests in between: the next transaction starts when it asks for more.
        """
        stalled_at = time.monotonic()
        while True:
            for table in _CHUNK_TABLES:
                async for freed in self._delete_chunks(table, run_id):
                    stalled_at = time.monotonic()
                    yield freed
            if not (await _fetch(self._connection, "has_chunks", run_id))[0][0]:
                break
            if time.monotonic() - stalled_at > STALL_TIMEOUT:
                raise Contention(
                    f"chunks of run {run_id.hex} have been locked for {STALL_TIMEOUT:.0f} seconds"
                )
            await asyncio.sleep(random.uniform(0.02, 0.1))  # compaction has the rest; it ends soon
        for table in _PLAIN_TABLES:
            async for freed in self._delete_plain(table, run_id):
                yield freed

    async def finish_run(self, run_id: UUID) -> None:
        """The run's own row goes. Its files have to be gone before."""

        async def work() -> None:
            await self._connection.execute(_SQL["delete_run"], run_id)
            await self._connection.execute(_SQL["run_is_gone"], run_id)

        await self._impatiently(work)

    async def _delete_chunks(self, table: str, run_id: UUID) -> AsyncIterator[Freed]:
        key, lo_step = "", INT64_MIN
        while True:
            rows = self._rows
            row = await self._step(f"delete_{table}", run_id, key, lo_step, rows)
            if row["row_count"]:
                yield Freed(row["points"], 0, row["row_count"], row["size_bytes"])
            if row["key"] is None or row["row_count"] < rows:
                return
            key, lo_step = row["key"], row["lo_step"]

    async def _delete_plain(self, table: str, run_id: UUID) -> AsyncIterator[Freed]:
        while True:
            rows = self._rows
            started = time.perf_counter()
            try:
                tag = await self._connection.execute(_SQL[f"delete_{table}"], run_id, rows)
            except DATABASE_ERRORS as error:
                raise translated(error) from error
            self._adapt(time.perf_counter() - started)
            number = int(tag.rpartition(" ")[2])
            if number:
                yield Freed(series=number if table == "series" else 0, rows=number)
            if number < rows:
                return

    async def _step(self, query: str, *arguments: object) -> Any:
        started = time.perf_counter()
        (row,) = await _fetch(self._connection, query, *arguments)
        self._adapt(time.perf_counter() - started)
        return row

    def _adapt(self, seconds: float) -> None:
        """Make the next step take about STEP_SECONDS."""
        wanted = self._rows * STEP_SECONDS / max(seconds, 1e-4)
        self._rows = int(min(max(wanted, self._rows / 2, 50), self._rows * 2, MOST_ROWS))

    # --- an experiment ------------------------------------------------------------------------------------------------

    async def delete_experiment(self, experiment_id: int) -> bool:
        """Delete it with its tags, data sets and models. False: it was restored, or is needed, and stays."""

        async def work() -> bool:
            await self._connection.execute("SET LOCAL synchronous_commit = on")
            await self._connection.execute(_SQL["delete_models_of_experiment"], experiment_id)
            if await self._connection.fetchval(_SQL["delete_experiment"], experiment_id) is None:
                raise NotDeleted  # and so the models stay, too
            return True

        try:
            return await self._impatiently(work)
        except (NotDeleted, asyncpg.ForeignKeyViolationError):  # the latter: a run came in at this moment
            return False

    async def delete_model(self, model_id: str) -> None:
        """The row of a deleted model. Its files have to be gone before."""
        await _fetch(self._connection, "delete_model", model_id)

    async def unfinished_experiments(self) -> list[int]:
        """Some that were deleted and may still have files."""
        return [
            row["experiment_id"] for row in await _fetch(self._connection, "unfinished_experiments", PAGE)
        ]

    async def finish_experiment(self, experiment_id: int) -> None:
        await _fetch(self._connection, "experiment_is_gone", experiment_id)

    # --- the rest -----------------------------------------------------------------------------------------------------

    async def drop_empty_segments(self) -> int:
        """Segments of searches that all runs have left; returns how many, 0 also while somebody seals."""
        try:
            async with self._connection.transaction():
                if not await self._connection.fetchval(_SEARCH["lock_sealing"]):
                    return 0
                found = [
                    row["segment_id"] for row in await self._connection.fetch(_SQL["empty_segments"], PAGE)
                ]
                await self._connection.execute(_SEARCH["drop_segments"], found)
        except DATABASE_ERRORS as error:
            raise translated(error) from error
        return len(found)

    async def vacuum(self) -> None:
        """Make the space of what went free for new points at once, rather than when autovacuum comes by. Holds up no batch."""
        try:
            await self._connection.fetch(_SQL["gentle"])
            await self._connection.execute(_SQL["vacuum"], timeout=3600)
        except DATABASE_ERRORS as error:
            raise translated(error) from error

    async def _impatiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """One transaction that waits for locks no longer than LOCK_MS; tried again if that was too short."""
        for attempt in range(1, TRIES + 1):
            try:
                async with self._connection.transaction():
                    await self._connection.execute(_SQL["impatient"], str(LOCK_MS))
                    return await work()
            except asyncpg.ForeignKeyViolationError:
                raise
            except DATABASE_ERRORS as error:
                known = translated(error)
                if not isinstance(known, Contention) or attempt == TRIES:
                    raise known from error
            await asyncio.sleep(random.uniform(0.01, 0.1))
        raise AssertionError("unreachable")


async def _fetch(connection: Any, query: str, *arguments: object) -> list[Any]:
    try:
        rows: list[Any] = await connection.fetch(_SQL[query], *arguments)
    except DATABASE_ERRORS as error:
        raise translated(error) from error
    return rows
