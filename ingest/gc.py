"""Garbage collection: what was deleted goes for good, files included, while the service goes on taking batches.

For each run: closed, files, rows, the run itself (`ingest.store.gone`). So a run has its row as long as anything of it is left, and
whatever ends the work, the next one goes on where it stood. Experiments go once they have no runs. What a registered model lives on stays.

After each transaction it rests as long as it worked, as compaction does: at most half of one core of the database goes into it.
Memory does not depend on what is deleted: rows are counted, not fetched, and files are listed a page at a time.

An upload that was under way when its run went may put a file in its place afterwards; the runs of the last LATE_SECONDS are
looked at again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from ingest.artifacts.paths import model_prefix, run_prefix
from ingest.store.gone import DueExperiment, DueModel, DueRun, Freed, Gone, Which

if TYPE_CHECKING:
    from uuid import UUID

    from ingest.artifacts.library import Artifacts

__all__ = ["Collected", "collect", "preview"]

LATE_SECONDS: Final = 2 * 86_400.0
"""Longer than an upload may be under way."""


@dataclass(slots=True)
class Files:
    """Files of a run, a model or an experiment."""

    number: int = 0
    size_bytes: int = 0


@dataclass(slots=True)
class Collected:
    """What happened to one run, model or experiment. stays: it was restored, or is still needed."""

    what: DueRun | DueModel | DueExperiment
    outcome: Literal["gone", "stays", "due"]
    freed: Freed = field(default_factory=Freed)
    files: Files = field(default_factory=Files)


async def collect(gone: Gone, artifacts: Artifacts, which: Which) -> AsyncIterator[Collected]:
    """Delete for good whatever is due; after each run and experiment what went."""
    async for run_id, experiment_id in gone.lately_gone(LATE_SECONDS):
        await _remove_files(artifacts, _run_directory(experiment_id, run_id))
    async for run in gone.due_runs(which):
        yield await _collect_run(gone, artifacts, run, which)
    async for model in gone.due_models(which):
        files = await _remove_files(artifacts, _model_directory(model))
        await gone.delete_model(model.model_id)
        yield Collected(model, "gone", files=files)
    async for experiment in gone.due_experiments(which):
        if experiment.is_needed or not await gone.delete_experiment(experiment.experiment_id):
            yield Collected(experiment, "stays")
        else:
            files = await _finish_experiment(gone, artifacts, experiment.experiment_id)
            yield Collected(experiment, "gone", files=files)
    for experiment_id in await gone.unfinished_experiments():  # left by a call that did not come to its end
        await _finish_experiment(gone, artifacts, experiment_id)
    while await gone.drop_empty_segments():
        pass


async def preview(gone: Gone, artifacts: Artifacts, which: Which) -> AsyncIterator[Collected]:
    """What `collect` would do now. Nothing is changed."""
    async for run in gone.due_runs(which):
        files = await _count_files(artifacts, _run_directory(run.experiment_id, run.run_id))
        yield Collected(run, "stays" if run.is_registered else "due", await gone.sizes(run.run_id), files)
    async for model in gone.due_models(which):
        yield Collected(model, "due", files=await _count_files(artifacts, _model_directory(model)))
    async for experiment in gone.due_experiments(which):
        yield Collected(experiment, "due")


async def _collect_run(gone: Gone, artifacts: Artifacts, run: DueRun, which: Which) -> Collected:
    if run.is_registered or (not run.is_closed and not await gone.close_run(run, which)):
        return Collected(run, "stays")
    files = await _remove_files(artifacts, _run_directory(run.experiment_id, run.run_id))
    freed = Freed()
    started = time.perf_counter()
    async for some in gone.delete_rows(run.run_id):
        freed += some
        await asyncio.sleep(time.perf_counter() - started)
        started = time.perf_counter()
    await gone.finish_run(run.run_id)
    return Collected(run, "gone", freed, files)


async def _finish_experiment(gone: Gone, artifacts: Artifacts, experiment_id: int) -> Files:
    files = await _remove_files(artifacts, str(experiment_id))
    await gone.finish_experiment(experiment_id)
    return files


def _run_directory(experiment_id: int, run_id: UUID) -> str:
    """What holds all files of a run."""
    return run_prefix(experiment_id, run_id).rpartition("/")[0]


def _model_directory(model: DueModel) -> str:
    """What holds all files of a logged model."""
    return model_prefix(model.experiment_id, model.model_id).rpartition("/")[0]


async def _remove_files(artifacts: Artifacts, directory: str) -> Files:
    files = await _count_files(artifacts, directory)
    async for _ in artifacts.remove_tree(directory):
        pass
    return files


async def _count_files(artifacts: Artifacts, directory: str) -> Files:
    files = Files()
    async for entry in artifacts.store.walk(directory):
        files.number += 1
        files.size_bytes += entry.size_bytes
    return files
