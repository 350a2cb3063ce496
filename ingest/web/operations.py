"""GET /api/v1/operations: how the service and its database are doing, for the dashboard's page of that name.

Two kinds of numbers stand side by side, and each says which it is. `database` holds facts of the database, the same whichever
service is asked. `service` holds the counters of the processes of this one service (all its workers) since they started; where
several services share a database, each knows only its own, and `service.instance` tells them apart, so that whoever makes rates
out of two answers can see that both came from the same one. Monitoring of a fleet belongs to `/metrics` and Prometheus.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from aiohttp import web
from prometheus_client import Metric

from ingest.telemetry import MULTIPROCESS_DIRECTORY, collect_metrics
from ingest.web.health import json_response, service_version
from ingest.web.routes import SERVICES, Route

__all__ = ["ROUTES"]

_STARTED: Final = time.time()
_POINT_TABLES: Final = frozenset({"metric_chunks", "packed_chunks"})


async def get_operations(request: web.Request) -> web.Response:
    """Rates, queue, lag, rejects, sizes, compaction and sealing: of this service and of the database."""
    services = request.app[SERVICES]
    activity, volume = await services.operations.activity(), await services.operations.volume()
    samples = await asyncio.to_thread(lambda: _samples(collect_metrics()))
    point_bytes = sum(table["bytes"] for table in volume.tables if table["name"] in _POINT_TABLES)
    bytes_per_point = point_bytes / activity.writers["points"] if activity.writers["points"] else None
    return json_response(
        {
            "time_ms": int(time.time() * 1000),
            "service": {
                # Workers of one service answer in turn and add their counters up; their parent is what they share.
                "instance": f"{socket.gethostname()}:{_family_pid()}",
                "version": service_version(),
                "started_ms": int(_STARTED * 1000),
                "workers": services.settings.workers,
                "is_draining": services.lifecycle.is_draining,
                "free_disk_bytes": services.free_disk_bytes(),
                **_counters(samples),
            },
            "database": {
                "activity_measured_ms": int(activity.measured_at * 1000),
                "volume_measured_ms": int(volume.measured_at * 1000),
                "writers": activity.writers,
                "runs": activity.runs,
                "connections": activity.connections,
                "database_bytes": volume.database_bytes,
                "bytes_per_point": bytes_per_point,
                "tables": volume.tables,
                "largest_runs": volume.runs,
                "largest_experiments": volume.experiments,
            },
        }
    )


def _family_pid() -> int:
    return os.getppid() if MULTIPROCESS_DIRECTORY in os.environ else os.getpid()


_Samples = Mapping[str, list[tuple[Mapping[str, str], float]]]


def _samples(metrics: Iterable[Metric]) -> _Samples:
    """Labels and values by the sample's name."""
    found: dict[str, list[tuple[Mapping[str, str], float]]] = {}
    for metric in metrics:
        for sample in metric.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def _counters(samples: _Samples) -> dict[str, Any]:
    def total(name: str) -> float:
        return sum(value for _, value in samples.get(name, ()))

    def by(name: str, label: str) -> dict[str, float]:
        return {labels[label]: value for labels, value in samples.get(name, ()) if value}

    return {
        "points": by("ingest_points_total", "outcome"),
        "batches": by("ingest_batches_total", "outcome"),
        "rejects": by("ingest_rejects_total", "reason"),
        "refused_logins": by("ingest_auth_failures_total", "reason"),
        "received_bytes": total("ingest_received_bytes_total"),
        "queue_bytes": total("ingest_queue_bytes"),
        "queue_batches": total("ingest_queue_batches"),
        "lag": _timing(samples, "ingest_lag_seconds"),
        "commit": _timing(samples, "ingest_commit_seconds"),
        "compaction": {
            "points": total("ingest_compacted_points_total"),
            "chunks": total("ingest_compacted_chunks_total"),
            "waiting_chunks": total("ingest_compaction_waiting_chunks"),
            **_timing(samples, "ingest_compaction_seconds"),
        },
        "live_streams": total("ingest_live_streams"),
    }


def _timing(samples: _Samples, name: str) -> dict[str, float]:
    """Of a histogram: how many, and seconds together. Two answers make the mean of the time between them."""
    return {kind: sum(value for _, value in samples.get(f"{name}_{kind}", ())) for kind in ("count", "sum")}


ROUTES = (Route("GET", "/api/v1/operations", get_operations, access="read"),)
