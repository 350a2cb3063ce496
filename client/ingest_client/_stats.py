"""What a run knows about its own delivery."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Stats"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Counters of one run in one process, at one moment.

    The law: accepted_num = acknowledged_num + spooled_num + rejected_num + dropped_num. All five count points. The same for
    artifacts: artifacts_accepted_num = artifacts_uploaded_num + artifacts_spooled_num + artifacts_rejected_num +
    artifacts_dropped_num.
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
    """dropped_num by reason: spool_full, disk_full, no_descriptors, no_spool, after_end, tensor_slots,
    tensor_failed."""
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
    call_cost_ns: float | None = None
    """Nanoseconds that a logging call costs here, as tried out with each heartbeat, every 20 seconds and at the end; None before the first."""

    # Artifacts: 0 for a run that logged none.
    artifacts_accepted_num: int = 0
    """Files for which a call that logs artifacts returned; the rows of one call of log_table count as one, and so
    does the deletion of one."""
    artifacts_uploaded_num: int = 0
    """Those that the service has, whole, by their SHA-256."""
    artifacts_spooled_num: int = 0
    """Those that wait in the spool, or are on their way."""
    artifacts_rejected_num: int = 0
    """Those that the service refused for good."""
    artifacts_dropped_num: int = 0
    """Those that could not be kept."""
    artifacts_rejected: Mapping[str, int] = field(default_factory=dict)
    """artifacts_rejected_num by the service's code, or by no_table and spool_lost."""
    artifacts_dropped: Mapping[str, int] = field(default_factory=dict)
    """artifacts_dropped_num by reason: spool_full, disk_full, disk_error, no_descriptors, no_spool, after_end."""
    artifacts_uploaded_bytes: int = 0
    """Size of those uploaded."""
    artifacts_retries_num: int = 0
    """Requests for artifacts that failed and were, or will be, repeated."""
    artifacts_spool_bytes: int = 0
    """Disk taken by those that wait."""
