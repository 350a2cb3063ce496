"""File descriptors: a process may have so many files open and no more, and what of ours happens then.

A live run holds a lock, a cursor of two files, a segment or more, and a connection. The last descriptors of a process are left to
connections: what lasts as long as a run is refused them (`open_lasting`), stays in memory instead, and is delivered all the same. While
there are none, connections are closed after each request (`is_short`), so that the runs have them in turn.

A file that can't be opened for want of a descriptor must never be taken for one that is gone or damaged: whoever reads what a run has
left asks `is_shortage`, or reads inside `none_if_unreadable`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["is_short", "is_shortage", "none_if_unreadable", "note_shortage", "open_lasting"]

_SHORTAGES: Final = frozenset({errno.EMFILE, errno.ENFILE})
_RESERVED: Final = 32
"""For connections, of the usual 1,024."""
_RESERVED_PART: Final = 1 / 8
"""Of fewer, at most this."""
_SHORT_FOR: Final = 5.0
"""Seconds after the last time that a descriptor was missing."""

_short_until = 0.0


def is_shortage(error: BaseException) -> bool:
    """Whether it says that the process, or the machine, has as many files open as it may: nothing is wrong with the file."""
    return isinstance(error, OSError) and error.errno in _SHORTAGES


def note_shortage(error: BaseException) -> None:
    """If it is one: connections are given back after each request, for some time."""
    global _short_until
    if is_shortage(error):
        _short_until = time.monotonic() + _SHORT_FOR


def is_short() -> bool:
    """Whether a descriptor was missing lately."""
    return time.monotonic() < _short_until


def open_lasting(path: Path, flags: int) -> int:
    """Open a file that stays open as long as its run does.

    Raises:
        OSError: It can't be opened, or takes one of the last descriptors; with O_CREAT alone it may be there all the same.
    """
    fd = os.open(path, flags | os.O_CLOEXEC, 0o600)
    # The kernel gives the lowest number that is free.
    if fd >= _first_reserved():
        os.close(fd)
        if flags & os.O_EXCL:
            path.unlink()
        raise OSError(errno.EMFILE, "Only the descriptors for connections are left", str(path))
    return fd


def _first_reserved() -> float:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return float("inf")
    return limit - min(_RESERVED, limit * _RESERVED_PART)


@contextlib.contextmanager
def none_if_unreadable(*others: type[Exception]) -> Iterator[None]:
    """A file that is not there, or can't be read, is left out, as are `others`; one that can't be opened just now is not.

    Raises:
        OSError: There is no descriptor for it.
    """
    try:
        yield
    except OSError as error:
        if is_shortage(error):
            raise
    except others:
        pass
