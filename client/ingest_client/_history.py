"""Histories of metrics: every point, exactly as it was logged, in pages over HTTP.

    get_metric_history     one metric as a list of small objects, under MLflow's name
    history                metrics of a run as a DataFrame, an Arrow table, or record batches for what does not fit into memory

Nothing is sampled. pandas and pyarrow are imported when they are asked for. A page is at most 100,000 points, 2.4 MB.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, overload
from urllib.parse import quote, urlencode
from uuid import UUID

from ingest_client._reading import Reading, deliver_own, reading
from ingest_client.errors import NotFound, ReadFailed
from ingest_schema.ids import parse_id
from ingest_schema.wire import unpack_column

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["Metric", "get_metric_history", "history"]

_PAGE_POINTS: Final = 100_000
_PAGE_SERIES: Final = 10_000
_TYPES: Final = {"steps": "q", "times_ms": "q", "values": "d"}


@dataclass(frozen=True, slots=True)
class Metric:
    """One point of a metric, under MLflow's names."""

    key: str
    value: float
    timestamp: int
    """Milliseconds since the Unix epoch."""
    step: int


@dataclass(frozen=True, slots=True)
class _Page:
    """Points of one metric as little-endian columns."""

    key: str
    columns: dict[str, bytes]

    @property
    def points_num(self) -> int:
        return len(self.columns["steps"]) // 8


def get_metric_history(run_id: str, key: str) -> list[Metric]:
    """All points of a metric, in the order of their times, then of their steps. `Run.history` is faster for long ones.

    Returns:
        The points; none if the run has no such metric.

    Raises:
        NotFound: There is no such run.
        ReadFailed: The service can't be reached, or refuses.
        ValueError: run_id is no run's id.
    """
    found: list[Metric] = []
    with reading() as service:
        for page in _pages(service, _deliver(run_id), [key]):
            columns = (unpack_column(code, page.columns[name]) for name, code in _TYPES.items())
            found += [Metric(key, value, time, step) for step, time, value in zip(*columns, strict=True)]
    found.sort(key=lambda metric: (metric.timestamp, metric.step))
    return found


@overload
def history(
    run_id: str,
    keys: str | Sequence[str] | None = None,
    *,
    output_format: Literal["pandas"] = "pandas",
    tracking_uri: str | None = None,
) -> pd.DataFrame: ...


@overload
def history(
    run_id: str,
    keys: str | Sequence[str] | None = None,
    *,
    output_format: Literal["arrow"],
    tracking_uri: str | None = None,
) -> pa.Table: ...


@overload
def history(
    run_id: str,
    keys: str | Sequence[str] | None = None,
    *,
    output_format: Literal["batches"],
    tracking_uri: str | None = None,
) -> Iterator[pa.RecordBatch]: ...


def history(
    run_id: str,
    keys: str | Sequence[str] | None = None,
    *,
    output_format: Literal["pandas", "arrow", "batches"] = "pandas",
    tracking_uri: str | None = None,
) -> pd.DataFrame | pa.Table | Iterator[pa.RecordBatch]:
    """All points of metrics of a run: columns key, step, time_ms and value, metric after metric, by step, then time.

    Args:
        run_id: The run.
        keys: A metric, or several; by default all of the run.
        output_format: `pandas`; `arrow` for a pyarrow Table; `batches` for an iterator of record batches of at most 100,000
            points, which takes a few MB whatever the length.
        tracking_uri: Another service than the one that runs go to.

    Raises:
        NotFound: There is no such run.
        ReadFailed: The service can't be reached, or refuses.
        ImportError: The library of the format is not there.
    """
    if output_format not in {"pandas", "arrow", "batches"}:
        raise ValueError(f"output_format is {output_format!r}; it must be pandas, arrow or batches")
    chosen = [keys] if isinstance(keys, str) else keys
    run = _deliver(run_id)
    if output_format == "pandas":
        return _as_frame(run, chosen, tracking_uri)
    batches = _as_batches(run, chosen, tracking_uri)
    if output_format == "batches":
        return batches
    import pyarrow as pa

    return pa.Table.from_batches(batches, _schema())


