"""Posts: what a client without a stream of its own logs to one run. MLflow's log-metric, log-batch, set-tag are such.

A post is all or nothing, and it says so at once: the run exists and is active, no param has another value, or nothing of
it is stored. It carries no number, and whoever sent it sends it again after a lost connection; therefore a point that
is stored already, with the same key, time, step and value, is not stored again.

    claim      the row in `writers` that all posts to a run share; it serialises them, in this process and others
    models     points may belong to logged models too; a post that names one that is not there is out
    params     compared with what is stored, in order of arrival; a post that differs is out
    tags       the last one wins
    points     those of all posts to a run become one batch of that writer, without repeats

A point greater than the series' latest by (step, time, value) can't be a repeat. So the ordinary case, a run that goes
forward, costs one look into `series`, and only the rest a look into the chunks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid5

import numpy as np

from ingest.store.errors import Contention
from ingest.store.outcomes import Refused, Stored
from ingest.store.points import PointTable
from ingest_schema.sql import load_queries
from ingest_schema.wire import Batch, pack_column

__all__ = [
    "ModelMissing",
    "ModelPoint",
    "ParamChange",
    "ParamsChanged",
    "Post",
    "PostOutcome",
    "RunDeleted",
    "RunUnknown",
    "SettledPosts",
    "claim_posts",
    "joined",
    "posts_writer",
    "shared_out",
]

Connection = Any  # asyncpg.Connection or its pool proxy, which share no type

_SQL: Final = load_queries("posts")
_WRITE: Final = load_queries("write")
_MODELS: Final = load_queries("logged_models")

_WRITER_NAMESPACE: Final = UUID("5d0f6c9a-6b0e-5c58-9a55-0d7d8f6c2f11")


class ModelPoint(NamedTuple):
    """A point of the run that a logged model has too, and the dataset that it was measured on; "" without one."""

    model_id: str
    key: str
    step: int
    time_ms: int
    value: float
    dataset_name: str
    dataset_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """What is to be logged to one run.

    name: None leaves it as it is. keys to values: points as columns, as in `Batch`, no two equal.
    model_points: those of the points that are for logged models too.
    """

    run_id: UUID
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    name: str | None = None
    keys: Sequence[str] = ()
    counts: bytes = b""
    steps: bytes = b""
    times_ms: bytes = b""
    values: bytes = b""
    model_points: Sequence[ModelPoint] = ()

    @property
    def point_count(self) -> int:
        return len(self.steps) // 8

    @property
    def size_bytes(self) -> int:
        """About what it occupies."""
        texts = sum(
            len(key) + len(value) for labels in (self.params, self.tags) for key, value in labels.items()
        )
        return 500 + 100 * len(self.keys) + 3 * len(self.steps) + 4 * texts + 400 * len(self.model_points)


@dataclass(frozen=True, slots=True)
class ParamChange:
    """A param that has another value already."""

    key: str
    old_value: str
    new_value: str


@dataclass(frozen=True, slots=True)
class RunUnknown:
    """There is no such run; nothing was stored."""


@dataclass(frozen=True, slots=True)
class RunDeleted:
    """The run is deleted; nothing was stored."""


@dataclass(frozen=True, slots=True)
class ParamsChanged:
    """Params are written once; nothing of the post was stored."""

    changes: tuple[ParamChange, ...]


@dataclass(frozen=True, slots=True)
class ModelMissing:
    """There is no such logged model, or it is deleted; nothing of the post was stored."""

    model_id: str


PostOutcome = Stored | Refused | RunUnknown | RunDeleted | ParamsChanged | ModelMissing


@lru_cache(maxsize=4096)
def posts_writer(run_id: UUID) -> UUID:
    """The writer that all posts to a run share, the same in every process."""
    return uuid5(_WRITER_NAMESPACE, run_id.hex)


@dataclass(slots=True)
class SettledPosts:
    """Posts of one commit group on their way: claimed, then applied; `outcomes` has one entry for each in the end."""

    posts: Sequence[Post]
    outcomes: dict[int, PostOutcome]
    seqs: dict[UUID, int]

    async def apply(self, connection: Connection) -> list[Batch]:
        """Store params, tags and points of models; the points that are new, as one batch for each run."""
        await self._find_models(connection)
        await self._add_params(connection)
        going = [post for i, post in enumerate(self.posts) if i not in self.outcomes]
        await _name_runs(connection, going)
        await _set_tags(connection, going)
        await _add_model_points(connection, going)
        batches = joined(going, self.seqs)
        kept = await _without_repeats(connection, batches)
        await self._correct_points(connection, kept)
        places = [i for i, _ in self._going()]
        self.outcomes |= dict(zip(places, shared_out(going, kept), strict=True))
        return [batch for batch in kept if batch.keys]

    async def _find_models(self, connection: Connection) -> None:
        wanted = {point.model_id for _, post in self._going() for point in post.model_points}
        if not wanted:
            return
        rows = await connection.fetch(_MODELS["active_models"], sorted(wanted))
        missing = wanted - {row["model_id"] for row in rows}
        for i, post in self._going():
            for point in post.model_points:
                if point.model_id in missing:
                    self.outcomes[i] = ModelMissing(point.model_id)
                    break

    async def _add_params(self, connection: Connection) -> None:
        wanted = {(post.run_id, key) for i, post in self._going() for key in post.params}
        if not wanted:
            return
        rows = await connection.fetch(
            _SQL["stored_params"], [run_id for run_id, _ in wanted], [key for _, key in wanted]
        )
        known = {(row["run_id"], row["key"]): row["value"] for row in rows}
        new: dict[tuple[UUID, str], str] = {}
        for i, post in self._going():
            mine = {(post.run_id, key): value for key, value in post.params.items()}
            changes = tuple(
                ParamChange(place[1], known[place], value)
                for place, value in mine.items()
                if known.get(place, value) != value
            )
            if changes:
                self.outcomes[i] = ParamsChanged(changes)
                continue
            new |= {place: value for place, value in mine.items() if place not in known}
            known |= mine
        if new:
            columns = [run_id for run_id, _ in new], [key for _, key in new], list(new.values())
            added = await connection.fetch(_WRITE["add_params"], *columns)
            if len(added) != len(new):
                raise Contention("a param was added by the run's own client meanwhile")

    def _going(self) -> list[tuple[int, Post]]:
        return [(i, post) for i, post in enumerate(self.posts) if i not in self.outcomes]

    async def _correct_points(self, connection: Connection, batches: Sequence[Batch]) -> None:
        """Let writers.points say what is stored; it was claimed before anybody knew what is new."""
        stored = {batch.run_id: batch.point_count for batch in batches}
        claimed = _claimed_points(self.posts)
        excess = {run_id: claimed[run_id] - stored.get(run_id, 0) for run_id in self.seqs}
        runs = [run_id for run_id, number in excess.items() if number]
        if runs:
            await connection.execute(
                _SQL["correct_points"],
                runs,
                [posts_writer(run_id) for run_id in runs],
                [excess[run_id] for run_id in runs],
            )


async def claim_posts(connection: Connection, posts: Sequence[Post]) -> SettledPosts:
    """Lock the writers of the posts' runs; posts to runs that are not there or deleted are settled by this."""
    points = _claimed_points(posts)
    runs = list(points)
    rows = await connection.fetch(
        _SQL["claim_runs"],
        runs,
        [posts_writer(run_id) for run_id in runs],
        [points[run_id] for run_id in runs],
    )
    seqs = {row["run_id"]: row["last_seq"] for row in rows}
    # A run at rest is sealed with all writers that it had then: one that comes back, or a new one, breaks the seal.
    woken = [row["run_id"] for row in rows if row["is_sealed"] or row["last_seq"] == 1]
    if woken:
        await connection.execute(_WRITE["unseal"], woken, [posts_writer(run_id) for run_id in woken])
        if await connection.fetch(_WRITE["gone_runs"], woken):
            raise Contention("a run was deleted for good meanwhile")
    settled = SettledPosts(posts, {}, seqs)
    if len(seqs) < len(runs):
        rows = await connection.fetch(_SQL["lifecycles"], [run_id for run_id in runs if run_id not in seqs])
        there = {row["run_id"] for row in rows}
        for i, post in enumerate(posts):
            if post.run_id not in seqs:
                settled.outcomes[i] = RunDeleted() if post.run_id in there else RunUnknown()
    return settled


