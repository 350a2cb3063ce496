"""The writer's own account of what it logged, which survives the SIGKILL of its owner: two counters in a mapped file.

    begun       calls that were started        returned       calls that came back

The page cache keeps a store into a mapping when the process dies, so the counters are as durable as the promise under
test, and they do not depend on the code under test. A call is begun before it is made and returned after it came back;
a kill in between leaves one call in doubt: its points may be stored once or not at all. All others must be stored once.

One process at a time writes it: the trainer, or the controller while that trainer is dead.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from types import TracebackType
from typing import Self

_COUNTERS = struct.Struct("<QQ")
_ONE = struct.Struct("<Q")


class Ledger:
    """One writer's counters; step n is the n-th call, from 0 on."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(mmap.PAGESIZE))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), mmap.PAGESIZE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._map.close()

    @property
    def begun(self) -> int:
        return int(_COUNTERS.unpack_from(self._map)[0])

    @property
    def returned(self) -> int:
        return int(_COUNTERS.unpack_from(self._map)[1])

    def begin(self, step: int) -> None:
        """The call for this step is about to be made."""
        _ONE.pack_into(self._map, 0, step + 1)

    def end(self, step: int) -> None:
        """It has returned."""
        _ONE.pack_into(self._map, 8, step + 1)

    def settle(self) -> list[int]:
        """Close the account of a dead process: the steps in doubt. The next process goes on after them."""
        doubtful = list(range(self.returned, self.begun))
        if doubtful:
            self.end(doubtful[-1])
        return doubtful
