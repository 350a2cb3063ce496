"""Files of an export, written and read a batch of rows at a time; each hashed on its way to the disk.

The one module that knows pyarrow (extra `parquet`). CSV is written for other programs; only Parquet is read back.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import numpy as np

from ingest.transfer.errors import BadExport, TransferError
from ingest.transfer.layout import METRICS, Column, FileFormat, Table
from ingest.transfer.points import PointSlice

__all__ = ["FileFacts", "PointSource", "PointWriter", "RowSource", "RowWriter", "sha256_of"]

BATCH_ROWS: Final = 20_000
FILE_POINTS: Final = 50_000_000
"""Points of one file of metrics: about half a gigabyte."""
COMPRESSION: Final = "zstd"


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What the manifest says of a file."""

    path: str
    rows: int
    size_bytes: int
    sha256: str


def _pyarrow() -> Any:
    try:
        import pyarrow as pa
        import pyarrow.csv
        import pyarrow.parquet
    except ImportError as error:
        raise TransferError(
            "exports are Parquet files, and pyarrow is not installed; pip install 'metric-ingest[parquet]'"
        ) from error
    return pa


def _type_of(pa: Any, column: Column, file_format: FileFormat) -> Any:
    if column.kind == "int":
        return pa.int64()
    if column.kind == "float":
        return pa.float64()
    if column.kind == "text" or file_format == "csv":
        return pa.string()
    return pa.dictionary(pa.int32(), pa.string())


class _Sink:
    """A file that hashes what is written to it. Quacks as pyarrow wants it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._digest = hashlib.sha256()
        self.size_bytes = 0
        self.closed = False

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self._file.write(view)
        self._digest.update(view)
        self.size_bytes += view.nbytes
        return view.nbytes

    def tell(self) -> int:
        return self.size_bytes

    def flush(self) -> None:
        self._file.flush()

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        if not self.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self.closed = True

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


class _ArrowWriter:
    """One file of one table."""

    def __init__(self, root: Path, name: str, table: Table, file_format: FileFormat) -> None:
        pa = self._pa = _pyarrow()
        self.name = f"{name}.{file_format}"
        self.rows = 0
        path = root / self.name
        path.parent.mkdir(parents=True, exist_ok=True)
        self.schema = pa.schema(
            [
                pa.field(column.name, _type_of(pa, column, file_format), nullable=column.is_nullable)
                for column in table.columns
            ]
        )
        self._sink = _Sink(path)
        if file_format == "parquet":
            self._writer = pa.parquet.ParquetWriter(
                self._sink,
                self.schema,
                compression=COMPRESSION,
                use_dictionary=[column.name for column in table.columns if column.kind in {"id", "name"}],
                column_encoding={
                    column.name: "DELTA_BINARY_PACKED" for column in table.columns if column.kind == "int"
                },
            )
        else:
            self._writer = pa.csv.CSVWriter(self._sink, self.schema)

    def write(self, arrays: Sequence[Any]) -> None:
        """One batch of rows, which becomes a row group."""
        batch = self._pa.Table.from_arrays(list(arrays), schema=self.schema)
        self.rows += batch.num_rows
        self._writer.write_table(batch)

    def close(self) -> FileFacts:
        self._writer.close()
        self._sink.close()
        return FileFacts(self.name, self.rows, self._sink.size_bytes, self._sink.hexdigest())

    def abandon(self) -> None:
        """Let go of a file that is going to be removed, whatever state it is in."""
        with contextlib.suppress(Exception):
            self._writer.close()
        with contextlib.suppress(OSError):
            self._sink.close()


class RowWriter:
    """A table's file; rows come as mappings by column."""

    def __init__(self, root: Path, table: Table, file_format: FileFormat) -> None:
        self._table = table
        self._file = _ArrowWriter(root, table.name, table, file_format)
        self._waiting: list[Mapping[str, Any]] = []

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._waiting += rows
        if len(self._waiting) >= BATCH_ROWS:
            self._flush()

    def close(self) -> FileFacts:
        self._flush()
        return self._file.close()

    def abandon(self) -> None:
        self._file.abandon()

    def _flush(self) -> None:
        if not self._waiting and self._file.rows:
            return
        pa = _pyarrow()
        arrays = [
            pa.array([_cell(row[column.name]) for row in self._waiting], type=self._file.schema.field(i).type)
            for i, column in enumerate(self._table.columns)
        ]
        self._file.write(arrays)
        self._waiting = []


def _cell(value: Any) -> Any:
    return value.hex if isinstance(value, UUID) else value


