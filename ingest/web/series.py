"""Charts over HTTP: one series, many series at once, aggregates over a group of runs. See `ingest.store.charts`.

Answers are columns, in JSON or, with `Accept: application/msgpack`, in msgpack (`ingest.charts.answers`). Each says how many
points went into how many buckets. They are never sampled, and bounded: so many series and so many buckets of an answer.

These handlers run in the process that draws (`ingest.web.chart_worker`); the serving process has `ingest.web.charts` in their place.

The ETag of one series changes with each of its points, so a dashboard that asks again costs one row.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, cast
from uuid import UUID

import numpy as np
import orjson
from aiohttp import web

from ingest.charts.answers import as_json, as_msgpack, bucket_columns, point_columns, told
from ingest.charts.buckets import even_borders
from ingest.charts.groups import GroupTotals
from ingest.charts.joined import Placed, float_buckets, join
from ingest.store.charts import Chart, ChartQuestion, ChartReader, Charts, SeriesFacts, TooManyPoints
from ingest.store.errors import NotFound
from ingest.web.problems import Problem
from ingest.web.routes import Query, Route
from ingest_schema.ids import parse_id
from ingest_schema.limits import INT64_MAX, INT64_MIN

__all__ = ["CHARTS", "ROUTES"]

CHARTS: Final = web.AppKey("charts", Charts)
"""What the handlers read, in the process that draws: `ingest.web.chart_worker`."""

MAX_BUCKETS: Final = 10_000
"""Of one series; no screen is wider."""
MAX_SERIES: Final = 2_000
"""Runs times keys of one question."""
MAX_ANSWER_BUCKETS: Final = 500_000
"""Of all series of one answer: 50 MB of JSON."""
MAX_JOIN_POINTS: Final = 2_000_000
MAX_AGGREGATE_POINTS: Final = 20_000_000
"""Points read for one answer where summaries can't help: a second for each 10 million, and a slice of memory."""
_MSGPACK: Final = "application/msgpack"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What all series of a question share. low, high: as given, in the unit of x."""

    x: Literal["step", "time", "relative", "metric"] = "step"
    x_key: str = ""
    low: float | None = None
    high: float | None = None
    buckets: int = 1_000
    attempt: int | None = None
    ranks: tuple[int, ...] | None = None

    def question(self, run_id: UUID, key: str, facts: SeriesFacts) -> ChartQuestion:
        """The question about one series; times relative to the run's start become times."""
        shift = facts.start_time_ms if self.x == "relative" else 0
        bounds = [
            None if self.x == "metric" or x is None else _clipped(int(x) + shift)
            for x in (self.low, self.high)
        ]
        return ChartQuestion(
            run_id=run_id,
            key=key,
            axis="time" if self.x in {"time", "relative"} else "step",
            low=bounds[0],
            high=bounds[1],
            buckets=self.buckets,
            attempt=self.attempt,
            ranks=self.ranks,
        )

    @property
    def shown_x(self) -> str:
        return f"metric:{self.x_key}" if self.x == "metric" else self.x


async def get_series(request: web.Request) -> web.Response:
    """A chart of one metric: exact buckets, or the points where they are few."""
    started = time.perf_counter()
    run_id, key = _run_id(request.match_info["run_id"]), request.match_info["key"]
    options = _options(dict(request.query))
    async with _charts(request).snapshot() as reader:
        (facts,) = await reader.facts([(run_id, key)])
        if facts is None:
            raise NotFound(f"run {run_id.hex} has no metric {key[:200]!r}")
        other = (await reader.facts([(run_id, options.x_key)]))[0] if options.x == "metric" else None
        etag = _etag(facts, other, options, request.headers.get("Accept"))
        if etag in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers={"ETag": etag, "Cache-Control": "private, no-cache"})
        (answer,) = await _answers(reader, [(run_id, key, facts)], options)
    response = _respond(request, answer, started)
    response.headers.update({"ETag": etag, "Cache-Control": "private, no-cache"})
    return response


