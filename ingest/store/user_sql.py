r"""Users' SQL: one statement, as the reader role, in a read-only transaction, bounded in time, rows and bytes.

What a statement may touch is decided by the role's privileges, never by looking at its text (see `reader`). Each statement
gets a connection of its own that is closed afterwards, so that nothing it sets, prepares or locks outlives it.

Bounds, each a hard one:

    time    statement_timeout in PostgreSQL, and a clock here beside it, since a statement can set the former to 0
    rows    a cursor is read until max_rows; then `truncated` is true
    bytes   likewise at SOFT_MAX_BYTES; a single row beyond HARD_MAX_BYTES breaks the connection before it is in memory

Values as JSON has them: uuid as 32 hex digits, as everywhere in the API; timestamptz, date, time as ISO 8601, UTC; numeric as a
number with all its digits; NaN and the infinities as "NaN", "Infinity", "-Infinity"; bytea as "\x…"; json and jsonb as
they are; arrays as arrays; whatever else as text.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson

from ingest.store.connections import CONNECT_TIMEOUT
from ingest.store.errors import DatabaseUnavailable, QueryRefused
from ingest_schema.sql import load_queries

__all__ = ["SqlAnswer", "UserSql"]

logger = logging.getLogger(__name__)

_SQL: Final = load_queries("user_sql")

SOFT_MAX_BYTES: Final = 32 * 1024 * 1024
"""Of rows as PostgreSQL sends them; as Python objects they take several times that."""
HARD_MAX_BYTES: Final = 64 * 1024 * 1024
_FIRST_ROWS: Final = 10
_MOST_ROWS: Final = 2_000
_GRACE: Final = 2.0
"""Seconds that PostgreSQL's own time-out gets before ours cuts in: its error says more."""


@dataclass(frozen=True, slots=True)
class SqlAnswer:
    """The outcome of one statement; rows hold what orjson can write."""

    columns: Sequence[dict[str, str]]
    rows: Sequence[list[Any]]
    truncated: bool


class UserSql:
    """Runs users' SQL, a few statements at a time."""

    def __init__(self, url: str, *, connections: int) -> None:
        self._url = url
        self._turns = asyncio.Semaphore(connections)

    async def run(self, sql: str, *, max_rows: int, timeout: float) -> SqlAnswer:
        """The statement's rows.

        Args:
            timeout: Seconds, waiting for a turn included.

        Raises:
            QueryRefused: PostgreSQL refused it, it took too long, or a row was too large.
            DatabaseUnavailable: The database can't be reached.
        """
        meter = _Meter()
        deadline = asyncio.get_running_loop().time() + timeout
        try:
            async with (
                asyncio.timeout(timeout + _GRACE),
                self._turns,
                self._connection(meter, deadline) as connection,
            ):
                return await _read(connection, meter, sql, max_rows)
        except TimeoutError as error:
            await self._end_backend(meter.pid)
            raise _refused("57014", f"the statement took more than {timeout:g} seconds", _SLOW) from error
        except (
            asyncpg.PostgresError,
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,
            OSError,
            ValueError,
        ) as error:
            raise _explained(error, meter) from error

    async def schema(self, *, timeout: float) -> list[dict[str, Any]]:
        """Tables and views that users' SQL may read: name, kind, comment, columns (name, type, comment). Views first."""
        answer = await self.run(_SQL["schema"], max_rows=_MOST_ROWS, timeout=timeout)
        names = [column["name"] for column in answer.columns]
        return [dict(zip(names, row, strict=True)) for row in answer.rows]

    @asynccontextmanager
    async def _connection(self, meter: _Meter, deadline: float) -> AsyncIterator[Any]:
        """A connection in a read-only transaction, gone afterwards."""
        left_ms = max(1, int((deadline - asyncio.get_running_loop().time()) * 1000))
        try:
            connection = await asyncpg.connect(
                self._url,
                timeout=CONNECT_TIMEOUT,
                statement_cache_size=0,
                server_settings={
                    "application_name": "ingest sql",
                    "search_path": "ingest",
                    "default_transaction_read_only": "on",
                    "statement_timeout": str(left_ms),
                    "idle_in_transaction_session_timeout": str(left_ms + 10_000),
                    "client_connection_check_interval": "1000",
                    "TimeZone": "UTC",
                },
            )
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            raise DatabaseUnavailable(f"the reader can't connect: {error}") from error
        try:
            meter.watch(connection)
            meter.pid = connection.get_server_pid()
            await connection.execute("BEGIN READ ONLY")
            yield connection
        finally:
            connection.terminate()  # PostgreSQL rolls back as soon as it sees that nobody is there

    async def _end_backend(self, pid: int | None) -> None:
        """End a backend that goes on computing: it has switched off whatever would have stopped it."""
        if pid is None:
            return
        try:
            connection = await asyncpg.connect(
                self._url, timeout=CONNECT_TIMEOUT, command_timeout=CONNECT_TIMEOUT
            )
            try:
                await connection.execute(_SQL["end_backend"], pid)
            finally:
                connection.terminate()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            logger.warning("a user's statement may still run in backend %d: %s", pid, error)


