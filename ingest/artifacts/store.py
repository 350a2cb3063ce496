"""What a store can do. The library above knows this interface and nothing else; tests run over all its forms.

Paths are those of `paths`: relative to the root, `/` between names, checked by the caller. A directory exists as long as a
file is below it; stores that have directories of their own make them and remove them as that rule wants. A file and a
directory of one name do not stand side by side, as far as a store can help it.

Entries come sorted by name in UTF-8, a directory as if its name ended in `/`: the order in which object stores list keys.

Every call ends: by an answer, or by StoreUnavailable after the store's own time-outs. Raises only `ArtifactError`s.
"""

from __future__ import annotations

import abc
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from typing import Final

from ingest.artifacts.paths import join, name_of

__all__ = ["CHUNK_BYTES", "Entry", "Reader", "Store", "Upload", "in_order"]

CHUNK_BYTES: Final = 1024 * 1024
"""Pieces in which files move. Below, threads and requests cost more than bytes; above, memory without gain."""
PAGE: Final = 10_000
"""Entries that are listed at once where everything below a directory is walked over."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or a directory. Of a directory only the path is known."""

    path: str
    is_dir: bool
    size_bytes: int = 0
    modified_ms: int = 0
    etag: str = ""
    """Changes with the content; without quotes. Empty where the store can't tell (yet)."""

    @property
    def name(self) -> str:
        return name_of(self.path)


def in_order(entry: Entry) -> bytes:
    """The key by which entries of one directory are sorted."""
    return (entry.name + "/" if entry.is_dir else entry.name).encode()


class Reader(abc.ABC):
    """An open file: what it says of itself and what it holds belong together, though somebody replaces it meanwhile."""

    entry: Entry

    @abc.abstractmethod
    def chunks(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """The bytes from start up to stop, in pieces of about CHUNK_BYTES; all of them, or an error."""


class Upload(abc.ABC):
    """A file that is being written. Without `commit` nothing of it will be seen."""

    @abc.abstractmethod
    async def write(self, chunk: bytes) -> None:
        """Append."""

    @abc.abstractmethod
    async def commit(self) -> None:
        """Put the whole file in its place; when this returns, it survives a loss of power as the store does."""


class Store(abc.ABC):
    """A place for files."""

    name: str
    """For messages and logs; without secrets."""
    uri: str | None = None
    """Under which clients with credentials of their own reach the root; None if they can't."""

    @abc.abstractmethod
    async def find(self, path: str) -> Entry | None:
        """The file or directory there, if any."""

    @abc.abstractmethod
    def open(self, path: str) -> AbstractAsyncContextManager[Reader]:
        """Open a file for as long as the block.

        Raises:
            ArtifactUnknown, IsDirectory: There is no file.
        """

    @abc.abstractmethod
    async def page(self, directory: str, *, after: bytes = b"", limit: int) -> list[Entry]:
        """Up to limit entries of a directory behind a key of `in_order`; fewer: there are no more."""

    @abc.abstractmethod
    def upload(self, path: str, size_bytes: int | None = None) -> AbstractAsyncContextManager[Upload]:
        """Write a file, replacing one that is there. Left without `commit`, in whatever way, nothing was changed.

        Args:
            size_bytes: How many will come, if that is known.

        Raises:
            PathTaken: A directory is there, or a file where one is needed.
        """

    @abc.abstractmethod
    async def remove(self, path: str) -> bool:
        """Remove a file; False: there was none."""

    @abc.abstractmethod
    async def sweep(self, *, older_than: float) -> int:
        """Remove files that were begun and given up, and not written to for so many seconds; how many."""

    async def sign(self, path: str, seconds: int) -> str | None:
        """A URL by which anybody may get the file for some time; None: the store has no such thing."""
        del path, seconds
        return None

    @abc.abstractmethod
    async def close(self) -> None:
        """Let go of connections and threads."""

    # --- in terms of the others ---------------------------------------------------------------------------------------

    async def entries(self, directory: str) -> AsyncGenerator[Entry, None]:
        """All entries of a directory, however many."""
        after = b""
        while found := await self.page(directory, after=after, limit=PAGE):
            for entry in found:
                yield entry
            if len(found) < PAGE:
                return
            after = in_order(found[-1])

    async def walk(self, directory: str) -> AsyncGenerator[Entry, None]:
        """All files below a directory, however deep."""
        async for entry in self.entries(directory):
            if entry.is_dir:
                async for below in self.walk(entry.path):
                    yield below
            else:
                yield entry

    async def remove_some(self, directory: str, limit: int) -> int:
        """Remove up to limit files below a directory; how many. Fewer than limit: the directory is gone."""
        doomed: list[str] = []
        async with aclosing(self.walk(directory)) as found:
            async for entry in found:
                doomed.append(entry.path)
                if len(doomed) == limit:
                    break
        for path in doomed:
            await self.remove(path)
        return len(doomed)


def below(directory: str, name: str) -> str:
    """The path of an entry of a directory."""
    return join(directory, name)