class PointWriter:
    """The files of metrics: a new one after so many points."""

    def __init__(self, root: Path, file_format: FileFormat, *, file_points: int = FILE_POINTS) -> None:
        self._root = root
        self._format: FileFormat = file_format
        self._file_points = file_points
        self._file: _ArrowWriter | None = None
        self._done: list[FileFacts] = []

    def add(self, run_id: UUID, piece: PointSlice, writers: Mapping[UUID, tuple[int, int]]) -> None:
        """A slice of a run's points. writers: rank and attempt of each."""
        if self._file is None:
            name = f"metrics/part-{len(self._done):05d}"
            self._file = _ArrowWriter(self._root, name, METRICS, self._format)
        pa, n, series = _pyarrow(), len(piece.steps), len(piece.keys)
        of = np.repeat(np.arange(series, dtype=np.int32), piece.counts)

        def by_series(values: list[str]) -> Any:
            # No text twice: pyarrow writes such a dictionary differently from one time to the next.
            codes = {value: code for code, value in enumerate(dict.fromkeys(values))}
            code_of = np.array([codes[value] for value in values], dtype=np.int32)
            found = pa.DictionaryArray.from_arrays(code_of[of], pa.array(list(codes), pa.string()))
            return found.cast(pa.string()) if self._format == "csv" else found

        whole = pa.DictionaryArray.from_arrays(np.zeros(n, np.int32), pa.array([run_id.hex], pa.string()))
        facts = np.array([writers.get(w, (0, 1)) for w in piece.writer_ids], dtype=np.int64).reshape(-1, 2)
        self._file.write(
            [
                whole.cast(pa.string()) if self._format == "csv" else whole,
                by_series(list(piece.keys)),
                by_series([writer_id.hex for writer_id in piece.writer_ids]),
                pa.array(facts[of, 0]),
                pa.array(facts[of, 1]),
                pa.array(piece.steps),
                pa.array(piece.times_ms),
                pa.array(piece.values, from_pandas=False),
            ]
        )
        if self._file.rows >= self._file_points:
            self._done.append(self._file.close())
            self._file = None

    def close(self) -> list[FileFacts]:
        if self._file is not None:
            self._done.append(self._file.close())
            self._file = None
        return self._done

    def abandon(self) -> None:
        if self._file is not None:
            self._file.abandon()


# --- reading ------------------------------------------------------------------------------------------------------------


class RowSource:
    """A table's file, read from front to back: `take` gives the rows of one run, or one model, and expects them in order."""

    def __init__(self, root: Path, table: Table) -> None:
        self._table = table
        self._rows = self._read(root / f"{table.name}.parquet")
        self._next = next(self._rows, None)

    def take(self, owner: str, column: str = "run_id") -> list[dict[str, Any]]:
        """The rows of this run, or of what another column names."""
        found: list[dict[str, Any]] = []
        while self._next is not None and self._next[column] == owner:
            found.append(self._next)
            self._next = next(self._rows, None)
        return found

    def all(self) -> Iterator[dict[str, Any]]:
        """Every row."""
        while self._next is not None:
            yield self._next
            self._next = next(self._rows, None)

    def _read(self, path: Path) -> Iterator[dict[str, Any]]:
        with _open(path, self._table) as file:
            for batch in file.iter_batches(batch_size=BATCH_ROWS):
                yield from batch.to_pylist()


class PointSource:
    """All points of an export, from front to back, a run at a time."""

    def __init__(self, root: Path) -> None:
        self._pieces = self._read(sorted((root / "metrics").glob("part-*.parquet")))
        self._next: tuple[str, PointSlice] | None = next(self._pieces, None)

    def take(self, run_id: str) -> Iterator[PointSlice]:
        """The slices of this run; they have to be used up."""
        while self._next is not None and self._next[0] == run_id:
            yield self._next[1]
            self._next = next(self._pieces, None)

    def is_used_up(self) -> bool:
        return self._next is None

    def _read(self, paths: Sequence[Path]) -> Iterator[tuple[str, PointSlice]]:
        for path in paths:
            with _open(path, METRICS) as file:
                for group in range(file.num_row_groups):
                    yield from _pieces_of(file.read_row_group(group))


def _open(path: Path, table: Table) -> Any:
    pa = _pyarrow()
    try:
        file = pa.parquet.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise BadExport(f"{path.name} can't be read: {error}") from error
    names = tuple(file.schema_arrow.names)
    if names != table.column_names:
        file.close()
        raise BadExport(
            f"{path.name} has the columns {', '.join(names)}; expected {', '.join(table.column_names)}"
        )
    return file


def _pieces_of(rows: Any) -> Iterator[tuple[str, PointSlice]]:
    """The rows of one row group, cut where the run changes."""
    run_codes, runs = _dictionary(rows.column("run_id"))
    key_codes, keys = _dictionary(rows.column("key"))
    writer_codes, writers = _dictionary(rows.column("writer_id"))
    steps, times_ms, values = (
        np.asarray(rows.column(name).combine_chunks()) for name in ("step", "time_ms", "value")
    )
    changes = (np.diff(run_codes) != 0) | (np.diff(key_codes) != 0) | (np.diff(writer_codes) != 0)
    starts = np.concatenate([[0], np.flatnonzero(changes) + 1])
    ends = np.append(starts[1:], len(steps))
    run_of = run_codes[starts]
    cuts = [0, *(np.flatnonzero(np.diff(run_of)) + 1).tolist(), len(starts)]
    for begin, end in pairwise(cuts):
        span = slice(int(starts[begin]), int(ends[end - 1]))
        yield (
            runs[run_of[begin]],
            PointSlice(
                keys=tuple(keys[code] for code in key_codes[starts[begin:end]]),
                writer_ids=tuple(UUID(hex=writers[code]) for code in writer_codes[starts[begin:end]]),
                counts=ends[begin:end] - starts[begin:end],
                steps=steps[span],
                times_ms=times_ms[span],
                values=values[span],
            ),
        )


def _dictionary(column: Any) -> tuple[Any, list[str]]:
    """Codes and texts of a column, whether it is a dictionary already or not."""
    pa = _pyarrow()
    array = column.combine_chunks()
    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    return np.asarray(array.indices), array.dictionary.to_pylist()


def sha256_of(path: Path) -> str:
    """Of a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
