"""The directory of one writer's spool, of metrics or of artifacts: how it comes into being, who owns it, how it goes.

A process owns a spool as long as it holds a flock on the file `lock` in it; the kernel lets go when the process dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from pathlib import Path
from typing import Final
from uuid import UUID

from ingest_client._descriptors import open_lasting

__all__ = [
    "ARTIFACTS_PREFIX",
    "CURSOR_NAMES",
    "LOCK_NAME",
    "META_NAME",
    "SHAPES_NAMES",
    "append",
    "claim_lock",
    "discard_directory",
    "make_directory",
    "remove_spool",
]

ARTIFACTS_PREFIX: Final = "artifacts-"
"""A spool of artifacts lies beside those of metrics, `<root>/<run_id>/artifacts-<id>`: no id of a writer starts so."""

LOCK_NAME: Final = "lock"
META_NAME: Final = "meta.json"
CURSOR_NAMES: Final = ("cursor.a", "cursor.b")
SHAPES_NAMES: Final = ("shapes.a", "shapes.b")


def claim_lock(directory: Path) -> int | None:
    """The lock of a spool as an open descriptor; None if a live process holds it or the spool is gone."""
    try:
        fd = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever delivered and removed the spool between our open and our lock left us a lock of nothing.
        if os.fstat(fd).st_ino == os.stat(directory / LOCK_NAME).st_ino:
            return fd
    except OSError:
        pass
    os.close(fd)
    return None


def remove_spool(directory: Path) -> None:
    """Delete a spool whose lock is held; the run's directory too, if this was the last one in it."""
    trash = directory.with_name(f".trash-{directory.name}")
    try:
        directory.rename(trash)
    except OSError:
        return
    _trash.append(trash)
    for each in tuple(_trash):  # those for which there was no descriptor the last time, too
        shutil.rmtree(each, ignore_errors=True)
        if not each.exists():
            with contextlib.suppress(OSError, ValueError):
                _trash.remove(each)
                each.parent.rmdir()


_trash: Final[list[Path]] = []


def make_directory(root: Path, run_id: UUID, name: str) -> tuple[Path, int]:
    """The locked directory `<root>/<run_id>/<name>`. Locked under a name that no sweep looks at, then renamed: it is never seen unlocked."""
    final = root / run_id.hex / name
    hidden = final.with_name(f".new-{name}")
    for attempt in range(5):
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            final.parent.mkdir(mode=0o700, exist_ok=True)
            hidden.mkdir(mode=0o700)
            break
        except FileNotFoundError:  # a sweep removed the empty run directory between our two calls
            if attempt == 4:
                raise
    fd = -1
    try:
        fd = open_lasting(hidden / LOCK_NAME, os.O_RDWR | os.O_CREAT)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        hidden.rename(final)
    except BaseException:
        discard_directory(hidden)
        if fd >= 0:
            os.close(fd)
        raise
    return final, fd


def discard_directory(directory: Path) -> None:
    """Delete one that could not be made in full. Needs no descriptor: the lack of them may be the reason."""
    for name in (META_NAME, *CURSOR_NAMES, LOCK_NAME):
        (directory / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        directory.rmdir()
        directory.parent.rmdir()


def append(path: Path, data: bytes) -> None:
    """Add to the end of a file, made if there is none; in one piece unless the disk is full."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        while data:
            data = data[os.write(fd, data) :]
    finally:
        os.close(fd)
