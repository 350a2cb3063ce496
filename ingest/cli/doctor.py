"""`ingest doctor`: what this machine offers the service, and what stands in its way."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import typer

from ingest.cli.common import AsJson, Config, DatabaseUrl, DataDir, load, print_json, print_table

if TYPE_CHECKING:
    from ingest.settings import Settings

SERVICE_TIMEOUT = 3.0
"""Seconds for a running service to answer."""
LITTLE_DISK_BYTES = 1024**3


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    check: str
    outcome: Literal["ok", "note", "bad"]
    detail: str


def doctor(
    *,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Look at Python, the bundled PostgreSQL, directories, the database and a running service; change nothing.

    Ends with code 1 if something is bad. `note` is worth knowing and no fault.
    """
    import asyncio

    settings = load(config, database_url=database_url, data_dir=data_dir).settings
    findings = asyncio.run(_examine(settings))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        print_table(("check", "outcome", "detail"), [asdict(finding) for finding in findings])
    if any(finding.outcome == "bad" for finding in findings):
        raise typer.Exit(1)


async def _examine(settings: Settings) -> list[Finding]:
    return [
        _python(),
        *_programs(settings),
        _directory("data directory", settings.data_dir),
        *[finding async for finding in _artifacts(settings)],
        _spool(),
        *[finding async for finding in _database(settings)],
        _service(settings),
    ]


def _python() -> Finding:
    outcome: Literal["ok", "bad"] = "ok" if sys.version_info >= (3, 11) else "bad"
    return Finding(
        "python", outcome, f"{platform.python_version()} on {platform.platform()}, {os.cpu_count()} cores"
    )


def _programs(settings: Settings) -> list[Finding]:
    from ingest.postgres import PostgresError
    from ingest.postgres.cluster import locate_install

    if settings.database_url is not None:
        return []
    try:
        return [Finding("bundled postgresql", "ok", str(locate_install()))]
    except PostgresError as error:
        return [Finding("bundled postgresql", "bad", str(error))]


def _directory(check: str, path: Path) -> Finding:
    """Whether a directory can be written to, or made."""
    existing = next(place for place in (path, *path.parents) if place.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return Finding(check, "bad", f"{path}: {existing} can't be written to by this user")
    free_bytes = shutil.disk_usage(existing).free
    detail = f"{path}, {free_bytes / 1024**3:.1f} GiB free" + (
        "" if path.exists() else ", made when first needed"
    )
    return Finding(check, "ok" if free_bytes > LITTLE_DISK_BYTES else "bad", detail)


async def _artifacts(settings: Settings) -> AsyncIterator[Finding]:
    """A directory by its rights, any other store by asking it for something."""
    from ingest.artifacts.errors import ArtifactError
    from ingest.artifacts.opening import local_root, open_store

    check, root = "artifacts", settings.artifact_location
    try:
        directory = local_root(root)
        if directory is not None:
            yield _directory(check, directory)
            return
        store = open_store(root, settings.artifact_options)
        try:
            await store.find("0")
        finally:
            await store.close()
        yield Finding(check, "ok", f"{store.name} answers")
    except ArtifactError as error:
        yield Finding(check, "bad", str(error))


def _spool() -> Finding:
    """The client's directory, as a training script of this user would choose it."""
    import ingest as face

    try:
        return _directory("spool directory", face.Settings.read().spool_dir)
    except ValueError as error:
        return Finding("spool directory", "bad", f"the client's settings: {error}")


async def _database(settings: Settings) -> AsyncIterator[Finding]:
    from ingest.migrations import MigrationError, read_state
    from ingest.postgres import running_database_url
    from ingest.settings import mask_url
    from ingest.store.connect import connect
    from ingest.store.errors import StoreError
    from ingest.store.reader import find_reader

    url = settings.database_url or running_database_url(settings.data_dir)
    if url is None:
        yield Finding("database", "note", "the bundled PostgreSQL does not run; ingest serve starts it")
        return
    try:
        async with connect(url, purpose="doctor") as connection:
            server = await connection.fetchval("SHOW server_version")
            yield Finding("database", "ok", f"PostgreSQL {server} at {mask_url(url)}")
            state = await read_state(connection)
            if state.problem is not None:
                yield Finding("schema", "bad", state.problem)
                return
            yield Finding("schema", "ok", f"version {state.version}")
            reader = await find_reader(connection, url, settings.reader_database_url)
            yield Finding(
                "sql reader", "note" if reader.problem else "ok", reader.problem or "logs in, may only read"
            )
    except (StoreError, MigrationError) as error:
        yield Finding("database", "bad", f"{mask_url(url)}: {error}")


def _service(settings: Settings) -> Finding:
    host = "127.0.0.1" if settings.host in {"0.0.0.0", "::"} else settings.host  # noqa: S104  # compared, not bound
    url = f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
    try:
        with urlopen(f"{url}/readyz", timeout=SERVICE_TIMEOUT) as response:  # noqa: S310  # http by construction
            return Finding("service", "ok", f"{url} is ready: {response.read().decode()}")
    except HTTPError as error:
        return Finding(
            "service", "bad", f"{url} answers {error.code}: {error.read().decode(errors='replace')[:500]}"
        )
    except (URLError, OSError) as error:
        return Finding("service", "note", f"nothing answers at {url}: {error}")
