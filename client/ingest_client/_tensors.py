"""Values that live on an accelerator, read without making the training loop wait for it.

`float(tensor)` on a CUDA tensor waits until the GPU has done everything before it, and stalls the pipeline at every step.
Here the value is cloned on the current stream (so that a later in-place change does not matter), copied on a side
stream into one slot of pinned memory, and an event says when it is there. The sender asks the events and
puts the values into the spool with the step and time of the call.

A point is safe from SIGKILL once it is in the spool, which for these is some milliseconds after the call. Slots are
bounded: with none free the point is dropped and counted as `tensor_slots`. `flush` and `end` wait for the slots.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

__all__ = ["Copier", "DeferredReads", "make_deferrer"]

SLOTS: Final = 4096
"""Values under way at once: 400 steps of ten scalars; 32 KiB of pinned memory."""


class Copier(Protocol):
    """One device's way to bring a scalar to the host; the fake of the tests is the other one."""

    def start(self, tensor: Any, slot: int) -> Any:
        """Begin to copy the scalar into the slot and return a token for `is_done`. Must not wait."""

    def is_done(self, token: Any) -> bool:
        """Whether the copy has arrived. Must not wait."""

    def read(self, slot: int) -> float:
        """The value in the slot."""


class DeferredReads:
    """The values of one run that are under way. `defer` is called by training threads, `resolve` by the sender."""

    def __init__(
        self,
        copier: Copier,
        put: Callable[[dict[str, float], int, int], None],
        drop: Callable[[str, int], None],
        slots: int = SLOTS,
    ) -> None:
        """Begin with all slots free.

        Args:
            copier: The device.
            put: Takes values, step and time_ms for the spool.
            drop: Takes a reason and a number of points.
            slots: How many values may be under way.
        """
        self._copier = copier
        self._put = put
        self._drop = drop
        self._free = deque(range(slots))
        self._under_way: deque[tuple[Any, list[tuple[str, int]], int, int]] = deque()
        self._lock = threading.Lock()
        self._deferred = 0  # calls so far; and how many of them are settled
        self._resolved = 0
        self.pending_num = 0

    def defer(self, items: list[tuple[str, Any]], step: int, time_ms: int) -> int:
        """Begin to read the values of one call.

        Returns:
            How many of them found no slot.
        """
        with self._lock:
            taken: list[tuple[str, int]] = []
            token = None
            for key, tensor in items:
                if not self._free:
                    break
                slot = self._free.popleft()
                token = self._copier.start(tensor, slot)  # one stream: the last copy's token stands for all
                taken.append((key, slot))
            if taken:
                self._under_way.append((token, taken, step, time_ms))
                self._deferred += 1
                self.pending_num += len(taken)
            return len(items) - len(taken)

    def resolve(self) -> int:
        """Store the values that have arrived, in the order of the calls; returns how many calls are still under way."""
        while self._under_way:
            token, taken, step, time_ms = self._under_way[0]
            try:
                if not self._copier.is_done(token):
                    break
                numbers = {key: self._copier.read(slot) for key, slot in taken}
            except Exception:  # noqa: BLE001 - a device error belongs to the training, which meets it itself
                self._drop("tensor_failed", len(taken))
            else:
                self._put(numbers, step, time_ms)
            with self._lock:
                self._under_way.popleft()
                self._free.extend(slot for _, slot in taken)
                self._resolved += 1
                self.pending_num -= len(taken)
        return len(self._under_way)

    def mark(self) -> Callable[[], bool]:
        """A function that says whether all calls until now have arrived in the spool."""
        deferred = self._deferred
        return lambda: self._resolved >= deferred

    def wait(self, timeout: float) -> bool:
        """Wait until all calls until now have arrived in the spool, at most `timeout` seconds; True if they have."""
        has_arrived, deadline = self.mark(), time.monotonic() + timeout
        while not has_arrived():
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.001)
        return True


class CudaCopier:
    """CUDA through torch: clone on the caller's stream, copy on a side stream, one event per copy."""

    def __init__(self, slots: int = SLOTS) -> None:
        import torch

        self._torch = torch
        self._pinned = torch.empty(slots, dtype=torch.float64, pin_memory=True)
        self._streams: dict[Any, Any] = {}

    def start(self, tensor: Any, slot: int) -> Any:
        cuda = self._torch.cuda
        side = self._streams.get(tensor.device)
        if side is None:
            side = self._streams[tensor.device] = cuda.Stream(device=tensor.device)
        with cuda.device(tensor.device):
            current = cuda.current_stream(tensor.device)
            clone = tensor.detach().reshape(()).to(self._torch.float64, copy=True)
            side.wait_stream(current)
            with cuda.stream(side):
                self._pinned[slot].copy_(clone, non_blocking=True)
                clone.record_stream(side)
                done = cuda.Event()
                done.record(side)
        return done

    def is_done(self, token: Any) -> bool:
        return bool(token.query())

    def read(self, slot: int) -> float:
        return float(self._pinned[slot])


def make_deferrer(
    put: Callable[[dict[str, float], int, int], None], drop: Callable[[str, int], None]
) -> DeferredReads:
    """The deferred reads of one run, on CUDA."""
    return DeferredReads(CudaCopier(), put, drop)
