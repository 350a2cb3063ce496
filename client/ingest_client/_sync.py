"""`ingest sync`: deliver what dead or offline processes have left in a spool folder, several spools at a time.

`ingest serve` uses it too, for what waits for its own address (`only_for`): `waiting_spools` says cheaply whether that is worth
while.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Final
from uuid import UUID

from ingest_client._artifacts_recover import deliver_artifacts, find_artifact_spools
from ingest_client._directory import claim_lock
from ingest_client._recover import SpoolReport, deliver, find_spools, read_meta
from ingest_client._settings import DEFAULT_URI, Settings, checked_uri
from ingest_client._transport import Transport

__all__ = ["SpoolReport", "sync_spool", "waiting_spools"]

WORKERS: Final = 4
"""Spools delivered at once; the service groups their commits."""

Spool = tuple[Path, UUID, UUID]
"""Its directory, the run's id, and the writer's."""


def sync_spool(
    directory: str | Path | None = None,
    *,
    tracking_uri: str | None = None,
    token: str | None = None,
    only_for: Collection[str] | None = None,
    patience: float = 10.0,
    on_report: Callable[[SpoolReport], object] = lambda _: None,
) -> list[SpoolReport]:
    """Deliver every spool below a folder that no live process owns. Safe to repeat, and while runs are going on.

    Args:
        directory: The spool folder; the user's own (INGEST_SPOOL_DIR) if not given.
        tracking_uri: Deliver all of them there. If not given, each goes where its run was sent to.
        token: Bearer token; INGEST_TOKEN if not given. It is sent to the named service only, else to that of the environment
            and to this machine.
        only_for: Deliver only spools of this user that were meant for one of these addresses.
        patience: Seconds to keep trying while the service does not take a batch.
        on_report: Told of each spool when it is through.

    Returns:
        One report per spool, oldest run first: those of points, then those of artifacts.

    Raises:
        ValueError: `tracking_uri` is no address.
    """
    settings = Settings.read(token=token)
    if tracking_uri is not None:
        checked_uri(tracking_uri)
    root = Path(directory) if directory is not None else settings.spool_dir

    def open_transport(uri: str) -> Transport:
        known = uri in {settings.tracking_uri, tracking_uri}
        return Transport(uri, token=settings.token if known else None, ca_file=settings.ca_file)

    def points(spool: Spool, transport: Transport) -> SpoolReport:
        return deliver(*spool, transport.post_batch, tracking_uri=None, patience=patience)

    def artifacts(spool: Spool, transport: Transport) -> SpoolReport:
        return deliver_artifacts(*spool, transport, settings, tracking_uri=None, patience=patience)

    # Points first: the service takes artifacts of runs that it knows.
    reports: list[SpoolReport] = []
    for find, deliver_one in ((find_spools, points), (find_artifact_spools, artifacts)):
        work = [
            (spool, (tracking_uri or _address(spool[0]) or DEFAULT_URI).rstrip("/"))
            for spool in find(root)
            if only_for is None or _is_meant_for(spool[0], only_for)
        ]
        reports += _in_parallel(work, deliver_one, open_transport, on_report)
    return reports


def waiting_spools(directory: str | Path | None, *, only_for: Collection[str]) -> Iterator[Path]:
    """Spools of this user that no live process owns and that were meant for one of these addresses.

    Args:
        directory: The spool folder; the user's own (INGEST_SPOOL_DIR) if not given.
        only_for: Addresses of one service.
    """
    root = Path(directory) if directory is not None else Settings.read().spool_dir
    for find in (find_spools, find_artifact_spools):
        for spool, _, _ in find(root):
            if _is_meant_for(spool, only_for) and (lock := claim_lock(spool)) is not None:
                os.close(lock)
                yield spool


def _is_meant_for(directory: Path, addresses: Collection[str]) -> bool:
    """Whether it goes to one of these addresses and belongs to this user: a folder may be shared."""
    try:
        is_own = directory.lstat().st_uid == os.geteuid()
    except OSError:
        return False
    return is_own and (_address(directory) or "").rstrip("/") in addresses


def _in_parallel(
    work: list[tuple[Spool, str]],
    deliver_one: Callable[[Spool, Transport], SpoolReport],
    open_transport: Callable[[str], Transport],
    on_report: Callable[[SpoolReport], object],
) -> list[SpoolReport]:
    """Deliver spools to their addresses, several at a time; the reports in the order of the work."""
    reports: list[SpoolReport | None] = [None] * len(work)
    numbers = iter(range(len(work)))
    lock = threading.Lock()

    def worker() -> None:
        transports: dict[str, Transport] = {}
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                break
            spool, uri = work[number]
            if uri not in transports:
                transports[uri] = open_transport(uri)
            report = deliver_one(spool, transports[uri])
            with lock:
                reports[number] = report
                on_report(report)
        for transport in transports.values():
            transport.close()

    threads = [threading.Thread(target=worker, daemon=True) for _ in range(min(WORKERS, len(work)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [report for report in reports if report is not None]


def _address(directory: Path) -> str | None:
    """Where the run of this spool was sent to, if that is still readable."""
    uri = read_meta(directory).get("tracking_uri")
    try:
        return checked_uri(uri) if isinstance(uri, str) else None
    except ValueError:
        return None
