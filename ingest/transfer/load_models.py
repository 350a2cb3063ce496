"""The part of an import that brings logged models and the registry.

A logged model is one transaction with its metrics, after its files. A model, a version or an alias that is there already stays as it
is, so an import may be repeated. Locations that name the number of an experiment follow it to its number here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from ingest.artifacts import addresses
from ingest.artifacts.library import Artifacts
from ingest.artifacts.paths import model_prefix
from ingest.store.models import (
    LoggedModelRow,
    ModelPoint,
    ModelVersionRow,
    RegisteredModelRow,
    put_alias,
    put_model,
    put_registered,
    put_version,
)
from ingest.transfer.errors import BadExport
from ingest.transfer.files import RowSource
from ingest.transfer.files_in import chunks_of
from ingest.transfer.layout import MODEL_ARTIFACTS, MODEL_TABLES, REGISTRY_TABLES
from ingest_schema.sql import load_queries

__all__ = ["ModelLoader", "put_files"]

_SQL: Final = load_queries("transfer")
_LOCATIONS: Final = ("source", "storage_location")


class ModelLoader:
    """Loads the models of one export.

    Args:
        experiments: From the numbers of experiments in the export to theirs here.
    """

    def __init__(
        self, connection: Any, source: Path, artifacts: Artifacts | None, experiments: Mapping[int, int]
    ) -> None:
        self.models = 0
        self.versions = 0
        self.files = 0
        """What was not there."""
        self._connection = connection
        self._source = source
        self._artifacts = artifacts
        self._experiments = experiments

    async def load_models(self) -> None:
        """Logged models, each with its files and metrics."""
        models, metrics, files = (
            RowSource(self._source, table) for table in (*MODEL_TABLES, MODEL_ARTIFACTS)
        )
        for row in models.all():
            model_id = row["model_id"]
            await self._load_model(row, metrics.take(model_id, "model_id"), files.take(model_id, "model_id"))

    async def load_registry(self) -> None:
        """Registered models with their versions and aliases, in one transaction."""
        registered, versions, aliases = (RowSource(self._source, table) for table in REGISTRY_TABLES)
        async with self._connection.transaction():
            for row in registered.all():
                await put_registered(self._connection, RegisteredModelRow(**row))
            for row in versions.all():
                moved: dict[str, Any] = {
                    name: self._moved(value) if name in _LOCATIONS else value for name, value in row.items()
                }
                self.versions += await put_version(self._connection, ModelVersionRow(**moved))
            for row in aliases.all():
                await put_alias(self._connection, **row)

    async def _load_model(
        self,
        model: Mapping[str, Any],
        metrics: Sequence[Mapping[str, Any]],
        files: Sequence[Mapping[str, Any]],
    ) -> None:
        model_id, number = model["model_id"], self._experiments[model["experiment_id"]]
        if await self._connection.fetchval(_SQL["model_exists"], model_id):
            return
        if self._artifacts is not None:
            root, prefix = self._source / "model_artifacts" / model_id, model_prefix(number, model_id)
            self.files += await put_files(self._artifacts, files, root, prefix)
        row = LoggedModelRow(**{name: value for name, value in model.items() if name != "experiment_id"})
        points = [_point(one) for one in metrics]
        async with self._connection.transaction():
            self.models += await put_model(self._connection, number, row, points)

    def _moved(self, location: str) -> str:
        """A location below an experiment's root, where that experiment is here."""
        base = addresses.base()
        if location.startswith(base):
            number, slash, rest = location.removeprefix(base).partition("/")
            if number.isdecimal() and int(number) in self._experiments:
                return f"{base}{self._experiments[int(number)]}{slash}{rest}"
        return location


def _point(row: Mapping[str, Any]) -> ModelPoint:
    names = ("key", "step", "time_ms", "value", "run_id", "dataset_name", "dataset_digest")
    key, step, time_ms, value, run_id, dataset_name, dataset_digest = (row[name] for name in names)
    return ModelPoint(key, step, time_ms, value, UUID(hex=run_id), dataset_name, dataset_digest)


async def put_files(artifacts: Artifacts, files: Sequence[Mapping[str, Any]], root: Path, prefix: str) -> int:
    """Store files of an export that lie below a root, below a prefix; how many they were.

    Raises:
        BadExport: A path leads out of the root.
        ArtifactError: What was stored stays.
    """
    for file in files:
        await artifacts.receive(
            f"{prefix}/{file['path']}",
            chunks_of(_below(root, file["path"])),
            sha256=file["sha256"],
            size_bytes=file["size_bytes"],
        )
    return len(files)


def _below(root: Path, path: str) -> Path:
    local = (root / path).resolve()
    if not local.is_relative_to(root.resolve()):
        raise BadExport(f"the artifact {path!r} lies outside of the export")
    return local