async def query_series(request: web.Request) -> web.Response:
    """Charts of many metrics of many runs in one answer: runs × keys, one set of options, all columns or those named."""
    started = time.perf_counter()
    body = await _body(request)
    run_ids, keys = [_run_id(text) for text in _texts(body, "runs")], _texts(body, "keys")
    wanted = _texts(body, "columns") if "columns" in body else None
    options = _options({n: value for n, value in body.items() if n not in {"runs", "keys", "columns"}})
    series = [(run_id, key) for run_id in dict.fromkeys(run_ids) for key in dict.fromkeys(keys)]
    if len(series) > MAX_SERIES:
        raise _too_much(
            f"{len(series):,} series, over the limit of {MAX_SERIES:,}", "ask for fewer runs or keys"
        )
    async with _charts(request).snapshot() as reader:
        facts = await reader.facts(series)
        found = [(*one, fact) for one, fact in zip(series, facts, strict=True) if fact is not None]
        if len(found) * options.buckets > MAX_ANSWER_BUCKETS:
            raise _too_much(
                f"{len(found):,} series of {options.buckets:,} buckets, over the limit of {MAX_ANSWER_BUCKETS:,} buckets",
                "ask for fewer buckets",
            )
        answers = await _answers(reader, found, options)
    if wanted is not None:
        answers = [_only(answer, wanted) for answer in answers]
    missing = [
        {"run_id": run_id.hex, "key": key}
        for (run_id, key), fact in zip(series, facts, strict=True)
        if fact is None
    ]
    return _respond(request, {"series": answers, "missing": missing}, started)


async def aggregate_series(request: web.Request) -> web.Response:
    """Mean, deviation, least, greatest and number of one metric's values over a group of runs, by step."""
    started = time.perf_counter()
    body = await _body(request)
    run_ids, key = [_run_id(text) for text in _texts(body, "runs")], body.get("key")
    if not isinstance(key, str):
        raise Problem(400, "bad_request", "key must be a string.")
    options = _options({name: value for name, value in body.items() if name not in {"runs", "key"}})
    if options.x != "step":
        raise Problem(400, "bad_request", "Aggregates are by step; x must be step.")
    if len(run_ids) > MAX_SERIES:
        raise _too_much(f"{len(run_ids):,} runs, over the limit of {MAX_SERIES:,}", "ask for fewer runs")
    series = [(run_id, key) for run_id in dict.fromkeys(run_ids)]
    async with _charts(request).snapshot() as reader:
        facts = await reader.facts(series)
        found = [(*one, fact) for one, fact in zip(series, facts, strict=True) if fact is not None]
        answer = await _aggregated(reader, found, options)
    return _respond(request, {"key": key, "runs": len(found), **answer}, started)


def _only(answer: dict[str, Any], wanted: Sequence[str]) -> dict[str, Any]:
    """The answer with no more columns than these: of thirteen, a chart draws half."""
    return {
        **answer,
        "columns": {name: answer["columns"][name] for name in wanted if name in answer["columns"]},
    }


async def _aggregated(
    reader: ChartReader, series: Sequence[tuple[UUID, str, SeriesFacts]], options: Options
) -> dict[str, Any]:
    if not series:
        return {"n": 0, "columns": {}}
    low = min(facts.first_step for *_, facts in series) if options.low is None else _clipped(int(options.low))
    high = (
        max(facts.last_step for *_, facts in series) if options.high is None else _clipped(int(options.high))
    )
    totals = GroupTotals(even_borders(low, max(low, high), options.buckets))
    left = MAX_AGGREGATE_POINTS
    try:
        for run_id, key, facts in series:
            question = replace(options.question(run_id, key, facts), low=low, high=max(low, high))
            async for opened in reader.points(question, facts, limit=left):
                left -= len(opened)
                totals.add(opened.steps, opened.values)
    except TooManyPoints as error:
        raise _too_much(str(error), "ask for a shorter range of steps, or fewer runs") from error
    columns = totals.columns()
    return {"n": int(columns["count"].sum()), "columns": columns}


async def _answers(
    reader: ChartReader, series: Sequence[tuple[UUID, str, SeriesFacts]], options: Options
) -> list[dict[str, Any]]:
    try:
        if options.x == "metric":
            return [await _over_metric(reader, *one, options) for one in series]
        questions = [(options.question(run_id, key, facts), facts) for run_id, key, facts in series]
        return [_shown(chart, options) async for chart in reader.charts(questions)]
    except TooManyPoints as error:
        raise _too_much(
            str(error), "ask for a shorter range, or try again when the series is compacted"
        ) from error


