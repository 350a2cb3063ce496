"""Attempts: which points of a run count after it was resumed from a step.

`start_run(run_id=…, resume_from_step=S)` opens an attempt. Points of earlier attempts after step S are superseded: charts
and latest values pass them over, SQL still shows them (`metrics.attempt`). All points of the newest attempt count, also
those at or before S: a metric may count steps of its own, such as epochs.

Metrics of the machine (`system/…`) are superseded by nothing: their steps are seconds, and what it did is no history that was undone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

__all__ = ["Voice", "Writer", "of_key", "voices"]

_MACHINE: Final = "system/"


@dataclass(frozen=True, slots=True)
class Writer:
    """What a row of `writers` says about attempts."""

    writer_id: UUID
    rank: int
    attempt: int
    resume_from_step: int | None


@dataclass(frozen=True, slots=True)
class Voice:
    """A writer whose points count up to step `until`, inclusive; None: all of them."""

    writer_id: UUID
    until: int | None


def voices(
    writers: Iterable[Writer], *, attempt: int | None = None, ranks: Sequence[int] | None = None
) -> list[Voice]:
    """The writers whose points count, in an order that settles which of two equal points came first.

    Args:
        attempt: All points of this attempt, superseded or not, and no others.
        ranks: Only writers of these ranks.
    """
    ordered = sorted(writers, key=lambda w: (w.attempt, w.rank, w.writer_id))
    resumed_from: dict[int, int] = {}
    for writer in ordered:
        if writer.resume_from_step is not None:
            step = resumed_from.get(writer.attempt, writer.resume_from_step)
            resumed_from[writer.attempt] = min(step, writer.resume_from_step)
    found = []
    for writer in ordered:
        if ranks is not None and writer.rank not in ranks:
            continue
        if attempt is None:
            later = [step for number, step in resumed_from.items() if number > writer.attempt]
            found.append(Voice(writer.writer_id, min(later, default=None)))
        elif writer.attempt == attempt:
            found.append(Voice(writer.writer_id, None))
    return found


def of_key(heard: Sequence[Voice], key: str) -> list[Voice]:
    """The same writers as they count for this metric."""
    return [replace(voice, until=None) for voice in heard] if key.startswith(_MACHINE) else list(heard)
