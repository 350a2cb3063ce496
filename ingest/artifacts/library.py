"""What handlers use: a store and the rules around it, as `services.artifacts`.

Files come in as streams, are hashed while they are written, and are kept only if they are what was announced. The number of
transfers at once is bounded, since each holds a few pieces in memory: over it the next one waits, unread, and after
WAIT_FOR_PLACE is told to come again.

For other parts of the service: `store` is open to use (`walk`, `page`, `open`, `upload` by paths of `paths.run_prefix`), and
`remove_tree` deletes in steps. Units: seconds.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from ingest.artifacts.errors import ContentDiffers, SizeDiffers, TooManyTransfers
from ingest.artifacts.store import CHUNK_BYTES, Store, Upload
from ingest.telemetry import ARTIFACT_BYTES, ARTIFACT_TRANSFERS, ARTIFACT_UPLOADS

__all__ = ["Artifacts", "Received", "Transfers"]

WAIT_FOR_PLACE: Final = 30.0
"""Longer than most files take, shorter than clients' time-outs."""
REMOVE_STEP: Final = 1_000


@dataclass(frozen=True, slots=True)
class Received:
    """A file that is in its place."""

    path: str
    size_bytes: int
    sha256: str


class Transfers:
    """Places for transfers under way in this process."""

    def __init__(self, limit: int, *, patience: float = WAIT_FOR_PLACE) -> None:
        self._limit = limit
        self._patience = patience
        self._places = asyncio.Semaphore(limit)
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place for as long as the block.

        Raises:
            TooManyTransfers: None became free.
        """
        try:
            async with asyncio.timeout(self._patience):
                await self._places.acquire()
        except TimeoutError as error:
            raise TooManyTransfers(
                f"{self._limit} files are on their way through this process already; come again in a moment"
            ) from error
        self._under_way += 1
        ARTIFACT_TRANSFERS.inc()
        self._idle.clear()
        try:
            yield
        finally:
            self._places.release()
            self._under_way -= 1
            ARTIFACT_TRANSFERS.dec()
            if not self._under_way:
                self._idle.set()

    async def drain(self) -> None:
        """Wait until nothing is on its way. The caller brings the time-out."""
        await self._idle.wait()


class Artifacts:
    """A store with its rules.

    Args:
        transfers_num: Files that may be on their way through this process at once.
    """

    def __init__(self, store: Store, *, transfers_num: int) -> None:
        self.store = store
        self.uploading = Transfers(transfers_num)
        self.downloading = Transfers(transfers_num)

    async def receive(
        self,
        path: str,
        source: AsyncIterator[bytes],
        *,
        sha256: str | None = None,
        size_bytes: int | None = None,
    ) -> Received:
        """Store a file from a stream, replacing one that is there.

        Args:
            path: In the store, checked.
            source: Its bytes, in pieces of any size.
            sha256: What they must hash to, in lower-case hex; None: anything.
            size_bytes: How many they must be.

        Raises:
            ContentDiffers, SizeDiffers: They are not that. Nothing was kept.
            PathTaken, StoreFull, StoreUnavailable: Nor here.
        """
        try:
            async with self.uploading.place(), self.store.upload(path, size_bytes) as upload:
                found_bytes, found_sha256 = await _write_hashed(upload, source, path, size_bytes)
                if size_bytes is not None and found_bytes != size_bytes:
                    raise SizeDiffers(repr(path), size_bytes, found_bytes)
                if sha256 is not None and found_sha256 != sha256:
                    raise ContentDiffers(path, sha256, found_sha256)
                await upload.commit()
        except BaseException:
            ARTIFACT_UPLOADS.labels("failed").inc()
            raise
        ARTIFACT_UPLOADS.labels("stored").inc()
        ARTIFACT_BYTES.labels("in").inc(found_bytes)
        return Received(path, found_bytes, found_sha256)

    async def remove_tree(self, directory: str) -> AsyncIterator[int]:
        """Remove all files below a directory, in steps; yields how many each step removed."""
        while removed := await self.store.remove_some(directory, REMOVE_STEP):
            yield removed
            if removed < REMOVE_STEP:
                return

    async def drain(self) -> None:
        """Wait until no file is on its way in. The caller brings the time-out."""
        await self.uploading.drain()


async def _write_hashed(
    upload: Upload, source: AsyncIterator[bytes], what: str, most_bytes: int | None
) -> tuple[int, str]:
    """Size and SHA-256 of what was written. While a piece is hashed and written, the next one arrives."""
    digest = hashlib.sha256()
    size_bytes = 0
    working: asyncio.Task[None] | None = None

    async def take(chunk: bytes) -> None:
        await asyncio.gather(upload.write(chunk), asyncio.to_thread(digest.update, chunk))

    try:
        async for chunk in _gathered(source):
            size_bytes += len(chunk)
            if most_bytes is not None and size_bytes > most_bytes:
                raise SizeDiffers(repr(what), most_bytes, size_bytes)
            if working is not None:
                await working
            working = asyncio.create_task(take(chunk))
        if working is not None:
            await working
    except BaseException:
        if working is not None:
            working.cancel()
            await asyncio.wait((working,))
        raise
    return size_bytes, digest.hexdigest()


async def _gathered(source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces of CHUNK_BYTES or a little more; sockets give them in small ones."""
    pieces: list[bytes] = []
    size_bytes = 0
    async for piece in source:
        pieces.append(piece)
        size_bytes += len(piece)
        if size_bytes >= CHUNK_BYTES:
            yield b"".join(pieces)
            pieces, size_bytes = [], 0
    if pieces:
        yield b"".join(pieces)
