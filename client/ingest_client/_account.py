"""What a writer knows about its own delivery: for its caller as `Stats`, for the service as the counters of a heartbeat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest_client._overhead import (
    call_cost_ns,
)  # here: a signal that meets an import keeps other threads from theirs
from ingest_client._stats import Stats

if TYPE_CHECKING:
    from ingest_client._writer import Writer

__all__ = ["has_lost_nothing", "last_report", "report", "stats_of"]


def stats_of(writer: Writer) -> Stats:
    """The counters of one moment; their law is in `Stats`. Cheap unless gigabytes wait in the spool."""
    spool, sender, deferrer = writer.recorder.spool, writer.sender, writer.recorder.deferrer
    dropped = dict(writer.recorder.dropped)
    acknowledged = rejected = spooled = spool_bytes = 0
    if sender is not None:
        sender.notice_sync()
    if spool is not None:
        state, spooled = spool.counted()
        for reason, points in tuple(spool.dropped.items()):
            dropped[reason] = dropped.get(reason, 0) + points
        acknowledged, rejected = state.acknowledged_points, state.rejected_points
        spool_bytes = 0 if sender is not None and sender.is_complete else spool.size_bytes
    if deferrer is not None:
        spooled += deferrer.pending_num
    dropped_num = sum(dropped.values())
    counts = writer.artifacts.counts() if writer.artifacts is not None else None
    return Stats(
        accepted_num=acknowledged + spooled + rejected + dropped_num,
        acknowledged_num=acknowledged,
        spooled_num=spooled,
        rejected_num=rejected,
        dropped_num=dropped_num,
        rejected=dict(sender.delivery.refusals) if sender else {},
        dropped=dropped,
        rejected_events_num=sender.rejected_events + sender.delivery.refused_events if sender else 0,
        batches_num=sender.batches if sender else 0,
        sent_bytes=sender.bytes_sent if sender else 0,
        retries_num=sender.retries if sender else 0,
        spool_bytes=spool_bytes,
        last_ack_ms=sender.last_ack_ms if sender else None,
        last_error=(sender.last_error if sender else None) or (counts.last_error if counts else None),
        call_cost_ns=writer.call_cost_ns,
        **(counts.as_stats() if counts is not None else {}),
    )


def has_lost_nothing(writer: Writer) -> bool:
    """Whether no point and no artifact was rejected or dropped so far."""
    stats = stats_of(writer)
    lost_artifacts = stats.artifacts_rejected_num or stats.artifacts_dropped_num
    return not (stats.rejected_num or stats.dropped_num or lost_artifacts)


def report(writer: Writer) -> dict[str, int]:
    """What logging and delivery cost the training process, for a heartbeat: the service keeps it as `writers.stats`.

    Tries a logging call out (`_overhead`).
    """
    spool, sender = writer.recorder.spool, writer.sender
    shapes = spool.shapes if spool is not None else {}
    writer.call_cost_ns = call_cost_ns(next(reversed(tuple(shapes.values())), ()))
    stats = stats_of(writer)
    costs = {} if stats.call_cost_ns is None else {"call_cost_ns": round(stats.call_cost_ns)}
    return {
        **costs,
        "sender_cpu_ms": sender.cpu_ms if sender is not None else 0,
        "spool_bytes": stats.spool_bytes,
        "sent_bytes": stats.sent_bytes,
        "batches": stats.batches_num,
        "last_ack_us": round((stats.last_ack_ms or 0.0) * 1000),
        "accepted": stats.accepted_num,
        "acknowledged": stats.acknowledged_num,
        "spooled": stats.spooled_num,
        "rejected": stats.rejected_num,
        "dropped": stats.dropped_num,
        "retries": stats.retries_num,
    }


def last_report(writer: Writer) -> dict[str, int]:
    """The report that goes into the spool behind the last record: when the service stores it, nothing before it waits any more."""
    counters = report(writer)
    counters["acknowledged"] += counters["spooled"]
    return {**counters, "spooled": 0, "spool_bytes": 0}
