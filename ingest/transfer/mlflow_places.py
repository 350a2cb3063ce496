"""Where things of an MLflow store are: its ids as ours, its files on this machine, its locations as ours.

MLflow keeps the files of a run below `…/<run>/artifacts`, those of a logged model below `…/models/<model>/artifacts`, wherever the
experiment is. A location that is local, or that a server hands out as its own, is told by that which run or model here it means.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit
from uuid import UUID

from ingest.mlflow.model_sources import parse_source
from ingest.service import documents, logged_models
from ingest.service.database import Database
from ingest.service.errors import ModelUnknown, RunUnknown
from ingest.service.locations import model_location, run_location
from ingest.transfer.feeding import id_from
from ingest.transfer.files_in import File, chunks_of
from ingest_schema.ids import parse_id

__all__ = ["is_local", "local_files", "location_here", "run_id_of"]

_OF_MODEL: Final = re.compile(r"(?:.*?/)?models/(m-[0-9a-f]{32})/artifacts(?P<rest>/.*)?")
_OF_RUN: Final = re.compile(r"(?:.*?/)?([0-9a-f]{32})/artifacts(?P<rest>/.*)?")


def run_id_of(text: str) -> UUID:
    """MLflow's own ids are ours; a store that was made by other tools may have others."""
    try:
        return parse_id(text)
    except ValueError:
        return id_from("mlflow run", text)


async def local_files(uri: str) -> AsyncIterator[File]:
    """The files of an artifact URI that means a directory of this machine."""
    root = _directory(uri)
    if root is None:
        return
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path.relative_to(root).as_posix(), chunks_of(path)


def is_local(uri: str) -> bool:
    """Whether an artifact URI means a directory of this machine."""
    return _directory(uri) is not None


async def location_here(db: Database, location: str) -> str | None:
    """Where the files of a location of the source are here; itself if they are elsewhere; None if nobody here knows them."""
    source = parse_source(location)
    match source.kind:
        case "elsewhere":
            return location
        case "model":
            return await _model_root(db, source.name)
        case "run":
            return _below(await _run_root(db, source.name), location.split(source.name, 1)[1])
        case "local" | "proxied":
            if (model := _OF_MODEL.fullmatch(source.name)) is not None:
                return _below(await _model_root(db, model[1]), model["rest"])
            if (run := _OF_RUN.fullmatch(source.name)) is not None:
                return _below(await _run_root(db, run[1]), run["rest"])
    return None


async def _model_root(db: Database, model_id: str) -> str | None:
    try:
        place = await logged_models.get_place(db, model_id)
    except ModelUnknown:
        return None
    return model_location(place.experiment_id, place.artifact_location, model_id)


async def _run_root(db: Database, text: str) -> str | None:
    try:
        run = await documents.get_info(db, run_id_of(text))
    except RunUnknown:
        return None
    return run_location(run.experiment_id, run.artifact_location, run.run_id)


def _below(root: str | None, rest: str | None) -> str | None:
    return root if root is None or not rest else f"{root}/{rest.strip('/')}".rstrip("/")


def _directory(uri: str) -> Path | None:
    parts = urlsplit(uri)
    if parts.scheme not in {"", "file"} or parts.netloc not in {"", "localhost"}:
        return None
    path = Path(unquote(parts.path) if parts.scheme else uri)
    return path if path.is_absolute() and path.is_dir() else None
