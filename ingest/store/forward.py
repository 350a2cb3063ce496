"""Posts of points that only go forward, in one round trip: the ordinary case of whoever logs value by value.

The long way of a post (`ingest.store.posts`, `ingest.store.commit`) is seven round trips, each longer than what PostgreSQL then does. A
group of posts that bring nothing but points of runs that are open, each beyond the latest of its series, is one call of the
database's `post_points` instead: same locks, same rows, one COMMIT. What is not of this kind it leaves alone, and says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Any, Final
from uuid import UUID

import numpy as np
import numpy.typing as npt
import orjson

from ingest.store.points import PointTable
from ingest.store.posts import Post, PostOutcome, joined, posts_writer, shared_out
from ingest.store.summaries import summarize
from ingest_schema.sql import load_queries
from ingest_schema.wire import Batch, unpack_column

__all__ = ["post_forward"]

_SQL: Final = load_queries("posts")

MAX_CHUNKS: Final = 300
MAX_POINTS: Final = 3_000
"""Beyond, COPY is cheaper than texts of numbers."""


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
    runs = (
        _array_of_ids(run_ids),
        _array_of_ids(map(posts_writer, run_ids)),
        _array([batch.point_count for batch in batches]),
    )
    is_stored = await connection.fetchval(_SQL["post_points"], *runs, *chunks)
    return shared_out(posts, batches) if is_stored else None


def _is_plain(post: Post) -> bool:
    """Whether it brings points and nothing else."""
    return bool(post.keys) and not (post.params or post.tags or post.model_points or post.name is not None)


def _are_single(batches: Sequence[Batch]) -> bool:
    """Whether every metric has one point: what calls of log_metric bring, and of log_metrics."""
    return all(batch.point_count == len(batch.keys) for batch in batches)


def _chunks_of_one(batches: Sequence[Batch]) -> list[Any] | None:
    """What `post_points` takes of chunks of one point each. For so few, numpy costs more than it saves."""
    keys = [key for batch in batches for key in batch.keys]
    if len(keys) > MAX_CHUNKS:
        return None
    values = [value for batch in batches for value in unpack_column("d", batch.values)]
    numbers = [step for batch in batches for step in unpack_column("q", batch.steps)]
    steps = _array(numbers)
    times_ms = _array([time_ms for batch in batches for time_ms in unpack_column("q", batch.times_ms)])
    texts = extremes = sums = _array(values)
    at, odd, ones = steps, [0] * len(keys), _array([1] * len(keys))
    if not all(map(isfinite, values)):
        odd = [0 if isfinite(value) else 1 for value in values]
        texts = _array_of_any(values)
        extremes = _array([None if is_odd else value for value, is_odd in zip(values, odd, strict=True)])
        sums = _array([0.0 if is_odd else value for value, is_odd in zip(values, odd, strict=True)])
        at = _array([None if is_odd else step for step, is_odd in zip(numbers, odd, strict=True)])
    return [
        _array([place for place, batch in enumerate(batches, 1) for _ in batch.keys]),
        keys, _array(list(range(1, len(keys) + 1))), ones, _array(odd),
        steps, times_ms, texts, steps, times_ms, texts, texts, times_ms, times_ms,
        extremes, extremes, at, at, sums,
        steps, times_ms, texts,
    ]  # fmt: skip


def _chunks(batches: Sequence[Batch]) -> list[Any] | None:
    """The same of any chunks; None if they are too many, or a metric has several."""
    table = PointTable.of(batches)
    if table.is_cut or table.chunk_count > MAX_CHUNKS:
        return None
    s = summarize(table)
    return [
        _array(table.batch_of + 1),
        [key.decode() for key in table.keys],
        *map(_array, (table.starts + 1, table.counts, s.non_finite)),
        *(_array(s.lo_step), _array(s.first_time_ms), _array_of_any(s.first_value)),
        *(_array(s.hi_step), _array(s.latest_time_ms)),
        *map(_array_of_any, (s.latest_value, s.last_value)),
        *map(_array, (s.lo_time_ms, s.hi_time_ms)),
        *(_where(s.has_finite, column) for column in (s.min_value, s.max_value, s.min_step, s.max_step)),
        _array_of_any(s.sum_value),
        *(_array(table.steps), _array(table.times_ms), _array_of_any(table.values)),
    ]


def _array_of_ids(ids: Iterable[UUID]) -> str:
    return "{" + ",".join(map(str, ids)) + "}"


def _array(column: Any) -> str:
    """A column, or a list, as PostgreSQL writes an array; None is NULL. Not for NaN and the infinities."""
    found = orjson.dumps(
        np.ascontiguousarray(column) if isinstance(column, np.ndarray) else column,
        option=orjson.OPT_SERIALIZE_NUMPY,
    )
    return "{" + found[1:-1].decode() + "}"


def _array_of_any(values: Any) -> str:
    """The same of any float64s."""
    if np.isfinite(values).all():
        return _array(values)
    return "{" + ",".join(map(repr, np.asarray(values).tolist())) + "}"


def _where(known: npt.NDArray[np.bool_], column: npt.NDArray[Any]) -> str:
    """The column, with NULL where nothing is known."""
    if known.all():
        return _array(column)
    pairs = zip(column.tolist(), known.tolist(), strict=True)
    return _array([one if is_known else None for one, is_known in pairs])
