"""S3, Google Cloud Storage and Azure Blob Storage, by obstore; and whatever speaks the protocol of one of them.

Writing: a small file is one request. A larger one is sent in parts, which the store makes a file of only when they are
complete; breaking off tells the store to forget them. A process that is killed can't say so: a rule of the bucket has to
sweep such parts (docs/artifacts.md), nobody sees them in the meantime.

Reading: ranges of a few megabytes, each only of the version that was opened, the next one on its way while one is sent.
So no single request lasts long, however slow the reader is.

Directories are what the keys suggest. Lists rely on keys coming in order, which these stores promise.

Credentials come from `artifact_options` or from where the store's own tools find them (variables, the machine's role).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final, TypeVar

from ingest.artifacts.errors import (
    ArtifactError,
    ArtifactUnknown,
    IsDirectory,
    PathTaken,
    StoreFull,
    StoreMisconfigured,
    StoreUnavailable,
)
from ingest.artifacts.object_options import ObjectRoot
from ingest.artifacts.paths import WORK_AREA
from ingest.artifacts.store import Entry, Reader, Store, Upload, below

try:
    import obstore
    from obstore import exceptions
except ImportError as error:  # an extra: only this module needs it
    raise StoreMisconfigured(
        "artifact_root: object stores need obstore: pip install 'metric-ingest[s3]' (or gcs, azure: the same)"
    ) from error

__all__ = ["ObjectStore"]

T = TypeVar("T")

MIB: Final = 1024 * 1024
PART_BYTES: Final = 8 * MIB
"""Of one part up. S3 wants 5 MiB; two of them and one to come are in memory."""
UNKNOWN_PART_BYTES: Final = 16 * MIB
"""The same where nobody said how large the file is: 10,000 of them are 156 GiB."""
MAX_PARTS: Final = 9_000
"""S3 takes 10,000."""
PARTS_AT_ONCE: Final = 2
RANGE_BYTES: Final = 4 * MIB
"""Of one request down; two are in memory."""
LIST_CHUNK: Final = 1_000
CALL_TIMEOUT: Final = 90.0
"""For one request with obstore's own repetitions."""
END_TIMEOUT: Final = 600.0
"""For making a file of many parts."""
CLIENT: Final[dict[str, Any]] = {"timeout": "60s", "connect_timeout": "5s"}
RETRIES: Final[dict[str, Any]] = {"max_retries": 4, "retry_timeout": timedelta(seconds=60)}
_ADDRESS: Final = re.compile(r"https?://[^ ]+")
LAST: Final = "\U0010ffff"
"""Sorts behind every name."""

_FULL: Final = ("507 Insufficient", "QuotaExceeded", "StorageFull", "InsufficientStorage")


