"""The service's own metrics, for `GET /metrics`. Declared here once; the code that knows a number counts it.

Names begin with `ingest_`, units are base units. With several workers each process writes its numbers to files that
`PROMETHEUS_MULTIPROC_DIR` names (prometheus_client's multiprocess mode, decided when it is imported), and whichever
worker answers adds them up. That mode knows no callbacks: a gauge is set where the number changes.

The law of points, the server's half: received = stored + repeated + refused; see `POINTS`.
"""

from __future__ import annotations

import os
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
MULTIPROCESS_DIRECTORY: Final = "PROMETHEUS_MULTIPROC_DIR"

disable_created_metrics()  # type: ignore[no-untyped-call]  # one line more for each number, of no use to anybody here

REGISTRY: Final = CollectorRegistry()

_COMMIT_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_REQUEST_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)
_LAG_BUCKETS: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 3600.0, 86_400.0)

POINTS: Final = Counter(
    "ingest_points",
    "Points by what became of them: stored, repeated (stored before), refused (never stored).",
    ["outcome"],
    registry=REGISTRY,
)
BATCHES: Final = Counter(
    "ingest_batches",
    "Batches by what became of them: stored, repeated, gap, refused.",
    ["outcome"],
    registry=REGISTRY,
)
REJECTS: Final = Counter(
    "ingest_rejects",
    "Requests to store something that were turned away, by the code in the answer.",
    ["reason"],
    registry=REGISTRY,
)
RECEIVED_BYTES: Final = Counter(
    "ingest_received_bytes", "Bytes of batches as they came in, compressed or not.", registry=REGISTRY
)
DECODED_BYTES: Final = Counter(
    "ingest_decoded_bytes", "Bytes of batches once decompressed.", registry=REGISTRY
)
COMMIT_SECONDS: Final = Histogram(
    "ingest_commit_seconds",
    "Time of one write transaction, from its first statement to the answer to COMMIT.",
    buckets=_COMMIT_BUCKETS,
    registry=REGISTRY,
)
COMMIT_BATCHES: Final = Histogram(
    "ingest_commit_batches",
    "Batches in one write transaction.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
    registry=REGISTRY,
)
QUEUE_BYTES: Final = Gauge(
    "ingest_queue_bytes",
    "Bytes of batches accepted and not yet committed.",
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
QUEUE_BATCHES: Final = Gauge(
    "ingest_queue_batches",
    "Batches accepted and not yet committed.",
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
LAG_SECONDS: Final = Histogram(
    "ingest_lag_seconds",
    "From the client's sending a batch, by the client's clock, to its commit.",
    buckets=_LAG_BUCKETS,
    registry=REGISTRY,
)
REQUESTS: Final = Counter(
    "ingest_http_requests", "Requests answered.", ["method", "route", "status"], registry=REGISTRY
)
REQUEST_SECONDS: Final = Histogram(
    "ingest_http_request_seconds",
    "Time from a request's headers to the end of its answer.",
    ["route"],
    buckets=_REQUEST_BUCKETS,
    registry=REGISTRY,
)
AUTH_FAILURES: Final = Counter(
    "ingest_auth_failures",
    "Requests refused for their Host, Origin or token.",
    ["reason"],
    registry=REGISTRY,
)

COMPACTED_POINTS: Final = Counter(
    "ingest_compacted_points",
    "Points laid down in packed rows; some more than once, as small rows are merged again.",
    registry=REGISTRY,
)
COMPACTED_CHUNKS: Final = Counter(
    "ingest_compacted_chunks", "Chunks and small packed rows that compaction replaced.", registry=REGISTRY
)
COMPACTION_SECONDS: Final = Histogram(
    "ingest_compaction_seconds",
    "Time of one transaction of compaction.",
    buckets=_COMMIT_BUCKETS,
    registry=REGISTRY,
)
COMPACTION_WAITING: Final = Gauge(
    "ingest_compaction_waiting_chunks",
    "Chunks that the last round left to wait for more of their series.",
    registry=REGISTRY,
    multiprocess_mode="mostrecent",
)
COMPACTION_LAG: Final = Gauge(
    "ingest_compaction_waiting_points",
    "Points in those chunks: what charts have to read one by one.",
    registry=REGISTRY,
    multiprocess_mode="mostrecent",
)
COMPACTION_ROUND: Final = Gauge(
    "ingest_compaction_round_timestamp_seconds",
    "When a round of upkeep over everything last came to its end, in Unix time.",
    registry=REGISTRY,
    multiprocess_mode="mostrecent",
)
SEALED_RUNS: Final = Counter(
    "ingest_sealed_runs",
    "Finished runs put into the segments of searches; some more than once, as those that change are taken out.",
    registry=REGISTRY,
)
UNSEALED_RUNS: Final = Gauge(
    "ingest_unsealed_runs",
    "Finished runs that wait to be sealed, after the last look: searches read each of them row by row.",
    registry=REGISTRY,
    multiprocess_mode="mostrecent",
)
RETENTION_RUNS: Final = Counter(
    "ingest_retention_runs",
    "Runs that a retention rule changed: deleted, thinned.",
    ["action"],
    registry=REGISTRY,
)
THINNED_POINTS: Final = Counter(
    "ingest_thinned_points", "Points that thinning left out, as retention rules wish.", registry=REGISTRY
)
LOST_RUNS: Final = Counter(
    "ingest_lost_runs", "Runs marked LOST because all of their writers fell silent.", registry=REGISTRY
)
REVIVED_RUNS: Final = Counter("ingest_revived_runs", "LOST runs that were heard of again.", registry=REGISTRY)

ARTIFACT_BYTES: Final = Counter(
    "ingest_artifact_bytes",
    "Bytes of artifacts that passed through: in (stored), out (sent).",
    ["direction"],
    registry=REGISTRY,
)
ARTIFACT_UPLOADS: Final = Counter(
    "ingest_artifact_uploads",
    "Files on their way in by what became of them: stored, or failed, of which nothing was kept. Parts count as files.",
    ["outcome"],
    registry=REGISTRY,
)
ARTIFACT_TRANSFERS: Final = Gauge(
    "ingest_artifact_transfers",
    "Files on their way now, in and out.",
    registry=REGISTRY,
    multiprocess_mode="livesum",
)

WATCHERS: Final = Gauge(
    "ingest_live_streams", "Live streams that are open.", registry=REGISTRY, multiprocess_mode="livesum"
)

if MULTIPROCESS_DIRECTORY not in os.environ:
    ProcessCollector(namespace="ingest", registry=REGISTRY)


def render_metrics() -> bytes:
    """All metrics in Prometheus' text form; of all workers, if there are several."""
    return generate_latest(_registry())


def collect_metrics() -> list[Metric]:
    """The same, as objects."""
    return list(_registry().collect())


def _registry() -> CollectorRegistry:
    directory = os.environ.get(MULTIPROCESS_DIRECTORY)
    if directory is None:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=directory)  # type: ignore[no-untyped-call]  # prometheus_client has none
    return registry
