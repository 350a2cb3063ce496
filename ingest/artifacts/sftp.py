"""A directory of an SSH server, by asyncssh. One connection for each process, made when it is needed, made again when it is lost.

Writing as in `local`: a file of its own in the work area, synced where the server can, renamed over the old one by OpenSSH's
posix-rename. The directory that a path leads to must be the one that its names say (realpath): links are not followed.

The server tells times in whole seconds and nothing else of a version, so a file that was just written has no ETag yet.
Host keys are checked against known_hosts; there is no option not to. Units: seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import secrets
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar
from urllib.parse import unquote, urlsplit

from ingest.artifacts.errors import (
    ArtifactError,
    ArtifactUnknown,
    IsDirectory,
    PathTaken,
    StoreFull,
    StoreMisconfigured,
    StoreUnavailable,
)
from ingest.artifacts.paths import SCRATCH, WORK_AREA, join
from ingest.artifacts.store import CHUNK_BYTES, Entry, Reader, Store, Upload, below, in_order

try:
    import asyncssh
except ImportError as error:  # an extra: only this module needs it
    raise StoreMisconfigured(
        "artifact_root: sftp:// needs asyncssh: pip install 'metric-ingest[sftp]'"
    ) from error

__all__ = ["SftpStore"]

T = TypeVar("T")

CONNECT_TIMEOUT: Final = 15.0
CALL_TIMEOUT: Final = 60.0
KEEPALIVE: Final = 15.0
"""After this much silence, and twice more, a connection is taken for dead."""
TRIES: Final = 2
"""Of what may be repeated: the first one may meet a connection that died in its sleep."""
RENAMES: Final = 5
FRESH: Final = 5.0
"""A file younger than this may change once more within the second that the server tells."""
OPTIONS: Final = frozenset({"username", "password", "client_keys", "passphrase", "known_hosts"})

_LOST = (asyncssh.DisconnectError, asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, OSError, EOFError)


class SftpStore(Store):
    """Files below a directory of an SSH server."""

    def __init__(self, host: str, port: int, root: str, options: Mapping[str, Any]) -> None:
        self.name = f"sftp://{host}:{port}{root}"
        self._address = (host, port)
        self._root = root
        self._options = dict(options)
        self._connecting = asyncio.Lock()
        self._connection: Any = None
        self._client: Any = None
        self._real_root = ""

    @classmethod
    def of_url(cls, url: str, options: Mapping[str, str]) -> SftpStore:
        """The store at `sftp://[user@]host[:port]/directory`.

        Raises:
            StoreMisconfigured: The URL or an option can't be used.
        """
        parts = urlsplit(url)
        unknown = sorted(options.keys() - OPTIONS)
        if unknown:
            raise StoreMisconfigured(
                f"artifact_options: sftp has no {', '.join(unknown)}; it has {', '.join(sorted(OPTIONS))}"
            )
        if not parts.hostname or parts.path in {"", "/"} or parts.query or parts.fragment:
            raise StoreMisconfigured("artifact_root: sftp://USER@HOST:PORT/DIRECTORY is wanted")
        if parts.password is not None:
            raise StoreMisconfigured("artifact_root: a password belongs into artifact_options")
        given: dict[str, Any] = dict(options)
        if parts.username:
            given["username"] = unquote(parts.username)
        if "client_keys" in given:
            given["client_keys"] = [path.strip() for path in given["client_keys"].split(",")]
        return cls(parts.hostname, parts.port or 22, unquote(parts.path).rstrip("/"), given)

    # --- the connection -----------------------------------------------------------------------------------------------

    async def client(self) -> Any:
        """The SFTP client of a connection that seems to be alive."""
        async with self._connecting:
            if self._client is None or self._connection.is_closed():
                await self._connect()
            return self._client

    async def _connect(self) -> None:
        await self._disconnect()
        host, port = self._address
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                self._connection = await asyncssh.connect(
                    host,
                    port,
                    keepalive_interval=KEEPALIVE,
                    keepalive_count_max=2,
                    **self._options,
                )
                self._client = await self._connection.start_sftp_client()
                await self._client.makedirs(f"{self._root}/{WORK_AREA}", exist_ok=True)
                self._real_root = await self._client.realpath(self._root)
        except TimeoutError as error:
            raise StoreUnavailable(
                f"{self.name} did not answer within {CONNECT_TIMEOUT:.0f} seconds"
            ) from error
        except (asyncssh.Error, OSError, ValueError) as error:
            raise StoreUnavailable(f"{self.name} can't be reached: {error}") from error
        logging.getLogger("asyncssh").setLevel(logging.WARNING)  # it tells every file otherwise

    async def _disconnect(self) -> None:
        connection, self._connection, self._client = self._connection, None, None
        if connection is not None:
            connection.abort()
            with contextlib.suppress(asyncssh.Error, OSError, TimeoutError):
                async with asyncio.timeout(1):
                    await connection.wait_closed()

    async def close(self) -> None:
        await self._disconnect()

    async def call(self, work: Callable[[Any], Awaitable[T]], *, tries: int = TRIES) -> T:
        """Run work(client), and turn what goes wrong into our words; once more if the connection was lost.

        Raises:
            SFTPError: What the server itself said, for the caller to read; see `translated`.
        """
        for attempt in range(1, tries + 1):
            client = await self.client()
            try:
                async with asyncio.timeout(CALL_TIMEOUT):
                    return await work(client)
            except TimeoutError as error:
                raise StoreUnavailable(
                    f"{self.name} did not answer within {CALL_TIMEOUT:.0f} seconds"
                ) from error
            except _LOST as error:
                if self._client is client:
                    await self._disconnect()
                if attempt == tries:
                    raise StoreUnavailable(f"the connection to {self.name} was lost: {error}") from error
        raise AssertionError("unreachable")

    def at(self, path: str) -> str:
        """A path of the store on the server."""
        return join(self._root, path)

    # --- reading ------------------------------------------------------------------------------------------------------

    async def find(self, path: str) -> Entry | None:
        return await self.call(lambda client: self._find(client, path))

    async def _find(self, client: Any, path: str) -> Entry | None:
        try:
            if not await self._is_plain(client, path.rpartition("/")[0]):
                return None
            return _entry(path, await client.lstat(self.at(path)))
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath, asyncssh.SFTPFailure):
            return None
        except asyncssh.SFTPError as error:
            raise self.translated(error) from error

    async def _is_plain(self, client: Any, directory: str) -> bool:
        """Whether no name on the way is a link."""
        real: str = await client.realpath(self.at(directory))
        return real == join(self._real_root, directory)

    @asynccontextmanager
    async def open(self, path: str) -> AsyncIterator[Reader]:
        entry = await self.find(path)
        if entry is None:
            raise ArtifactUnknown(path)
        if entry.is_dir:
            raise IsDirectory(path)
        try:
            file = await self.call(lambda client: client.open(self.at(path), "rb"))
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath) as error:
            raise ArtifactUnknown(path) from error
        except asyncssh.SFTPError as error:
            raise self.translated(error) from error
        try:
            yield _SftpReader(self, file, entry)
        finally:
            await _close(file)

    async def page(self, directory: str, *, after: bytes = b"", limit: int) -> list[Entry]:
        return await self.call(lambda client: self._page(client, directory, after, limit))

    async def _page(self, client: Any, directory: str, after: bytes, limit: int) -> list[Entry]:
        try:
            if not await self._is_plain(client, directory):
                return []
            entries = [
                entry
                async for found in client.scandir(self.at(directory))
                if (entry := _scanned(directory, found)) is not None and in_order(entry) > after
            ]
        except (
            asyncssh.SFTPNoSuchFile,
            asyncssh.SFTPNoSuchPath,
            asyncssh.SFTPFailure,
            asyncssh.SFTPNotADirectory,
        ):
            return []
        except asyncssh.SFTPError as error:
            raise self.translated(error) from error
        return heapq.nsmallest(limit, entries, key=in_order)

    # --- writing ------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def upload(self, path: str, size_bytes: int | None = None) -> AsyncIterator[Upload]:
        del size_bytes
        await self.call(lambda client: self._refuse_taken(client, path))
        scratch = self.at(join(WORK_AREA, SCRATCH + secrets.token_hex(16)))
        try:
            file = await self.call(lambda client: client.open(scratch, "xb"))
        except asyncssh.SFTPError as error:
            raise self.translated(error) from error
        upload = _SftpUpload(self, file, scratch, path)
        try:
            yield upload
        finally:
            await _close(file)
            if not upload.is_committed:
                await self._discard(scratch)

    async def _discard(self, scratch: str) -> None:
        """Remove an unfinished file; if the server can't be reached, `sweep` does it one day."""
        with contextlib.suppress(asyncssh.SFTPError, ArtifactError):
            await asyncio.shield(self.call(lambda client: client.remove(scratch)))

    async def _refuse_taken(self, client: Any, path: str) -> None:
        names = path.split("/")
        for i in range(len(names), 0, -1):
            found = await self._find(client, "/".join(names[:i]))
            if found is not None:
                if found.is_dir is (i == len(names)):
                    raise _taken(path, is_dir=found.is_dir)
                return

    async def put(self, scratch: str, path: str) -> None:
        """Give a file that is whole its place."""
        for attempt in range(1, RENAMES + 1):
            try:
                await self.call(lambda client: self._put(client, scratch, path), tries=1)
                return
            except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath) as error:
                if attempt == RENAMES:  # somebody removes the empty directory, again and again
                    raise self.translated(error) from error
                await self.call(lambda client: self._make_directories(client, path.rpartition("/")[0]))
            except asyncssh.SFTPOpUnsupported as error:
                raise StoreUnavailable(f"{self.name} can't rename over a file (posix-rename)") from error
            except asyncssh.SFTPError as error:
                await self.call(lambda client: self._refuse_taken(client, path))
                raise self.translated(error) from error

    async def _put(self, client: Any, scratch: str, path: str) -> None:
        if not await self._is_plain(client, path.rpartition("/")[0]):
            raise _taken(path, is_dir=False)
        await client.posix_rename(scratch, self.at(path))

    async def _make_directories(self, client: Any, directory: str) -> None:
        names = directory.split("/")
        for i in range(1, len(names) + 1):
            with contextlib.suppress(asyncssh.SFTPError):  # it is there; or else the rename fails
                await client.mkdir(self.at("/".join(names[:i])))

    async def remove(self, path: str) -> bool:
        try:
            removed = await self.call(lambda client: self._remove(client, path), tries=1)
        except (
            asyncssh.SFTPNoSuchFile,
            asyncssh.SFTPNoSuchPath,
            asyncssh.SFTPFailure,
            asyncssh.SFTPFileIsADirectory,
        ):
            return False
        except asyncssh.SFTPError as error:
            raise self.translated(error) from error
        return removed

    async def _remove(self, client: Any, path: str) -> bool:
        directory = path.rpartition("/")[0]
        if not await self._is_plain(client, directory):
            return False
        await client.remove(self.at(path))
        while directory and directory != WORK_AREA:  # directories that became empty
            try:
                await client.rmdir(self.at(directory))
            except asyncssh.SFTPError:
                break
            directory = directory.rpartition("/")[0]
        return True

    async def sweep(self, *, older_than: float) -> int:
        before_ms = (time.time() - older_than) * 1000
        swept = 0
        for entry in [entry async for entry in self.entries(WORK_AREA)]:
            if not entry.is_dir and entry.name.startswith(SCRATCH) and entry.modified_ms < before_ms:
                swept += await self.remove(entry.path)
        return swept

    def translated(self, error: Exception) -> ArtifactError:
        """What the server refused, in our words."""
        if isinstance(error, asyncssh.SFTPNoSpaceOnFilesystem | asyncssh.SFTPQuotaExceeded):
            return StoreFull(f"{self.name} has no room left; nothing of this file was kept")
        return StoreUnavailable(f"{self.name} can't be used: {error}")