class _Meter:
    """Counts the bytes that a connection receives, and breaks it at HARD_MAX_BYTES.

    It stands between the transport and asyncpg's protocol, because asyncpg takes a row of any size into memory first.
    """

    def __init__(self) -> None:
        self.received_bytes = 0
        self.is_over = False
        self.pid: int | None = None

    def watch(self, connection: Any) -> None:
        transport = connection._transport  # noqa: SLF001  # asyncpg has no public way to it
        transport.set_protocol(_Metered(transport.get_protocol(), transport, self))


class _Metered(asyncio.Protocol):
    def __init__(self, inner: Any, transport: Any, meter: _Meter) -> None:
        self._inner = inner
        self._transport = transport
        self._meter = meter

    def data_received(self, data: bytes) -> None:
        self._meter.received_bytes += len(data)
        if self._meter.received_bytes > HARD_MAX_BYTES:
            self._meter.is_over = True
            self._transport.abort()
        else:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        answer: bool | None = self._inner.eof_received()
        return answer

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._inner.connection_lost(exc)


async def _read(connection: Any, meter: _Meter, sql: str, max_rows: int) -> SqlAnswer:
    statement = await connection.prepare(sql)
    attributes = statement.get_attributes()
    columns = [{"name": attribute.name, "type": attribute.type.name} for attribute in attributes]
    if not attributes:
        raise _refused(
            "0A000", "the statement returns no rows", "only statements that return rows are of use here"
        )
    converters = {i: convert for i, a in enumerate(attributes) if (convert := _converter(a.type.name))}
    cursor = await statement.cursor()
    rows: list[list[Any]] = []
    wanted = _FIRST_ROWS
    before_bytes = meter.received_bytes
    while True:
        fetched = await cursor.fetch(min(wanted, max_rows + 1 - len(rows)))
        rows += [_converted(row, converters) for row in fetched]
        read_bytes = meter.received_bytes - before_bytes
        if len(rows) > max_rows or (read_bytes > SOFT_MAX_BYTES and fetched):
            return SqlAnswer(columns, rows[:max_rows], truncated=True)
        if len(fetched) < wanted:
            return SqlAnswer(columns, rows, truncated=False)
        # As many as fit in a twentieth of what is left, so that no fetch can go far beyond the bound.
        row_bytes = max(1, read_bytes // len(rows))
        wanted = min(_MOST_ROWS, max(1, (SOFT_MAX_BYTES - read_bytes) // 20 // row_bytes))


# --- values as JSON ---------------------------------------------------------------------------------------------------

_Convert = Callable[[Any], Any]


def _converted(row: Any, converters: dict[int, _Convert]) -> list[Any]:
    values = list(row)
    for i, convert in converters.items():
        if values[i] is not None:
            values[i] = convert(values[i])
    return values


def _float(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _numeric(value: Decimal) -> orjson.Fragment | str:
    if not value.is_finite():
        return str(_float(float(value)))
    return orjson.Fragment(format(value, "f"))


def _any(value: Any) -> Any:
    """A value of a type without a rule, and the elements of arrays and rows."""
    match value:
        case None | bool() | str():
            return value
        case int():
            return value if -(2**63) <= value < 2**64 else str(value)
        case float():
            return _float(value)
        case Decimal():
            return _numeric(value)
        case UUID():
            return value.hex
        case bytes():
            return "\\x" + value.hex()
        case dt.datetime() | dt.date() | dt.time():
            return value.isoformat()
        case list() | tuple() | asyncpg.Record():
            return [_any(element) for element in value]
    return str(value)


_CONVERTERS: Final[dict[str, _Convert | None]] = {
    "bool": None, "int2": None, "int4": None, "int8": None, "oid": None, "text": None, "varchar": None, "name": None,
    "float4": _float, "float8": _float, "numeric": _numeric,
    "json": orjson.Fragment, "jsonb": orjson.Fragment,
}  # fmt: skip


def _converter(type_name: str) -> _Convert | None:
    """How values of a column are turned into JSON; None: as they are."""
    return _CONVERTERS.get(type_name, _any)


# --- errors -----------------------------------------------------------------------------------------------------------

_SLOW: Final = "narrow the statement, for instance by run_id, or ask for a longer timeout"


def _refused(sqlstate: str, message: str, hint: str | None, position: int | None = None) -> QueryRefused:
    return QueryRefused(message, sqlstate=sqlstate, hint=hint, position=position)


def _explained(error: Exception, meter: _Meter) -> Exception:
    """The error as the user should see it."""
    if meter.is_over:
        hint = "select fewer or shorter columns; a row and its batch may have 64 MiB"
        return _refused("54000", "the answer is too large", hint)
    if isinstance(error, asyncpg.PostgresError):
        sqlstate = error.sqlstate or "XX000"
        if sqlstate[:2] in {"08", "53", "57"} and sqlstate != "57014":
            return DatabaseUnavailable(f"{sqlstate}: {error}")
        position = getattr(error, "position", None)
        advice = _SLOW if sqlstate == "57014" else getattr(error, "hint", None)
        # str(error) would add the hint, which stands on its own here.
        message = (
            "\n".join(filter(None, (error.args[0], getattr(error, "detail", None))))
            if error.args
            else str(error)
        )
        return _refused(sqlstate, message, advice, int(position) if position else None)
    if isinstance(error, OSError):
        return DatabaseUnavailable(f"{type(error).__name__}: {error}")
    return _refused(
        "0A000", f"the statement can't be run here: {error}", "send one SELECT, without parameters"
    )
