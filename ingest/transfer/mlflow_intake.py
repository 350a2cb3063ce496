"""How what a store of MLflow's has becomes ours: experiments and runs here, models and the registry in `mlflow_models`.

Run ids, params, tags, metrics with step, time and order, statuses, deletion, parents, inputs, outputs, experiments with their tags
stay as they are; experiments are joined by name. Artifacts come along where they lie in a local directory, or where a server hands them out.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from ingest.service import datasets
from ingest.service.errors import RunIsDeleted
from ingest.service.runs import NAME_TAG, PARENT_TAG
from ingest.store.errors import ContentRefused
from ingest.transfer.feed import RunFacts
from ingest.transfer.feeding import Feeder, id_from
from ingest.transfer.mlflow_follow import Follower, OneExperiment, OneRun, tag_facts
from ingest.transfer.mlflow_models import take_in_models, take_in_registry
from ingest.transfer.mlflow_places import run_id_of
from ingest.transfer.mlflow_source import Source, SourceExperiment, SourceRun
from ingest.transfer.taken import Taken, storable

__all__ = ["take_in"]

CLIENT: Final = "mlflow import"


async def take_in(feeder: Feeder, source: Source, *, only: frozenset[str] = frozenset()) -> None:
    """Import what the source has.

    Args:
        only: Names of experiments; empty: all. Of the registry then the versions that were made of what is here.
    """
    follower = Follower(feeder.db, feeder.taken)
    async for experiment in source.experiments():
        if only and experiment.name not in only:
            continue
        experiment_id = await feeder.make_experiment(experiment.name, experiment.tags)
        await follower.follow(OneExperiment(experiment_id), tag_facts(experiment.tags))
        async for run in source.runs(experiment):
            if await _take_in_run(feeder, source, experiment, run):
                await follower.follow(OneRun(run_id_of(run.run_id)), _followed(run))
        await take_in_models(feeder, follower, source, experiment, experiment_id)
        if experiment.is_deleted:
            await feeder.delete_experiment(experiment.name)
    await take_in_registry(feeder, follower, source, only_of_what_is_here=bool(only))


async def _take_in_run(feeder: Feeder, source: Source, experiment: SourceExperiment, run: SourceRun) -> bool:
    """Bring a run; False: it is not ours to change."""
    feed = await feeder.begin(_facts(experiment, run))
    if feed is None:
        return False
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
    return True


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
    parent = run.tags.get(PARENT_TAG)
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
        tags=_tags(run),
        client=CLIENT,
    )


def _tags(run: SourceRun) -> Mapping[str, str]:
    """Its tags, of which that of the parent says the parent's id here."""
    parent = run.tags.get(PARENT_TAG)
    return {**run.tags, PARENT_TAG: run_id_of(parent).hex} if parent else run.tags


def _followed(run: SourceRun) -> dict[str, str]:
    """What of a run is brought again when it changes at the source: its name, its tags, its deletion."""
    tags = storable(_tags(run), "tag", "", Taken())  # what can't be stored was noted with the rest of the run
    name = run.name or tags.pop(NAME_TAG, None)
    tags.pop(NAME_TAG, None)
    facts = {"lifecycle": "deleted" if run.is_deleted else "active", **tag_facts(tags)}
    return facts | ({"name": name} if name else {})
