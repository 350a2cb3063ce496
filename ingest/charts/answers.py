"""Answers as a client gets them: columns, in JSON or msgpack. Pure.

JSON has no NaN and no infinities: in columns of values they stand as "NaN", "Infinity", "-Infinity"; null is a least value of a
bucket that has no finite one. In msgpack a column is little-endian bytes, int64 or float64 as `dtypes` says, and null is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgpack
import numpy as np
import numpy.typing as npt
import orjson

from ingest.charts.parts import Parts

__all__ = ["as_json", "as_msgpack", "bucket_columns", "point_columns", "told"]

Columns = Mapping[str, npt.NDArray[Any]]


def bucket_columns(
    parts: Parts, x_low: npt.NDArray[Any], x_high: npt.NDArray[Any]
) -> dict[str, npt.NDArray[Any]]:
    """The columns of buckets. x_low and x_high: where on the axis a bucket's points really lie."""
    nothing_finite = parts.n <= parts.non_finite
    is_masked = bool(nothing_finite.any())  # seldom, and masks cost a tenth of a chart

    def known(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.ma.masked_array(column, nothing_finite) if is_masked else column

    return {
        "x_low": x_low,
        "x_high": x_high,
        "n": parts.n,
        "non_finite": parts.non_finite,
        "first": parts.first_value,
        "first_step": parts.lo_step,
        "last": parts.last_value,
        "last_step": parts.hi_step,
        "min": known(parts.min_value),
        "min_step": known(parts.min_step),
        "max": known(parts.max_value),
        "max_step": known(parts.max_step),
        "sum": parts.sum_value,
    }


def point_columns(parts: Parts, x: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    """The columns of raw points."""
    return {"x": x, "step": parts.lo_step, "time_ms": parts.lo_time_ms, "value": parts.first_value}


def told(point_count: int, rows: int, *, is_raw: bool) -> str:
    """What a legend says: `1,000,000 points in 2,000 buckets`."""
    points = f"{point_count:,} point{'' if point_count == 1 else 's'}"
    return points if is_raw else f"{points} in {rows:,} bucket{'' if rows == 1 else 's'}"


def as_json(answer: Any) -> bytes:
    """The answer, whose columns are arrays anywhere in it."""
    return orjson.dumps(_plain(answer), option=orjson.OPT_SERIALIZE_NUMPY)


def as_msgpack(answer: Any) -> bytes:
    """The answer with columns as bytes, and beside each map of columns their types."""
    return bytes(msgpack.packb(_packed(answer)))


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return _plain_column(value)
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return number(value) if isinstance(value, float) else value


def _plain_column(column: npt.NDArray[Any]) -> Any:
    if isinstance(column, np.ma.MaskedArray):
        return column.tolist() if column.mask.any() else np.ascontiguousarray(column.data)
    if column.dtype.kind == "f" and not np.isfinite(column).all():
        return [number(value) for value in column.tolist()]
    return np.ascontiguousarray(column)


def number(value: float) -> float | str:
    """The value as JSON takes it."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _packed(value: Any) -> Any:
    if isinstance(value, Mapping):
        if "columns" in value:
            columns = {name: _packed_column(column) for name, column in value["columns"].items()}
            dtypes = {name: column.dtype.str for name, column in columns.items()}
            rest = {name: _packed(item) for name, item in value.items() if name != "columns"}
            return {
                **rest,
                "dtypes": dtypes,
                "columns": {name: column.tobytes() for name, column in columns.items()},
            }
        return {name: _packed(item) for name, item in value.items()}
    return [_packed(item) for item in value] if isinstance(value, list) else value


def _packed_column(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if isinstance(column, np.ma.MaskedArray):
        if column.mask.any():
            return np.where(column.mask, np.nan, column.data.astype(np.float64))
        column = column.data
    return column.astype(column.dtype.newbyteorder("<"), copy=False)
