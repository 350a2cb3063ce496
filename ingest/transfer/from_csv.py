"""CSV files in the two forms that people have, read row by row.

    wide    a row for each step, a column for each metric:        run,step,time,loss,acc
    long    a row for each point:                                 run,step,time,key,value

Columns are found by their names, in any case, or named by options. Without a column for runs the file is one run; without steps the
rows of a run (wide) or the points of a metric (long) are counted from 0; without times a point has that of the file. An empty
cell is no point. Rows of several runs may be mixed.
"""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TextIO

from ingest.transfer.feed import BATCH_POINTS, Feed, RunFacts
from ingest.transfer.feeding import Feeder, id_from
from ingest.transfer.source_errors import BadSource
from ingest_schema.errors import SchemaError
from ingest_schema.values import as_step, as_time_ms

__all__ = ["Columns", "take_in"]

CLIENT: Final = "csv import"
_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "run": ("run", "run_name", "run_id"),
    "step": ("step", "_step"),
    "time": ("time_ms", "timestamp", "time", "wall time", "wall_time", "_timestamp"),
    "key": ("key", "metric", "tag"),
    "value": ("value",),
}
_MS_FROM: Final = 1e11
"""A number from here on is milliseconds (1973 and later), below it seconds (until the year 5138)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which column is what; None: found by its usual names, if it is there."""

    run: str | None = None
    step: str | None = None
    time: str | None = None
    key: str | None = None
    value: str | None = None
    metrics: Sequence[str] = ()
    """Of the wide form; none named: all columns that are nothing else."""
    params: Sequence[str] = ()
    """Params of the run: the value in its first row."""


@dataclass(slots=True)
class _Run:
    feed: Feed | None
    last_ms: int
    rows: int = 0
    counts: dict[str, int] = field(default_factory=dict)