def _shown(chart: Chart, options: Options) -> dict[str, Any]:
    shift = chart.facts.start_time_ms if options.x == "relative" else 0
    parts, question = chart.parts, chart.question
    by_step = question.axis == "step"
    low, high = (
        (parts.lo_step, parts.hi_step) if by_step else (parts.lo_time_ms - shift, parts.hi_time_ms - shift)
    )
    return {
        "run_id": question.run_id.hex,
        "key": question.key,
        "x": options.shown_x,
        "form": "points" if chart.is_raw else "buckets",
        "told": told(chart.point_count, len(parts), is_raw=chart.is_raw),
        "n": chart.point_count,
        "series_n": chart.facts.n,
        "low": None if chart.low is None else chart.low - shift,
        "high": None if chart.high is None else chart.high - shift,
        "columns": point_columns(parts, low) if chart.is_raw else bucket_columns(parts, low, high),
    }


async def _over_metric(
    reader: ChartReader, run_id: UUID, key: str, facts: SeriesFacts, options: Options
) -> dict[str, Any]:
    """The chart over another metric: both are read as points, rank by rank."""
    (other,) = await reader.facts([(run_id, options.x_key)])
    ranks = sorted({w.rank for w in facts.writers if options.ranks is None or w.rank in options.ranks})
    placed: list[Placed] = []
    for rank in ranks if other is not None else ():
        mine = replace(options.question(run_id, key, facts), ranks=(rank,))
        own = [one async for one in reader.loose_parts(mine, facts, limit=MAX_JOIN_POINTS)]
        theirs = [
            one
            async for one in reader.loose_parts(
                replace(mine, key=options.x_key), cast("SeriesFacts", other), limit=MAX_JOIN_POINTS
            )
        ]
        for one in own:
            steps = np.concatenate([part.lo_step for part in theirs]) if theirs else np.empty(0, np.int64)
            times = np.concatenate([part.lo_time_ms for part in theirs]) if theirs else np.empty(0, np.int64)
            values = np.concatenate([part.first_value for part in theirs]) if theirs else np.empty(0)
            placed.append(join(one, steps, times, values))
    all_placed = Placed.joined(placed)
    x = all_placed.x_low
    low = options.low if options.low is not None else float(x.min(initial=math.inf))
    high = options.high if options.high is not None else float(x.max(initial=-math.inf))
    inside = (x >= low) & (x <= high)
    is_raw = int(inside.sum()) <= options.buckets
    if is_raw:
        shown = Placed(x[inside], x[inside], all_placed.parts.take(inside), all_placed.unplaced)
    else:
        shown = float_buckets(all_placed, low, high, options.buckets)
    parts = shown.parts
    columns = (
        point_columns(parts, shown.x_low) if is_raw else bucket_columns(parts, shown.x_low, shown.x_high)
    )
    return {
        "run_id": run_id.hex,
        "key": key,
        "x": options.shown_x,
        "form": "points" if is_raw else "buckets",
        "told": told(parts.point_count, len(parts), is_raw=is_raw),
        "n": parts.point_count,
        "series_n": facts.n,
        "unplaced": shown.unplaced,
        "low": low if math.isfinite(low) else None,
        "high": high if math.isfinite(high) else None,
        "columns": columns,
    }


# --- requests and answers ------------------------------------------------------------------------------------------


def _charts(request: web.Request) -> Charts:
    return request.app[CHARTS]


def _respond(request: web.Request, answer: dict[str, Any], started: float) -> web.Response:
    is_packed = _MSGPACK in request.headers.get("Accept", "")
    body = as_msgpack(answer) if is_packed else as_json(answer)
    milliseconds = (time.perf_counter() - started) * 1000
    return web.Response(
        body=body,
        content_type=_MSGPACK if is_packed else "application/json",
        headers={"Server-Timing": f"draw;dur={milliseconds:.2f}", "Vary": "Accept"},
    )


