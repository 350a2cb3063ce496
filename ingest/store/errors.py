"""Every error of the store, and which error of asyncpg means which.

StoreError
 ├─ DatabaseUnavailable   no connection, or a server that can't write now: keep the data, try again later
 ├─ Contention            the transaction lost against another one: try again at once
 ├─ ContentRefused        the database can't store this content, now or ever
 ├─ QueryRefused          a user's SQL failed; `.sqlstate`, `.hint` and `.position` as PostgreSQL gave them
 └─ NotFound              no such experiment, run or series
"""

from __future__ import annotations

from typing import Final

import asyncpg

__all__ = [
    "DATABASE_ERRORS",
    "ContentRefused",
    "Contention",
    "DatabaseUnavailable",
    "NotFound",
    "QueryRefused",
    "StoreError",
    "translated",
]


class StoreError(Exception):
    """Base of the store's errors."""


class DatabaseUnavailable(StoreError):
    """The database can't be reached, or can't write. Nothing is known about a COMMIT that was under way."""


class Contention(StoreError):
    """The transaction was rolled back in favour of another one, or ran out of time; the same may succeed now."""


class ContentRefused(StoreError):
    """The database refused the content itself."""


class NotFound(StoreError):
    """There is no such thing."""


class QueryRefused(StoreError):
    """A user's SQL failed.

    Attributes:
        sqlstate: PostgreSQL's code. hint: PostgreSQL's, or ours. position: 1-based offset into the SQL, if known.
    """

    def __init__(self, message: str, *, sqlstate: str, hint: str | None, position: int | None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.hint = hint
        self.position = position


DATABASE_ERRORS: Final = (
    StoreError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)
"""What a call to PostgreSQL may raise; TimeoutError is an OSError. Anything else is a bug of ours."""

# Classes of SQLSTATE (PostgreSQL manual, appendix A) that blame the content: data exception, integrity constraint,
# program limit. Everything else blames the server's state, and the data is worth keeping for another try.
_CONTENT_CLASSES: Final = frozenset({"22", "23", "54"})
# serialization_failure, deadlock_detected, lock_not_available, query_canceled (a time-out)
_CONTENTION_STATES: Final = frozenset({"40001", "40P01", "55P03", "57014"})


def translated(error: BaseException) -> StoreError:
    """The store's error for what asyncpg or the network raised. Raise it `from` the original."""
    if isinstance(error, StoreError):
        return error
    if isinstance(error, asyncpg.PostgresError):
        sqlstate = error.sqlstate or ""
        if sqlstate in _CONTENTION_STATES:
            return Contention(f"{sqlstate}: {error}")
        if sqlstate[:2] in _CONTENT_CLASSES:
            return ContentRefused(str(error))
        return DatabaseUnavailable(f"{sqlstate}: {error}")
    if isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError):
        return ContentRefused(str(error))  # asyncpg could not encode an argument
    return DatabaseUnavailable(f"{type(error).__name__}: {error}")
