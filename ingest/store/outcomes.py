"""What can become of a batch, as values: the write path returns them, the HTTP edge turns them into answers.

Stored     its points and events are committed
Repeated   it was committed before; nothing was stored now
Gap        its number is not the next one; nothing was stored
Refused    its content can't be stored, now or ever; nothing was stored and its number is free again
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Gap", "Outcome", "Refused", "Rejection", "Repeated", "Stored"]


@dataclass(frozen=True, slots=True)
class Rejection:
    """A part of a batch that was not applied while the rest was stored, such as a param with another value."""

    kind: str
    key: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Stored:
    """Committed; `rejected` names parts that were not applied."""

    points: int
    rejected: tuple[Rejection, ...] = ()


@dataclass(frozen=True, slots=True)
class Repeated:
    """Committed by an earlier request."""

    points: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Not this writer's next batch."""

    expected_seq: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Can't be stored; message and hint are for the client's user."""

    message: str
    hint: str | None = None


Outcome = Stored | Repeated | Gap | Refused
