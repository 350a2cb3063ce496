"""Searches by brute force over runs in memory: what the SQL has to agree with."""

from __future__ import annotations

import math
import random
import re
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from ingest.search.nodes import And, Comparison, Condition, Field, IsNan, IsNull, Not, Or, OrderBy
from ingest.search.runs import SEALED_CHARS

NAN, INF = math.nan, math.inf
NUMBERS = [0.0, 1.0, -1.5, 2.0, 1e300, NAN, INF, -INF]
TEXTS = ["", "a", "A", "ab", "abc", "b%", "a_c", "0.1", " 7 ", "1e2", "x" * 300, "x" * 299 + "y", "ü", "a\\"]


@dataclass
class ModelRun:
    """One run, as the tables hold it. metrics: every summary by its name."""

    run_id: UUID
    experiment_id: int
    name: str
    user_name: str
    status: str
    lifecycle: str
    start_time_ms: int
    end_time_ms: int | None
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)


def make_runs(count: int, seed: int = 1) -> list[ModelRun]:
    """Runs full of ties, gaps and odd values."""
    draw = random.Random(seed)
    return [_make_run(draw) for _ in range(count)]


def _make_run(draw: random.Random) -> ModelRun:
    start = draw.randrange(10)
    return ModelRun(
        run_id=UUID(int=draw.getrandbits(128)),
        experiment_id=draw.choice([1, 2]),
        name=draw.choice(["", "a", "Ab", "run"]),
        user_name=draw.choice(["", "ann", "bob"]),
        status=draw.choice(["RUNNING", "FINISHED", "FAILED", "LOST"]),
        lifecycle=draw.choice(["active"] * 5 + ["deleted"]),
        start_time_ms=start,
        end_time_ms=draw.choice([None, start, start + 5]),
        params={key: draw.choice(TEXTS) for key in "pq" if draw.random() < 0.7},
        tags={key: draw.choice(TEXTS) for key in ("t", "a b") if draw.random() < 0.7},
        metrics={key: _make_metric(draw) for key in ("m", "n.o/p") if draw.random() < 0.7},
    )


def _make_metric(draw: random.Random) -> dict[str, Any]:
    values = [draw.choice(NUMBERS) for _ in range(draw.randint(1, 3))]
    finite = [v for v in values if math.isfinite(v)]
    return {
        "last": values[-1],
        "first": values[0],
        "count": len(values),
        "nonfinite": len(values) - len(finite),
        "min": min(finite, default=None),
        "max": max(finite, default=None),
        "argmin": values.index(min(finite)) if finite else None,
        "argmax": values.index(max(finite)) if finite else None,
        "sum": math.fsum(finite),
        "last_step": len(values) - 1,
    }


def value_of(run: ModelRun, wanted: Field) -> Any:
    """The fact, or None where the run lacks it."""
    if wanted.kind == "metric":
        metric = run.metrics.get(wanted.name)
        if metric is None:
            return None
        if wanted.summary == "mean":
            finite = metric["count"] - metric["nonfinite"]
            return metric["sum"] / finite if finite else None
        value = metric[wanted.summary]
        return None if value is None else float(value)
    if wanted.kind == "attribute":
        return _attribute(run, wanted.name)
    return (run.params if wanted.kind == "param" else run.tags).get(wanted.name)


def _attribute(run: ModelRun, name: str) -> Any:
    if name == "duration":
        return None if run.end_time_ms is None else float(run.end_time_ms - run.start_time_ms)
    return {
        "run_id": run.run_id.hex,
        "run_name": run.name or None,
        "status": run.status,
        "user_id": run.user_name,
        "start_time": run.start_time_ms,
        "end_time": run.end_time_ms,
        "experiment_id": run.experiment_id,
        "experiment": f"experiment {run.experiment_id}",
        "lifecycle": run.lifecycle,
        "artifact_uri": f"mlflow-artifacts:/{run.experiment_id}/{run.run_id.hex}/artifacts",
    }[name]


def holds(run: ModelRun, condition: Condition) -> bool:
    """Whether the condition is true of the run."""
    match condition:
        case And(parts):
            return all(holds(run, part) for part in parts)
        case Or(parts):
            return any(holds(run, part) for part in parts)
        case Not(part):
            return not holds(run, part)
        case IsNull(wanted):
            return value_of(run, wanted) is None
        case IsNan(wanted):
            return (value := value_of(run, wanted)) is not None and math.isnan(value)
        case Comparison(wanted, operator, value):
            found = value_of(run, wanted)
            return found is not None and _compare(found, operator, value)


def _compare(found: Any, operator: str, value: Any) -> bool:
    if operator in {"IN", "NOT IN"}:
        return (str(found) in value) == (operator == "IN")
    if operator.startswith("NOT "):
        return not _compare(found, operator.removeprefix("NOT "), value)
    if operator in {"LIKE", "ILIKE"}:
        flags = re.DOTALL | (re.IGNORECASE | re.ASCII if operator == "ILIKE" else 0)
        return re.fullmatch(_regex(value), found, flags) is not None
    if operator == "RLIKE":
        return re.search(value, found) is not None
    if isinstance(found, str) and not isinstance(value, str):
        if not re.fullmatch(r"\s*[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,2})?\s*", found):
            return False
        found = float(found)
    outcomes = {
        "=": found == value,
        "!=": found != value,
        "<": operator == "<" and found < value,
        "<=": operator == "<=" and found <= value,
        ">": operator == ">" and found > value,
        ">=": operator == ">=" and found >= value,
    }
    return bool(outcomes[operator])


def _regex(pattern: str) -> str:
    """A LIKE pattern as a regular expression; a backslash takes the next character for itself."""
    out, i = "", 0
    while i < len(pattern):
        c = pattern[i]
        if c == "\\" and i + 1 < len(pattern):
            i += 1
            out += re.escape(pattern[i])
        else:
            out += {"%": ".*", "_": "."}.get(c, re.escape(c))
        i += 1
    return out


def search(
    runs: list[ModelRun],
    condition: Condition,
    order: tuple[OrderBy, ...] = (),
    experiment_ids: tuple[int, ...] | None = None,
    view: str = "ACTIVE_ONLY",
) -> list[UUID]:
    """All runs found, in order."""
    lifecycles = {"ACTIVE_ONLY": {"active"}, "DELETED_ONLY": {"deleted"}, "ALL": {"active", "deleted"}}[view]
    found = [
        run
        for run in runs
        if run.lifecycle in lifecycles
        and (experiment_ids is None or run.experiment_id in experiment_ids)
        and holds(run, condition)
    ]
    found.sort(key=lambda run: run.run_id)
    if all(key.field != Field("attribute", "start_time") for key in order):
        found.sort(key=lambda run: -run.start_time_ms)
    for key in reversed(order):
        found = _sorted(found, key)
    return [run.run_id for run in found]


def _sorted(runs: list[ModelRun], key: OrderBy) -> list[ModelRun]:
    """Values, then NaN, then those without, whatever the direction. Sorting is stable, also when reversed."""
    values, nans, missing = [], [], []
    for run in runs:
        value = value_of(run, key.field)
        if value is None:
            missing.append(run)
        elif isinstance(value, float) and math.isnan(value):
            nans.append(run)
        else:
            values.append(run)
    values.sort(key=lambda run: _sort_value(value_of(run, key.field)), reverse=key.descending)
    return [*values, *nans, *missing]


def _sort_value(value: Any) -> Any:
    return value[:SEALED_CHARS].encode() if isinstance(value, str) else value
