"""Delivery of spools whose owners are dead: by the next run, by the parent, or by `ingest sync`.

A spool whose lock is free has no owner. Whoever takes the lock goes on where the cursor stands, with the batch that may
have been under way first, so nothing is lost and nothing is stored twice. Records are checked one by one here: a torn
tail or a damaged byte costs the records it hit, and the report counts their bytes.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ingest_client._cursor import Cursor, CursorState
from ingest_client._delivery import Delivery
from ingest_client._descriptors import is_shortage, none_if_unreadable
from ingest_client._directory import META_NAME, SHAPES_NAMES, claim_lock, remove_spool
from ingest_client._protocol import Outcome, Retry
from ingest_client._record import intact_ranges, read_definitions
from ingest_client._retry import RetryClock, roll
from ingest_client._segment import FIRST_WORD, Segment, segment_serial
from ingest_schema.ids import parse_id

if TYPE_CHECKING:
    from ingest_client._transport import Transport

__all__ = [
    "DeadSpool",
    "SpoolReport",
    "deliver",
    "directories",
    "find_spools",
    "read_meta",
    "run_directories",
    "sweep",
    "sweep_in_background",
]


@dataclass(slots=True)
class SpoolReport:
    """What became of one spool: a writer's points, or a process's artifacts of a run (`artifacts-…`)."""

    directory: str
    run_id: str
    writer_id: str
    tracking_uri: str | None = None
    status: str = "delivered"
    """delivered, in_use, waiting (the service was not there, or no file descriptor), other_service, or damaged (kept: its cursor is lost)."""
    acknowledged_points: int = 0
    rejected_points: int = 0
    damaged_bytes: int = 0
    batches: int = 0
    uploaded_artifacts: int = 0
    rejected_artifacts: int = 0
    error: str | None = None
    refusals: dict[str, int] = field(default_factory=dict)


class DeadSpool:
    """What a dead writer left; a `Source` for `Delivery`. The caller holds its lock."""

    def __init__(self, directory: Path, run_id: UUID, writer_id: UUID, cursor: Cursor) -> None:
        self.run_id = run_id
        self.writer_id = writer_id
        self.cursor = cursor
        self.directory = directory
        self.shapes: dict[int, tuple[str, ...]] = {}
        for name in SHAPES_NAMES:
            with none_if_unreadable():
                self.shapes = read_definitions((directory / name).read_bytes()) | self.shapes
        serials = (segment_serial(path.name) for path in directory.iterdir())
        self._serials = sorted(serial for serial in serials if serial is not None)
        self._opened: Segment | None = None
        self._limits: dict[int, int] = {}

    def segment_from(self, serial: int) -> Segment | None:
        for candidate in self._serials:
            if candidate >= serial:
                if self._opened is None or self._opened.serial != candidate:
                    self._opened = _open_readonly(self.directory, candidate)
                return self._opened
        return None

    def limit(self, segment: Segment) -> int:
        """The word after the last that is not zero."""
        if segment.serial not in self._limits:
            filled = len(bytes(segment.words).rstrip(b"\0"))
            self._limits[segment.serial] = max(FIRST_WORD, -(-filled // 8))
        return self._limits[segment.serial]

    def is_final(self, segment: Segment) -> bool:
        del segment
        return True

    def intact(self, segment: Segment, begin: int, end: int) -> Iterable[tuple[int, int]]:
        return intact_ranges(segment.words, begin, end, self.shapes)

    def settle(self, segment: Segment | None, points: int, state: CursorState) -> None:
        del segment, points
        self.cursor.store(state)

    def release(self, segment: Segment, breathe: Callable[[], object]) -> None:
        del breathe
        self._serials.remove(segment.serial)
        self._opened = None
        segment.path.unlink(missing_ok=True)
        segment.close()


def find_spools(root: Path, run_id: UUID | None = None) -> Iterator[tuple[Path, UUID, UUID]]:
    """All spools below a folder, oldest run first, as directory, run id and writer id."""
    for run, run_directory in run_directories(root, run_id):
        for directory in sorted(directories(run_directory)):
            with contextlib.suppress(ValueError):
                yield directory, run, parse_id(directory.name)


def sweep(
    root: Path,
    post: Callable[[bytes, int], Outcome],
    *,
    tracking_uri: str | None,
    run_id: UUID | None = None,
    patience: float = 0.0,
    leave: Callable[[Path], bool] = lambda _: False,
    on_report: Callable[[SpoolReport], object] = lambda _: None,
) -> list[SpoolReport]:
    """Deliver every orphaned spool below a folder.

    Args:
        root: The spool folder.
        post: Sends a batch.
        tracking_uri: Where `post` sends to: spools for other services are left alone. None delivers all of them there.
        run_id: Only spools of this run.
        patience: Seconds to keep trying while the service does not take a batch; with 0 the first failure ends the sweep.
        leave: Says of a spool that it is not to be touched, such as one that is parked in this process.
        on_report: Told of each spool when it is through.
    """
    reports: list[SpoolReport] = []
    for directory, run, writer in find_spools(root, run_id):
        if leave(directory):
            continue
        report = deliver(directory, run, writer, post, tracking_uri=tracking_uri, patience=patience)
        reports.append(report)
        on_report(report)
        if report.status == "waiting" and patience == 0:
            break
    return reports


def deliver(
    directory: Path,
    run_id: UUID,
    writer_id: UUID,
    post: Callable[[bytes, int], Outcome],
    *,
    tracking_uri: str | None,
    patience: float = 0.0,
) -> SpoolReport:
    """Deliver one spool if nobody owns it, and delete it when all of it is settled."""
    report = SpoolReport(str(directory), run_id.hex, writer_id.hex)
    lock = claim_lock(directory)
    if lock is None:
        report.status = "in_use"
        return report
    try:
        report.tracking_uri = read_meta(directory).get("tracking_uri")
        if tracking_uri is not None and report.tracking_uri not in {None, tracking_uri}:
            report.status = "other_service"
            return report
        cursor = Cursor.open(directory)
        if cursor is None:
            report.status = "damaged"
            report.error = (
                "both cursor files are damaged: what is stored already can't be told from what is not"
            )
            return report
        try:
            _deliver_claimed(DeadSpool(directory, run_id, writer_id, cursor), post, report, patience)
        finally:
            cursor.close()
        if report.status == "delivered":
            remove_spool(directory)
    except OSError as error:
        if not is_shortage(error):
            raise
        report.status, report.error = "waiting", f"there is no file descriptor left to read it: {error}"
    finally:
        os.close(lock)
    return report


def _deliver_claimed(
    spool: DeadSpool, post: Callable[[bytes, int], Outcome], report: SpoolReport, patience: float
) -> None:
    delivery, retry = Delivery(spool), RetryClock()
    before = spool.cursor.state
    give_up_at = time.monotonic() + patience
    while (request := delivery.next_request(time.time_ns() // 1_000_000)) is not None:
        outcome = post(request.body, request.seq)
        delivery.settle(request, outcome)
        if not isinstance(outcome, Retry):
            report.batches += 1
            retry.succeeded()
            give_up_at = time.monotonic() + patience
            continue
        again_at = retry.failed(time.monotonic(), roll(), outcome.retry_after)
        if again_at > give_up_at:
            report.status, report.error = "waiting", outcome.message
            break
        time.sleep(max(0.0, again_at - time.monotonic()))
    state = spool.cursor.state
    report.acknowledged_points = state.acknowledged_points - before.acknowledged_points
    report.rejected_points = state.rejected_points - before.rejected_points
    report.damaged_bytes = state.damaged_bytes - before.damaged_bytes
    report.refusals = dict(delivery.refusals)


def sweep_in_background(
    root: Path,
    open_transport: Callable[[], Transport],
    tracking_uri: str,
    sweep_artifacts: Callable[[Transport], object],
    *,
    leave: Callable[[Path], bool],
) -> None:
    """Look once per process and service for orphans below a folder, on a daemon thread of its own; for artifacts after points."""
    if (str(root), tracking_uri) in _swept:
        return
    _swept.add((str(root), tracking_uri))

    def work() -> None:
        transport = open_transport()
        # Whatever goes wrong: the orphans stay where they are, for the next sweep.
        with contextlib.suppress(Exception), contextlib.closing(transport):
            sweep(root, transport.post_batch, tracking_uri=tracking_uri, leave=leave)
            sweep_artifacts(transport)

    with contextlib.suppress(RuntimeError):  # no more threads
        threading.Thread(target=work, name="ingest-sweep", daemon=True).start()


_swept: set[tuple[str, str]] = set()


def _open_readonly(directory: Path, serial: int) -> Segment:
    """A segment as far as it is there; one that was cut is short."""
    path = directory / f"{serial:08d}.seg"
    size = path.stat().st_size // 8 * 8
    if size == 0:
        mapped = mmap.mmap(-1, mmap.PAGESIZE)
        return Segment(path, mapped, mmap.PAGESIZE, serial)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        mapped = mmap.mmap(fd, size, access=mmap.ACCESS_READ)
    finally:
        os.close(fd)
    return Segment(path, mapped, size, serial)


def read_meta(directory: Path) -> dict[str, Any]:
    """What the owner of a spool left about where it goes; empty if that is damaged."""
    meta = None
    with none_if_unreadable(ValueError):
        meta = json.loads((directory / META_NAME).read_bytes())
    return meta if isinstance(meta, dict) else {}


def run_directories(root: Path, run_id: UUID | None) -> Iterator[tuple[UUID, Path]]:
    """The folders of all runs below a spool folder, oldest first; or that of one run, without a look at the others."""
    if run_id is not None:
        yield run_id, root / run_id.hex
        return
    for directory in sorted(directories(root)):
        with contextlib.suppress(ValueError):
            yield parse_id(directory.name), directory


def directories(root: Path) -> list[Path]:
    """The visible directories in a folder."""
    try:
        return [path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")]
    except OSError:
        return []
