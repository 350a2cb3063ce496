"""Reading artifacts back: lists and downloads over HTTP. Here the caller waits, and trouble is raised.

What this process has logged to the run and not yet delivered is waited for first, so that a script reads what it has written.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import quote, urlencode, urlsplit
from uuid import UUID

from ingest_client._artifacts_paths import checked_path, quoted
from ingest_client._protocol import hint_for, json_object
from ingest_client._settings import Settings
from ingest_client._transport import Transport
from ingest_client.errors import ArtifactError, ArtifactNotFound
from ingest_schema.ids import parse_id

__all__ = ["ArtifactReader", "FileInfo", "parse_runs_uri"]

ATTEMPTS: Final = 5
"""Of a download whose line breaks: each goes on where the last one stopped."""

_PAGE: Final = 1_000
_PAUSE: Final = 0.3


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file or directory among a run's artifacts, under MLflow's names."""

    path: str
    """Relative to the run."""
    is_dir: bool
    file_size: int | None
    """Bytes; None for a directory."""


class ArtifactReader:
    """Reads from one service. Not for several threads at once."""

    def __init__(self, settings: Settings) -> None:
        self._transport = Transport(
            settings.tracking_uri, token=settings.token, ca_file=settings.ca_file, answer_timeout=120.0
        )

    def close(self) -> None:
        """Drop the connection."""
        self._transport.close()

    # --- lists ------------------------------------------------------------------------------------------------------

    def list(self, run_id: UUID, path: str = "") -> list[FileInfo]:
        """What lies directly in a directory, or the file itself; nothing if there is no such.

        Raises:
            ArtifactNotFound: There is no such run.
            ArtifactError: See the class.
        """
        found: list[FileInfo] = []
        token: str | None = None
        while True:
            query = {"path": path, "limit": str(_PAGE), **({"page_token": token} if token else {})}
            page = self.ask("GET", f"/api/v1/runs/{run_id.hex}/artifacts?{urlencode(query, quote_via=quote)}")
            found += [_file_info(item) for item in page.get("files", [])]
            token = page.get("next_page_token")
            if not token:
                return found

    def walk(self, run_id: UUID, path: str = "") -> Iterator[FileInfo]:
        """All files below a directory."""
        for info in self.list(run_id, path):
            if info.is_dir:
                yield from self.walk(run_id, info.path)
            elif info.path != path:
                yield info

    # --- downloads --------------------------------------------------------------------------------------------------

    def download(self, run_id: UUID, path: str, target: Path) -> Path:
        """A file, or a directory with all that is below it, to `target/<path>`. Returns where it is now.

        Raises:
            ArtifactNotFound: There is no such artifact.
            ArtifactError: See the class.
        """
        base = f"/api/v1/runs/{run_id.hex}/artifacts"
        local = target / path
        if path:
            local.parent.mkdir(parents=True, exist_ok=True)
            try:
                return self.fetch(f"{base}/{quoted(path)}", local)
            except (ArtifactNotFound, ArtifactError) as error:
                files = list(self.walk(run_id, path))
                if not files:
                    raise ArtifactNotFound(f"run {run_id.hex} has no artifact {path!r}") from error
        else:
            files = list(self.walk(run_id))
        for info in files:
            into = target / checked_path(info.path)
            into.parent.mkdir(parents=True, exist_ok=True)
            self.fetch(f"{base}/{quoted(info.path)}", into)
        local.mkdir(parents=True, exist_ok=True)
        return local

    def fetch(self, url: str, local: Path) -> Path:
        """One file, whole or not at all: it appears under its name when it is complete and its SHA-256 is right.

        Raises:
            ArtifactNotFound, ArtifactError: See `download`.
        """
        partial = local.with_name(f".{local.name[:200]}.part")
        error = "no attempt was made"
        try:
            with partial.open("wb") as opened:
                under_way = _UnderWay(opened)
                for attempt in range(ATTEMPTS):
                    if attempt:
                        time.sleep(_PAUSE * 2**attempt)
                    try:
                        self._fetch_on(url, under_way)
                        break
                    except ArtifactError:
                        raise
                    except Exception as trouble:  # noqa: BLE001 - of the network: sockets, ssl and http.client have dozens
                        error = f"{type(trouble).__name__}: {trouble}"
                else:
                    raise ArtifactError(
                        f"{self._transport.address} did not deliver {url} in {ATTEMPTS} attempts: {error}"
                    )
            partial.replace(local)
            return local
        finally:
            partial.unlink(missing_ok=True)

    def _fetch_on(self, url: str, under_way: _UnderWay) -> None:
        """Go on with a download where it stands, if the service still has the same content."""
        file, etag = under_way.file, under_way.etag
        have = file.tell()
        headers = {
            "Accept": "*/*",
            **({"Range": f"bytes={have}-", "If-Range": etag} if have and etag else {}),
        }
        status, answered, pieces = self._transport.stream(url, headers)
        with contextlib.closing(pieces):  # and with it the connection
            if status not in {200, 206}:
                _raise_for(status, next(pieces, b""))
            if status == 200:
                file.seek(0)
                file.truncate()
            under_way.etag = answered.get("etag")
            for piece in pieces:
                file.write(piece)
        length = answered.get("content-range", "").rpartition("/")[2] or answered.get("content-length", "")
        if length.isdecimal() and int(length) != file.tell():
            raise ConnectionError(f"the answer ended after {file.tell():,} of {int(length):,} bytes")

    # --- requests ---------------------------------------------------------------------------------------------------

    def ask(self, method: str, url: str, body: bytes | None = None) -> dict[str, Any]:
        """A request whose answer is a JSON object.

        Raises:
            ArtifactNotFound, ArtifactError: See the class.
        """
        headers = {"Content-Type": "application/json"} if body is not None else {}
        try:
            status, _, answer = self._transport.request(method, url, body, headers)
        except Exception as error:
            raise ArtifactError(
                f"{self._transport.address} does not answer: {type(error).__name__}: {error}"
            ) from error
        if status != 200:
            _raise_for(status, answer)
        return json_object(answer)


@dataclass(slots=True)
class _UnderWay:
    """A download: as much as is there, and of which content."""

    file: BinaryIO
    etag: str | None = None


def _raise_for(status: int, body: bytes) -> None:
    document = json_object(body)
    message = str(document.get("detail") or document.get("message") or f"the service answered {status}")[:500]
    if status == 404:
        raise ArtifactNotFound(message)
    hint = hint_for(status)
    raise ArtifactError(f"{message} ({hint})" if hint else message)


def _file_info(item: dict[str, Any]) -> FileInfo:
    is_dir = bool(item.get("is_dir"))
    return FileInfo(str(item["path"]), is_dir, None if is_dir else item.get("size_bytes"))


def parse_runs_uri(uri: str) -> tuple[UUID, str]:
    """Run and path of `runs:/<run_id>/<path>`.

    Raises:
        ValueError: It is none.
    """
    parts = urlsplit(uri)
    run, _, path = parts.path.lstrip("/").partition("/")
    if parts.scheme != "runs" or parts.netloc:
        raise ValueError(f"{uri!r} is not of the form runs:/<run_id>/<path>")
    return parse_id(run), checked_path(path.rstrip("/")) if path.strip("/") else ""