class ObjectStore(Store):
    """A bucket, or what lies below a prefix of it."""

    def __init__(self, root: ObjectRoot) -> None:
        self.name = root.url
        self.uri = root.client_uri
        self._lists_cheaply_from_anywhere = root.kind != "azure"
        try:
            self._store: Any = _made(root)
        except (exceptions.BaseError, ValueError, TypeError) as error:
            raise StoreMisconfigured(f"artifact_root, artifact_options: {_first_line(error)}") from error

    async def call(self, work: Awaitable[T], path: str = "", *, seconds: float = CALL_TIMEOUT) -> T:
        """Wait for a request, and turn what goes wrong into our words. path: of the file it is about."""
        try:
            async with asyncio.timeout(seconds):
                return await work
        except FileNotFoundError as error:
            raise ArtifactUnknown(path) from error
        except TimeoutError as error:
            raise StoreUnavailable(f"{self.name} did not answer within {seconds:.0f} seconds") from error
        except exceptions.BaseError as error:
            raise self.translated(error) from error

    def translated(self, error: Exception) -> ArtifactError:
        text = str(error)
        if any(sign in text for sign in _FULL):
            return StoreFull(f"{self.name} has no room left; nothing of this file was kept")
        if isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError):
            return StoreUnavailable(f"{self.name} does not let the service in: {_first_line(error)}")
        return StoreUnavailable(f"{self.name} can't be used: {_first_line(error)}")

    # --- reading ------------------------------------------------------------------------------------------------------

    async def find(self, path: str) -> Entry | None:
        try:
            return (await self._head(path))[0]
        except ArtifactUnknown:
            return Entry(path, is_dir=True) if await self._has_files(path) else None

    async def _head(self, path: str) -> tuple[Entry, str]:
        """The file, and the version that requests for it may insist on."""
        meta = await self.call(obstore.head_async(self._store, path), path)
        return _entry(meta), meta["e_tag"] or ""

    async def _has_files(self, directory: str) -> bool:
        found = obstore.list(self._store, directory, chunk_size=1)
        return bool(await self.call(anext(found, []), directory))

    @asynccontextmanager
    async def open(self, path: str) -> AsyncIterator[Reader]:
        try:
            entry, version = await self._head(path)
        except ArtifactUnknown:
            if await self._has_files(path):
                raise IsDirectory(path) from None
            raise
        yield _ObjectReader(self, self._store, entry, version)

    async def page(self, directory: str, *, after: bytes = b"", limit: int) -> list[Entry]:
        entries: list[Entry] = []
        behind = after.decode()
        while True:
            offset = below(directory, behind + LAST if behind.endswith("/") else behind) if behind else None
            jump = await self._gather(directory, offset, entries, limit)
            if jump is None:
                return entries
            behind = jump

    async def _gather(
        self, directory: str, offset: str | None, entries: list[Entry], limit: int
    ) -> str | None:
        """Append to entries; a key from where to go on, if a directory fills page after page of the list."""
        skipped = len(directory) + 1 if directory else 0
        async with contextlib.aclosing(self._listed(directory, offset)) as chunks:
            async for chunk in chunks:
                before = entries[-1].path if entries else None
                for meta in chunk:
                    name, slash, _ = meta["path"][skipped:].partition("/")
                    path = below(directory, name)
                    if not slash:
                        entries.append(_entry(meta))
                    elif (
                        not (entries and entries[-1].is_dir and entries[-1].path == path)
                        and path != WORK_AREA
                    ):
                        entries.append(Entry(path, is_dir=True))
                    if len(entries) == limit:
                        return None
                is_stuck = entries and entries[-1].is_dir and entries[-1].path == before
                if is_stuck and self._lists_cheaply_from_anywhere:
                    return entries[-1].name + "/"
        return None

    async def _listed(self, directory: str, offset: str | None = None) -> AsyncGenerator[list[Any], None]:
        found = obstore.list(self._store, directory or None, offset=offset, chunk_size=LIST_CHUNK)
        while chunk := await self.call(anext(found, None), directory):
            yield list(chunk)

    async def walk(self, directory: str) -> AsyncGenerator[Entry, None]:
        async with contextlib.aclosing(self._listed(directory)) as chunks:
            async for chunk in chunks:
                for meta in chunk:
                    yield _entry(meta)

    # --- writing ------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def upload(self, path: str, size_bytes: int | None = None) -> AsyncIterator[Upload]:
        await self._refuse_taken(path)
        upload = _ObjectUpload(self, self._store, path, _part_bytes(size_bytes))
        try:
            yield upload
        finally:
            await upload.end()

    async def _refuse_taken(self, path: str) -> None:
        """Keys may be anything; directories are a fiction that we keep up as far as it goes without a lock."""
        names = path.split("/")
        if names[0] == WORK_AREA:
            return
        above = ["/".join(names[:i]) for i in range(4, len(names))]
        is_directory, *are_files = await asyncio.gather(
            self._has_files(path), *(self._is_file(directory) for directory in above)
        )
        if is_directory:
            raise PathTaken(path, "a directory of that name is there")
        if any(are_files):
            raise PathTaken(path, "a file stands where a directory is needed")

    async def _is_file(self, path: str) -> bool:
        try:
            await self._head(path)
        except ArtifactUnknown:
            return False
        return True

    async def remove(self, path: str) -> bool:
        if not await self._is_file(path):  # S3 does not say whether there was one
            return False
        with contextlib.suppress(ArtifactUnknown):
            await self.call(obstore.delete_async(self._store, path), path)
        return True

    async def remove_some(self, directory: str, limit: int) -> int:
        doomed: list[str] = []
        async with contextlib.aclosing(self.walk(directory)) as found:
            async for entry in found:
                doomed.append(entry.path)
                if len(doomed) == limit:
                    break
        for i in range(0, len(doomed), LIST_CHUNK):
            with contextlib.suppress(ArtifactUnknown):  # somebody else removed one of them
                await self.call(obstore.delete_async(self._store, doomed[i : i + LIST_CHUNK]), directory)
        return len(doomed)

    async def sweep(self, *, older_than: float) -> int:
        """Nothing: what was begun and given up is no object."""
        del older_than
        return 0

    async def sign(self, path: str, seconds: int) -> str | None:
        try:
            url: str = await self.call(
                obstore.sign_async(self._store, "GET", path, timedelta(seconds=seconds)), path
            )
        except StoreUnavailable:  # these credentials can't sign
            return None
        return url

    async def close(self) -> None:
        """Nothing: obstore's connections end by themselves."""


class _ObjectReader(Reader):
    def __init__(self, store: ObjectStore, objects: Any, entry: Entry, version: str) -> None:
        self.entry = entry
        self._store = store
        self._objects = objects
        self._version = version

    async def chunks(self, start: int, stop: int) -> AsyncIterator[bytes]:
        coming: asyncio.Task[bytes] | None = None
        try:
            while start < stop:
                end = min(stop, start + RANGE_BYTES)
                chunk = await (coming or self._fetch(start, end))
                start = end
                coming = None
                if start < stop:
                    coming = asyncio.create_task(self._fetch(start, min(stop, start + RANGE_BYTES)))
                yield chunk
        finally:
            if coming is not None:
                coming.cancel()
                await asyncio.wait((coming,))

    async def _fetch(self, start: int, stop: int) -> bytes:
        options: Any = {"range": (start, stop), "if_match": self._version}
        path = self.entry.path
        try:
            answer = await self._store.call(obstore.get_async(self._objects, path, options=options), path)
            chunk = bytes(await self._store.call(answer.bytes_async(), path))
        except ArtifactUnknown as error:
            raise StoreUnavailable(f"{path!r} was removed while it was read") from error
        if len(chunk) != stop - start:
            raise StoreUnavailable(f"{path!r} changed while it was read")
        return chunk