def _claimed_points(posts: Iterable[Post]) -> dict[UUID, int]:
    points: dict[UUID, int] = {}
    for post in posts:
        points[post.run_id] = points.get(post.run_id, 0) + post.point_count
    return points


async def _name_runs(connection: Connection, posts: Sequence[Post]) -> None:
    names = {post.run_id: post.name for post in posts if post.name is not None}
    if names:
        runs = sorted(names)
        await connection.execute(_SQL["name_runs"], runs, [names[run_id] for run_id in runs])


async def _set_tags(connection: Connection, posts: Sequence[Post]) -> None:
    tags = {(post.run_id, key): value for post in posts for key, value in post.tags.items()}
    if tags:
        columns = [run_id for run_id, _ in tags], [key for _, key in tags], list(tags.values())
        await connection.execute(_WRITE["set_tags"], *columns)


async def _add_model_points(connection: Connection, posts: Sequence[Post]) -> None:
    rows = [(*point[:5], post.run_id, *point[5:]) for post in posts for point in post.model_points]
    if rows:
        await connection.execute(_MODELS["add_points"], *map(list, zip(*rows, strict=True)))


# --- points -----------------------------------------------------------------------------------------------------------


def joined(posts: Sequence[Post], seqs: Mapping[UUID, int]) -> list[Batch]:
    """One batch for each run that has points, each point once."""
    by_run: dict[UUID, list[Post]] = {}
    for post in posts:
        if post.keys:
            by_run.setdefault(post.run_id, []).append(post)
    return [_batch(run_id, seqs.get(run_id, 0), mine) for run_id, mine in by_run.items()]


