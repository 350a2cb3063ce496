"""Logging of the service: one line a record on standard error, for people or as JSON, with what the record is about.

`bind` attaches the request's id, the run's and the batch's to everything logged while they are handled, by a context
variable; no function has to pass them on. Only processes of ours call `configure`; a program that imports the package
keeps its own logging.
"""

from __future__ import annotations

import datetime as dt
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from ingest.settings import LogSettings

_EMPTY: Mapping[str, object] = MappingProxyType({})
_context: ContextVar[Mapping[str, object]] = ContextVar("ingest_log_context", default=_EMPTY)


@contextmanager
def bind(**values: object) -> Iterator[None]:
    """Add to every record of this task, and of tasks it starts, until the block ends: request, run, batch."""
    token = _context.set({**_context.get(), **values})
    try:
        yield
    finally:
        _context.reset(token)


def attach(**values: object) -> None:
    """Add to every record of this task until the enclosing `bind` ends, which stands around each request.

    For what is logged after the block that knew it: the refusal of a batch, its line in the access log.
    """
    _context.set({**_context.get(), **values})


def current_context() -> Mapping[str, object]:
    """What `bind` has attached here."""
    return _context.get()


class _ContextFilter(logging.Filter):
    """Copies the context into the record, in the task that logs; a handler may format it elsewhere."""

    def filter(self, record: logging.LogRecord) -> bool:
        extra = getattr(record, "fields", _EMPTY)
        record.fields = {**_context.get(), **extra}
        return True


class ConsoleFormatter(logging.Formatter):
    """`09:30:01.123 WARNING ingest.write  message  run=… batch=…`."""

    def format(self, record: logging.LogRecord) -> str:
        fields: Mapping[str, object] = getattr(record, "fields", _EMPTY)
        about = "".join(f"  {name}={value}" for name, value in fields.items())
        # A message may hold what a client sent: no control character of it reaches the terminal.
        message = record.getMessage().replace("\r", "\\r").replace("\x1b", "\\x1b")
        line = f"{_when(record):%H:%M:%S.%f}"[:12] + f" {record.levelname:<7} {record.name}  {message}{about}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, and the fields of the context."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": _when(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", _EMPTY),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(entry, default=str, option=orjson.OPT_NON_STR_KEYS).decode(errors="replace")


def _when(record: logging.LogRecord) -> dt.datetime:
    return dt.datetime.fromtimestamp(record.created, dt.UTC)


def configure(settings: LogSettings) -> None:
    """Send all logging of this process to standard error, in the form and from the level that the settings say."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_ContextFilter())
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else ConsoleFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("ingest").setLevel(settings.log_level.upper())
    logging.captureWarnings(capture=True)