async def take_in(feeder: Feeder, path: Path, experiment: str, columns: Columns) -> None:
    """Import a file.

    Raises:
        BadSource: It can't be read, or a cell is not what it should be; says in which line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = _Table(path, file, columns)
            await feeder.make_experiment(experiment, {})
            await _Taking(feeder, table, experiment).take()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadSource(f"{path} can't be read as CSV: {error}") from error


class _Table:
    """Rows, and which cell of them is what."""

    def __init__(self, path: Path, file: TextIO, columns: Columns) -> None:
        self.path = path
        self._reader = csv.reader(file)
        self._header = next(self._reader, [])
        if not self._header:
            raise BadSource(f"{path} is empty: a first line with the names of the columns is expected")
        if len(set(self._header)) < len(self._header):
            raise BadSource(f"{path} has two columns of one name: {', '.join(self._header)[:200]}")
        self.run, self.step, self.time, self.key, self.value = (
            self._find(kind, getattr(columns, kind)) for kind in _NAMES
        )
        self.params = {name: self._index(name) for name in columns.params}
        self.is_long = self.key is not None and self.value is not None and not columns.metrics
        taken = {self.run, self.step, self.time, *self.params.values()}
        chosen = [self._index(name) for name in columns.metrics] or range(len(self._header))
        self.metrics = {self._header[index]: index for index in chosen if index not in taken}
        if not self.is_long and not self.metrics:
            raise BadSource(f"{path} has no column of a metric beside {', '.join(self._header)[:200]}")

    def _find(self, kind: str, given: str | None) -> int | None:
        if given is not None:
            return self._index(given)
        lower = [name.strip().lower() for name in self._header]
        return next((lower.index(name) for name in _NAMES[kind] if name in lower), None)

    def _index(self, name: str) -> int:
        if name not in self._header:
            raise BadSource(f"{self.path} has no column {name!r}; there are {', '.join(self._header)[:300]}")
        return self._header.index(name)

    def rows(self) -> Iterator[list[str]]:
        """Rows that hold something, each as long as the header."""
        for row in self._reader:
            if not row:
                continue
            if len(row) != len(self._header):
                raise self.error(f"{len(row)} cells, where the first line has {len(self._header)}")
            yield row

    def error(self, what: str) -> BadSource:
        return BadSource(f"{self.path}, line {self._reader.line_num}: {what}")

    def number(self, text: str, column: str) -> float:
        try:
            return float(text)
        except ValueError as error:
            raise self.error(
                f"{text[:60]!r} in column {column} is no number; name the columns of metrics by --metric, "
                "those of params by --param"
            ) from error

    def step_of(self, row: list[str]) -> int | None:
        if self.step is None or not row[self.step].strip():
            return None
        text = row[self.step]
        try:
            return as_step(int(text) if not text.strip().endswith(".0") else int(text.strip()[:-2]))
        except (ValueError, SchemaError) as error:
            raise self.error(f"the step {text[:60]!r} is no 64-bit integer") from error

    def time_of(self, row: list[str]) -> int | None:
        if self.time is None or not row[self.time].strip():
            return None
        text = row[self.time].strip()
        is_ms = self._header[self.time].strip().lower() == "time_ms"
        try:
            return as_time_ms(_time_ms(text, is_ms=is_ms))
        except (ValueError, OverflowError, SchemaError) as error:
            raise self.error(
                f"the time {text[:60]!r} is neither a number of seconds or milliseconds nor like 2026-01-31T12:00:00Z"
            ) from error


def _time_ms(text: str, *, is_ms: bool) -> int:
    try:
        whole = int(text)
        return whole if is_ms or abs(whole) >= _MS_FROM else whole * 1000
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        moment = dt.datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
        return round(moment.timestamp() * 1000)
    return round(number if is_ms or abs(number) >= _MS_FROM else number * 1000)


class _Taking:
    """One file that is being imported."""

    def __init__(self, feeder: Feeder, table: _Table, experiment: str) -> None:
        self._feeder = feeder
        self._table = table
        self._experiment = experiment
        self._runs: dict[str, _Run] = {}
        self._file_ms = table.path.stat().st_mtime_ns // 1_000_000
        self._since_flush = 0

    async def take(self) -> None:
        """All rows."""
        add = self._add_long if self._table.is_long else self._add_wide
        for row in self._table.rows():
            run = await self._run_of(row)
            if run.feed is not None:
                time_ms = self._table.time_of(row)
                at_ms = self._file_ms if time_ms is None else time_ms
                run.last_ms = max(run.last_ms, at_ms)
                self._since_flush += add(run, run.feed, row, at_ms)
                run.rows += 1
            if self._since_flush >= BATCH_POINTS:
                await self._flush()
        for run in self._runs.values():
            if run.feed is not None:
                await run.feed.end(end_time_ms=run.last_ms)

    async def _flush(self) -> None:
        for run in self._runs.values():
            if run.feed is not None and run.feed.held_num:
                await run.feed.flush()
        self._since_flush = 0

    def _add_wide(self, run: _Run, feed: Feed, row: list[str], time_ms: int) -> int:
        step = self._table.step_of(row)
        points = 0
        for name, index in self._table.metrics.items():
            if text := row[index].strip():
                value = self._table.number(text, name)
                feed.add(name, run.rows if step is None else step, time_ms, value)
                points += 1
        return points

    def _add_long(self, run: _Run, feed: Feed, row: list[str], time_ms: int) -> int:
        table = self._table
        key, text = row[table.key or 0], row[table.value or 0].strip()
        if not text:
            return 0
        step = table.step_of(row)
        if step is None:
            step = run.counts.get(key, 0)
            run.counts[key] = step + 1
        feed.add(key, step, time_ms, table.number(text, "value"))
        return 1

    async def _run_of(self, row: list[str]) -> _Run:
        table = self._table
        name = (row[table.run].strip() if table.run is not None else "") or table.path.stem
        run = self._runs.get(name)
        if run is None:
            run = self._runs[name] = await self._open(name, row)
        return run

    async def _open(self, name: str, row: list[str]) -> _Run:
        time_ms = self._table.time_of(row)
        start_ms = self._file_ms if time_ms is None else time_ms
        run_id = id_from("csv", self._experiment, name)
        params: dict[str, Any] = {key: row[index] for key, index in self._table.params.items()}
        feed = await self._feeder.begin(
            RunFacts(
                run_id=run_id,
                writer_id=id_from("csv", run_id.hex),
                experiment=self._experiment,
                name=name,
                start_time_ms=start_ms,
                params=params,
                client=CLIENT,
            )
        )
        return _Run(feed, start_ms)
