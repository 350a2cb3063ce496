"""Every error that `ingest_schema` raises.

SchemaError
 ├─ BatchError             a batch as a whole is not acceptable
 │   ├─ BatchMalformed     its bytes are not a batch of version 1; `.path` says where
 │   └─ BatchTooLarge      it is over a limit of `ingest_schema.limits`
 ├─ BadKey (ValueError)    a metric, param or tag name
 ├─ BadValue (TypeError)   a metric's value is no number
 ├─ BadStep (ValueError)   a step is no int64
 ├─ BadTime (ValueError)   a timestamp is no int64 of milliseconds
 └─ BadText (ValueError)   a param's or tag's value can't be stored
"""

from __future__ import annotations

__all__ = [
    "BadKey",
    "BadStep",
    "BadText",
    "BadTime",
    "BadValue",
    "BatchError",
    "BatchMalformed",
    "BatchTooLarge",
    "SchemaError",
]


class SchemaError(Exception):
    """Base of all errors in this package."""


class BatchError(SchemaError):
    """A batch as a whole is not acceptable; nothing of it was used."""


class BatchMalformed(BatchError):
    """The bytes are not a batch of version 1.

    Attributes:
        path: Where in the msgpack map, such as `events[3][2].status` or `counts[17]`; `$` for the whole body.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"malformed batch at {path}: {problem}")
        self.path = path
        self.problem = problem


class BatchTooLarge(BatchError):
    """The batch is over a limit.

    Attributes:
        what: What was counted, such as `bytes` or `points`.
        size, limit: How many there were, and how many may be.
    """

    def __init__(self, what: str, size: int, limit: int) -> None:
        super().__init__(
            f"batch has {size:,} {what}, over the limit of {limit:,}; send it in smaller batches"
        )
        self.what = what
        self.size = size
        self.limit = limit


class BadKey(SchemaError, ValueError):
    """A metric, param or tag name that can't be stored."""


class BadValue(SchemaError, TypeError):
    """A metric's value that is not a number."""


class BadStep(SchemaError, ValueError):
    """A step that is not an integer in [-2**63, 2**63)."""


class BadTime(SchemaError, ValueError):
    """A timestamp that is not an integer number of milliseconds in [-2**63, 2**63)."""


class BadText(SchemaError, ValueError):
    """A param's or tag's value that can't be stored as text."""
