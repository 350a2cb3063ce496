"""The spool of one writer: a directory of segments into which the training threads write and from which the sender reads.

    <root>/<run_id>/<writer_id>/
        lock                  held with flock by the process that owns the spool; free means: its owner is dead
        meta.json             where the points go, for whoever adopts the spool
        shapes.a, shapes.b    what the values of each shape of record are called; each definition in both
        cursor.a, cursor.b    how far the service has acknowledged (`_cursor`)
        00000001.seg …        records (`_segment`, `_record`), in the order of their numbers

Healthy, two or three segments go round; with the service away they pile up to `max_bytes`, then the newest records are
dropped and counted. Nothing here touches the network.

Threads: `put` and `define` may be called by any thread and by a signal handler that interrupts one; `prepare_spare` and
`release` by the sender only. After a fork the child calls `abandon` and never touches the parent's files again.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import shutil
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from ingest_client._columns import count_points
from ingest_client._cursor import Cursor, CursorState
from ingest_client._directory import META_NAME, SHAPES_NAMES, append, make_directory, remove_spool
from ingest_client._record import FIRST_SHAPE, encode_definition
from ingest_client._segment import FIRST_WORD, Segment, segment_name

__all__ = ["Spool"]

FIRST_SEGMENT_BYTES: Final = 256 * 1024
"""A short run costs this much disk; 2,300 records of ten metrics."""

SEGMENT_BYTES: Final = 2 * 1024 * 1024
"""18,000 records of ten metrics: at 1,000 calls a second one change of segment in 18 s."""

SPARE_SEGMENTS: Final = 2
_SPARE_FROM: Final = 1 / 8
"""Of the first segment. A run that logs 300 records of ten metrics, or fewer, never pays for a second one."""

_RETRY_ALLOCATION: Final = 1.0  # seconds between two tries on a full disk

Write = Callable[[bytes], object]


class Spool:
    """A writer's own spool, alive."""

    def __init__(
        self,
        root: Path,
        run_id: UUID,
        writer_id: UUID,
        *,
        max_bytes: int,
        meta: dict[str, Any],
        on_switch: Callable[[Write], None],
        wake: Callable[[], None],
        warn: Callable[[str, str], None],
    ) -> None:
        """Make the directory and its first segment.

        Args:
            root: The spool folder of this user and machine.
            run_id, writer_id: Whose spool this is.
            max_bytes: Bound on the segments' size together.
            meta: Kept for whoever adopts the spool; no secrets.
            on_switch: Told the `write` of the new active segment.
            wake: Tells the sender that there is something to do.
            warn: Takes a cause and a message.

        Raises:
            OSError: The directory can't be made.
        """
        self.run_id = run_id
        self.writer_id = writer_id
        self.shapes: dict[int, tuple[str, ...]] = {}
        self.dropped: dict[str, int] = {}
        self._max_bytes = max_bytes
        self._on_switch = on_switch
        self._wake = wake
        self._warn = warn
        self._lock = threading.RLock()
        self._storing = False
        self._aside: deque[tuple[bytes, int]] = deque()
        self._shape_ids = itertools.count(FIRST_SHAPE)
        self._next_serial = 1
        self._allocation_failed_at = -_RETRY_ALLOCATION
        self.segments: deque[Segment] = deque()  # the last one is active
        self._spares: deque[Segment] = deque()
        self.is_closed = False
        self._end: tuple[int, int] | None = (
            None  # the place after the last record, once the files are given back
        )
        self._left = 0  # points that nobody had taken then

        self.directory, self._lock_fd = make_directory(root, run_id, writer_id.hex)
        try:
            self.cursor = Cursor.create(self.directory)
            (self.directory / META_NAME).write_text(json.dumps(meta))
            self._open_segment(FIRST_SEGMENT_BYTES)
        except BaseException:
            shutil.rmtree(self.directory, ignore_errors=True)
            os.close(self._lock_fd)
            raise

    # --- writing: any thread ----------------------------------------------------------------------------------------

    def put(self, record: bytes, points: int) -> None:
        """Store a record for which the active segment had no room, or drop and count it.

        A signal handler that interrupts this very call and logs leaves its record aside; it is stored right after.
        """
        with self._lock:
            if self._storing:
                self._aside.append((record, points))
                return
            self._storing = True
            try:
                self._store(record, points)
                while self._aside:
                    self._store(*self._aside.popleft())
            finally:
                self._storing = False

    def define(self, keys: tuple[str, ...]) -> int | None:
        """A new shape for these keys, known to every later reader of this spool; None if the disk does not take it."""
        shape = next(self._shape_ids)
        definition = encode_definition(shape, keys)
        try:
            for name in SHAPES_NAMES if not self.is_closed else ():
                append(self.directory / name, definition)
        except OSError as error:
            self._warn("disk_full", f"no room for the spool {self.directory}: {error}; points are dropped")
            return None
        self.shapes[shape] = keys
        return shape

    def drop(self, reason: str, points: int) -> None:
        """Count points that were accepted and can't be kept."""
        with self._lock:
            self.dropped[reason] = self.dropped.get(reason, 0) + points

    def close(self) -> None:
        """Let no record in any more; what is there stays until it is delivered."""
        with self._lock:
            self.is_closed = True
            if self.segments:
                self.segments[-1].seal()

    def _store(self, record: bytes, points: int) -> None:
        if self.is_closed:
            self.drop("after_end", points)
            self._warn("after_end", f"run {self.run_id.hex} has ended; what is still logged to it is dropped")
            return
        try:  # another thread may have opened a new segment meanwhile
            self.segments[-1].map.write(record)
            return
        except ValueError:
            pass
        reason = self._open_segment(max(SEGMENT_BYTES, _rounded(len(record) + 8 * FIRST_WORD)))
        if reason is None:
            self.segments[-1].map.write(record)
        else:
            self.drop(reason, points)
        self._wake()

    def _open_segment(self, size_bytes: int) -> str | None:
        """Make the next segment the active one; else the reason why points must be dropped."""
        segment = self._take_spare(size_bytes)
        if segment is None:
            if self.size_bytes + size_bytes > self._max_bytes and self.segments:
                self._warn(
                    "spool_full",
                    f"the spool {self.directory} has reached its bound of {self._max_bytes:,} bytes;"
                    " new points are dropped until the service takes some (INGEST_SPOOL_MAX_BYTES)",
                )
                return "spool_full"
            now = time.monotonic()
            if now - self._allocation_failed_at < _RETRY_ALLOCATION:
                return "disk_full"
            try:
                segment = self._new_segment(size_bytes)
            except OSError as error:
                if not self.segments:
                    raise
                self._allocation_failed_at = now
                self._warn(
                    "disk_full", f"no room for the spool {self.directory}: {error}; points are dropped"
                )
                return "disk_full"
        if self.segments:
            self.segments[-1].seal()
        segment.activate()
        self.segments.append(segment)
        self._on_switch(_writer_of(segment))
        return None

    def _take_spare(self, size_bytes: int) -> Segment | None:
        if self._spares and self._spares[0].size_bytes >= size_bytes:
            return self._spares.popleft()
        # A record too large for the spares: their numbers come before the new segment's, so they are given up.
        while self._spares:
            _delete(self._spares.popleft())
        return None

    def _new_segment(self, size_bytes: int) -> Segment:
        serial = self._next_serial
        segment = Segment.create(self.directory / segment_name(serial), size_bytes, serial)
        self._next_serial = serial + 1
        return segment

    @property
    def size_bytes(self) -> int:
        """Bytes of disk that the segments take, spares included."""
        return sum(s.size_bytes for s in tuple(self.segments)) + sum(
            s.size_bytes for s in tuple(self._spares)
        )

    # --- reading: the sender ----------------------------------------------------------------------------------------

    def head(self) -> tuple[int, int]:
        """Number of the active segment and the word after its last record."""
        with self._lock:
            if self._end is not None:
                return self._end
            segment = self.segments[-1]
            return segment.serial, self._end_of(segment)

    def segment_from(self, serial: int) -> Segment | None:
        """The first segment with this number or a later one."""
        with self._lock:
            return next((s for s in self.segments if s.serial >= serial), None)

    def limit(self, segment: Segment) -> int:
        """The word up to which the segment's records are complete; a zero word may end them earlier."""
        return segment.map.tell() // 8

    def is_final(self, segment: Segment) -> bool:
        """Whether nothing more can come into the segment."""
        return self.is_closed or segment is not self.segments[-1]

    def intact(self, segment: Segment, begin: int, end: int) -> Iterable[tuple[int, int]]:
        """All of it: this process wrote these records and lives."""
        del segment
        return ((begin, end),)

    def release(self, segment: Segment, breathe: Callable[[], object]) -> None:
        """Recycle or delete a segment of which everything is acknowledged."""
        with self._lock:
            if segment is self.segments[-1]:
                return
            self.segments.remove(segment)
        if len(self._spares) < SPARE_SEGMENTS and segment.size_bytes == SEGMENT_BYTES:
            spare_path = self.directory / "spare"
            segment.path.rename(spare_path)  # a crash from here on finds no half-wiped segment
            segment.path = spare_path
            segment.wipe(breathe)
            self._add_spare(segment)
        else:
            _delete(segment)

    def prepare_spare(self, breathe: Callable[[], object]) -> None:
        """Keep enough spare segments, so that the hot path only has to switch."""
        wanted = self._wanted_spares()
        while (
            not self.is_closed  # closed while one was wiped: it is thrown away, and no other is wanted
            and len(self._spares) < wanted
            and self.size_bytes + SEGMENT_BYTES <= self._max_bytes
        ):
            try:
                segment = Segment.create(self.directory / "spare", SEGMENT_BYTES, 0)
            except OSError as error:
                if error.errno == errno.EEXIST:
                    (self.directory / "spare").unlink(missing_ok=True)
                return  # the hot path will meet it, drop and say so
            segment.wipe(breathe)
            self._add_spare(segment)

    def _wanted_spares(self) -> int:
        """None for a short run: the first is made when the first segment begins to fill."""
        first = self.segments[0]
        if len(self.segments) > 1 or first.serial > 1:
            return SPARE_SEGMENTS
        return int(8 * self._end_of(first) >= FIRST_SEGMENT_BYTES * _SPARE_FROM)

    def _add_spare(self, segment: Segment) -> None:
        with self._lock:
            if self.is_closed:
                _delete(segment)
                return
            segment.serial = self._next_serial
            self._next_serial += 1
            path = self.directory / segment_name(segment.serial)
            segment.path.rename(path)
            segment.path = path
            self._spares.append(segment)

    def settle(self, segment: Segment | None, points: int, state: CursorState) -> None:
        """Move the cursor; in one step for whoever counts."""
        with self._lock:
            if segment is not None:
                segment.delivered_points += points
            self.cursor.store(state)

    # --- counting ---------------------------------------------------------------------------------------------------

    def counted(self) -> tuple[CursorState, int]:
        """The cursor, and the points in the spool that are not settled: both of one moment."""
        with contextlib.suppress(ValueError):  # the files are given back meanwhile
            for segment in tuple(
                self.segments
            ):  # the long part without the lock: full segments are counted once
                if segment.sealed_points is None and self.is_final(segment):
                    segment.sealed_points = self._count(segment)
        with self._lock:
            if self._end is not None:
                return self.cursor.state, self._left
            waiting = 0
            for segment in self.segments:
                total = segment.sealed_points
                waiting += (self._count(segment) if total is None else total) - segment.delivered_points
            return self.cursor.state, waiting

    def settle_left(self, acknowledged: int | None = None, rejected: int = 0) -> None:
        """So many points of what was left on the disk are settled; all that are not yet, where another process has done it."""
        with self._lock:
            acknowledged = self._left if acknowledged is None else acknowledged
            state = self.cursor.state
            self.cursor.state = replace(
                state,
                acknowledged_points=state.acknowledged_points + acknowledged,
                rejected_points=state.rejected_points + rejected,
            )
            self._left -= acknowledged + rejected

    def _count(self, segment: Segment) -> int:
        return count_points(segment.words, FIRST_WORD, self._end_of(segment), self.shapes)

    def _end_of(self, segment: Segment) -> int:
        return segment.map.tell() // 8

    # --- ending -----------------------------------------------------------------------------------------------------

    def dispose(self, *, delete: bool) -> None:
        """Unlock the spool, and give its files and mappings back; delete it when everything in it was delivered."""
        with self._lock:
            if self._end is not None:
                return
            self.is_closed = True
            segments, spares = tuple(self.segments), tuple(self._spares)
            for segment in (*segments, *spares):
                segment.seal()
            _, self._left = self.counted()
            self._end = self.head()
            self.segments.clear()
            self._spares.clear()
            if delete:
                remove_spool(self.directory)
            else:
                for segment in spares:
                    segment.path.unlink(missing_ok=True)
                segments[-1].close_and_cut()
            for segment in (*segments, *spares):
                segment.close()
            self.cursor.close()
            self._let_go()

    def abandon(self) -> None:
        """In a forked child: seal this process's view of the parent's segments and let its lock go.

        The mappings are shared with the parent, the positions in them are not: after this no call can write there.
        Closing our copy of the lock's descriptor leaves the parent's lock in place.
        """
        self._lock = threading.RLock()  # a thread of the parent may have held it
        self.is_closed = True
        for segment in (*self.segments, *self._spares):
            segment.seal()
        self._let_go()

    def _let_go(self) -> None:
        """Close the lock once: after a spool is disposed of, and before a fork, its number may have become that of another file."""
        fd, self._lock_fd = self._lock_fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):
                os.close(fd)


def _writer_of(segment: Segment) -> Write:
    """The segment's `write`; on a free-threaded Python with a lock around it, since nothing else makes it atomic there."""
    if getattr(sys, "_is_gil_enabled", lambda: True)():
        return segment.map.write
    lock, write = threading.RLock(), segment.map.write

    def locked_write(record: bytes) -> object:
        with lock:
            return write(record)

    return locked_write


def _delete(segment: Segment) -> None:
    segment.path.unlink(missing_ok=True)
    segment.close()


def _rounded(size_bytes: int) -> int:
    return -(-size_bytes // 4096) * 4096
