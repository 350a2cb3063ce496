"""Posts of points that only go forward, in one round trip: the ordinary case of whoever logs value by value.

The long way of a post (`ingest.store.posts`, `ingest.store.commit`) is seven round trips, each longer than what PostgreSQL then does. A
group of posts that bring nothing but points of runs that are open, each beyond the latest of its series, is one call of the
database's `post_points` instead: same locks, same rows, one COMMIT. What is not of this kind comes back as IG001, with nothing stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any, Final

import asyncpg
import numpy as np
import numpy.typing as npt

from ingest.store.points import PointTable
from ingest.store.posts import Post, PostOutcome, joined, posts_writer, shared_out
from ingest.store.summaries import summarize
from ingest_schema.sql import load_queries
from ingest_schema.wire import Batch, unpack_column

__all__ = ["post_forward"]

_SQL: Final = load_queries("posts")

MAX_CHUNKS: Final = 300
MAX_POINTS: Final = 3_000
"""Beyond, COPY is cheaper than arrays of Python's integers."""
_NOT_FORWARD: Final = "IG001"


async def post_forward(connection: Any, posts: Sequence[Post]) -> list[PostOutcome] | None:
    """Store the posts, outside of any transaction; None: nothing was stored, since they are not of this kind.

    Raises:
        asyncpg.PostgresError, OSError, ...: As `commit_group`.
    """
    if not all(map(_is_plain, posts)) or sum(post.point_count for post in posts) > MAX_POINTS:
        return None
    batches = sorted(joined(posts, {}), key=lambda batch: batch.run_id)
    chunks = _chunks_of_one(batches) if _are_single(batches) else _chunks(batches)
    if chunks is None:
        return None
    run_ids = [batch.run_id for batch in batches]
    runs = run_ids, list(map(posts_writer, run_ids)), [batch.point_count for batch in batches]
    try:
        await connection.execute(_SQL["post_points"], *runs, *chunks)
    except asyncpg.PostgresError as error:
        if error.sqlstate == _NOT_FORWARD:
            return None
        raise
    return shared_out(posts, batches)


def _is_plain(post: Post) -> bool:
    """Whether it brings points and nothing else."""
    return bool(post.keys) and not (post.params or post.tags or post.model_points or post.name is not None)


def _are_single(batches: Sequence[Batch]) -> bool:
    """Whether every metric has one point: what calls of log_metric bring, and of log_metrics."""
    return all(batch.point_count == len(batch.keys) for batch in batches)


def _chunks_of_one(batches: Sequence[Batch]) -> list[list[Any]] | None:
    """What `post_points` takes of chunks of one point each. For so few, numpy costs more than it saves."""
    keys = [key for batch in batches for key in batch.keys]
    if len(keys) > MAX_CHUNKS:
        return None
    steps = [step for batch in batches for step in unpack_column("q", batch.steps)]
    times_ms = [time_ms for batch in batches for time_ms in unpack_column("q", batch.times_ms)]
    values = [value for batch in batches for value in unpack_column("d", batch.values)]
    ones = [1] * len(keys)
    odd = [0 if isfinite(value) else 1 for value in values]
    finite, at, sums = values, steps, values
    if any(odd):
        finite = [None if is_odd else value for value, is_odd in zip(values, odd, strict=True)]
        at = [None if is_odd else step for step, is_odd in zip(steps, odd, strict=True)]
        sums = [0.0 if is_odd else value for value, is_odd in zip(values, odd, strict=True)]
    return [
        [place for place, batch in enumerate(batches, 1) for _ in batch.keys],
        keys, list(range(1, len(keys) + 1)), ones, odd,
        steps, times_ms, values, steps, times_ms, values, values, times_ms, times_ms,
        finite, finite, at, at, sums,
        steps, times_ms, values,
    ]  # fmt: skip


def _chunks(batches: Sequence[Batch]) -> list[list[Any]] | None:
    """The same of any chunks; None if they are too many, or a metric has several."""
    table = PointTable.of(batches)
    if table.is_cut or table.chunk_count > MAX_CHUNKS:
        return None
    s = summarize(table)
    columns = (
        table.starts + 1, table.counts, s.non_finite,
        s.lo_step, s.first_time_ms, s.first_value, s.hi_step, s.latest_time_ms, s.latest_value, s.last_value,
        s.lo_time_ms, s.hi_time_ms,
    )  # fmt: skip
    return [
        (table.batch_of + 1).tolist(),
        [key.decode() for key in table.keys],
        *(column.tolist() for column in columns),
        *(_where(s.has_finite, column) for column in (s.min_value, s.max_value, s.min_step, s.max_step)),
        s.sum_value.tolist(),
        table.steps.tolist(),
        table.times_ms.tolist(),
        table.values.tolist(),
    ]


def _where(known: npt.NDArray[np.bool_], column: npt.NDArray[Any]) -> list[Any]:
    """The column, with None where nothing is known."""
    found: list[Any] = column.tolist()
    if known.all():
        return found
    return [one if is_known else None for one, is_known in zip(found, known.tolist(), strict=True)]
