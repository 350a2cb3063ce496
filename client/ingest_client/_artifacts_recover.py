"""Delivery of artifacts whose process is dead: by the next run, by the parent, or by `ingest sync`; see `_recover`.

They go after the points of their run, since the service takes artifacts of runs that it knows. A file that is sent again is the
same file at the same path: nothing can be stored twice.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final
from uuid import UUID

from ingest_client._artifacts_queue import ArtifactQueue
from ingest_client._artifacts_spool import ArtifactSpool, read_entries
from ingest_client._directory import ARTIFACTS_PREFIX, claim_lock
from ingest_client._recover import SpoolReport, directories, read_meta, run_directories
from ingest_client._settings import Settings
from ingest_client._transport import Transport
from ingest_schema.ids import parse_id

__all__ = ["deliver_artifacts", "find_artifact_spools", "sweep_artifacts"]

_UNBOUNDED: Final = 1 << 62


def find_artifact_spools(root: Path, run_id: UUID | None = None) -> Iterator[tuple[Path, UUID, UUID]]:
    """All spools of artifacts below a folder, oldest run first, as directory, run id and the spool's own id."""
    for run, run_directory in run_directories(root, run_id):
        for directory in sorted(directories(run_directory)):
            if directory.name.startswith(ARTIFACTS_PREFIX):
                with contextlib.suppress(ValueError):
                    yield directory, run, parse_id(directory.name.removeprefix(ARTIFACTS_PREFIX))


def sweep_artifacts(
    root: Path,
    transport: Transport,
    settings: Settings,
    *,
    tracking_uri: str | None,
    run_id: UUID | None = None,
    leave: Callable[[Path], bool] = lambda _: False,
) -> list[SpoolReport]:
    """Deliver every orphaned spool of artifacts below a folder; the arguments are those of `_recover.sweep`."""
    reports: list[SpoolReport] = []
    for directory, run, spool_id in find_artifact_spools(root, run_id):
        if leave(directory):
            continue
        reports.append(
            deliver_artifacts(directory, run, spool_id, transport, settings, tracking_uri=tracking_uri)
        )
    return reports


def deliver_artifacts(
    directory: Path,
    run_id: UUID,
    spool_id: UUID,
    transport: Transport,
    settings: Settings,
    *,
    tracking_uri: str | None,
    patience: float = 0.0,
) -> SpoolReport:
    """Deliver one spool of artifacts if nobody owns it, and delete it when all of it is settled."""
    report = SpoolReport(str(directory), run_id.hex, spool_id.hex)
    lock = claim_lock(directory)
    if lock is None:
        report.status = "in_use"
        return report
    try:
        spool = ArtifactSpool(directory, lock, _UNBOUNDED, read_entries(directory))
    except OSError as error:
        os.close(lock)
        report.status, report.error = "waiting", f"it can't be read now: {error}"
        return report
    try:
        report.tracking_uri = read_meta(directory).get("tracking_uri")
        if tracking_uri is not None and report.tracking_uri not in {None, tracking_uri}:
            report.status = "other_service"
        else:
            _deliver_claimed(spool, run_id, transport, settings, report, patience)
    finally:
        if report.status == "other_service":
            spool.abandon()
        else:
            spool.dispose()
    return report


def _deliver_claimed(  # noqa: PLR0917 - what deliver_artifacts has
    spool: ArtifactSpool,
    run_id: UUID,
    transport: Transport,
    settings: Settings,
    report: SpoolReport,
    patience: float,
) -> None:
    trouble: dict[str, str] = {}
    warn: Callable[[str, str], None] = trouble.__setitem__
    queue = ArtifactQueue(run_id, settings, is_known=lambda: True, warn=warn, spool=spool)
    give_up_at, settled = time.monotonic() + patience, 0
    while (due := queue.not_before(time.monotonic())) is not None:
        if due > give_up_at:
            report.status = "waiting"
            break
        time.sleep(max(0.0, due - time.monotonic()))
        failures = queue.counts().retries_num
        queue.step(transport, lambda: None)
        counts = queue.counts()
        if counts.retries_num == failures or counts.uploaded_num > settled:
            give_up_at, settled = time.monotonic() + patience, counts.uploaded_num
    counts = queue.counts()
    report.uploaded_artifacts = counts.uploaded_num
    report.refusals = dict(counts.rejected)
    report.rejected_artifacts = sum(counts.rejected.values())
    if report.status == "waiting" or counts.rejected:
        report.error = counts.last_error
