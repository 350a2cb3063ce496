"""A workload of `ingest bench load`: what is sent, by how many writers, how fast. Read from bench/workloads/*.toml.

Units: seconds; points and batches are counts.
"""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

from ingest.bench import BenchError
from ingest_schema.limits import MAX_BATCH_KEYS, MAX_BATCH_POINTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What the writers of one measurement do."""

    name: str
    about: str = ""
    """One sentence for the reader of the result."""
    writers: int = 8
    """Each has a run, a connection and one batch in flight, as a client has."""
    processes: int = 2
    """The writers are spread over so many processes; each of the others in a process is a thread."""
    metrics: int = 100
    """Metrics of each writer's run; every batch has all of them."""
    chunk_points: int = 100
    """Points of one metric in one batch: what one row of metric_chunks gets."""
    duration: float = 10.0
    warmup: float = 2.0
    """Sent before the measurement begins, and counted in the proof."""
    rate: float | None = None
    """Points a second, all writers together, on a fixed schedule; None: as fast as the answers come."""
    client: bool = False
    """Through the real client, one writer a process, instead of prepared batches."""
    overload: float | None = None
    """Offered load as a multiple of what the service took flat out in the same run."""
    service: dict[str, Any] | None = None
    """Settings of the service that the bench starts, such as queue_max_bytes."""
    service_rss_max_bytes: int | None = None
    """The stated bound of the service's resident memory; over it the run has failed."""

    def __post_init__(self) -> None:
        for name in ("writers", "processes", "metrics", "chunk_points"):
            if getattr(self, name) < 1:
                raise BenchError(
                    f"workload {self.name}: {name} must be at least 1, not {getattr(self, name)}"
                )
        if self.batch_points > MAX_BATCH_POINTS or self.metrics > MAX_BATCH_KEYS:
            raise BenchError(
                f"workload {self.name}: {self.metrics} metrics × {self.chunk_points} points is over the limit of "
                f"{MAX_BATCH_KEYS} metrics and {MAX_BATCH_POINTS} points a batch"
            )

    @property
    def batch_points(self) -> int:
        return self.metrics * self.chunk_points

    def but(self, **changes: Any) -> Self:
        """The same with some values replaced; None leaves a value as it is."""
        return replace(self, **{name: value for name, value in changes.items() if value is not None})

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def load_workload(path: Path) -> Workload:
    """Read one workload.

    Raises:
        BenchError: The file can't be read, or holds an unknown or impossible value; the message names it.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BenchError(f"workload {path}: {error}") from error
    known = {field.name for field in fields(Workload)}
    if unknown := table.keys() - known:
        raise BenchError(
            f"workload {path}: unknown {', '.join(sorted(unknown))}; known are {', '.join(sorted(known))}"
        )
    try:
        return Workload(**{"name": path.stem, **table})
    except TypeError as error:
        raise BenchError(f"workload {path}: {error}") from error
