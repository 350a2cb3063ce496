"""Files of other tools' runs and models, on their way into the artifact store. Those whose paths can't be stored are noted."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path

from ingest.artifacts.errors import UnsafePath
from ingest.artifacts.library import Artifacts
from ingest.artifacts.paths import check_path
from ingest.artifacts.store import CHUNK_BYTES
from ingest.transfer.taken import Taken

__all__ = ["File", "FilesIn", "chunks_of"]

File = tuple[str, AsyncIterator[bytes]]
"""Path below its run or model, and content in pieces, which is not read before it is asked for."""


class FilesIn:
    """The files of one import.

    Args:
        artifacts: None leaves all files out.
    """

    def __init__(self, artifacts: Artifacts | None, taken: Taken) -> None:
        self._artifacts = artifacts
        self._taken = taken

    async def put_all(self, prefix: str, files: AsyncIterable[File]) -> None:
        """Store files below a prefix, in the place of those that are there."""
        if self._artifacts is None:
            return
        async for path, content in files:
            if not self._is_safe(prefix, path):
                self._taken.skip("files whose paths can't be stored")
                continue
            await self._artifacts.receive(f"{prefix}/{path}", content)
            self._taken.artifacts += 1

    async def put_content(self, prefix: str, path: str, content: bytes) -> bool:
        """Store one file; one of this path and size stays. False: files are left out, or the path can't be one."""
        if self._artifacts is None or not self._is_safe(prefix, path):
            return False
        place = f"{prefix}/{path}"
        found = await self._artifacts.store.find(place)
        if found is None or found.size_bytes != len(content):
            await self._artifacts.receive(place, _whole(content))
            self._taken.artifacts += 1
        return True

    def _is_safe(self, prefix: str, path: str) -> bool:
        try:
            check_path(path)
        except UnsafePath as error:
            self._taken.note(f"below {prefix}: {error}")
            return False
        return True


async def chunks_of(path: Path) -> AsyncIterator[bytes]:
    """The content of a file, piece by piece."""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


async def _whole(content: bytes) -> AsyncIterator[bytes]:
    yield content
