"""When the sender closes a batch. Pure: the caller brings the clock.

A batch is sent when enough waits or the oldest record has waited long enough. Each batch makes one chunk per metric in
the service, and long chunks are cheaper to store and read: a run of many metrics, each with few points a second,
therefore waits longer, up to five times as long.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["Pace"]

WIDE_KEYS: Final = 32
"""From this many metrics in a batch on, a run counts as wide."""

GOOD_CHUNK_POINTS: Final = 20
"""Points per metric and batch that a wide run waits for."""

MAX_STRETCH: Final = 5.0
FIRST_LINGER: Final = 0.05
"""Seconds before the first batch: a run shows up at once."""

ENOUGH_WORDS: Final = 45_000
"""Words of the spool that make a batch worth sending at once: 32,000 points in records of ten, a full batch."""


@dataclass(slots=True)
class Pace:
    """State of one sender's rhythm; times are the caller's monotonic seconds."""

    max_age: float
    linger: float = FIRST_LINGER
    waiting_since: float | None = None
    last_batch_at: float | None = None

    def is_due(self, now: float, waiting_words: int) -> bool:
        """Whether what waits should go now."""
        if waiting_words <= 0:
            self.waiting_since = None
            return False
        if self.waiting_since is None:
            self.waiting_since = now
        return waiting_words >= ENOUGH_WORDS or now - self.waiting_since >= self.linger

    def seconds_left(self, now: float) -> float:
        """How long until what waits is due by age; the linger if nothing waits."""
        return self.linger if self.waiting_since is None else max(0.0, self.waiting_since + self.linger - now)

    def sent(self, now: float, points: int, keys: int) -> None:
        """A batch with this many points of this many metrics was cut."""
        self.waiting_since = None
        before, self.last_batch_at = self.last_batch_at, now
        self.linger = self.max_age
        if before is None or keys < WIDE_KEYS or not points:
            return
        seconds_per_point = (now - before) * keys / points
        self.linger = min(
            max(GOOD_CHUNK_POINTS * seconds_per_point, self.max_age), MAX_STRETCH * self.max_age
        )
