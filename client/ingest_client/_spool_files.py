"""The files of a live spool beside its segments: folder, lock, cursor, what its shapes are called.

A process has them from the start, unless it has as many files open as it may. Then all of it is afloat: it is in memory, as are the
segments that could not be mapped (`Segment.afloat`), and `make` brings it to the disk once a descriptor is free.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

from ingest_client._cursor import Cursor, CursorState
from ingest_client._descriptors import is_shortage, note_shortage
from ingest_client._directory import (
    META_NAME,
    SHAPES_NAMES,
    append,
    discard_directory,
    make_directory,
    remove_spool,
)

__all__ = ["SpoolFiles"]


class SpoolFiles:
    """All but `define` is for one thread: the one that makes the spool, then its sender."""

    def __init__(
        self,
        root: Path,
        run_id: UUID,
        writer_id: UUID,
        meta: dict[str, Any],
        warn: Callable[[str, str], None],
    ) -> None:
        """Nothing is made yet.

        Args:
            root: The spool folder of this user and machine.
            run_id, writer_id: Whose spool this is.
            meta: Kept for whoever adopts the spool; no secrets.
            warn: Takes a cause and a message.
        """
        self.directory = root / run_id.hex / writer_id.hex
        self.cursor = Cursor(self.directory, CursorState(), [])
        self.is_there = False
        self._root, self._run_id, self._meta, self._warn = root, run_id, meta, warn
        self._definitions: list[bytes] = []
        self._lock_fd = -1

    @property
    def is_complete(self) -> bool:
        """Whether the disk has all that it should."""
        return self.is_there and not self._definitions

    def make_or_float(self) -> None:
        """The first try.

        Raises:
            OSError: They can't be made, and not for want of descriptors.
        """
        try:
            self.make()
        except OSError as error:
            if not is_shortage(error):
                raise
            self.say_afloat(error)

    def say_afloat(self, error: OSError) -> None:
        """Something has to stay in memory."""
        note_shortage(error)
        self._warn(
            "no_descriptors",
            f"this process has as many files open as it may ({error}); what run {self._run_id.hex} logs is kept in memory until some"
            " are closed, and would be lost with the process: raise the limit (ulimit -n), or have fewer runs open at once",
        )

    def make(self) -> None:
        """Bring what is in memory to the disk.

        Raises:
            OSError: It can't be made; what is there is whole, and what is missing can be made later.
        """
        if not self.is_there:
            self._make_directory()
        for definition in tuple(self._definitions):  # written twice, by two threads, it says the same
            for name in SHAPES_NAMES:
                append(self.directory / name, definition)
            with contextlib.suppress(ValueError):
                self._definitions.remove(definition)

    def _make_directory(self) -> None:
        _, lock_fd = make_directory(self._root, self._run_id, self.directory.name)
        try:
            cursor = Cursor.create(self.directory)
            (self.directory / META_NAME).write_text(json.dumps(self._meta))
        except BaseException:
            discard_directory(self.directory)
            os.close(lock_fd)
            raise
        cursor.store(self.cursor.state)
        self.cursor, self._lock_fd, self.is_there = cursor, lock_fd, True

    def define(self, definition: bytes) -> None:
        """Keep what a new shape is called. May be called by any thread, while another one is in `make`.

        Raises:
            OSError: The disk does not take it.
        """
        self._definitions.append(definition)
        if not self.is_there:
            return
        try:
            self.make()
        except OSError as error:
            if is_shortage(error):
                self.say_afloat(error)
                return
            with contextlib.suppress(ValueError):
                self._definitions.remove(definition)
            raise

    def remove(self) -> None:
        """Everything was delivered."""
        if self.is_there:
            remove_spool(self.directory)

    def let_go(self) -> None:
        """Close the lock once: after a spool is disposed of, and before a fork, its number may have become that of another file."""
        fd, self._lock_fd = self._lock_fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):
                os.close(fd)
