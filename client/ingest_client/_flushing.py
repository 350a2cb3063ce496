"""Waiting until the service has what was logged so far: by blocking, or by asking again and again, as asyncio code must."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ingest_client._account import has_lost_nothing

if TYPE_CHECKING:
    from ingest_client._writer import Writer

__all__ = ["ask_flush", "flush"]


def flush(writer: Writer, timeout: float) -> bool:
    """Wait until all that was logged before this call is settled; see `Run.flush`."""
    deadline = time.monotonic() + timeout
    deferrer, sender, artifacts = writer.recorder.deferrer, writer.sender, writer.artifacts
    mark = artifacts.mark() if artifacts is not None else 0
    if deferrer is not None and not deferrer.wait(timeout):
        return False
    if writer.recorder.spool is not None and sender is not None:
        left = max(0.0, deadline - time.monotonic())
        if not sender.is_complete and not sender.wait_for(writer.recorder.spool.head(), left):
            return False
    if artifacts is not None and not artifacts.wait_for(mark, max(0.0, deadline - time.monotonic())):
        return False
    return has_lost_nothing(writer)


def ask_flush(writer: Writer) -> Callable[[], bool]:
    """Hurry the delivery, and return a function that says whether all that was logged before is settled."""
    artifacts = writer.artifacts
    are_points_settled = _ask_sender(writer)
    if artifacts is None:
        return are_points_settled
    mark = artifacts.mark()
    artifacts.ask()
    return lambda: are_points_settled() and artifacts.has_settled(mark)


def _ask_sender(writer: Writer) -> Callable[[], bool]:
    spool, sender, deferrer = writer.recorder.spool, writer.sender, writer.recorder.deferrer
    if spool is None or sender is None:
        return lambda: True
    if deferrer is not None:
        read = deferrer.mark()
        target: list[tuple[int, int]] = []

        def is_settled() -> bool:
            if not target and read():
                target.append(spool.head())
                sender.ask(target[0])
            return bool(target) and sender.has_settled(target[0])

        return is_settled
    head = spool.head()
    sender.ask(head)
    return lambda: sender.has_settled(head)