def _etag(*ingredients: object) -> str:
    return f'"{hashlib.blake2b(repr(ingredients).encode(), digest_size=12).hexdigest()}"'


def _too_much(detail: str, hint: str) -> Problem:
    return Problem(422, "too_much", detail[:1].upper() + detail[1:] + ".", hint=hint)


def _clipped(x: int) -> int:
    return min(max(x, INT64_MIN), INT64_MAX)


def _run_id(text: str) -> UUID:
    try:
        return parse_id(text)
    except ValueError as error:
        raise Problem(400, "bad_request", f"run_id: {error}.") from error


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise Problem(400, "bad_request", f"The body is no JSON: {error}.") from error
    if not isinstance(body, dict):
        raise Problem(400, "bad_request", "The body must be a JSON object.")
    return body


def _texts(body: Mapping[str, Any], name: str) -> list[str]:
    value = body.get(name)
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        raise Problem(400, "bad_request", f"{name} must be a list of strings with at least one entry.")
    return value


def _options(given: Mapping[str, Any]) -> Options:
    known = {"x", "from", "to", "buckets", "attempt", "rank"}
    if unknown := given.keys() - known:
        raise Problem(
            400, "bad_request", f"unknown option {min(unknown)[:80]!r}; there are {', '.join(sorted(known))}."
        )
    x, _, x_key = str(given.get("x", "step")).partition(":")
    if x not in {"step", "time", "relative", "metric"} or (x == "metric") != bool(x_key):
        raise Problem(
            400, "bad_request", f"x must be step, time, relative or metric:KEY, not {given['x']!r:.100}."
        )
    low, high = _number(given, "from"), _number(given, "to")
    if low is not None and high is not None and high < low:
        raise Problem(400, "bad_request", f"to ({high}) must not be below from ({low}).")
    buckets = _integer(given, "buckets", 1, MAX_BUCKETS)
    ranks = given.get("rank")
    ranks = str(ranks).split(",") if isinstance(ranks, str | int) else ranks
    if ranks is not None and not (isinstance(ranks, list) and 0 < len(ranks) <= 1_000):
        raise Problem(400, "bad_request", "rank must be one or more integers.")
    return Options(
        x=cast("Any", x),
        x_key=x_key,
        low=low,
        high=high,
        buckets=1_000 if buckets is None else buckets,
        attempt=_integer(given, "attempt", 1, 2**31 - 1),
        ranks=None
        if ranks is None
        else tuple(cast("int", _integer({"rank": r}, "rank", 0, 2**31 - 1)) for r in ranks),
    )


def _number(given: Mapping[str, Any], name: str) -> float | None:
    """A bound; integers stay integers, since a step may need all its 64 bits."""
    value = given.get(name)
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = int(value) if len(value) < 30 and value.lstrip("+-").isdigit() else float(value)
        except ValueError:
            value = None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Problem(400, "bad_request", f"{name} must be a number, not {given[name]!r:.100}.")
    return value


def _integer(given: Mapping[str, Any], name: str, least: int, most: int) -> int | None:
    value = _number(given, name)
    if value is None:
        return None
    if value != int(value) or not least <= value <= most:
        raise Problem(400, "bad_request", f"{name} must be an integer from {least} to {most}, not {value}.")
    return int(value)


_OPTIONS: Final = (
    Query(
        "x", "step (default), time (ms since the epoch), relative (ms since the run's start) or metric:KEY."
    ),
    Query("from", "Low end of the range on x, inclusive. Default: all.", "number"),
    Query("to", "High end of the range on x, inclusive. Default: all.", "number"),
    Query(
        "buckets",
        "Most buckets; with no more points than that, the points come as they are. Default 1000.",
        "integer",
    ),
    Query("attempt", "All points of this attempt, superseded or not, and no others.", "integer"),
    Query("rank", "Only writers of these ranks, separated by commas."),
)

ROUTES = (
    Route("GET", "/api/v1/runs/{run_id}/series/{key}", get_series, access="read", query=_OPTIONS),
    Route("POST", "/api/v1/series/query", query_series, access="read", body="application/json"),
    Route("POST", "/api/v1/series/aggregate", aggregate_series, access="read", body="application/json"),
)
