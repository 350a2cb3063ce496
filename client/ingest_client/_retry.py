"""When to try again. Pure: the caller brings the clock and the dice.

There is no limit on attempts: points wait in the spool for as long as the service is away. What is bounded is every
wait, and with it the load of many clients on a service that comes back.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

__all__ = ["Backoff", "RetryClock", "roll"]

roll: Final = random.SystemRandom().random
"""The dice. Not random.random(): that would move the generator which the training script has seeded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """The waits between attempts, in seconds."""

    first: float = 0.25
    factor: float = 2.0
    ceiling: float = 30.0
    """Also the longest that a service which is back goes unnoticed."""
    longest_retry_after: float = 120.0
    """A server asking for more is obeyed this far."""


class RetryClock:
    """The state of one line of attempts."""

    def __init__(self, backoff: Backoff | None = None) -> None:
        self.backoff = backoff or Backoff()
        self.failures = 0
        """Failed attempts since the last success."""
        self.not_before = 0.0
        """The time, by the caller's clock, before which nothing may be sent."""

    def failed(self, now: float, dice: float, retry_after: float | None = None) -> float:
        """An attempt failed.

        Args:
            now: Seconds, by the caller's monotonic clock.
            dice: A random number in [0, 1), for the jitter: half of each wait is random.
            retry_after: What the server asked for, in seconds; obeyed, with jitter on top.

        Returns:
            The time at which to try again.
        """
        b = self.backoff
        exponent = min(self.failures, 64)
        wait = min(b.ceiling, b.first * b.factor**exponent)
        wait *= 0.5 + dice / 2
        if retry_after is not None:
            wait = max(wait, min(retry_after, b.longest_retry_after) * (1 + dice / 4))
        self.failures += 1
        self.not_before = now + wait
        return self.not_before

    def succeeded(self) -> None:
        """An attempt succeeded: the next failure starts from the shortest wait."""
        self.failures = 0
        self.not_before = 0.0
