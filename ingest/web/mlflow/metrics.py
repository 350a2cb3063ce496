"""Endpoints of metrics: log them, and read their histories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from typing import Final

import orjson
from aiohttp import web

from ingest.mlflow import history, metrics
from ingest.mlflow.answers import metric_objects
from ingest.mlflow.fields import query_object
from ingest.service import histories
from ingest.service.logging import log
from ingest.services import Services
from ingest.store.posts import ModelPoint
from ingest.store.timeline import Columns, Place
from ingest.web.mlflow.endpoint import Answer, endpoint, routes
from ingest.web.mlflow.runs import post_of_labels
from ingest.web.routes import SERVICES

__all__ = ["ROUTES"]

MAX_PAGE: Final = 100_000
"""Points of one page, whatever is asked for: the stock client asks for 25,000 and follows the tokens."""


async def log_metrics(services: Services, sent: metrics.LogBatch) -> Answer:
    """Log points, params and tags to a run, all or nothing."""
    points = sent.points
    post = post_of_labels(
        sent.run_id, dict(sent.params), dict(sent.tags),
        keys=points.keys, counts=points.counts, steps=points.steps, times_ms=points.times_ms, values=points.values,
        model_points=[ModelPoint(*astuple(point)) for point in sent.model_points],
    )  # fmt: skip
    await log(services.intake, post)
    return {}


async def get_history(request: web.Request) -> web.StreamResponse:
    """A page of a metric's points, or all of them as a stream."""
    services = request.app[SERVICES]
    sent = history.read_history(query_object(history.HISTORY, request.query.items()))
    if sent.run_id is None:  # no run of ours, hence no points
        return web.Response(body=b"{}", content_type="application/json")
    if sent.max_results is None and sent.after is None:
        return await _stream_history(request, sent)
    columns = await histories.page_of_points(
        services.database,
        sent.run_id,
        sent.key,
        limit=min(sent.max_results or MAX_PAGE, MAX_PAGE),
        after=None if sent.after is None else Place(*astuple(sent.after)),
    )
    body = b"{"
    if len(columns):
        body += b'"metrics":[' + _objects(sent.key, columns) + b"]"
    if columns.after is not None:
        token = history.Cursor(*astuple(columns.after)).token()
        body += b',"next_page_token":' + orjson.dumps(token)
    return web.Response(body=body + b"}", content_type="application/json")


async def _stream_history(request: web.Request, sent: history.History) -> web.StreamResponse:
    """Everything, piece by piece: the longest series takes no more memory than a short one."""
    assert sent.run_id is not None  # noqa: S101  # the caller's promise
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    is_empty = True
    async for columns in histories.all_points(request.app[SERVICES].database, sent.run_id, sent.key):
        if is_empty:
            await response.prepare(request)
        await response.write((b'{"metrics":[' if is_empty else b",") + _objects(sent.key, columns))
        is_empty = False
    if is_empty:
        return web.Response(body=b"{}", content_type="application/json")
    await response.write(b"]}")
    await response.write_eof()
    return response


async def get_history_bulk(services: Services, sent: history.BulkHistory) -> Answer:
    """The points of one metric of several runs."""
    found = await histories.points_of_runs(services.database, sent.run_ids, sent.key, limit=sent.max_results)
    # MLflow's server answers this without protobuf, which would leave an empty list out.
    return _answer_runs(sent.key, found, empty=b'{"metrics":[]}')


async def get_history_interval(services: Services, sent: history.IntervalHistory) -> Answer:
    """The points of one metric of several runs at some of their steps, chosen evenly."""
    found = await histories.thinned_points_of_runs(
        services.database,
        sent.run_ids,
        sent.key,
        steps_num=sent.max_results,
        first_step=sent.start_step,
        last_step=sent.end_step,
    )
    return _answer_runs(sent.key, found, empty=b"{}")


def _answer_runs(key: str, found: Sequence[histories.RunColumns], *, empty: bytes) -> bytes:
    pieces = [_objects(key, columns, run_id.hex) for run_id, columns in found if len(columns)]
    return b'{"metrics":[' + b",".join(pieces) + b"]}" if pieces else empty


def _objects(key: str, columns: Columns, run_id: str | None = None) -> bytes:
    return metric_objects(key, columns.steps, columns.times_ms, columns.values, run_id)


ROUTES = (
    *endpoint("POST", "runs/log-metric", metrics.read_log_metric, log_metrics),
    *endpoint("POST", "runs/log-batch", metrics.read_log_batch, log_metrics),
    *routes("GET", "metrics/get-history", get_history, access="read", about=get_history.__doc__),
    *endpoint(
        "GET", "metrics/get-history-bulk", history.read_bulk, get_history_bulk, query=history.BULK, access="read"
    ),
    *endpoint(
        "GET", "metrics/get-history-bulk-interval", history.read_interval, get_history_interval,
        query=history.INTERVAL, access="read",
    ),
)  # fmt: skip
