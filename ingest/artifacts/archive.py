"""A directory of the store as a zip archive that is made while it is read: no file of it, and no whole content, in memory.

Files are stored, not compressed: weights and pictures do not shrink, and the service's CPU has better to do. Sizes and
checksums stand behind each file (bit 3 of its flags), zip64 where a file or the archive is too large for zip.

The list of files at the end of an archive grows with their number, so that is bounded.
"""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import AsyncIterator
from typing import Final

from ingest.artifacts.errors import ArtifactUnknown, TooManyFiles
from ingest.artifacts.store import CHUNK_BYTES, Entry, Store

__all__ = ["MAX_FILES", "zipped"]

MAX_FILES: Final = 20_000
"""About a kilobyte of memory each, to the end of the archive."""
EARLIEST: Final = (1980, 1, 1, 0, 0, 0)
"""The first moment that a zip archive can name."""


async def zipped(store: Store, directory: str, *, max_files: int = MAX_FILES) -> AsyncIterator[bytes]:
    """The archive, piece by piece; names in it are relative to the directory.

    Raises:
        ArtifactUnknown: There is no file below the directory.
        TooManyFiles: Both before the first piece.
        StoreUnavailable, ArtifactUnknown: A file went away meanwhile; the archive can't be finished.
    """
    files_num = 0
    async for _ in store.walk(directory):
        files_num += 1
        if files_num > max_files:
            raise TooManyFiles(f"there are more than {max_files:,} files below {directory!r}")
    if not files_num:
        raise ArtifactUnknown(directory)
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        async for entry in store.walk(directory):
            async with store.open(entry.path) as reader:
                info = _info(reader.entry, entry.path.removeprefix(directory + "/"))
                with archive.open(info, "w") as target:
                    async for chunk in reader.chunks(0, reader.entry.size_bytes):
                        target.write(chunk)
                        yield sink.take()
            if sink.size_bytes >= CHUNK_BYTES:  # many small files
                yield sink.take()
    yield sink.take()


def _info(entry: Entry, name: str) -> zipfile.ZipInfo:
    moment = time.gmtime(entry.modified_ms / 1000)[:6]
    info = zipfile.ZipInfo(name, max(EARLIEST, moment))
    info.file_size = entry.size_bytes  # whether it needs zip64 is decided by this
    info.external_attr = 0o644 << 16
    return info


class _Sink(io.RawIOBase):
    """Keeps what the archive writes until it is taken. It can't seek, which makes zipfile put sizes behind files."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.size_bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]  # what zipfile gives
        self._pieces.append(bytes(data))
        self.size_bytes += len(data)
        return len(data)

    def take(self) -> bytes:
        """What was written since the last time."""
        taken = b"".join(self._pieces)
        self._pieces.clear()
        self.size_bytes = 0
        return taken
