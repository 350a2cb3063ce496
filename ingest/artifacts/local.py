"""A directory of this machine, or of a file server (NFS) that several machines share.

Writing: a file of its own in the work area, synced, then renamed into its place; the directory is synced too. Readers see
the old content or the new one, and a loss of power does not change that. What a killed process left in the work area is
swept later.

No symbolic link below the root is followed: every name on the way is opened by itself, relative to the directory
before it (openat, O_NOFOLLOW), so that not even a link put there in between leads out.

System calls run in threads of this store's own. A file server that hangs holds some of those, and the caller gets
StoreUnavailable after CALL_TIMEOUT. A call that its caller no longer waits for goes on in its thread, so a descriptor is
used and closed under a lock (`_Handle`): closed too early, its number might belong to another file. Units: seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import heapq
import itertools
import os
import secrets
import stat
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from ingest.artifacts.errors import (
    ArtifactError,
    ArtifactUnknown,
    IsDirectory,
    PathTaken,
    StoreFull,
    StoreMisconfigured,
    StoreUnavailable,
)
from ingest.artifacts.paths import SCRATCH, WORK_AREA
from ingest.artifacts.store import CHUNK_BYTES, Entry, Reader, Store, Upload, below

__all__ = ["LocalStore"]

T = TypeVar("T")

THREADS: Final = 16
CALL_TIMEOUT: Final = 60.0
"""For one system call or a few; a disk that syncs gigabytes may well need half of it."""
SYNC_BYTES: Final = 256 * 1024 * 1024
"""Written between two syncs: the last one must not have all of a large file to do, nor memory be full of it."""
RENAMES: Final = 5
"""Tries to put a file in its place while others remove the empty directories on the way."""

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO must not hold us
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NOT_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL})
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class LocalStore(Store):
    """Files below a directory, which is made if it is not there.

    Raises:
        StoreMisconfigured: It can't be made or written to.
    """

    def __init__(self, root: Path) -> None:
        self.name = str(root)
        self._root = root
        try:
            (root / WORK_AREA).mkdir(parents=True, exist_ok=True)
            probe = root / WORK_AREA / f"probe-{secrets.token_hex(8)}"
            probe.touch(exist_ok=False)
            probe.unlink()
        except OSError as error:
            raise StoreMisconfigured(
                f"artifact_root: no files can be written in {root}: {error.strerror}; name another directory"
            ) from error
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="artifacts")

    async def call(self, work: Callable[[], T]) -> T:
        """Run system calls in a thread, and what goes wrong into our words."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CALL_TIMEOUT):
                return await loop.run_in_executor(self._threads, work)
        except OSError as error:
            raise _translated(error, self.name) from error
        except TimeoutError as error:
            raise StoreUnavailable(f"{self.name} did not answer within {CALL_TIMEOUT:.0f} seconds") from error

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    # --- reading ------------------------------------------------------------------------------------------------------

    async def find(self, path: str) -> Entry | None:
        return await self.call(lambda: self._find(path))

    def _find(self, path: str) -> Entry | None:
        try:
            with self._parent(path) as (directory, name):
                found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except OSError as error:
            if error.errno in _NOT_THERE:
                return None
            raise
        return _entry(path, found)

    @asynccontextmanager
    async def open(self, path: str) -> AsyncIterator[Reader]:
        handle = _Handle()
        try:
            await self.call(lambda: handle.open(lambda: self._open(path)))
            entry = await self.call(lambda: _file_entry(path, handle.use(os.fstat)))
            yield _LocalReader(self, handle, entry)
        finally:
            await self._finish(handle.close)

    async def _finish(self, work: Callable[[], object]) -> None:
        """Run it whatever happens to the caller meanwhile; after the calls of the same handle that are under way."""
        with contextlib.suppress(RuntimeError):  # the threads are gone: the process is about to end
            await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._threads, work))

    def _open(self, path: str) -> int:
        try:
            with self._parent(path) as (directory, name):
                descriptor = os.open(name, _READ, dir_fd=directory)
        except OSError as error:
            if error.errno in _NOT_THERE or error.errno == errno.ENXIO:
                raise ArtifactUnknown(path) from error
            raise
        try:
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISDIR(mode):
                raise IsDirectory(path)
            if not stat.S_ISREG(mode):
                raise ArtifactUnknown(path)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    async def page(self, directory: str, *, after: bytes = b"", limit: int) -> list[Entry]:
        return await self.call(lambda: self._page(directory, after, limit))

    def _page(self, directory: str, after: bytes, limit: int) -> list[Entry]:
        entries: list[Entry] = []
        try:
            with self._directory(directory) as descriptor:
                while (wanted := limit - len(entries)) > 0:
                    with os.scandir(descriptor) as found:
                        keys = (
                            key for one in found if (key := _key(directory, one)) is not None and key > after
                        )
                        chosen = heapq.nsmallest(wanted, keys)  # only these are looked at any closer
                    looked_up = [_looked_up(directory, key, descriptor) for key in chosen]
                    entries += [one for one in looked_up if one is not None]
                    if len(chosen) < wanted:
                        break
                    after = chosen[-1]
        except OSError as error:
            if error.errno not in _NOT_THERE:
                raise
        return entries

    # --- writing ------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def upload(self, path: str, size_bytes: int | None = None) -> AsyncIterator[Upload]:
        del size_bytes  # a file may grow as it likes
        await self.call(lambda: self._refuse_taken(path))
        handle = _Handle()
        upload = _LocalUpload(self, handle, SCRATCH + secrets.token_hex(16), path)
        try:
            await self.call(lambda: handle.open(lambda: self._create(upload.scratch)))
            yield upload
        finally:
            await self._finish(upload.end)

    def _create(self, scratch: str) -> int:
        with self._directory(WORK_AREA, make=True) as directory:
            return os.open(scratch, _CREATE, 0o666, dir_fd=directory)

    def _refuse_taken(self, path: str) -> None:
        """Before a gigabyte arrives in vain. `_put` sees what changes meanwhile."""
        names = path.split("/")
        for i in range(1, len(names) + 1):
            found = self._find("/".join(names[:i]))
            if found is None:
                return
            if found.is_dir is (i == len(names)):
                raise _taken(path, is_dir=found.is_dir)

    def discard(self, scratch: str) -> None:
        """Remove an unfinished file; in a thread."""
        with contextlib.suppress(OSError), self._directory(WORK_AREA) as work:
            os.unlink(scratch, dir_fd=work)

    def put(self, scratch: str, path: str) -> None:
        """Give a file that is whole its place; in a thread."""
        parent, _, name = path.rpartition("/")
        for attempt in range(1, RENAMES + 1):
            try:
                with (
                    self._directory(parent, make=True) as target,
                    self._directory(WORK_AREA) as work,
                ):
                    os.rename(scratch, name, src_dir_fd=work, dst_dir_fd=target)
                    os.fsync(target)
                    return
            except OSError as error:
                if error.errno in {errno.EISDIR, errno.ENOTEMPTY, errno.EEXIST}:
                    raise _taken(path, is_dir=True) from error
                if error.errno in {errno.ENOTDIR, errno.ELOOP}:
                    raise _taken(path, is_dir=False) from error
                if error.errno != errno.ENOENT or attempt == RENAMES:  # somebody removes the empty directory
                    raise

    async def remove(self, path: str) -> bool:
        return await self.call(lambda: self._remove(path))

    def _remove(self, path: str) -> bool:
        try:
            with self._parent(path) as (directory, name):
                os.unlink(name, dir_fd=directory)
        except OSError as error:
            if error.errno in _NOT_THERE or error.errno in {errno.EISDIR, errno.EPERM}:
                return False
            raise
        self._prune(path.rpartition("/")[0])
        return True

    async def remove_some(self, directory: str, limit: int) -> int:
        return await self.call(lambda: self._remove_some(directory, limit))

    def _remove_some(self, directory: str, limit: int) -> int:
        """Whatever is there, links too, in the order in which the disk gives it."""
        removed = 0
        with (
            contextlib.suppress(FileNotFoundError, NotADirectoryError),
            self._directory(directory) as descriptor,
        ):
            while removed < limit:
                before = removed
                with os.scandir(descriptor) as found:
                    some = [
                        (one.name, one.is_dir(follow_symlinks=False))
                        for one in itertools.islice(found, limit)
                    ]
                for name, is_dir in some:
                    if removed == limit:
                        return removed
                    if is_dir:
                        removed += self._remove_some(below(directory, name), limit - removed)
                    else:
                        with contextlib.suppress(FileNotFoundError):
                            os.unlink(name, dir_fd=descriptor)
                            removed += 1
                if removed == before:  # it is empty, or what is left can't be removed
                    break
        self._prune(directory)
        return removed

    def _prune(self, directory: str) -> None:
        """Remove directories that became empty, upwards."""
        while directory and directory != WORK_AREA:
            try:
                with self._parent(directory) as (above, name):
                    os.rmdir(name, dir_fd=above)
            except OSError:
                return
            directory = directory.rpartition("/")[0]

    async def sweep(self, *, older_than: float) -> int:
        return await self.call(lambda: self._sweep(time.time() - older_than))

    def _sweep(self, before: float) -> int:
        swept = 0
        with self._directory(WORK_AREA, make=True) as directory, os.scandir(directory) as found:
            for one in found:
                with contextlib.suppress(FileNotFoundError):
                    if one.name.startswith(SCRATCH) and one.stat(follow_symlinks=False).st_mtime < before:
                        os.unlink(one.name, dir_fd=directory)
                        swept += 1
        return swept

    # --- names into descriptors ---------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _directory(self, path: str, *, make: bool = False) -> Iterator[int]:
        """A descriptor of a directory below the root, reached without following a link."""
        descriptor = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in path.split("/") if path else ():
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(name, dir_fd=descriptor)
                        os.fsync(descriptor)
                deeper = os.open(name, _DIRECTORY, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = deeper
            yield descriptor
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _parent(self, path: str) -> Iterator[tuple[int, str]]:
        """The directory that a path stands in, and its name there."""
        parent, _, name = path.rpartition("/")
        with self._directory(parent) as descriptor:
            yield descriptor, name or "."


class _Handle:
    """A descriptor that one thread at a time uses, and that nobody uses once it is closed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._is_closed = False

    def open(self, make: Callable[[], int]) -> None:
        with self._lock:
            if not self._is_closed:  # else the caller gave up before this began
                self._descriptor = make()

    def use(self, work: Callable[[int], T]) -> T:
        with self._lock:
            if self._descriptor is None:
                raise StoreUnavailable("the file is closed")
            return work(self._descriptor)

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None


class _LocalReader(Reader):
    def __init__(self, store: LocalStore, handle: _Handle, entry: Entry) -> None:
        self.entry = entry
        self._store = store
        self._handle = handle

    async def chunks(self, start: int, stop: int) -> AsyncIterator[bytes]:
        while start < stop:
            read = partial(_read, min(CHUNK_BYTES, stop - start), start)
            chunk = await self._store.call(partial(self._handle.use, read))
            if not chunk:
                raise StoreUnavailable(f"{self.entry.path!r} became shorter while it was read")
            start += len(chunk)
            yield chunk


def _read(size_bytes: int, offset: int, descriptor: int) -> bytes:
    return os.pread(descriptor, size_bytes, offset)


class _LocalUpload(Upload):
    def __init__(self, store: LocalStore, handle: _Handle, scratch: str, path: str) -> None:
        self.scratch = scratch
        self._store = store
        self._handle = handle
        self._path = path
        self._unsynced_bytes = 0
        self._is_committed = False

    async def write(self, chunk: bytes) -> None:
        await self._store.call(lambda: self._handle.use(partial(self._write, chunk)))

    def _write(self, chunk: bytes, descriptor: int) -> None:
        view = memoryview(chunk)
        while view:
            view = view[os.write(descriptor, view) :]
        self._unsynced_bytes += len(chunk)
        if self._unsynced_bytes >= SYNC_BYTES:
            os.fdatasync(descriptor)
            self._unsynced_bytes = 0

    async def commit(self) -> None:
        await self._store.call(lambda: self._handle.use(self._commit))

    def _commit(self, descriptor: int) -> None:
        os.fsync(descriptor)
        self._store.put(self.scratch, self._path)
        self._is_committed = True

    def end(self) -> None:
        self._handle.close()
        if not self._is_committed:
            self._store.discard(self.scratch)


def _entry(path: str, found: os.stat_result) -> Entry | None:
    if stat.S_ISDIR(found.st_mode):
        return Entry(path, is_dir=True)
    return _file_entry(path, found) if stat.S_ISREG(found.st_mode) else None


def _file_entry(path: str, found: os.stat_result) -> Entry:
    return Entry(
        path,
        is_dir=False,
        size_bytes=found.st_size,
        modified_ms=found.st_mtime_ns // 1_000_000,
        etag=f"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}",
    )


def _key(directory: str, found: os.DirEntry[str]) -> bytes | None:
    """As `in_order`; None for what a listing does not show: links, and what is the service's own."""
    if (not directory and found.name == WORK_AREA) or found.is_symlink():
        return None
    try:
        name = found.name.encode()
    except UnicodeEncodeError:  # no name that we could have given
        return None
    return name + b"/" if found.is_dir(follow_symlinks=False) else name


def _looked_up(directory: str, key: bytes, descriptor: int) -> Entry | None:
    """The file or directory of that key; None if it is neither, or just went away."""
    name = key.decode().removesuffix("/")
    try:
        return _entry(below(directory, name), os.stat(name, dir_fd=descriptor, follow_symlinks=False))
    except FileNotFoundError:
        return None


def _taken(path: str, *, is_dir: bool) -> PathTaken:
    reason = "a directory of that name is there" if is_dir else "a file stands where a directory is needed"
    return PathTaken(path, reason)


def _translated(error: OSError, name: str) -> ArtifactError:
    if error.errno in _FULL:
        return StoreFull(f"{name} has no room left ({error.strerror}); nothing of this file was kept")
    return StoreUnavailable(f"{name} can't be used: {error.strerror or error}")
