"""What an export consists of. Pure: names, columns and types; no database, no files.

    manifest.json                 written last: format, version, counts, and size and SHA-256 of every other file
    experiments, experiment_tags, datasets, retention_rules, logged_models, logged_model_metrics
    registered_models, model_versions, model_aliases
    runs, params, tags, writers, run_datasets, run_models, thinned_series
    digests                       for each run the number of its points and the digest of its content (`contents`)
    model_artifacts               likewise of logged models; the files lie in model_artifacts/<model>/<path>
    artifacts                     for each file of a run its path, size and SHA-256; the files lie in artifacts/<run>/<path>
    metrics/part-00000 …          one row for each point: by run, metric, writer, step, time, arrival

Rows stand in the order of the tables' keys, so two exports of the same content are the same files.

Versions of the format: 1, and 2 with models, the registry, retention rules, what was thinned and how writers ended. What a later
version added says so by `since`, and an export is read, and its digests are compared, as its own version has it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal

__all__ = [
    "ARTIFACTS",
    "DIGESTS",
    "EXPERIMENT_TABLES",
    "FORMAT",
    "MANIFEST",
    "METRICS",
    "MODEL_ARTIFACTS",
    "MODEL_TABLES",
    "REGISTRY_TABLES",
    "RUN_TABLES",
    "VERSION",
    "Column",
    "FileFormat",
    "Table",
    "tables_at",
]

FORMAT: Final = "ingest-export"
VERSION: Final = 2
"""Exports of this version and of all earlier ones can be imported."""
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
    since: int = 1
    """Version of the format."""


@dataclass(frozen=True, slots=True)
class Table:
    """One file, and the query of `transfer.sql` that fills it."""

    name: str
    columns: tuple[Column, ...]
    since: int = 1
    """Version of the format."""

    @property
    def query(self) -> str:
        return f"export_{self.name}"

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


def _columns(spec: str) -> tuple[Column, ...]:
    """From `run_id:id end_time_ms:int? end_status:name?@2`; a question mark: it may be null, a number: since that version."""
    columns = []
    for word in spec.split():
        name, _, rest = word.partition(":")
        kind, _, since = rest.partition("@")
        columns.append(Column(name, kind.rstrip("?"), kind.endswith("?"), int(since or 1)))  # type: ignore[arg-type]  # checked by the tests
    return tuple(columns)


def tables_at(version: int, tables: Iterable[Table]) -> tuple[Table, ...]:
    """These tables with the columns that they had in a version of the format."""
    return tuple(
        replace(table, columns=tuple(column for column in table.columns if column.since <= version))
        for table in tables
        if table.since <= version
    )


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
    Table(
        "retention_rules",
        _columns("experiment_id:int delete_after_days:int? thin_after_days:int? thin_to:int keep_tag:text"),
        since=2,
    ),
)
MODEL_TABLES: Final = (
    Table(
        "logged_models",
        _columns(
            "experiment_id:int model_id:text name:text model_type:text? source_run_id:text? status:name status_message:text "
            "lifecycle:name created_at_ms:int updated_at_ms:int params:text tags:text"
        ),
        since=2,
    ),
    Table(
        "logged_model_metrics",
        _columns(
            "experiment_id:int model_id:name key:name step:int time_ms:int value:float run_id:id dataset_name:name dataset_digest:name"
        ),
        since=2,
    ),
)
REGISTRY_TABLES: Final = (
    Table(
        "registered_models",
        _columns(
            "name:text description:text? last_version:int created_at_ms:int updated_at_ms:int tags:text"
        ),
        since=2,
    ),
    Table(
        "model_versions",
        _columns(
            "name:text version:int description:text? user_name:name source:text storage_location:text run_id:text? run_link:text? "
            "model_id:text? stage:name created_at_ms:int updated_at_ms:int tags:text"
        ),
        since=2,
    ),
    Table("model_aliases", _columns("name:text alias:text version:int"), since=2),
)
"""Of an export of everything: all; of a choice of runs or experiments: the versions made of their runs and logged models."""
RUN_TABLES: Final = (
    Table(
        "runs",
        _columns(
            "run_id:id experiment_id:int name:text user_name:name status:name lifecycle:name parent_run_id:id? "
            "start_time_ms:int end_time_ms:int? thinned_at_us:int?@2"
        ),
    ),
    Table("params", _columns("run_id:id key:name value:text")),
    Table("tags", _columns("run_id:id key:name value:text")),
    Table(
        "writers",
        _columns(
            "run_id:id writer_id:id last_seq:int points:int rank:int world_size:int? local_rank:int? host:name pid:int? "
            "client:name attempt:int resume_from_step:int? started_at_ms:int? ended_at_ms:int? stats:text end_status:name?@2"
        ),
    ),
    Table("run_datasets", _columns("run_id:id name:text digest:text tags:text")),
    Table("run_models", _columns("run_id:id direction:name model_id:text step:int")),
    Table(
        "thinned_series",
        _columns(
            "run_id:id key:text n:int non_finite:int first_step:int first_time_ms:int first_value:float last_step:int "
            "last_time_ms:int last_value:float min_value:float? max_value:float? min_step:int? max_step:int? sum_value:float"
        ),
        since=2,
    ),
)
METRICS: Final = Table(
    "metrics",
    _columns("run_id:id key:name writer_id:id rank:int attempt:int step:int time_ms:int value:float"),
)
"""rank and attempt are the writer's, for those who read the files; an import takes them from `writers`."""
DIGESTS: Final = Table("digests", _columns("run_id:id points:int blake2b:text"))
ARTIFACTS: Final = Table("artifacts", _columns("run_id:id path:text size_bytes:int sha256:text"))
MODEL_ARTIFACTS: Final = Table(
    "model_artifacts", _columns("model_id:text path:text size_bytes:int sha256:text"), since=2
)
