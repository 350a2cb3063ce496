"""Requests that log: log-metric and log-batch.

The hot path of everyone who comes from MLflow. A batch of plain metrics is read column by column, with a few passes of
list comprehensions and no object per point; whatever is not plain (a string where a number belongs, a missing field, a
name that is refused) goes through the tables of `fields`, which know the exact words.

Order of the checks, as the reference server has it: presence and types; the run id's form; values and keys of metrics,
params, tags; the limits; doubled params. Whether the run exists comes after all of these.

The points leave as columns grouped by metric, the form of `ingest_schema.wire.Batch`, each point once.
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final
from uuid import UUID

from ingest.mlflow.errors import MlflowError, refused
from ingest.mlflow.fields import Field, Fields, Table, WrongTypeError, double, int64, read, string, texts_of
from ingest.mlflow.rules import MAX_KEY_CHARS, check_key, check_param, check_tag, key_problem
from ingest.mlflow.runs import RUN_FIELDS, run_id_of, run_id_text
from ingest_schema.wire import pack_column

__all__ = ["LogBatch", "ModelPoint", "Points", "group_points", "read_log_batch", "read_log_metric"]

MAX_METRICS: Final = 1_000
MAX_PARAMS: Final = 100
MAX_TAGS: Final = 100
MAX_ENTITIES: Final = 1_000

_RUN_ID_FORM: Final = re.compile(r"[a-zA-Z0-9][\w\-]{0,255}")

_MODEL_FIELDS: Final = (
    Field("model_id", string),
    Field("dataset_name", string),
    Field("dataset_digest", string),
)
METRIC_FIELDS: Final = (
    Field("key", string, required=True),
    Field("value", double, required=True),
    Field("timestamp", int64, required=True),
    Field("step", int64),
    *_MODEL_FIELDS,
)
LOG_METRIC = Table(*RUN_FIELDS, *METRIC_FIELDS)
METRIC = Table(*METRIC_FIELDS)
LABEL = Table(Field("key", string, required=True), Field("value", string))
LOG_BATCH = Table(
    *RUN_FIELDS,
    Field("metrics", repeated=True, message=METRIC),
    Field("params", repeated=True, message=LABEL),
    Field("tags", repeated=True, message=LABEL),
)
WITHOUT_METRICS = Table(*(field for field in LOG_BATCH.fields if field.name != "metrics"))

Point = tuple[str, int, int, float]
"""Key, step, time in ms, value."""


@dataclass(frozen=True, slots=True)
class Points:
    """Points as columns grouped by key: see `ingest_schema.wire.Batch`."""

    keys: tuple[str, ...] = ()
    counts: bytes = b""
    steps: bytes = b""
    times_ms: bytes = b""
    values: bytes = b""


@dataclass(frozen=True, slots=True)
class ModelPoint:
    """A point that belongs to a logged model too, with the dataset that it was measured on."""

    model_id: str
    key: str
    step: int
    time_ms: int
    value: float
    dataset_name: str
    dataset_digest: str


@dataclass(frozen=True, slots=True)
class LogBatch:
    """What is to be logged to one run, all or nothing."""

    run_id: UUID
    points: Points = Points()
    params: tuple[tuple[str, str], ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    model_points: tuple[ModelPoint, ...] = ()


def read_log_metric(body: Any) -> LogBatch:
    """A request of runs/log-metric: a batch of one point."""
    fields = read(LOG_METRIC, body)
    run_id = run_id_of(fields)
    point = _checked_point(fields, "")
    return LogBatch(run_id, group_points([point]), model_points=_model_points([fields]))


def read_log_batch(body: Any) -> LogBatch:
    """A request of runs/log-batch."""
    given = body.get("metrics") if isinstance(body, dict) else None
    points = _plain_points(given)
    of_models = _plain_model_points(given, points) if points is not None else None
    if points is not None and of_models is not None:
        fields, metrics = read(WITHOUT_METRICS, body), []
    else:
        points = None
        fields = read(LOG_BATCH, body)
        metrics = fields.messages("metrics")
    _check_run_id_form(run_id_text(fields))
    if points is None:
        points = [_checked_point(metric, f"metrics[{i}].") for i, metric in enumerate(metrics)]
    params = texts_of(fields.messages("params"), "key", "value")
    tags = texts_of(fields.messages("tags"), "key", "value")
    for i, (key, value) in enumerate(params):
        check_param(key, value, f"params[{i}].")
    for i, (key, value) in enumerate(tags):
        check_tag(key, value, f"tags[{i}].")
    _check_limits(len(points), len(params), len(tags))
    _check_doubled(params)
    return LogBatch(
        run_id_of(fields),
        group_points(points),
        tuple(params),
        tuple(dict(tags).items()),
        _model_points(metrics) if of_models is None else of_models,
    )


def group_points(points: Sequence[Point]) -> Points:
    """The points as columns grouped by key, in their order within a key, each different point once."""
    different = list(dict.fromkeys(points))
    if not different:
        return Points()
    keys = [point[0] for point in different]
    groups = dict.fromkeys(keys, 0)
    if len(groups) != len(keys):
        for key in keys:
            groups[key] += 1
        if not _is_grouped(keys, len(groups)):
            place = {key: i for i, key in enumerate(groups)}
            different.sort(key=lambda point: place[point[0]])  # stable: the order within a key stays
        counts = list(groups.values())
    else:
        counts = [1] * len(keys)
    return Points(
        tuple(groups),
        pack_column("I", counts),
        pack_column("q", [point[1] for point in different]),
        pack_column("q", [point[2] for point in different]),
        pack_column("d", [point[3] for point in different]),
    )


def _is_grouped(keys: Sequence[str], group_num: int) -> bool:
    """Whether equal keys stand together."""
    return sum(1 for one, other in pairwise(keys) if one != other) == group_num - 1


def _plain_points(metrics: Any) -> list[Point] | None:
    """The points of a list of metrics that leave nothing to say; None if there may be something to say."""
    if type(metrics) is not list or not metrics:
        return None
    try:
        keys = [metric["key"] for metric in metrics]
        values = [metric["value"] for metric in metrics]
        times_ms = [metric["timestamp"] for metric in metrics]
        steps = [metric.get("step", 0) for metric in metrics]
        array("q", steps)  # integers in the range of int64, or an error
        array("q", times_ms)
    except (KeyError, TypeError, AttributeError, OverflowError):
        return None
    if {*map(type, steps), *map(type, times_ms)} != {int} or min(times_ms) < 0:
        return None
    if not set(map(type, values)) <= {float, int} or set(map(type, keys)) != {str}:
        return None
    different = set(keys)
    if max(map(len, different)) > MAX_KEY_CHARS or "" in different or any(map(key_problem, different)):
        return None
    try:
        return list(zip(keys, steps, times_ms, map(double, values), strict=True))
    except WrongTypeError:  # an integer beyond float64
        return None


def _plain_model_points(metrics: Any, points: Sequence[Point]) -> tuple[ModelPoint, ...] | None:
    """Those of the points that belong to models, as `_plain_points` found them; None if there may be something to say."""
    if not any("model_id" in metric for metric in metrics):
        return ()
    names = [
        (metric.get("model_id"), metric.get("dataset_name"), metric.get("dataset_digest"))
        for metric in metrics
    ]
    if not all(text is None or (type(text) is str and "\0" not in text) for three in names for text in three):
        return None
    return tuple(
        ModelPoint(model_id, *point, dataset_name or "", dataset_digest or "")
        for (model_id, dataset_name, dataset_digest), point in zip(names, points, strict=True)
        if model_id
    )


def _checked_point(metric: Fields, path: str) -> Point:
    key, value, time_ms = metric.text("key"), metric.number("value"), metric.integer("timestamp")
    check_key(key, f"{path}name", "Metric name")
    if time_ms < 0:
        raise refused(
            f"Invalid value {time_ms} for parameter '{path}timestamp' supplied: metric '{key}' (value={value}). "
            "Timestamp must be a nonnegative long (64-bit integer) "
        )
    return key, metric.integer("step"), time_ms, value


def _model_points(metrics: Iterable[Fields]) -> tuple[ModelPoint, ...]:
    return tuple(
        ModelPoint(
            metric.text("model_id"), metric.text("key"), metric.integer("step"), metric.integer("timestamp"),
            metric.number("value"), metric.text("dataset_name"), metric.text("dataset_digest"),
        )
        for metric in metrics
        if metric.text("model_id")
    )  # fmt: skip


def _check_run_id_form(text: str) -> None:
    if not _RUN_ID_FORM.fullmatch(text):
        raise refused(f"Invalid value {json.dumps(text[:300])} for parameter 'run_id' supplied.")


def _check_limits(metric_num: int, param_num: int, tag_num: int) -> None:
    entity_num = metric_num + param_num + tag_num
    for what, number, limit in (
        ("metrics", metric_num, MAX_METRICS),
        ("params", param_num, MAX_PARAMS),
        ("tags", tag_num, MAX_TAGS),
        ("metrics, params, and tags", entity_num, MAX_ENTITIES),
    ):
        if number > limit:
            raise _over_limit(what, number, limit)


def _over_limit(what: str, number: int, limit: int) -> MlflowError:
    return refused(
        f"A batch logging request can contain at most {limit} {what}. Got {number} {what}. "
        f"Please split up {what} across multiple requests and try again."
    )


def _check_doubled(params: Sequence[tuple[str, str]]) -> None:
    """The same param twice in one request is refused, with equal values too."""
    keys = [key for key, _ in params]
    if len(set(keys)) == len(keys):
        return
    doubled = list(dict.fromkeys(key for key in keys if keys.count(key) > 1))
    raise refused(
        f"Duplicate parameter keys have been submitted: {doubled}. Please ensure the request contains only one "
        "param value per param key."
    )
