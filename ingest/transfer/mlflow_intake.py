"""How what a store of MLflow's has becomes ours: experiments and runs here, models and the registry in `mlflow_models`.

Run ids, params, tags, metrics with step, time and order, statuses, deletion, parents, inputs, outputs, experiments with their tags
stay as they are; experiments are joined by name. Artifacts come along where they lie in a local directory, or where a server hands them out.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from ingest.service import datasets
from ingest.service.errors import RunIsDeleted
from ingest.store.errors import ContentRefused
from ingest.transfer.feeding import Feeder, RunFacts, id_from
from ingest.transfer.mlflow_models import take_in_models, take_in_registry
from ingest.transfer.mlflow_places import run_id_of
from ingest.transfer.mlflow_source import Source, SourceExperiment, SourceRun

__all__ = ["take_in"]

CLIENT: Final = "mlflow import"


async def take_in(feeder: Feeder, source: Source, *, only: frozenset[str] = frozenset()) -> None:
    """Import what the source has.

    Args:
        only: Names of experiments; empty: all. Of the registry then the versions that were made of what is here.
    """
    async for experiment in source.experiments():
        if only and experiment.name not in only:
            continue
        experiment_id = await feeder.make_experiment(experiment.name, experiment.tags)
        async for run in source.runs(experiment):
            await _take_in_run(feeder, source, experiment, run)
        await take_in_models(feeder, source, experiment, experiment_id)
        if experiment.is_deleted:
            await feeder.delete_experiment(experiment.name)
    await take_in_registry(feeder, source, only_of_what_is_here=bool(only))


async def _take_in_run(feeder: Feeder, source: Source, experiment: SourceExperiment, run: SourceRun) -> None:
    feed = await feeder.begin(_facts(experiment, run))
    if feed is None:
        return
    async for key, step, time_ms, value in source.points(run):
        feed.add(key, step, time_ms, value)
        if feed.is_full:
            await feed.flush()
    await feed.flush()
    await _take_in_inputs(feeder, source, run)
    files = None
    if run.artifact_uri and source.has_files(run.artifact_uri):
        files = source.files(run.artifact_uri)
    elif run.artifact_uri:
        feeder.taken.skip("runs whose artifacts, if any, can't be had from here")
    await feed.end(files)


async def _take_in_inputs(feeder: Feeder, source: Source, run: SourceRun) -> None:
    """What the run read and made. A run that is deleted here has it already, as it is deleted last."""
    run_id, inputs = run_id_of(run.run_id), await source.inputs(run)
    try:
        with suppress(RunIsDeleted):
            if inputs.datasets or inputs.models:
                await datasets.log_inputs(feeder.db, run_id, inputs.datasets, inputs.models)
            if inputs.made:
                await datasets.log_outputs(feeder.db, run_id, inputs.made)
    except ContentRefused as error:
        feeder.taken.skip("data sets of a run that can't be stored")
        feeder.taken.note(f"run {run_id.hex}: {error}")


def _facts(experiment: SourceExperiment, run: SourceRun) -> RunFacts:
    run_id = run_id_of(run.run_id)
    parent = run.tags.get("mlflow.parentRunId")
    start_ms = run.start_time_ms if run.start_time_ms is not None else run.end_time_ms or 0
    return RunFacts(
        run_id=run_id,
        writer_id=id_from("mlflow", run_id.hex),
        experiment=experiment.name,
        name=run.name or run.tags.get("mlflow.runName"),
        user=run.user,
        parent_run_id=run_id_of(parent) if parent else None,
        start_time_ms=start_ms,
        status=run.status,
        end_time_ms=run.end_time_ms,
        is_deleted=run.is_deleted,
        params=run.params,
        tags=run.tags,
        client=CLIENT,
    )
