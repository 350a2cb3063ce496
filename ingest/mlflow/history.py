"""Requests for a metric's points: get-history, get-history-bulk, get-history-bulk-interval.

A page's token says where the last page ended: the last point by (time, step, value), and how many points equal to it
were given already. So a page costs what it holds, wherever it stands, and points that arrive meanwhile shift nothing.
"""

from __future__ import annotations

import base64
import json
import math
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from ingest.mlflow.errors import API_DOCS, refused
from ingest.mlflow.fields import Field, Table, int32, int64, read, string
from ingest.mlflow.runs import RUN_FIELDS, run_id_text
from ingest_schema.ids import parse_id
from ingest_schema.limits import INT64_MAX, INT64_MIN

__all__ = [
    "BULK",
    "HISTORY",
    "INTERVAL",
    "BulkHistory",
    "Cursor",
    "History",
    "IntervalHistory",
    "read_bulk",
    "read_history",
    "read_interval",
]

MAX_RUNS: Final = 100
MAX_BULK_RESULTS: Final = 25_000
MAX_INTERVAL_RESULTS: Final = 2_500

HISTORY = Table(
    *RUN_FIELDS,
    Field("metric_key", string, required=True),
    Field("page_token", string),
    Field("max_results", int32),
)
BULK = Table(Field("run_id", string, repeated=True), Field("metric_key", string), Field("max_results", int32))
INTERVAL = Table(
    Field("run_ids", string, repeated=True),
    Field("metric_key", string, required=True),
    Field("start_step", int64),
    Field("end_step", int64),
    Field("max_results", int32),
)


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last point that was given, and how many points equal to it were."""

    time_ms: int
    step: int
    value: float
    equal_num: int = 1

    def token(self) -> str:
        value = self.value if math.isfinite(self.value) else str(self.value)
        return base64.urlsafe_b64encode(
            json.dumps([self.time_ms, self.step, value, self.equal_num]).encode()
        ).decode()

    @classmethod
    def of_token(cls, token: str) -> Cursor:
        """The opposite of `token`.

        Raises:
            MlflowError: The text is no token of ours.
        """
        try:
            time_ms, step, value, equal_num = json.loads(base64.urlsafe_b64decode(token.encode("ascii")))
            if type(time_ms) is not int or type(step) is not int or type(equal_num) is not int:
                raise ValueError  # caught below, with every other fault
            if min(time_ms, step) < INT64_MIN or max(time_ms, step) > INT64_MAX or equal_num < 0:
                raise ValueError
            return cls(time_ms, step, float(value), equal_num)
        except (ValueError, TypeError, RecursionError, OverflowError):
            raise refused("Invalid page token, could not base64-decode") from None


@dataclass(frozen=True, slots=True)
class History:
    """run_id: None when the text can't be a run's; no run is no error here. max_results: None for everything."""

    run_id: UUID | None
    key: str
    max_results: int | None
    after: Cursor | None


@dataclass(frozen=True, slots=True)
class BulkHistory:
    """One metric of several runs, cut at max_results points in all."""

    run_ids: tuple[UUID, ...]
    key: str
    max_results: int


@dataclass(frozen=True, slots=True)
class IntervalHistory:
    """max_results: steps for each run, about. start_step and end_step: both or none; the end belongs to the range."""

    run_ids: tuple[UUID, ...]
    key: str
    max_results: int
    start_step: int | None
    end_step: int | None


def read_history(body: Any) -> History:
    """A request of metrics/get-history."""
    fields = read(HISTORY, body)
    max_results = fields.integer_or_none("max_results")
    if max_results is not None and max_results <= 0:
        raise refused(
            f"Invalid value {max_results} for parameter 'max_results' supplied. It must be a positive integer."
        )
    token = fields.text("page_token")
    ids = _ids([run_id_text(fields)])
    return History(
        ids[0] if ids else None,
        fields.text("metric_key"),
        max_results,
        Cursor.of_token(token) if token else None,
    )


def read_bulk(body: Any) -> BulkHistory:
    """A request of metrics/get-history-bulk."""
    fields = read(BULK, body)
    run_ids = fields.texts("run_id")
    if not run_ids:
        raise refused("GetMetricHistoryBulk request must specify at least one run_id.")
    if len(run_ids) > MAX_RUNS:
        raise refused(
            f"GetMetricHistoryBulk request cannot specify more than {MAX_RUNS} run_ids. "
            f"Received {len(run_ids)} run_ids."
        )
    if not fields.text("metric_key"):
        raise refused("GetMetricHistoryBulk request must specify a metric_key.")
    max_results = fields.integer("max_results", MAX_BULK_RESULTS)
    if max_results <= 0:
        raise refused(
            f"Invalid value {max_results} for parameter 'max_results' supplied. It must be a positive integer."
        )
    return BulkHistory(_ids(run_ids), fields.text("metric_key"), min(max_results, MAX_BULK_RESULTS))


def read_interval(body: Any) -> IntervalHistory:
    """A request of metrics/get-history-bulk-interval."""
    fields = read(INTERVAL, body)
    run_ids = fields.texts("run_ids")
    if not run_ids:
        raise refused(f"Missing value for required parameter 'run_ids'.{API_DOCS}")
    if len(run_ids) > MAX_RUNS:
        raise refused(
            f"GetMetricHistoryBulkInterval request must specify at most {MAX_RUNS} run_ids. "
            f"Received {len(run_ids)} run_ids.{API_DOCS}"
        )
    max_results = fields.integer("max_results", MAX_INTERVAL_RESULTS)
    if not 1 <= max_results <= MAX_INTERVAL_RESULTS:
        raise refused(f"max_results must be between 1 and {MAX_INTERVAL_RESULTS}.{API_DOCS}")
    start, end = fields.integer_or_none("start_step"), fields.integer_or_none("end_step")
    if (start is None) != (end is None):
        raise refused("If either start step or end step are specified, both must be specified.")
    if start is not None and end is not None and start > end:
        raise refused(
            f"end_step must be greater than start_step. Found start_step={start} and end_step={end}."
        )
    return IntervalHistory(_ids(run_ids), fields.text("metric_key"), max_results, start, end)


def _ids(texts: list[str]) -> tuple[UUID, ...]:
    """The ids among the texts, each once; a text that can't be one names no run, which has no points."""
    found: dict[UUID, None] = {}
    for text in texts:
        try:
            found[parse_id(text)] = None
        except ValueError:
            continue
    return tuple(found)