class _SftpReader(Reader):
    def __init__(self, store: SftpStore, file: Any, entry: Entry) -> None:
        self.entry = entry
        self._store = store
        self._file = file

    async def chunks(self, start: int, stop: int) -> AsyncIterator[bytes]:
        while start < stop:
            chunk = await _of_file(self._store, self._file.read(min(CHUNK_BYTES, stop - start), start))
            if not chunk:
                raise StoreUnavailable(f"{self.entry.path!r} became shorter while it was read")
            start += len(chunk)
            yield chunk


class _SftpUpload(Upload):
    def __init__(self, store: SftpStore, file: Any, scratch: str, path: str) -> None:
        self._store = store
        self._file = file
        self._scratch = scratch
        self._path = path
        self._offset = 0
        self.is_committed = False

    async def write(self, chunk: bytes) -> None:
        await _of_file(self._store, self._file.write(chunk, self._offset))
        self._offset += len(chunk)

    async def commit(self) -> None:
        with contextlib.suppress(asyncssh.SFTPOpUnsupported):
            await _of_file(self._store, self._file.fsync())
        await _of_file(self._store, self._file.close())
        await self._store.put(self._scratch, self._path)
        self.is_committed = True


async def _of_file(store: SftpStore, work: Awaitable[T]) -> T:
    """A call on an open file: it can't be repeated, for the file went with the connection."""
    try:
        async with asyncio.timeout(CALL_TIMEOUT):
            return await work
    except asyncssh.SFTPOpUnsupported:
        raise
    except TimeoutError as error:
        raise StoreUnavailable(f"{store.name} did not answer within {CALL_TIMEOUT:.0f} seconds") from error
    except _LOST as error:
        raise StoreUnavailable(f"the connection to {store.name} was lost: {error}") from error
    except (asyncssh.Error, ValueError) as error:
        raise store.translated(error) from error


