"""Files that come in parts, so that an interruption costs a part and not the file.

All that is known of an upload lies in the store itself, below the work area: any process of the service can go on with it,
also after a restart.

    .uploads/<upload_id>/plan     what the file is to be, as JSON; written first
    .uploads/<upload_id>/<n>      part n, whole: each is written like any other file
    .uploads/<upload_id>/done     what came of it, written last; an answer that got lost is given again from here

The id is made of the path, the size and the SHA-256, so whoever begins the same upload again finds the open one. Completing
streams the parts into the file, hashing on the way; until they are removed the store holds the bytes twice.
Units: seconds, bytes.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Any, Final

from ingest.artifacts.errors import (
    ArtifactUnknown,
    ContentDiffers,
    PartRefused,
    PartsMissing,
    SizeDiffers,
    UploadUnknown,
)
from ingest.artifacts.library import Artifacts, Received
from ingest.artifacts.paths import WORK_AREA, join
from ingest.artifacts.store import Entry, Store

__all__ = ["Plan", "Uploads", "plan_of", "sweep_uploads"]

MIB: Final = 1024 * 1024
PART_BYTES: Final = 16 * MIB
"""The least: what a connection that breaks costs, against requests for each part."""
MAX_PARTS: Final = 4_000
"""Larger files have larger parts."""
SHOWN_MISSING: Final = 10


@dataclass(frozen=True, slots=True)
class Plan:
    """What an upload is to become. path: in the store."""

    path: str
    size_bytes: int
    sha256: str
    part_bytes: int

    @property
    def upload_id(self) -> str:
        said = f"{self.path}\n{self.size_bytes}\n{self.sha256}\n{self.part_bytes}"
        return hashlib.sha256(said.encode()).hexdigest()[:32]

    @property
    def parts_num(self) -> int:
        return -(-self.size_bytes // self.part_bytes)

    def bytes_of(self, number: int) -> int:
        """How many bytes a part has.

        Raises:
            PartRefused: There is no such part.
        """
        if not 0 <= number < self.parts_num:
            raise PartRefused(f"there is no part {number}: the file has {self.parts_num}, numbered from 0")
        return min(self.part_bytes, self.size_bytes - number * self.part_bytes)


def plan_of(path: str, size_bytes: int, sha256: str) -> Plan:
    """The plan for a file of this size."""
    part_bytes = PART_BYTES
    if size_bytes > PART_BYTES * MAX_PARTS:
        part_bytes = -(-size_bytes // MAX_PARTS // MIB) * MIB + MIB
    return Plan(path, size_bytes, sha256, part_bytes)


class Uploads:
    """Uploads in parts into one store."""

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts
        self._store = artifacts.store

    async def begin(self, plan: Plan) -> list[int]:
        """Begin, or go on with, an upload: the numbers of the parts that are there already."""
        if await self._outcome(plan) is not None:
            return list(range(plan.parts_num))
        if await self._load(plan.upload_id) is None:
            await self._artifacts.receive(_at(plan.upload_id, "plan"), _once(_json(asdict(plan))))
        return await self._received(plan)

    async def find(self, upload_id: str, prefix: str) -> Plan:
        """The plan of an open upload.

        Args:
            prefix: Of the run that the upload is said to belong to.

        Raises:
            UploadUnknown: There is none of that run.
        """
        plan = await self._load(upload_id)
        if plan is None or not plan.path.startswith(prefix + "/"):
            raise UploadUnknown(upload_id)
        return plan

    async def put(
        self, plan: Plan, number: int, source: AsyncIterator[bytes], announced_bytes: int | None
    ) -> None:
        """Store one part; again, if it is sent again."""
        expected_bytes = plan.bytes_of(number)
        if announced_bytes is not None and announced_bytes != expected_bytes:
            raise SizeDiffers(f"part {number}", expected_bytes, announced_bytes)
        await self._artifacts.receive(_at(plan.upload_id, str(number)), source, size_bytes=expected_bytes)

    async def complete(self, plan: Plan) -> Received:
        """Make the file of its parts; the same answer again for one that is complete.

        Raises:
            PartsMissing: Nothing was changed.
            ContentDiffers: The parts do not make the file that was announced; they are gone.
        """
        done = await self._outcome(plan)
        if done is not None:
            return done
        missing = sorted(set(range(plan.parts_num)) - set(await self._received(plan)))
        if missing:
            raise PartsMissing(tuple(missing[:SHOWN_MISSING]), len(missing))
        try:
            received = await self._artifacts.receive(
                plan.path, self._content(plan), sha256=plan.sha256, size_bytes=plan.size_bytes
            )
        except ContentDiffers:
            await self.abort(plan.upload_id)
            raise
        except ArtifactUnknown:  # a part is gone: somebody else completed it meanwhile, or aborted it
            done = await self._outcome(plan)
            if done is None:
                raise UploadUnknown(plan.upload_id) from None
            return done
        await self._remember(plan, received)
        return received

    async def abort(self, upload_id: str) -> None:
        """Forget an upload with all its parts."""
        async for _ in self._artifacts.remove_tree(_at(upload_id)):
            pass

    async def _content(self, plan: Plan) -> AsyncIterator[bytes]:
        for number in range(plan.parts_num):
            async with self._store.open(_at(plan.upload_id, str(number))) as part:
                async for chunk in part.chunks(0, part.entry.size_bytes):
                    yield chunk

    async def _received(self, plan: Plan) -> list[int]:
        parts = [
            (int(entry.name), entry.size_bytes)
            async for entry in self._store.entries(_at(plan.upload_id))
            if entry.name.isdigit()
        ]
        return sorted(number for number, size_bytes in parts if size_bytes == plan.bytes_of(number))

    async def _remember(self, plan: Plan, received: Received) -> None:
        """Keep the outcome in place of the parts."""
        entry = await self._store.find(plan.path)
        outcome = {**asdict(received), "version": _version(entry)}
        await self._artifacts.receive(_at(plan.upload_id, "done"), _once(_json(outcome)))
        for number in range(plan.parts_num):
            await self._store.remove(_at(plan.upload_id, str(number)))

    async def _outcome(self, plan: Plan) -> Received | None:
        """What came of an upload, if the file is still what it made."""
        outcome = await self._read(plan.upload_id, "done")
        if outcome is None:
            return None
        entry = await self._store.find(plan.path)
        if _version(entry) != outcome["version"]:  # replaced or deleted since: begin anew
            await self._store.remove(_at(plan.upload_id, "done"))
            return None
        return Received(outcome["path"], outcome["size_bytes"], outcome["sha256"])

    async def _load(self, upload_id: str) -> Plan | None:
        plan = await self._read(upload_id, "plan")
        return None if plan is None else Plan(**plan)

    async def _read(self, upload_id: str, name: str) -> dict[str, Any] | None:
        try:
            async with self._store.open(_at(upload_id, name)) as reader:
                pieces = [piece async for piece in reader.chunks(0, reader.entry.size_bytes)]
        except ArtifactUnknown:
            return None
        found: dict[str, Any] = json.loads(b"".join(pieces))
        return found


async def sweep_uploads(artifacts: Artifacts, *, older_than: float) -> int:
    """Remove uploads of which nothing was heard for so long; how many."""
    before_ms = (time.time() - older_than) * 1000
    doomed = [
        entry.path
        async for entry in artifacts.store.entries(WORK_AREA)
        if entry.is_dir and await _last_change(artifacts.store, entry.path) < before_ms
    ]
    for path in doomed:
        async for _ in artifacts.remove_tree(path):
            pass
    return len(doomed)


async def _last_change(store: Store, directory: str) -> int:
    return max([entry.modified_ms async for entry in store.walk(directory)], default=0)


def _version(entry: Entry | None) -> list[int]:
    """Not the ETag: a store may not know it yet."""
    return [] if entry is None else [entry.size_bytes, entry.modified_ms]


def _at(upload_id: str, *names: str) -> str:
    path = join(WORK_AREA, upload_id)
    for name in names:
        path = join(path, name)
    return path


def _json(content: object) -> bytes:
    return json.dumps(content).encode()


async def _once(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
