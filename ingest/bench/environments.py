"""Environments of their own for the tools that a bench measures beside us: made by pip once, kept below the user's cache."""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

import platformdirs

__all__ = ["environment_with"]


def environment_with(name: str, packages: Sequence[str]) -> Path:
    """The interpreter of an environment that holds these packages.

    Raises:
        subprocess.CalledProcessError: pip failed; it has said why.
    """
    version = f"py{sys.version_info.major}{sys.version_info.minor}"
    home = platformdirs.user_cache_path("ingest-bench") / f"{name}-{version}"
    python, complete = home / "bin" / "python", home / "complete"
    if not complete.exists() or complete.read_text().split() != list(packages):
        print(f"… installing {' '.join(packages)} into {home}", file=sys.stderr, flush=True)  # noqa: T201  # for who waits
        venv.create(home, with_pip=True, clear=True)
        install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
        subprocess.run([str(python), *install], check=True, timeout=1_800)
        complete.write_text("\n".join(packages))
    return python
