"""What a writer leaves to others: a parked spool to the attendant of its lot, what dead processes have left to a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ingest_client._directory import ARTIFACTS_PREFIX
from ingest_client._imports import not_while_forking
from ingest_client._parking import Lot, Parked, Post
from ingest_client._transport import Transport
from ingest_schema.ids import parse_id

if TYPE_CHECKING:
    from ingest_client._artifacts_queue import ArtifactQueue
    from ingest_client._recover import SpoolReport
    from ingest_client._sender import Sender
    from ingest_client._settings import Settings
    from ingest_client._spool import Spool
    from ingest_client._writer import Writer

__all__ = ["parked_artifacts", "parked_points", "sweep_children", "sweep_orphans"]


def parked_points(writer: Writer, sender: Sender) -> Parked:
    """The spool of an ended writer, for its lot."""
    spool = sender.spool

    def deliver_once(transport: Transport, post: Post) -> SpoolReport:
        with not_while_forking:
            from ingest_client._recover import deliver

        del transport
        report = deliver(spool.directory, spool.run_id, spool.writer_id, post, tracking_uri=None)
        sender.count_parked(report)
        return report

    def settle(transport: Transport) -> None:
        sender.settle_parked()
        sweep_children(writer, spool, transport)

    return Parked(spool.directory, deliver_once, settle)


def parked_artifacts(queue: ArtifactQueue, directory: Path) -> Parked:
    """The artifacts of an ended writer, for its lot."""
    spool_id = parse_id(directory.name.removeprefix(ARTIFACTS_PREFIX))

    def deliver_once(transport: Transport, post: Post) -> SpoolReport:
        with not_while_forking:
            from ingest_client._artifacts_recover import deliver_artifacts
            from ingest_client._recover import SpoolReport

        del post
        if not queue.may_leave:  # another attendant is at its points
            return SpoolReport(str(directory), queue.run_id.hex, spool_id.hex, status="in_use")
        report = deliver_artifacts(
            directory, queue.run_id, spool_id, transport, queue.settings, tracking_uri=None
        )
        queue.count_parked(report)
        return report

    def settle(transport: Transport) -> None:
        del transport
        queue.settle_parked()

    return Parked(directory, deliver_once, settle, is_artifacts=True)


def sweep_children(writer: Writer, spool: Spool, transport: Transport) -> None:
    """Everything of this writer is stored: deliver what dead children of its run have left."""
    if not writer.owns_run:
        return
    with not_while_forking:
        from ingest_client._artifacts_recover import sweep_artifacts
        from ingest_client._recover import sweep

    root, uri = spool.directory.parent.parent, writer.settings.tracking_uri
    sweep(root, transport.post_batch, tracking_uri=uri, run_id=writer.run_id)
    sweep_artifacts(root, transport, writer.settings, tracking_uri=uri, run_id=writer.run_id)


def sweep_orphans(root: Path, settings: Settings, lot: Lot) -> None:
    """The service is there: deliver what dead processes have left, in the background, once a process."""
    with not_while_forking:
        from ingest_client._artifacts_recover import sweep_artifacts
        from ingest_client._recover import sweep_in_background

    uri = settings.tracking_uri
    sweep_in_background(
        root,
        lambda: Transport(uri, token=settings.token, ca_file=settings.ca_file),
        uri,
        lambda transport: sweep_artifacts(root, transport, settings, tracking_uri=uri, leave=lot.holds),
        leave=lot.holds,
    )