class _GivenUp(Exception):
    """Makes obstore tell the store to forget the parts."""


class _ObjectUpload(Upload):
    """Kept in memory up to a part; from there on sent by a task that takes what `write` gives.

    The task ends the file when the source ends, and only `commit` ends that; else it is broken off by an exception.
    """

    def __init__(self, store: ObjectStore, objects: Any, path: str, part_bytes: int) -> None:
        self._store = store
        self._objects = objects
        self._path = path
        self._part_bytes = part_bytes
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue(1)
        self._sending: asyncio.Task[Any] | None = None
        self._is_given_up = False

    async def write(self, chunk: bytes) -> None:
        if self._sending is None:
            self._kept.append(chunk)
            self._kept_bytes += len(chunk)
            if self._kept_bytes <= self._part_bytes:
                return
            kept, self._kept = self._kept, []
            self._sending = asyncio.create_task(self._send())
            for one in kept:
                await self._hand_over(one)
        else:
            await self._hand_over(chunk)

    async def _hand_over(self, piece: bytes | None) -> None:
        """Give a piece to the task; if that has failed, say so."""
        sending = self._sending
        if sending is None:
            raise RuntimeError("nothing is being sent")
        handing = asyncio.create_task(self._pieces.put(piece))
        try:
            await asyncio.wait(
                (handing, sending), timeout=CALL_TIMEOUT * 2, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            handing.cancel()
        if sending.done():
            await self._store.call(sending, self._path)
            if piece is not None:
                raise StoreUnavailable(f"{self._store.name} ended the upload early")
        elif not handing.done():
            raise StoreUnavailable(f"{self._store.name} takes no more of {self._path!r}")

    async def _send(self) -> Any:
        return await obstore.put_async(
            self._objects,
            self._path,
            self._source(),
            use_multipart=True,
            chunk_size=self._part_bytes,
            max_concurrency=PARTS_AT_ONCE,
        )

    async def _source(self) -> AsyncIterator[bytes]:
        while (piece := await self._pieces.get()) is not None:
            yield piece
        if self._is_given_up:
            raise _GivenUp

    async def commit(self) -> None:
        if self._sending is None:
            whole = b"".join(self._kept)
            put = obstore.put_async(self._objects, self._path, whole, use_multipart=False)
            await self._put(put, CALL_TIMEOUT)
            return
        await self._hand_over(None)
        await self._put(self._sending, END_TIMEOUT)

    async def _put(self, work: Awaitable[Any], seconds: float) -> None:
        try:
            await self._store.call(work, self._path, seconds=seconds)
        except ArtifactUnknown as error:
            raise StoreUnavailable(f"{self._store.name}: there is no such bucket") from error

    async def end(self) -> None:
        """After commit: nothing. Else break off, and wait until the store was told."""
        sending = self._sending
        if sending is None or sending.done():
            return
        self._is_given_up = True
        with contextlib.suppress(asyncio.QueueEmpty):
            self._pieces.get_nowait()
        self._pieces.put_nowait(None)
        await asyncio.wait((sending,), timeout=CALL_TIMEOUT)
        if not sending.done():
            sending.cancel()
        elif not sending.cancelled():
            sending.exception()  # it is _GivenUp, or what the caller knows already


def _part_bytes(size_bytes: int | None) -> int:
    if size_bytes is None:
        return UNKNOWN_PART_BYTES
    return max(PART_BYTES, -(-size_bytes // MAX_PARTS))


def _made(root: ObjectRoot) -> Any:
    kinds = {"s3": obstore.store.S3Store, "gcs": obstore.store.GCSStore, "azure": obstore.store.AzureStore}
    return kinds[root.kind](
        root.bucket,
        prefix=root.prefix or None,
        config=dict(root.config),
        client_options={**CLIENT, **root.client_options},
        retry_config=RETRIES,
    )


def _entry(meta: Mapping[str, Any]) -> Entry:
    return Entry(
        meta["path"],
        is_dir=False,
        size_bytes=meta["size"],
        modified_ms=int(meta["last_modified"].timestamp() * 1000),
        etag=(meta["e_tag"] or "").removeprefix("W/").strip('"'),
    )


def _first_line(error: BaseException) -> str:
    """Without the addresses of our own network."""
    return _ADDRESS.sub("…", str(error).strip().partition("\n")[0])[:300]
