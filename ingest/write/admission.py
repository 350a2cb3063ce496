"""Bounds the memory of everything between a request's first byte and its COMMIT.

Each request takes a ticket for as many bytes as it announces before its body is read, and corrects it once it is decoded.
The sum of the tickets has a limit; over it a request is turned away at once, which costs the service next to nothing,
and the client keeps the batch in its spool. Pure: no I/O, no clock.

Units: bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["Admission", "QueueFull", "Ticket", "cost_of"]

_TEXT_FACTOR: Final = 6
"""Names and events become Python objects: a key of 10 bytes takes about 60 as a str, in a tuple and again as bytes."""


class QueueFull(Exception):
    """The batches that wait for their COMMIT take all the memory that they may; try again soon."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(
            f"batches waiting to be committed take all of the {limit_bytes:,} bytes that they may"
        )
        self.limit_bytes = limit_bytes


class Ticket:
    """The bytes that one request may occupy."""

    __slots__ = ("_admission", "size_bytes")

    def __init__(self, admission: Admission, size_bytes: int) -> None:
        self._admission = admission
        self.size_bytes = size_bytes

    def resize(self, size_bytes: int) -> None:
        """Say what the request really occupies.

        Raises:
            QueueFull: That is more than there is room for.
        """
        self._admission.take(size_bytes - self.size_bytes, others_num=self._admission.tickets_num - 1)
        self.size_bytes = size_bytes


class Admission:
    """Hands out tickets.

    Attributes:
        used_bytes: Sum of the tickets. tickets_num: How many there are.
    """

    def __init__(self, limit_bytes: int, *, on_change: Callable[[int, int], None] | None = None) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self.tickets_num = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self._on_change = on_change

    def take(self, size_bytes: int, *, others_num: int) -> None:
        # A request alone is always let in, else a small limit would shut the door for ever.
        if size_bytes > 0 and others_num and self.used_bytes + size_bytes > self.limit_bytes:
            raise QueueFull(self.limit_bytes)
        self.used_bytes += size_bytes

    @contextmanager
    def admit(self, size_bytes: int) -> Iterator[Ticket]:
        """A ticket for the time of the block.

        Raises:
            QueueFull: There is no room.
        """
        self.take(size_bytes, others_num=self.tickets_num)
        ticket = Ticket(self, size_bytes)
        self.tickets_num += 1
        self.idle.clear()
        self._changed()
        try:
            yield ticket
        finally:
            self.used_bytes -= ticket.size_bytes
            self.tickets_num -= 1
            if not self.tickets_num:
                self.idle.set()
            self._changed()

    def _changed(self) -> None:
        if self._on_change is not None:
            self._on_change(self.used_bytes, self.tickets_num)


def cost_of(body_bytes: int, point_count: int) -> int:
    """About how much memory a decoded batch occupies: its columns as they are, the rest as Python objects."""
    column_bytes = 24 * point_count
    return column_bytes + _TEXT_FACTOR * (body_bytes - column_bytes)
