"""All points of a metric, in the order of their times: a page, everything, several runs, a thinned range of steps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final
from uuid import UUID

import numpy as np
import numpy.typing as npt

from ingest.charts.parts import distinct
from ingest.service.database import Database
from ingest.store.samples import read_sample
from ingest.store.timeline import Columns, Place, read_all, read_at_steps, read_page, read_steps

__all__ = ["RunColumns", "all_points", "page_of_points", "points_of_runs", "thinned_points_of_runs"]

RunColumns = tuple[UUID, Columns]

_PAGE: Final = 100_000
"""Points read at a time: 2.4 MB."""
MAX_THINNED_POINTS: Final = 250_000
"""Points of one thinned answer: several may share a step, and a step that is repeated for ever must not fill the memory."""


async def page_of_points(db: Database, run_id: UUID, key: str, *, limit: int, after: Place | None) -> Columns:
    """At most `limit` points; none for a run or a metric that is not there."""
    async with db.snapshot() as connection:
        return await read_page(connection, run_id, key, limit=limit, after=after)


async def all_points(db: Database, run_id: UUID, key: str) -> AsyncIterator[Columns]:
    """Everything, in pages of one snapshot: memory is bounded, time is not."""
    async with db.snapshot() as connection:
        async for columns in read_all(connection, run_id, key, page=_PAGE):
            yield columns


async def points_of_runs(db: Database, run_ids: Sequence[UUID], key: str, *, limit: int) -> list[RunColumns]:
    """The points of one metric, run after run in the order of their ids, at most `limit` in all."""
    found: list[RunColumns] = []
    room = limit
    async with db.snapshot() as connection:
        for run_id in sorted(run_ids):
            if room <= 0:
                break
            columns = await read_page(connection, run_id, key, limit=room, after=None)
            room -= len(columns)
            found.append((run_id, columns))
    return found


async def thinned_points_of_runs(
    db: Database,
    run_ids: Sequence[UUID],
    key: str,
    *,
    steps_num: int,
    first_step: int | None,
    last_step: int | None,
) -> list[RunColumns]:
    """Of all the steps that the runs have in a range, about `steps_num`, evenly chosen, and each run's last.

    The same steps for every run, so that curves can be compared; all points of a chosen step. Of a series so long that it is in
    more pieces than that, a point from each of so many pieces instead: to read all of its steps would take as long as to read it.
    """
    low = np.iinfo(np.int64).min if first_step is None else first_step
    high = np.iinfo(np.int64).max if last_step is None else last_step
    found: dict[UUID, Columns] = {}
    async with db.snapshot() as connection:
        steps_of: dict[UUID, npt.NDArray[np.int64]] = {}
        for run_id in sorted(run_ids):
            sample = await read_sample(connection, run_id, key, low, high, number=steps_num)
            if sample is not None:
                found[run_id] = sample
            else:
                steps_of[run_id] = await read_steps(connection, run_id, key, low, high)
        chosen = _evenly(_united(list(steps_of.values())), steps_num)
        room = MAX_THINNED_POINTS
        for run_id, steps in steps_of.items():
            if len(steps) and room > 0:
                wanted = _united([chosen, steps[-1:]])
                found[run_id] = await read_at_steps(connection, run_id, key, wanted, limit=room)
                room -= len(found[run_id])
    return sorted(found.items())


def _united(columns: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    """All different steps of columns that are in order themselves, in order."""
    if len(columns) == 1:
        return columns[0]
    steps: npt.NDArray[np.int64] = np.sort(np.concatenate([np.empty(0, np.int64), *columns]))
    return distinct(steps)


def _evenly(steps: npt.NDArray[np.int64], number: int) -> npt.NDArray[np.int64]:
    """About `number` of the steps, the first and the last among them."""
    if len(steps) <= number:
        return steps
    return steps[np.linspace(0, len(steps) - 1, number).astype(np.int64)]
