"""The child's side of `worker`: reads its orders, learns that it is to go on, and says its result, a line each.

Lines are read byte by byte from the descriptor. A buffered reader would take "go" in with the orders when both are
there already, and `is_told`, which asks the descriptor, would then wait for ever.

Units: seconds.
"""

from __future__ import annotations

import json
import os
import select
from typing import Any

from ingest.bench.service import die_with_parent

_STDIN = 0


def read_orders() -> dict[str, Any]:
    """The orders; from here on the process ends with its parent."""
    die_with_parent()
    orders: dict[str, Any] = json.loads(_read_line())
    return orders


def wait_for_go() -> bool:
    """Wait until told to go on; False when the parent has closed the pipe instead."""
    return bool(_read_line())


def is_told(timeout: float = 0.0) -> bool:
    """Whether the parent has said something, or closed the pipe, within `timeout`."""
    return bool(select.select([_STDIN], [], [], timeout)[0])


def say(message: object) -> None:
    """Say one line of JSON."""
    print(json.dumps(message), flush=True)  # noqa: T201  # the protocol with the parent


def _read_line() -> bytes:
    line = b""
    while byte := os.read(_STDIN, 1):
        if byte == b"\n":
            return line
        line += byte
    return b""
