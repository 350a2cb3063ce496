"""The spool of artifacts of one run in one process: what the caller may delete once the call has returned.

    <root>/<run_id>/artifacts-<id>/
        lock                  held with flock by the process that owns the spool; free means: its owner is dead
        meta.json             where the artifacts go, for whoever adopts the spool
        00000001.data         the content of the first artifact
        00000001.json         what it is; an artifact is in the spool from the moment that this file has its name

An entry is written content first, and removed description first, so that a process may die at any point: content without a
description is no artifact. Like the spool of metrics it outlives SIGKILL, and is not synced against a loss of power.

Threads: `put_file` and `put_bytes` may be called by any; what takes entries away, by one. After a fork the child calls `abandon`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import json
import os
import stat
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal
from uuid import UUID

from ingest_client._descriptors import is_shortage, none_if_unreadable
from ingest_client._directory import ARTIFACTS_PREFIX, META_NAME, make_directory, remove_spool
from ingest_schema.ids import new_id

__all__ = ["ArtifactSpool", "Entry", "Keep", "SpoolRefused", "read_entries", "take_in"]

Keep = Literal["copy", "link", "move"]
"""How a file gets into the spool: copied; hard-linked, for a file that nobody writes to any more; or moved, which is a link
and the end of the old name."""

MAX_WAITING: Final = 100_000
"""Artifacts that wait at once, each with two files in one folder and 300 bytes of memory."""

_BLOCK_BYTES: Final = 4096
_COPY_BYTES: Final = 8 * 1024 * 1024
_FICLONE: Final = (
    0x40049409  # ioctl of linux/fs.h: the copy shares its blocks with the original until one is written
)
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class SpoolRefused(Exception):
    """There is no room for an artifact; `reason` is the counter that it goes to."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Entry:
    """One artifact in the spool."""

    number: int
    path: str
    size_bytes: int
    file: str
    """The name of the file with its content."""
    kind: str = "file"
    """file; `table`: rows that are added to the table at this path before it is sent (`_artifacts_tables`); or `remove`: what is at
    this path goes."""

    @property
    def cost_bytes(self) -> int:
        """What it takes of the disk: whole blocks, and one for its description."""
        return -(-self.size_bytes // _BLOCK_BYTES) * _BLOCK_BYTES + _BLOCK_BYTES


class ArtifactSpool:
    """A folder of artifacts that wait, oldest first. Its lock is held until `dispose` or `abandon`."""

    def __init__(self, directory: Path, lock_fd: int, max_bytes: int, entries: list[Entry]) -> None:
        self.directory = directory
        self._lock_fd = lock_fd
        self._max_bytes = max_bytes
        self._lock = threading.RLock()
        self._waiting = deque(entries)
        self._reserved_bytes = sum(entry.cost_bytes for entry in entries)
        self._numbers = itertools.count(max((entry.number for entry in entries), default=0) + 1)

    @classmethod
    def create(cls, root: Path, run_id: UUID, *, max_bytes: int, meta: dict[str, Any]) -> ArtifactSpool:
        """A new, empty one.

        Raises:
            OSError: The directory can't be made.
        """
        directory, lock_fd = make_directory(root, run_id, f"{ARTIFACTS_PREFIX}{new_id().hex}")
        (directory / META_NAME).write_text(json.dumps(meta))
        return cls(directory, lock_fd, max_bytes, [])

    # --- putting in: any thread -------------------------------------------------------------------------------------

    def put_file(self, path: str, source: Path, keep: Keep) -> Entry:
        """Take in a file.

        Raises:
            OSError: The file can't be read; nothing was changed.
            SpoolRefused: There is no room.
        """
        with source.open("rb") as opened:
            status = os.fstat(opened.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "is no regular file", str(source))
            entry = self._reserve(path, status.st_size, "file")
            size = self._guarded(
                entry, lambda: take_in(source, opened.fileno(), self._temporary(entry), keep)
            )
        written = self._commit(entry, size)
        if keep == "move":  # only now: a process that dies before this has moved nothing
            source.unlink()
        return written

    def put_bytes(self, path: str, content: bytes, kind: str = "file") -> Entry:
        """Take in what is in memory.

        Raises:
            SpoolRefused: There is no room.
        """
        entry = self._reserve(path, len(content), kind)
        self._guarded(entry, lambda: self._temporary(entry).write_bytes(content))
        return self._commit(entry, len(content))

    def _reserve(self, path: str, size_bytes: int, kind: str) -> Entry:
        with self._lock:
            number = next(self._numbers)
            entry = Entry(number, path, size_bytes, f"{number:08d}.data", kind)
            if self._reserved_bytes + entry.cost_bytes > self._max_bytes or len(self._waiting) >= MAX_WAITING:
                raise SpoolRefused(
                    "spool_full",
                    f"{size_bytes:,} bytes more are over the bound of {self._max_bytes:,} bytes or {MAX_WAITING:,} artifacts"
                    f" of the spool {self.directory} (INGEST_ARTIFACT_SPOOL_MAX_BYTES)",
                )
            self._reserved_bytes += entry.cost_bytes
            return entry

    def _guarded(self, entry: Entry, write: Any) -> int:
        """Run one step of writing; if the disk does not take it, leave nothing behind."""
        try:
            return int(write())
        except BaseException as error:
            self._temporary(entry).unlink(missing_ok=True)
            with self._lock:
                self._reserved_bytes -= entry.cost_bytes
            if isinstance(error, OSError):
                reason = "disk_full" if error.errno in _NO_ROOM else "disk_error"
                reason = "no_descriptors" if is_shortage(error) else reason
                raise SpoolRefused(reason, f"the spool {self.directory} did not take it: {error}") from error
            raise

    def _commit(self, entry: Entry, size_bytes: int) -> Entry:
        """Give content and description their names: from then on the artifact is in the spool."""

        def write() -> int:
            self._temporary(entry).replace(self.content(entry))
            _describe(self.directory, written)
            return size_bytes

        written = replace(entry, size_bytes=size_bytes)  # a file that grew meanwhile: as much as was copied
        try:
            self._guarded(entry, write)
        except SpoolRefused:
            self.content(entry).unlink(missing_ok=True)
            raise
        with self._lock:
            self._reserved_bytes += written.cost_bytes - entry.cost_bytes
            self._waiting.append(written)
        return written

    # --- taking out: one thread -------------------------------------------------------------------------------------

    def first(self) -> Entry | None:
        """The artifact that has waited longest."""
        with self._lock:
            return self._waiting[0] if self._waiting else None

    def content(self, entry: Entry) -> Path:
        """The file with its content."""
        return self.directory / entry.file

    def rewrite(self, entry: Entry, content: bytes) -> Entry:
        """Another content for the first artifact, which is an ordinary file from now on.

        Raises:
            OSError: The disk is full; the entry is as it was.
        """
        made = replace(entry, size_bytes=len(content), kind="file", file=f"{entry.number:08d}.new.data")
        # The new content beside the old one, then the description: whoever comes after a crash finds one or the other, whole.
        try:
            self.content(made).write_bytes(content)
            _describe(self.directory, made)
        except OSError:
            self.content(made).unlink(missing_ok=True)
            raise
        self.content(entry).unlink(missing_ok=True)
        with self._lock:
            self._reserved_bytes += made.cost_bytes - entry.cost_bytes
            self._waiting[0] = made
        return made

    def remove_first(self, entry: Entry) -> None:
        """It has been delivered, or was refused for good."""
        _description(self.directory, entry).unlink(missing_ok=True)
        self.content(entry).unlink(missing_ok=True)
        with self._lock:
            self._waiting.popleft()
            self._reserved_bytes -= entry.cost_bytes

    def forget(self) -> None:
        """It was left on the disk, and somebody else has delivered all of it."""
        with self._lock:
            self._waiting.clear()
            self._reserved_bytes = 0

    # --- counting and ending ----------------------------------------------------------------------------------------

    @property
    def waiting_num(self) -> int:
        return len(self._waiting)

    @property
    def size_bytes(self) -> int:
        """What all of them take of the disk."""
        return self._reserved_bytes

    def waiting(self) -> list[Entry]:
        """All that wait, oldest first."""
        with self._lock:
            return list(self._waiting)

    def dispose(self) -> None:
        """Unlock it; delete it if nothing waits in it."""
        with self._lock:
            if not self._waiting:
                remove_spool(self.directory)
            self.abandon()

    def abandon(self) -> None:
        """Let go of the lock: at the end, or of our copy of it in a forked child, which leaves the parent's in place."""
        # Forgotten before it is closed, and closed once: its number may be another file's by now.
        lock_fd, self._lock_fd = self._lock_fd, -1
        if lock_fd >= 0:
            os.close(lock_fd)

    def _temporary(self, entry: Entry) -> Path:
        return self.directory / f"{entry.number:08d}.tmp"


def _description(directory: Path, entry: Entry) -> Path:
    return directory / f"{entry.number:08d}.json"


def _describe(directory: Path, entry: Entry) -> None:
    """Write an entry's description in one step."""
    named = _description(directory, entry)
    temporary = named.with_suffix(".tmp2")
    temporary.write_text(json.dumps(asdict(entry)))
    temporary.replace(named)


def read_entries(directory: Path) -> list[Entry]:
    """What a dead process left in a spool, oldest first; what it had not finished is deleted. The caller holds the lock.

    Raises:
        OSError: There is no descriptor to read it; nothing is deleted.
    """
    entries: list[Entry] = []
    names = sorted(
        os.listdir(directory)
    )  # not glob, which takes a folder that can't be opened for an empty one
    for path in (directory / name for name in names if name.endswith(".json") and name != META_NAME):
        with none_if_unreadable(ValueError, TypeError):
            entry = Entry(**json.loads(path.read_bytes()))
            if (directory / entry.file).stat().st_size == entry.size_bytes:
                entries.append(entry)
    known = {entry.file for entry in entries}
    for name in names:
        if name.endswith((".data", ".tmp", ".tmp2")) and name not in known:
            (directory / name).unlink(missing_ok=True)
    return entries


def take_in(source: Path, source_fd: int, target: Path, keep: Keep) -> int:
    """Make the file's content that of `target`, on which no later change of the file has an effect. Returns its size."""
    if keep != "copy" and not source.is_symlink():
        with contextlib.suppress(OSError):  # another file system, or one without links: copied
            os.link(source, target)
            return target.stat().st_size
    with target.open("xb") as written:
        return _clone(source_fd, written.fileno())


def _clone(source_fd: int, target_fd: int) -> int:
    """Copy between two open files: by sharing blocks where the file system can, else inside the kernel, else by hand."""
    with contextlib.suppress(OSError):
        fcntl.ioctl(target_fd, _FICLONE, source_fd)
        return os.fstat(target_fd).st_size
    with contextlib.suppress(OSError):
        while os.copy_file_range(source_fd, target_fd, _COPY_BYTES):
            pass
    # Whatever is left: all of it where copy_file_range does not work, nothing elsewhere. Both descriptors stand at one place.
    for piece in _pieces(source_fd):
        view = memoryview(piece)
        while view:
            view = view[os.write(target_fd, view) :]
    return os.fstat(target_fd).st_size


def _pieces(fd: int) -> Iterator[bytes]:
    while piece := os.read(fd, _COPY_BYTES):
        yield piece