def shared_out(posts: Iterable[Post], batches: Iterable[Batch]) -> list[PostOutcome]:
    """Share what was new out among the posts of a run, so that the sum is right."""
    left = {batch.run_id: batch.point_count for batch in batches}
    outcomes: list[PostOutcome] = []
    for post in posts:
        number = min(post.point_count, left.get(post.run_id, 0))
        left[post.run_id] = left.get(post.run_id, 0) - number
        outcomes.append(Stored(number))
    return outcomes


def _batch(run_id: UUID, seq: int, posts: Sequence[Post]) -> Batch:
    batches = [
        Batch(
            run_id=run_id, writer_id=posts_writer(run_id), seq=seq, sent_ms=0,
            keys=post.keys, counts=post.counts, steps=post.steps, times_ms=post.times_ms, values=post.values,
        )
        for post in posts
    ]  # fmt: skip
    if len(batches) == 1:
        return batches[0]
    # Several at once: small ones, of callers that log single values. A resend may wait beside the original.
    different: dict[tuple[str, int, int, float | None], tuple[str, int, int, float]] = {}
    for batch in batches:
        for key, step, time_ms, value in batch.points():
            as_equal = None if math.isnan(value) else value  # NaN equals itself here, as in PostgreSQL
            different.setdefault((key, step, time_ms, as_equal), (key, step, time_ms, value))
    return Batch.of_points(run_id, batches[0].writer_id, seq, list(different.values()))


async def _without_repeats(connection: Connection, batches: Sequence[Batch]) -> list[Batch]:
    """The batches without the points that are stored already."""
    if not batches:
        return []
    table = PointTable.of(batches, max_chunk_points=2**31)  # one chunk for each key of each run
    suspects = await _suspect_chunks(connection, batches, table)
    if not len(suspects):
        return list(batches)
    is_suspect = np.zeros(table.chunk_count, dtype=np.bool_)
    is_suspect[suspects] = True
    chunk_of = np.repeat(np.arange(table.chunk_count), table.counts)
    points = np.flatnonzero(is_suspect[chunk_of])
    chunks = chunk_of[points].tolist()
    rows = await connection.fetch(
        _SQL["find_repeats"],
        [batches[table.batch_of[chunk]].run_id for chunk in chunks],
        [table.keys[chunk].decode() for chunk in chunks],
        table.steps[points].tolist(),
        table.times_ms[points].tolist(),
        table.values[points].tolist(),
    )
    if not rows:
        return list(batches)
    is_new = np.ones(table.point_count, dtype=np.bool_)
    is_new[points[[row["i"] - 1 for row in rows]]] = False
    return _only(batches, table, chunk_of, is_new)


async def _suspect_chunks(connection: Connection, batches: Sequence[Batch], table: PointTable) -> list[int]:
    """Chunks that may hold a repeat."""
    values = np.where(np.isnan(table.values), 0.0, table.values)
    chunk_of = np.repeat(np.arange(table.chunk_count), table.counts)
    least = np.lexsort((values, table.times_ms, table.steps, chunk_of))[table.starts]
    rows = await connection.fetch(
        _SQL["maybe_repeated"],
        [batches[i].run_id for i in table.batch_of.tolist()],
        [key.decode() for key in table.keys],
        table.steps[least].tolist(),
        table.times_ms[least].tolist(),
        values[least].tolist(),
    )
    return [row["i"] - 1 for row in rows]


def _only(batches: Sequence[Batch], table: PointTable, chunk_of: Any, is_new: Any) -> list[Batch]:
    """The batches with their new points."""
    counts = np.bincount(chunk_of[is_new], minlength=table.chunk_count)
    batch_of_point = table.batch_of[chunk_of]
    kept: list[Batch] = []
    for i, batch in enumerate(batches):
        mine = (batch_of_point == i) & is_new
        chunks = np.flatnonzero((table.batch_of == i) & (counts > 0)).tolist()
        kept.append(
            Batch(
                run_id=batch.run_id, writer_id=batch.writer_id, seq=batch.seq, sent_ms=batch.sent_ms,
                keys=[table.keys[chunk].decode() for chunk in chunks],
                counts=pack_column("I", counts[chunks].tolist()),
                steps=table.steps[mine].astype("<i8").tobytes(),
                times_ms=table.times_ms[mine].astype("<i8").tobytes(),
                values=table.values[mine].astype("<f8").tobytes(),
            )
        )  # fmt: skip
    return kept
