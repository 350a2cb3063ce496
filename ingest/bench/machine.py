"""What a figure was measured on: versions, commit, processor, PostgreSQL's settings. Stored beside every result."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from ingest.bench.api import Api, ApiError

PACKAGES = (
    "metric-ingest",
    "msgpack",
    "numpy",
    "aiohttp",
    "asyncpg",
    "orjson",
    "uvloop",
    "backports.zstd",
    "torch",
)
POSTGRES_SETTINGS = (
    "server_version",
    "shared_buffers",
    "synchronous_commit",
    "fsync",
    "full_page_writes",
    "wal_level",
    "wal_compression",
    "max_wal_size",
    "checkpoint_timeout",
    "max_connections",
    "commit_delay",
    "autovacuum",
)
SETTINGS_SQL = "SELECT name, setting || COALESCE(unit, '') FROM pg_settings WHERE name IN ({names})"


def machine_facts() -> dict[str, Any]:
    """Processor, memory, kernel, interpreter, packages, commit and load; whatever can't be found out is None."""
    return {
        "measured_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "commit": _commit(),
        "load_average": os.getloadavg(),
        "command": " ".join(["ingest", *sys.argv[1:]])
        if sys.argv[0].endswith("ingest")
        else " ".join(sys.argv),
    }


def postgres_facts(api: Api) -> dict[str, str]:
    """The settings that throughput depends on, asked of the service by SQL; empty where it does not answer."""
    names = ", ".join(f"'{name}'" for name in POSTGRES_SETTINGS)
    try:
        answer = api.sql(SETTINGS_SQL.format(names=names))
    except ApiError:
        return {}
    return dict(answer.rows)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str | None:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or None


def _commit() -> str | None:
    """The commit of the checkout this package lies in, with `+` when the tree differs; None for an installed wheel."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "--short=12", "HEAD")
        return commit + ("+" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()