async def _close(file: Any) -> None:
    with contextlib.suppress(asyncssh.Error, OSError, ValueError, TimeoutError):
        async with asyncio.timeout(CALL_TIMEOUT):
            await file.close()


def _entry(path: str, attributes: Any) -> Entry | None:
    mode = attributes.permissions or 0
    if stat.S_ISDIR(mode):
        return Entry(path, is_dir=True)
    if not stat.S_ISREG(mode):
        return None
    modified, size_bytes = attributes.mtime or 0, attributes.size or 0
    is_fresh = time.time() - modified < FRESH
    return Entry(
        path,
        is_dir=False,
        size_bytes=size_bytes,
        modified_ms=int(modified * 1000),
        etag="" if is_fresh else f"{int(modified):x}-{size_bytes:x}",
    )


def _scanned(directory: str, found: Any) -> Entry | None:
    """What a listing shows, as in `local`."""
    name = found.filename
    if not isinstance(name, str) or name in {".", ".."} or (not directory and name == WORK_AREA):
        return None
    try:
        name.encode()
    except UnicodeEncodeError:
        return None
    return _entry(below(directory, name), found.attrs)


def _taken(path: str, *, is_dir: bool) -> PathTaken:
    reason = "a directory of that name is there" if is_dir else "a file stands where a directory is needed"
    return PathTaken(path, reason)
