"""The command line `ingest`, one module a command.

All of them are imported when the program starts, so a module of this package keeps its own imports light and fetches
the service or the client inside the command.

Needs the extra `server`; a training machine that has the client only gets a message that says so.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the program `ingest`."""
    try:
        from ingest.cli.program import build
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0].startswith("ingest"):
            raise
        print(
            f"error: the command line needs the extra `server`, and {error.name} is not installed; "
            "run: pip install 'metric-ingest[server]'",
            file=sys.stderr,
        )
        raise SystemExit(1) from None
    build()()
