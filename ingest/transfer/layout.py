"""What an export consists of. Pure: names, columns and types; no database, no files.

    manifest.json                 written last: format, version, counts, and size and SHA-256 of every other file
    experiments, experiment_tags, datasets
    runs, params, tags, writers, run_datasets, run_models
    digests                       for each run the number of its points and the digest of its content (`contents`)
    artifacts                     for each file of a run its path, size and SHA-256; the files lie in artifacts/<run>/<path>
    metrics/part-00000 …          one row for each point: by run, metric, writer, step, time, arrival

Rows stand in the order of the tables' keys, so two exports of the same content are the same files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

__all__ = [
    "ARTIFACTS",
    "DIGESTS",
    "EXPERIMENT_TABLES",
    "FORMAT",
    "MANIFEST",
    "METRICS",
    "RUN_TABLES",
    "VERSION",
    "Column",
    "FileFormat",
    "Table",
]

FORMAT: Final = "ingest-export"
VERSION: Final = 1
MANIFEST: Final = "manifest.json"

Kind = Literal["id", "int", "float", "text", "name"]
"""id: 32 hex digits. name: a text of which few differ, kept as a dictionary."""
FileFormat = Literal["parquet", "csv"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a file."""

    name: str
    kind: Kind
    is_nullable: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """One file, and the query of `transfer.sql` that fills it."""

    name: str
    columns: tuple[Column, ...]

    @property
    def query(self) -> str:
        return f"export_{self.name}"

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


def _columns(spec: str) -> tuple[Column, ...]:
    """From `run_id:id end_time_ms:int?`; a question mark means that it may be null."""
    columns = []
    for word in spec.split():
        name, _, kind = word.partition(":")
        columns.append(Column(name, kind.rstrip("?"), kind.endswith("?")))  # type: ignore[arg-type]  # checked by the tests
    return tuple(columns)


EXPERIMENT_TABLES: Final = (
    Table(
        "experiments",
        _columns("experiment_id:int name:text lifecycle:name created_at_ms:int updated_at_ms:int"),
    ),
    Table("experiment_tags", _columns("experiment_id:int key:name value:text")),
    Table(
        "datasets",
        _columns(
            "experiment_id:int name:text digest:text source_type:name source:text schema:text? profile:text?"
        ),
    ),
)
RUN_TABLES: Final = (
    Table(
        "runs",
        _columns(
            "run_id:id experiment_id:int name:text user_name:name status:name lifecycle:name parent_run_id:id? "
            "start_time_ms:int end_time_ms:int?"
        ),
    ),
    Table("params", _columns("run_id:id key:name value:text")),
    Table("tags", _columns("run_id:id key:name value:text")),
    Table(
        "writers",
        _columns(
            "run_id:id writer_id:id last_seq:int points:int rank:int world_size:int? local_rank:int? host:name pid:int? "
            "client:name attempt:int resume_from_step:int? started_at_ms:int? ended_at_ms:int? stats:text"
        ),
    ),
    Table("run_datasets", _columns("run_id:id name:text digest:text tags:text")),
    Table("run_models", _columns("run_id:id direction:name model_id:text step:int")),
)
METRICS: Final = Table(
    "metrics",
    _columns("run_id:id key:name writer_id:id rank:int attempt:int step:int time_ms:int value:float"),
)
"""rank and attempt are the writer's, for those who read the files; an import takes them from `writers`."""
DIGESTS: Final = Table("digests", _columns("run_id:id points:int blake2b:text"))
ARTIFACTS: Final = Table("artifacts", _columns("run_id:id path:text size_bytes:int sha256:text"))
