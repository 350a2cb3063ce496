"""One segment of a spool: a mapped file of fixed size that is filled with records and then read.

A record goes in by `mmap.write`, one C call that checks the room, copies and moves the position: under the GIL it
is atomic, so threads need no lock, a signal handler can't tear it, and the position never passes a half-written record.
A full, sealed or spare segment stands at its end, where `write` raises ValueError; that is the only signal the hot path needs.

The file is allocated before it is mapped: a full disk gives ENOSPC here and never SIGBUS in the training loop.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Callable
from pathlib import Path
from struct import Struct
from typing import Final

from ingest_client._cursor import _allocate
from ingest_client._descriptors import open_lasting

__all__ = ["FIRST_WORD", "Segment", "segment_name", "segment_serial"]

FIRST_WORD: Final = 2
"""Records start behind a header of two words: the magic and the version of the layout."""

_MAGIC: Final = Struct("<8sQ").pack(b"INGSPOOL", 1)
_WIPE_BYTES: Final = 256 * 1024
"""Zeroed at once: about 50 µs with the GIL held."""

_zeros: Final = bytes(_WIPE_BYTES)
_MAP_POPULATE: Final[int] = getattr(mmap, "MAP_POPULATE", 0)


def segment_name(serial: int) -> str:
    """The file name of the segment with this number."""
    return f"{serial:08d}.seg"


def segment_serial(name: str) -> int | None:
    """The number in a segment's file name; None if it is another file."""
    stem, dot, suffix = name.partition(".")
    return int(stem) if dot and suffix == "seg" and stem.isdecimal() else None


class Segment:
    """A mapped segment. Made sealed; `activate` opens it for writing, once per life as number `serial`."""

    __slots__ = (
        "delivered_points", "is_afloat", "is_in_memory", "map", "path", "sealed_points", "serial", "size_bytes", "words",
    )  # fmt: skip

    def __init__(self, path: Path, mapped: mmap.mmap, size_bytes: int, serial: int) -> None:
        self.path = path
        self.map = mapped
        self.size_bytes = size_bytes
        self.serial = serial
        self.words = memoryview(mapped).cast("Q")
        self.delivered_points = 0
        self.sealed_points: int | None = None  # counted once, after sealing
        self.is_in_memory = False
        """What is written to it goes to no file: it was made when there was no descriptor for one."""
        self.is_afloat = False
        """In memory, and nothing of it is on the disk."""

    @classmethod
    def create(cls, path: Path, size_bytes: int, serial: int) -> Segment:
        """A new, empty, sealed segment.

        Raises:
            OSError: The disk is full, or the folder can't be written. No file is left.
        """
        fd = open_lasting(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try:
            _allocate(fd, size_bytes)
            mapped = mmap.mmap(fd, size_bytes, flags=mmap.MAP_SHARED | _MAP_POPULATE)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(fd)
        mapped[0 : len(_MAGIC)] = _MAGIC
        mapped.seek(0, os.SEEK_END)
        return cls(path, mapped, size_bytes, serial)

    @classmethod
    def afloat(cls, path: Path, size_bytes: int, serial: int) -> Segment:
        """A new, empty, sealed segment that is in memory until `land` writes it to its path."""
        mapped = mmap.mmap(-1, size_bytes)
        mapped[0 : len(_MAGIC)] = _MAGIC
        mapped.seek(0, os.SEEK_END)
        segment = cls(path, mapped, size_bytes, serial)
        segment.is_in_memory = segment.is_afloat = True
        return segment

    def land(self) -> None:
        """Write what is in it to its file, for whoever comes after a crash. Only for one that is sealed for good.

        Raises:
            OSError: The disk does not take it; it is as it was.
        """
        unfinished = self.path.with_suffix(".tmp")
        try:
            unfinished.write_bytes(self.map[: self._filled_bytes()])
            unfinished.replace(self.path)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise
        self.is_afloat = False

    def _filled_bytes(self) -> int:
        """Up to the last word that is not zero."""
        return -(-len(bytes(self.words).rstrip(b"\0")) // 8) * 8

    def activate(self) -> None:
        """Let `write` in, from the first word on."""
        self.map.seek(8 * FIRST_WORD)

    def seal(self) -> None:
        """Let nothing in any more: one C call, so no record comes between."""
        self.map.seek(0, os.SEEK_END)

    def wipe(self, breathe: Callable[[], object]) -> None:
        """Zero everything behind the header, in steps; also brings every page in before the hot path needs it."""
        begin = 8 * FIRST_WORD
        while begin < self.size_bytes:
            end = min(begin + _WIPE_BYTES, self.size_bytes)
            self.map[begin:end] = _zeros[: end - begin]
            begin = end
            breathe()
        self.delivered_points = 0
        self.sealed_points = None

    def close(self) -> bool:
        """Give the mapping back, unless some reader still holds a slice of it; whether it is given back."""
        try:
            self.words.release()
            self.map.close()
        except BufferError:
            return False
        return True

    def delete(self) -> None:
        """Give the mapping and the file back."""
        self.path.unlink(missing_ok=True)
        self.close()

    def close_and_cut(self) -> None:
        """Give the mapping back, and the disk that no record was written to. Only for a sealed segment that is left on the disk.

        Cut only without a mapping: whoever reads behind the end of a cut file by one is killed by SIGBUS.
        """
        filled_bytes = self._filled_bytes()
        if self.close():
            with contextlib.suppress(OSError):
                os.truncate(self.path, filled_bytes)
