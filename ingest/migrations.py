"""Brings a database to this release's schema: numbered .sql files, each applied once, each in a transaction.

A file is called `NNNN_(pre|post)_name.sql`. `pre` may run while the previous release still writes, `post` once this
release has taken over. What was applied is kept in `ingest.schema_migrations` with the file's SHA-256: a released
file that was edited is an error. An advisory lock, taken in each transaction and so safe behind a connection pooler,
makes runners take turns.

`migrate` is called by `ingest migrate` and, for the bundled database, at every start. On a database of the user's
own the service only calls `check_schema`, which names the command to run.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import asyncpg

from ingest.store.connect import connect
from ingest.store.reader import ReaderRole, grant_reader
from ingest_schema.sql import Migration, load_queries
from ingest_schema.sql import migrations as released

if TYPE_CHECKING:
    from asyncpg import Connection

Phase = Literal["pre", "post"]

ADVISORY_LOCK = 0x696E_6765_7374  # "ingest" in ASCII; any number nobody else uses in this database
LOCK_TIMEOUT = "60s"
"""For the turn among runners. Migrations set their own, shorter one for tables."""
_QUERIES = load_queries("migrations")


class MigrationError(Exception):
    """The schema can't be brought to this release; nothing of the migration named was applied."""


class SchemaMismatch(MigrationError):
    """The database's schema is not one that this release works on; the message says what to run."""


def checksum(migration: Migration) -> str:
    """SHA-256 of the file, as the record keeps it."""
    return hashlib.sha256(migration.sql.encode()).hexdigest()


def label(migration: Migration) -> str:
    """The file's name without its ending."""
    return f"{migration.version:04d}_{migration.phase}_{migration.name}"


@dataclass(frozen=True, slots=True)
class Applied:
    """One row of `ingest.schema_migrations`."""

    number: int
    phase: Phase
    name: str
    checksum: str


@dataclass(frozen=True, slots=True)
class SchemaState:
    """What a database has, beside what this release brings."""

    applied: tuple[Applied, ...]
    pending: tuple[Migration, ...]
    unknown: tuple[Applied, ...]
    """Applied by a newer release."""

    @property
    def version(self) -> int:
        """The highest number applied; 0 for a database without our schema."""
        return max((row.number for row in self.applied), default=0)

    @property
    def problem(self) -> str | None:
        """Why this release can't work on the database; None if it can. Pending `post` files do not matter yet."""
        if any(row.phase == "post" for row in self.unknown):
            return f"the database has the schema of a newer release (version {self.version}); upgrade this service"
        missing = [label(migration) for migration in self.pending if migration.phase == "pre"]
        if missing:
            return f"the database lacks {', '.join(missing)}; run: ingest migrate --database-url …"
        return None


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """What `migrate` did, or with dry_run would do."""

    applied: tuple[Migration, ...]
    version: int
    seconds: float
    reader: ReaderRole | None


async def read_state(connection: Connection, migrations: Sequence[Migration] | None = None) -> SchemaState:
    """Compare the database with the files.

    Raises:
        MigrationError: A file was edited after it was applied.
    """
    known = {migration.version: migration for migration in (released() if migrations is None else migrations)}
    exists = await connection.fetchval(_QUERIES["has_record"])
    rows = await connection.fetch(_QUERIES["read_applied"]) if exists else []
    applied = tuple(Applied(row["number"], row["phase"], row["name"], row["checksum"]) for row in rows)
    for row in applied:
        file = known.get(row.number)
        if file is not None and checksum(file) != row.checksum:
            raise MigrationError(
                f"{label(file)}.sql is not the file that was applied to this database as {row.number:04d}_{row.phase}_"
                f"{row.name}: a released migration is never edited; restore it and write a new one"
            )
    numbers = {row.number for row in applied}
    return SchemaState(
        applied=applied,
        pending=tuple(file for number, file in sorted(known.items()) if number not in numbers),
        unknown=tuple(row for row in applied if row.number not in known),
    )


async def migrate(
    url: str,
    *,
    phases: Sequence[Phase] = ("pre", "post"),
    dry_run: bool = False,
    migrations: Sequence[Migration] | None = None,
    reader_role: str | None = None,
) -> MigrationReport:
    """Apply what is pending, then make the reader role and its grants.

    Args:
        url: The database, as the user that owns or will own the schema `ingest`.
        phases: Which files; `("pre",)` while the previous release still runs.
        dry_run: Only say what would be applied.
        migrations: Other files than this release's; for tests, which then get no reader role.
        reader_role: The role to grant reading to, if the user has one; otherwise `<database>_reader` is made.

    Raises:
        MigrationError: A file was edited, or its SQL failed; earlier files stay applied.
        DatabaseUnavailable, DatabaseRefused: No connection.
    """
    known = tuple(migrations) if migrations is not None else released()
    started = time.monotonic()
    async with connect(url, purpose="migrate") as connection:
        state = await read_state(connection, known)
        wanted = tuple(migration for migration in state.pending if migration.phase in phases)
        done = wanted if dry_run else await _apply_all(connection, wanted, known)
        reader = None
        if migrations is None and not dry_run:
            async with connection.transaction():
                await _take_turn(connection)
                reader = await grant_reader(connection, reader_role)
        version = (await read_state(connection, known)).version
    return MigrationReport(done, version, time.monotonic() - started, reader)


async def _apply_all(
    connection: Connection, wanted: Sequence[Migration], known: Sequence[Migration]
) -> tuple[Migration, ...]:
    done = []
    for migration in wanted:
        try:
            async with connection.transaction():
                await _take_turn(connection)
                await connection.execute(_QUERIES["create_record"])
                # Another runner may have applied it while we waited for our turn.
                if migration in (await read_state(connection, known)).pending:
                    await _apply(connection, migration)
                    done.append(migration)
        except asyncpg.PostgresError as error:
            raise MigrationError(f"{label(migration)}: {error}") from error
    return tuple(done)


async def _apply(connection: Connection, migration: Migration) -> None:
    await connection.execute(migration.sql)
    await connection.execute(
        _QUERIES["record_applied"], migration.version, migration.phase, migration.name, checksum(migration)
    )


async def _take_turn(connection: Connection) -> None:
    await connection.execute(_QUERIES["set_lock_timeout"], LOCK_TIMEOUT)
    try:
        await connection.execute(_QUERIES["take_turn"], ADVISORY_LOCK)
    except asyncpg.LockNotAvailableError as error:
        raise MigrationError(
            f"another process has been migrating this database for {LOCK_TIMEOUT}"
        ) from error


async def check_schema(connection: Connection) -> SchemaState:
    """The state of a database that this release can work on.

    Raises:
        SchemaMismatch: It can't; the message says what to run.
        MigrationError: An applied file was edited.
    """
    state = await read_state(connection)
    if state.problem is not None:
        raise SchemaMismatch(state.problem)
    return state
