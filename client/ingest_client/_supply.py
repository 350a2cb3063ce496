"""Where a spool's next segment comes from: a spare, a new file, or memory while there is no descriptor for a file.

The sender keeps spares, so that the hot path only has to switch. What takes a segment is bounded: in bytes of all of them, and by less
for those in memory, which the sender writes to the disk as soon as it can (`Spool.land`).

Threads: what takes a segment is called with the spool's lock held, `recycle` and `prepare` by the sender without it.
"""

from __future__ import annotations

import errno
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ingest_client._descriptors import is_shortage
from ingest_client._segment import Segment, segment_name
from ingest_client._spool_files import SpoolFiles

__all__ = ["SEGMENT_BYTES", "SPARE_SEGMENTS", "Supply"]

SEGMENT_BYTES: Final = 2 * 1024 * 1024
"""18,000 records of ten metrics: at 1,000 calls a second one change of segment in 18 s."""

SPARE_SEGMENTS: Final = 2

AFLOAT_BYTES: Final = 32 * 1024 * 1024
"""What may be in memory for want of descriptors: 280,000 records of ten metrics."""

_RETRY_ALLOCATION: Final = 1.0  # seconds between two tries on a full disk


class Supply:
    """The segments of one spool that are not in use, and those to come."""

    def __init__(
        self,
        files: SpoolFiles,
        in_use: deque[Segment],
        *,
        max_bytes: int,
        lock: threading.RLock,
        warn: Callable[[str, str], None],
    ) -> None:
        """Nothing is made yet.

        Args:
            files: Whose segments.
            in_use: Those that the spool has taken and not given back.
            max_bytes: Bound on the size of all together.
            lock: The spool's.
            warn: Takes a cause and a message.
        """
        self.spares: deque[Segment] = deque()
        self.is_closed = False
        self._files = files
        self._directory = files.directory
        self._in_use = in_use
        self._max_bytes = max_bytes
        self._lock = lock
        self._warn = warn
        self._next_serial = 1
        self._allocation_failed_at = -_RETRY_ALLOCATION

    @property
    def size_bytes(self) -> int:
        """Bytes that the segments take, spares included."""
        return sum(segment.size_bytes for segment in (*self._in_use, *self.spares))

    # --- taking: with the lock ----------------------------------------------------------------------------------------

    def take(self, size_bytes: int) -> Segment | str:
        """A segment of this size at least; or the reason why there is none.

        Raises:
            OSError: The first one can't be made.
        """
        segment = self._take_spare(size_bytes)
        if segment is not None:
            return segment
        if self.size_bytes + size_bytes > self._max_bytes and self._in_use:
            self._warn(
                "spool_full",
                f"the spool {self._directory} has reached its bound of {self._max_bytes:,} bytes;"
                " new points are dropped until the service takes some (INGEST_SPOOL_MAX_BYTES)",
            )
            return "spool_full"
        if time.monotonic() - self._allocation_failed_at < _RETRY_ALLOCATION:
            return "disk_full"
        try:
            return self._new(size_bytes)
        except OSError as error:
            if not self._in_use:
                raise
            return self._reason_of(error)

    def take_file(self) -> Segment:
        """A segment that is on the disk.

        Raises:
            OSError: None can be made.
        """
        return self._take_spare(0) or self._new_file(SEGMENT_BYTES)

    def _take_spare(self, size_bytes: int) -> Segment | None:
        if self.spares and self.spares[0].size_bytes >= size_bytes:
            return self.spares.popleft()
        # A record too large for the spares: their numbers come before the new segment's, so they are given up.
        while self.spares:
            self.spares.popleft().delete()
        return None

    def _new(self, size_bytes: int) -> Segment:
        """A file, or memory where only descriptors are lacking."""
        try:
            return self._new_file(size_bytes)
        except OSError as error:
            afloat_bytes = sum(segment.size_bytes for segment in self._in_use if segment.is_afloat)
            if not self._is_short(error) or afloat_bytes + size_bytes > AFLOAT_BYTES:
                raise
            self._files.say_afloat(error)
        serial = self._take_serial()
        return Segment.afloat(self._path(serial), size_bytes, serial)

    def _new_file(self, size_bytes: int) -> Segment:
        segment = Segment.create(self._path(self._next_serial), size_bytes, self._next_serial)
        self._take_serial()
        return segment

    def _take_serial(self) -> int:
        self._next_serial += 1
        return self._next_serial - 1

    def _path(self, serial: int) -> Path:
        return self._directory / segment_name(serial)

    def _is_short(self, error: OSError) -> bool:
        """Whether a segment can't be made for want of descriptors: for its file, or before that for its folder."""
        return is_shortage(error) or not self._files.is_there

    def _reason_of(self, error: OSError) -> str:
        if self._is_short(error):
            self._warn(
                "afloat_full",
                f"{AFLOAT_BYTES:,} bytes wait in memory for a file descriptor; new points are dropped",
            )
            return "no_descriptors"
        self._allocation_failed_at = time.monotonic()
        self._warn("disk_full", f"no room for the spool {self._directory}: {error}; points are dropped")
        return "disk_full"

    # --- spares: the sender -------------------------------------------------------------------------------------------

    def recycle(self, segment: Segment, breathe: Callable[[], object]) -> None:
        """Make a segment that is not in use any more a spare, or delete it."""
        is_usable = segment.size_bytes == SEGMENT_BYTES and not segment.is_in_memory
        if not is_usable or len(self.spares) >= SPARE_SEGMENTS:
            segment.delete()
            return
        spare_path = self._directory / "spare"
        segment.path.rename(spare_path)  # a crash from here on finds no half-wiped segment
        segment.path = spare_path
        segment.wipe(breathe)
        self._add_spare(segment)

    def prepare(self, wanted: int, breathe: Callable[[], object]) -> None:
        """Have so many spares, if the bound and the disk allow it."""
        while (
            not self.is_closed  # closed while one was wiped: it is thrown away, and no other is wanted
            and len(self.spares) < wanted
            and self.size_bytes + SEGMENT_BYTES <= self._max_bytes
        ):
            try:
                segment = Segment.create(self._directory / "spare", SEGMENT_BYTES, 0)
            except OSError as error:
                if error.errno == errno.EEXIST:
                    (self._directory / "spare").unlink(missing_ok=True)
                return  # the hot path will meet it, and say so
            segment.wipe(breathe)
            self._add_spare(segment)

    def _add_spare(self, segment: Segment) -> None:
        with self._lock:
            if self.is_closed:
                segment.delete()
                return
            segment.serial = self._take_serial()
            path = self._path(segment.serial)
            segment.path.rename(path)
            segment.path = path
            self.spares.append(segment)
