"""Those who are not done yet: each is put down once, and struck off some time after it is done.

Who is done is looked at when the list has doubled since the last look, not each time: thousands may wait for a service that is away, and
each further one must cost the same as the first. So at most half of the list, and a few, are done.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Final, Generic, TypeVar

__all__ = ["Roster"]

_FEW: Final = 64
"""Those who are done may be remembered up to this number."""

T = TypeVar("T")


class Roster(Generic[T]):
    """Any thread may add; whoever goes through it, a signal handler too, takes no lock and sees those of that moment."""

    def __init__(self, is_done: Callable[[T], bool]) -> None:
        """Nobody is on it yet.

        Args:
            is_done: Whether somebody may be struck off; once true it stays so.
        """
        self._is_done = is_done
        self._members: dict[
            int, T
        ] = {}  # by id(): no member need be hashable, and one that comes again is there once
        self._next_look = _FEW
        self._lock = threading.RLock()

    def add(self, member: T) -> None:
        """Put somebody down."""
        with self._lock:
            if len(self._members) >= self._next_look:
                for other in list(self):
                    if self._is_done(other):
                        del self._members[id(other)]
                self._next_look = 2 * len(self._members) + _FEW
            self._members[id(member)] = member

    def clear(self) -> None:
        """Strike everybody off."""
        with self._lock:
            self._members.clear()

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._members.values()))

    def __len__(self) -> int:
        return len(self._members)
