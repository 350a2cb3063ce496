"""What a run knows about its own delivery."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Stats"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Counters of one run in one process, at one moment.

    The law: accepted_num = acknowledged_num + spooled_num + rejected_num + dropped_num. All five count points.
    """

    accepted_num: int
    """Points for which a logging call returned."""
    acknowledged_num: int
    """Points that the service has committed."""
    spooled_num: int
    """Points that wait in the spool, on their way included, or in tensors that are still being read."""
    rejected_num: int
    """Points that the service refused for good."""
    dropped_num: int
    """Points that could not be kept."""
    rejected: Mapping[str, int]
    """rejected_num by the service's code: batch_malformed, batch_refused, batch_too_large."""
    dropped: Mapping[str, int]
    """dropped_num by reason: spool_full, disk_full, no_spool, after_end, tensor_slots, tensor_failed."""
    rejected_events_num: int
    """Params, starts of runs and the like that the service left out."""
    batches_num: int
    """Batches acknowledged."""
    sent_bytes: int
    """Their size before compression."""
    retries_num: int
    """Attempts that failed and were, or will be, repeated."""
    spool_bytes: int
    """Disk taken by the spool."""
    last_ack_ms: float | None
    """Time that the last acknowledgement took."""
    last_error: str | None
    """What went wrong last, if anything did."""
