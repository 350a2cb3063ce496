"""Results as JSON files, and tables of them on the terminal and in docs/performance.md.

A result file is one object: `bench` (its kind), `machine`, `postgres`, `settings` and `figures`. It is written under a
scratch name and renamed, so that a reader never sees half of one.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

RESULTS_VERSION = 1


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Write one result file; its directory is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(
        json.dumps({"version": RESULTS_VERSION, **result}, indent=1, default=str) + "\n", encoding="utf-8"
    )
    scratch.replace(path)


def read_results(directory: Path) -> list[dict[str, Any]]:
    """All results below a directory, by file name; `file` holds the name."""
    found = []
    for path in sorted(directory.rglob("*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        found.append({"file": path.relative_to(directory).as_posix(), **result})
    return found
