"""Who gets the processor when all want it: backends that read stand behind those that write.

Where PostgreSQL is on this machine, behind a socket in the file system, as the bundled one is, and belongs to us or we are root, the
backend of each connection that reads is made nicer, so that a storm of readers takes from the writers only what they leave. Anywhere
else nothing happens.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

__all__ = ["is_here", "stand_behind"]

NICENESS: Final = 10
"""A tenth of the share of a process with 0."""
_TITLE: Final = b"postgres: "


def is_here(url: str) -> bool:
    """Whether the URL leads to a socket in the file system of a system where this works."""
    parts = urlsplit(url)
    hosts = parse_qs(parts.query).get("host", [unquote(parts.hostname or "")])
    return sys.platform == "linux" and all(host.startswith("/") for host in hosts)


async def stand_behind(connection: Any) -> None:
    """Make this connection's backend nicer than those that write. For `init` of a pool; never an error."""
    _make_nicer(connection.get_server_pid())


def _make_nicer(pid: int) -> None:
    with contextlib.suppress(OSError):
        # A container's processes have other numbers; what is no backend of PostgreSQL is left alone.
        if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(_TITLE):
            os.setpriority(os.PRIO_PROCESS, pid, NICENESS)
