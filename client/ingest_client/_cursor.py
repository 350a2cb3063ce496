"""The cursor of a spool: how far the service has acknowledged, and which batch may be under way.

Before a batch is sent for the first time its number and its end are stored here, so that whoever delivers the spool
after a crash sends the very same batch again, and the service recognises it by its number.

Kept in two small mapped files, each with two slots that are written in turn: a process killed in the middle of a
store leaves the former state, and damage to one file leaves the other. The page cache outlives the process, so a
store costs two copies of 120 bytes and no system call.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from struct import Struct
from typing import Final
from zlib import adler32

from ingest_client._descriptors import none_if_unreadable, open_lasting
from ingest_client._directory import CURSOR_NAMES

__all__ = ["Cursor", "CursorState"]

FILE_BYTES: Final = 4096
_SLOT_BYTES: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class CursorState:
    """What one slot holds; all are uint64. Positions are words of a segment."""

    generation: int = 0
    serial: int = 1
    """The segment that is being delivered."""
    position: int = 2
    """The first word in it that is not acknowledged."""
    last_seq: int = 0
    """Number of the last acknowledged batch."""
    pending_seq: int = 0
    """Number of the batch that may be under way; 0 if there is none."""
    pending_end: int = 0
    """The word after its last record."""
    acknowledged_points: int = 0
    rejected_points: int = 0
    damaged_bytes: int = 0


_struct: Final = Struct(f"<{len(fields(CursorState))}QQ")


def encode_state(state: CursorState) -> bytes:
    """The state with its checksum; the opposite of `decode_state`."""
    body = _struct.pack(*astuple(state), 0)[:-8]
    return body + adler32(body).to_bytes(8, "little")


def decode_state(slot: bytes) -> CursorState | None:
    """The state in a slot, or None if the slot is empty, torn or damaged."""
    if len(slot) < _struct.size:
        return None
    *numbers, check = _struct.unpack_from(slot)
    if adler32(slot[: _struct.size - 8]) != check:
        return None
    return CursorState(**{field.name: n for field, n in zip(fields(CursorState), numbers, strict=True)})


class Cursor:
    """The two files of one spool. One thread stores; any thread may read `state`."""

    def __init__(self, directory: Path, state: CursorState, maps: list[mmap.mmap]) -> None:
        self.directory = directory
        self.state = state
        self._maps = maps

    @classmethod
    def create(cls, directory: Path) -> Cursor:
        """A new cursor before the first record. Raises OSError when the disk is full."""
        maps = [_mapped(directory / name, open_lasting) for name in CURSOR_NAMES]
        cursor = cls(directory, CursorState(), maps)
        cursor.store(CursorState())
        return cursor

    @classmethod
    def open(cls, directory: Path) -> Cursor | None:
        """The newest intact state of an existing spool; None if no slot of either file is intact.

        Raises:
            OSError: There is no descriptor for it.
        """
        states: list[CursorState] = []
        for name in CURSOR_NAMES:
            data = b""
            with none_if_unreadable():
                data = (directory / name).read_bytes()
            slots = (data[0:_SLOT_BYTES], data[_SLOT_BYTES : 2 * _SLOT_BYTES])
            states += [state for slot in slots if (state := decode_state(slot)) is not None]
        if not states:
            return None
        newest = max(states, key=lambda state: state.generation)
        return cls(directory, newest, [_mapped(directory / name, _open) for name in CURSOR_NAMES])

    def store(self, state: CursorState) -> None:
        """Make this the state that a crash leaves behind."""
        generation = self.state.generation + 1
        numbered = CursorState(**{**_as_dict(state), "generation": generation})
        slot = encode_state(numbered)
        at = (generation % 2) * _SLOT_BYTES
        for mapped in self._maps:
            mapped[at : at + len(slot)] = slot
        self.state = numbered

    def close(self) -> None:
        for mapped in self._maps:
            mapped.close()
        self._maps = []


def _as_dict(state: CursorState) -> dict[str, int]:
    return {field.name: getattr(state, field.name) for field in fields(state)}


def _mapped(path: Path, open_file: Callable[[Path, int], int]) -> mmap.mmap:
    """The file, made as long as it must be; allocated first, so that a store never meets a full disk."""
    fd = open_file(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    try:
        _allocate(fd, FILE_BYTES)
        return mmap.mmap(fd, FILE_BYTES)
    finally:
        os.close(fd)


def _open(path: Path, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _allocate(fd: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, 0, size)
    elif os.fstat(fd).st_size < size:  # pragma: no cover - macOS has none: written zeros allocate too
        os.pwrite(fd, bytes(size - os.fstat(fd).st_size), os.fstat(fd).st_size)
