"""The spool of one writer: a directory of segments into which the training threads write and from which the sender reads.

    <root>/<run_id>/<writer_id>/
        lock                  held with flock by the process that owns the spool; free means: its owner is dead
        meta.json             where the points go, for whoever adopts the spool
        shapes.a, shapes.b    what the values of each shape of record are called; each definition in both
        cursor.a, cursor.b    how far the service has acknowledged (`_cursor`)
        00000001.seg …        records (`_segment`, `_record`), in the order of their numbers

Healthy, two or three segments go round; with the service away they pile up to `max_bytes`, then the newest records are
dropped and counted. A process that has as many files open as it may keeps in memory what it can't open (`_spool_files`) and brings it
to the disk as soon as it can. Nothing here touches the network.

Threads: `put` and `define` may be called by any thread and by a signal handler that interrupts one; `land`, `prepare_spare` and
`release` by the sender only. After a fork the child calls `abandon` and never touches the parent's files again.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from ingest_client._columns import count_points
from ingest_client._cursor import Cursor, CursorState
from ingest_client._record import FIRST_SHAPE, encode_definition
from ingest_client._segment import FIRST_WORD, Segment
from ingest_client._spool_files import SpoolFiles
from ingest_client._supply import SEGMENT_BYTES, SPARE_SEGMENTS, Supply

__all__ = ["Spool"]

FIRST_SEGMENT_BYTES: Final = 256 * 1024
"""A short run costs this much disk; 2,300 records of ten metrics."""

_SPARE_FROM: Final = 1 / 8
"""Of the first segment. A run that logs 300 records of ten metrics, or fewer, never pays for a second one."""

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
            OSError: The directory can't be made, and not for want of descriptors.
        """
        self.run_id = run_id
        self.writer_id = writer_id
        self.shapes: dict[int, tuple[str, ...]] = {}
        self.dropped: dict[str, int] = {}
        self._on_switch = on_switch
        self._wake = wake
        self._warn = warn
        self._lock = threading.RLock()
        self._storing = False
        self._aside: deque[tuple[bytes, int]] = deque()
        self._shape_ids = itertools.count(FIRST_SHAPE)
        self.segments: deque[Segment] = deque()  # the last one is active
        self.is_closed = False
        self._end: tuple[int, int] | None = (
            None  # the place after the last record, once the files are given back
        )
        self._left = 0  # points that nobody had taken then

        self._files = SpoolFiles(root, run_id, writer_id, meta, warn)
        self.directory = self._files.directory
        self._supply = Supply(self._files, self.segments, max_bytes=max_bytes, lock=self._lock, warn=warn)
        self._files.make_or_float()
        try:
            self._open_segment(FIRST_SEGMENT_BYTES)
        except BaseException:
            self._files.remove()
            self._files.let_go()
            raise

    @property
    def cursor(self) -> Cursor:
        """How far the service has acknowledged."""
        return self._files.cursor

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
            if not self.is_closed:
                self._files.define(definition)
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
            self.is_closed = self._supply.is_closed = True
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
        segment = self._supply.take(size_bytes)
        if isinstance(segment, str):
            return segment
        self._switch_to(segment)
        return None

    def _switch_to(self, segment: Segment) -> None:
        if self.segments:
            self.segments[-1].seal()
        segment.activate()
        self.segments.append(segment)
        self._on_switch(_writer_of(segment))

    @property
    def size_bytes(self) -> int:
        """Bytes of disk that the segments take, spares included."""
        return self._supply.size_bytes

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
        self._supply.recycle(segment, breathe)

    @property
    def is_ashore(self) -> bool:
        """Whether the disk has everything that is not delivered: not so while there is no descriptor for it."""
        is_on_disk = self._files.is_complete and not any(s.is_afloat for s in tuple(self.segments))
        return is_on_disk or self._end is not None

    def land(self) -> bool:
        """Bring to the disk what is in memory, as far as there are descriptors; whether all of it is there."""
        if self.is_ashore:
            return True
        with contextlib.suppress(OSError):  # it stays in memory, and is tried again
            self._files.make()
            with self._lock:
                if self.segments[-1].is_afloat and not self.is_closed:
                    self._switch_to(self._supply.take_file())
            for segment in tuple(self.segments):
                if segment.is_afloat:
                    segment.land()
        return self.is_ashore

    def prepare_spare(self, breathe: Callable[[], object]) -> None:
        """Keep enough spare segments, so that the hot path only has to switch."""
        self._supply.prepare(self._wanted_spares(), breathe)

    def _wanted_spares(self) -> int:
        """None for a short run: the first is made when the first segment begins to fill."""
        first = self.segments[0]
        if len(self.segments) > 1 or first.serial > 1:
            return SPARE_SEGMENTS
        return int(8 * self._end_of(first) >= FIRST_SEGMENT_BYTES * _SPARE_FROM)

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
            self.is_closed = self._supply.is_closed = True
            segments, spares = tuple(self.segments), tuple(self._supply.spares)
            for segment in (*segments, *spares):
                segment.seal()
            _, self._left = self.counted()
            self._end = self.head()
            self.segments.clear()
            self._supply.spares.clear()
            if not delete:
                for segment in spares:
                    segment.path.unlink(missing_ok=True)
                segments[-1].close_and_cut()
            for segment in (*segments, *spares):
                segment.close()
            self.cursor.close()
            if delete:  # last, since deleting takes descriptors too
                self._files.remove()
            self._files.let_go()

    def abandon(self) -> None:
        """In a forked child: seal this process's view of the parent's segments and let its lock go.

        The mappings are shared with the parent, the positions in them are not: after this no call can write there.
        Closing our copy of the lock's descriptor leaves the parent's lock in place.
        """
        self._lock = threading.RLock()  # a thread of the parent may have held it
        self.is_closed = True
        for segment in (*self.segments, *self._supply.spares):
            segment.seal()
        self._files.let_go()


def _writer_of(segment: Segment) -> Write:
    """The segment's `write`; on a free-threaded Python with a lock around it, since nothing else makes it atomic there."""
    if getattr(sys, "_is_gil_enabled", lambda: True)():
        return segment.map.write
    lock, write = threading.RLock(), segment.map.write

    def locked_write(record: bytes) -> object:
        with lock:
            return write(record)

    return locked_write


def _rounded(size_bytes: int) -> int:
    return -(-size_bytes // 4096) * 4096