def _deliver(run_id: str) -> UUID:
    run = parse_id(run_id)
    deliver_own(run)
    return run


# --- pages ------------------------------------------------------------------------------------------------------------


def _pages(service: Reading, run: UUID, keys: Sequence[str] | None) -> Iterator[_Page]:
    for key in _all_keys(service, run) if keys is None else keys:
        yield from _pages_of(service, run, key)


def _all_keys(service: Reading, run: UUID) -> Iterator[str]:
    token: str | None = None
    while True:
        query = {"limit": str(_PAGE_SERIES), **({"page_token": token} if token else {})}
        page = service.json("GET", f"/api/v1/runs/{run.hex}/series?{urlencode(query)}")
        yield from (str(row["key"]) for row in page.get("series", []))
        token = page.get("next_page_token")
        if not token:
            return


def _pages_of(service: Reading, run: UUID, key: str) -> Iterator[_Page]:
    token: str | None = None
    base = f"/api/v1/runs/{run.hex}/series/{quote(key, safe='')}/points"
    while True:
        query = {"limit": str(_PAGE_POINTS), **({"page_token": token} if token else {})}
        try:
            answer = service.msgpack(f"{base}?{urlencode(query)}")
        except NotFound:
            service.json("GET", f"/api/v1/runs/{run.hex}")  # the run is not there: that is worth an error
            return
        page = _Page(key, {name: answer.get(name, b"") for name in _TYPES})
        if len({len(column) for column in page.columns.values()}) != 1 or page.points_num != answer.get("n"):
            raise ReadFailed(f"the service sent a page of {key!r} that is not whole; ask again")
        yield page
        token = answer.get("next_page_token")
        if not token:
            return


# --- forms ------------------------------------------------------------------------------------------------------------


def _as_frame(run: UUID, keys: Sequence[str] | None, uri: str | None) -> pd.DataFrame:
    try:
        import numpy as np
        import pandas as pd
    except ImportError as error:
        raise ImportError(
            "history makes a DataFrame, which needs pandas: pip install 'metric-ingest[pandas]', "
            "or ask for output_format='arrow', or use get_metric_history"
        ) from error
    with reading(uri) as service:
        pages = list(_pages(service, run, keys))
    joined: dict[str, Any] = {
        "step": np.frombuffer(b"".join(page.columns["steps"] for page in pages), "<i8"),
        "time_ms": np.frombuffer(b"".join(page.columns["times_ms"] for page in pages), "<i8"),
        "value": np.frombuffer(b"".join(page.columns["values"] for page in pages), "<f8"),
    }
    names = list(dict.fromkeys(page.key for page in pages))
    numbers = {name: number for number, name in enumerate(names)}
    codes = np.repeat([numbers[page.key] for page in pages], [page.points_num for page in pages])
    key = pd.Categorical.from_codes(codes.astype(np.int32), categories=names)
    return pd.DataFrame({"key": key, **joined}, copy=True)


def _as_batches(run: UUID, keys: Sequence[str] | None, uri: str | None) -> Iterator[Any]:
    try:
        import pyarrow as pa
    except ImportError as error:
        raise ImportError(
            "this form of history needs pyarrow: pip install 'metric-ingest[parquet]'"
        ) from error
    schema = _schema()
    with reading(uri) as service:
        for page in _pages(service, run, keys):
            length = page.points_num
            columns = [
                pa.Array.from_buffers(field.type, length, [None, pa.py_buffer(page.columns[name])])
                for name, field in zip(_TYPES, list(schema)[1:], strict=True)
            ]
            key = pa.DictionaryArray.from_arrays(
                pa.array([0] * length, pa.int32()), pa.array([page.key], pa.string())
            )
            yield pa.RecordBatch.from_arrays([key, *columns], schema=schema)


def _schema() -> Any:
    import pyarrow as pa

    return pa.schema(
        [
            ("key", pa.dictionary(pa.int32(), pa.string())),
            ("step", pa.int64()),
            ("time_ms", pa.int64()),
            ("value", pa.float64()),
        ]
    )
