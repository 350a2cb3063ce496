"""Is it alive, is it ready, which version, what do its counters say, which routes are there."""

from __future__ import annotations

import asyncio
import time
from functools import cache
from importlib.metadata import version as distribution_version

import orjson
from aiohttp import web

from ingest.mlflow.answers import API_VERSION as MLFLOW_VERSION
from ingest.store.errors import StoreError
from ingest.telemetry import CONTENT_TYPE, render_metrics
from ingest.web.routes import SERVICES, Route
from ingest_schema.limits import PROTOCOL_VERSION

READY_TIMEOUT = 3.0
"""Seconds for the database's answer; below the usual time-out of a probe's caller, which is 5 or 10."""
MIN_FREE_DISK_BYTES = 256 * 1024 * 1024
"""Below this the bundled PostgreSQL is about to stop taking writes."""


@cache
def service_version() -> str:
    """The release, as the installed distribution says it."""
    return distribution_version("metric-ingest")


def json_response(body: object, *, status: int = 200) -> web.Response:
    """An answer in JSON; NaN and the infinities must have been turned into strings."""
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")


async def healthz(request: web.Request) -> web.Response:
    """Whether the process answers at all; says nothing about the database."""
    del request
    return json_response({"status": "alive"})


async def readyz(request: web.Request) -> web.Response:
    """Whether batches can be stored now: the database answers, its schema fits, the disk has room."""
    services = request.app[SERVICES]
    checks: dict[str, dict[str, object]] = {}
    started = time.perf_counter()
    try:
        async with asyncio.timeout(READY_TIMEOUT):
            schema_version = await services.housekeeping.schema_version()
        checks["database"] = {"ok": True}
        checks["schema"] = {"ok": schema_version >= services.schema.version, "version": schema_version}
    except (StoreError, TimeoutError):
        checks["database"] = {"ok": False}
    checks["database"]["latency_ms"] = round((time.perf_counter() - started) * 1000, 3)
    if services.settings.database_url is None:  # otherwise the data lie on the database's disk, not on ours
        free_bytes = services.free_disk_bytes()
        checks["disk"] = {
            "ok": free_bytes is None or free_bytes > MIN_FREE_DISK_BYTES,
            "free_bytes": free_bytes,
        }
    if services.lifecycle.is_draining:
        checks["lifecycle"] = {"ok": False, "state": "draining"}
    is_ready = all(check["ok"] for check in checks.values())
    body = {"status": "ready" if is_ready else "unready", "checks": checks}
    return json_response(body, status=200 if is_ready else 503)


async def version(request: web.Request) -> web.Response:
    """The release, the protocol that it speaks and the schema, as JSON if JSON is asked for; else a bare version.

    The bare one is that of the MLflow whose REST API is served here: MLflow's client asks for it.
    """
    if "application/json" not in request.headers.get("Accept", ""):
        return web.Response(text=MLFLOW_VERSION)
    schema = request.app[SERVICES].schema
    return json_response(
        {
            "service": "ingest",
            "version": service_version(),
            "protocol": PROTOCOL_VERSION,
            "schema": schema.version,
        }
    )


async def metrics(request: web.Request) -> web.Response:
    """The service's counters, for Prometheus."""
    del request
    body = await asyncio.to_thread(render_metrics)  # with several workers this reads their files
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})


ROUTES = (
    Route("GET", "/healthz", healthz, access="open"),
    Route("GET", "/readyz", readyz, access="open"),
    Route("GET", "/version", version, access="open"),
    Route("GET", "/metrics", metrics, access="read", answer="text/plain"),
)
