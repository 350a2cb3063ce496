"""Two databases: one to export from, one to import into."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from ingest.migrations import migrate
from ingest.store.commit import commit_batches
from ingest.store.connections import connect_writer
from ingest.transfer.export import Selection, export
from ingest.transfer.load import load
from ingest_schema.wire import Batch
from tests.conftest import new_database, run_apart


class World:
    """What the tests do, each in one call; for tests that can't be coroutines, such as hypothesis's."""

    def __init__(self, runner: asyncio.Runner, source: str, target: str, folder: Path) -> None:
        self.source, self.target, self.folder = source, target, folder
        self._runner = runner
        self._number = 0

    def run(self, work: Any) -> Any:
        return self._runner.run(work)

    def commit(self, *batches: Batch) -> None:
        """Store batches in the source as the service would."""

        async def work() -> None:
            connection = await connect_writer(self.source)
            for batch in batches:
                await commit_batches(connection, [batch])
            await connection.close()

        self.run(work())

    def execute(self, url: str, *statements: str) -> list[Any]:
        async def work() -> list[Any]:
            connection = await connect_writer(url)
            try:
                return [await connection.fetch(statement) for statement in statements]
            finally:
                await connection.close()

        rows: list[Any] = self.run(work())
        return rows

    def empty(self) -> None:
        """Both databases as they were made."""
        tables = (
            "runs, params, tags, writers, metric_chunks, packed_chunks, series, run_datasets, run_models, datasets, registered_models, "
            "model_versions, model_aliases, logged_models, logged_model_metrics, retention_rules"
        )
        for url in (self.source, self.target):
            self.execute(url, f"TRUNCATE {tables}", "DELETE FROM experiments WHERE experiment_id <> 0")

    def export(self, url: str, selection: Selection | None = None, **more: Any) -> Path:
        self._number += 1
        target = self.folder / f"export-{self._number}"
        self.run(export(url, target, selection or Selection(), **more))
        return target

    def load(self, path: Path, **more: Any) -> Any:
        return self.run(load(self.target, path, **more))

    def compact(self) -> None:
        from ingest.compaction.worker import Progress, compact_all
        from ingest.store.compaction import Compaction

        async def work() -> None:
            async with Compaction.open(self.source) as compaction:
                assert compaction is not None
                await compact_all(compaction, Progress(), everything=True)

        self.run(work())


def files_of(path: Path) -> dict[str, str]:
    """The hash of each file of an export, as its manifest says."""
    manifest = orjson.loads((path / "manifest.json").read_bytes())
    return {fact["path"]: fact["sha256"] for fact in manifest["files"]}


@pytest.fixture
def world(database_url: str, bundled_postgres: str, _template: str, tmp_path: Path) -> Iterator[World]:
    with new_database(bundled_postgres, template=_template) as target:
        run_apart(lambda: migrate(target))
        with asyncio.Runner() as runner:
            yield World(runner, database_url, target, tmp_path)
