"""`ingest import mlflow`, `ingest import tensorboard`, `ingest import csv`: what other tools wrote, taken in."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.common import AsJson, Config, DatabaseUrl, DataDir, fail, load, print_json, run, warn

if TYPE_CHECKING:
    from ingest.settings import Settings
    from ingest.transfer.feeding import Feeder
    from ingest.transfer.taken import Taken

__all__ = ["csv", "mlflow", "tensorboard"]

Experiment = Annotated[str | None, typer.Option(help="Experiment that the runs go to.")]
ArtifactRoot = Annotated[str | None, typer.Option(help="Where the artifacts go, as for `ingest serve`.")]
_NOTES_SHOWN = 20


def mlflow(
    source: Annotated[
        str,
        typer.Argument(
            help="Directory (mlruns), database (sqlite:///mlflow.db, postgresql://…), or server (http://…) of MLflow."
        ),
    ],
    *,
    experiment: Annotated[
        list[str] | None, typer.Option(help="Only this experiment, by name; may be repeated.")
    ] = None,
    artifacts: Annotated[
        bool, typer.Option(help="Also files of runs and models, from this machine or the server.")
    ] = True,
    artifact_root: ArtifactRoot = None,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Import what MLflow has under its ids: runs with params, tags, data sets, all points of all metrics; logged models; the registry; files.

    Safe to repeat. Of the registry, --experiment chooses the versions that were made of what is here.
    """

    async def take(feeder: Feeder) -> None:
        await _take_mlflow(feeder, source, frozenset(experiment or ()))

    settings = load(
        config, database_url=database_url, data_dir=data_dir, artifact_root=artifact_root
    ).settings
    _import(settings, take, as_json=as_json, artifacts=artifacts)


async def _take_mlflow(feeder: Feeder, source: str, only: frozenset[str]) -> None:
    from ingest.transfer.from_mlflow_files import FileStore
    from ingest.transfer.from_mlflow_rest import RestStore
    from ingest.transfer.from_mlflow_sql import SqlStore
    from ingest.transfer.mlflow_intake import take_in
    from ingest.transfer.mlflow_rows import is_database_url

    if source.startswith(("http://", "https://")):
        async with RestStore(source) as server:
            await take_in(feeder, server, only=only)
    elif is_database_url(source):
        async with SqlStore(source) as database:
            await take_in(feeder, database, only=only)
    else:
        await take_in(
            feeder, FileStore(Path(source.removeprefix("file://").removeprefix("file:"))), only=only
        )


def tensorboard(
    logdir: Annotated[Path, typer.Argument(help="Directory below which the event files are.")],
    *,
    experiment: Experiment = None,
    artifacts: Annotated[
        bool, typer.Option(help="Also images, audio and texts, as files of the run.")
    ] = True,
    artifact_root: ArtifactRoot = None,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Import scalars, histograms, hparams, texts, images and audio of TensorBoard, a run for each directory. Safe to repeat, also while files grow.

    The experiment is called like the directory if no other name is given.
    """

    async def take(feeder: Feeder) -> None:
        from ingest.transfer.from_tensorboard import take_in

        await take_in(feeder, logdir, experiment or logdir.resolve().name or "tensorboard")

    settings = load(
        config, database_url=database_url, data_dir=data_dir, artifact_root=artifact_root
    ).settings
    _import(settings, take, as_json=as_json, artifacts=artifacts)


def csv(
    file: Annotated[Path, typer.Argument(help="The file; its first line names the columns.")],
    *,
    experiment: Experiment = None,
    run_column: Annotated[str | None, typer.Option(help="Column that tells runs apart.")] = None,
    step: Annotated[str | None, typer.Option(help="Column of steps.")] = None,
    time_column: Annotated[
        str | None, typer.Option("--time", help="Column of times: seconds, milliseconds or ISO 8601.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="Column of the metrics' names, in the long form.")] = None,
    value: Annotated[str | None, typer.Option(help="Column of the values, in the long form.")] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="Column of a metric, in the wide form; may be repeated.")
    ] = None,
    param: Annotated[list[str] | None, typer.Option(help="Column of a param; may be repeated.")] = None,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Import a CSV file: a column for each metric, or columns of names and values. Safe to repeat, also when rows were added.

    The experiment is called like the file if no other name is given.
    """

    async def take(feeder: Feeder) -> None:
        from ingest.transfer.from_csv import Columns, take_in

        columns = Columns(
            run=run_column,
            step=step,
            time=time_column,
            key=key,
            value=value,
            metrics=metric or (),
            params=param or (),
        )
        await take_in(feeder, file, experiment or file.stem, columns)

    settings = load(config, database_url=database_url, data_dir=data_dir).settings
    _import(settings, take, as_json=as_json, artifacts=False)


def _import(
    settings: Settings, take: Callable[[Feeder], Awaitable[None]], *, as_json: bool, artifacts: bool
) -> None:
    started = time.monotonic()
    taken = run(settings, _feed(settings, take, artifacts=artifacts))
    seconds = time.monotonic() - started
    if as_json:
        print_json({**asdict(taken), "seconds": round(seconds, 3)})
        return
    for note in taken.notes[:_NOTES_SHOWN]:
        warn(note)
    if len(taken.notes) > _NOTES_SHOWN:
        warn(f"{len(taken.notes) - _NOTES_SHOWN:,} more of these; --json lists them")
    rate = taken.points / seconds if seconds else 0.0
    print(
        f"imported {taken.runs:,} runs, {taken.points:,} points, {taken.models:,} logged models, {taken.model_versions:,} model "
        f"versions and {taken.artifacts:,} artifacts in {seconds:.1f} s ({rate:,.0f} points/s); {taken.same:,} runs, "
        f"{taken.same_models:,} logged models and {taken.same_versions:,} model versions were there already"
    )
    if taken.changed:
        print(f"changed here as they changed there: {taken.changed:,} names, tags, stages and the like")
    if taken.skipped:
        print(
            "left out: " + ", ".join(f"{number:,} {what}" for what, number in sorted(taken.skipped.items()))
        )


async def _feed(settings: Settings, take: Callable[[Feeder], Awaitable[None]], *, artifacts: bool) -> Taken:
    from ingest.artifacts.errors import ArtifactError
    from ingest.artifacts.library import Artifacts
    from ingest.artifacts.opening import open_store
    from ingest.database import reach_database
    from ingest.transfer.feeding import Feeder
    from ingest.transfer.source_errors import SourceError

    async with reach_database(settings) as url:
        store = open_store(settings.artifact_location, settings.artifact_options) if artifacts else None
        try:
            into = None if store is None else Artifacts(store, transfers_num=1)
            async with Feeder.open(url, into) as feeder:
                await take(feeder)
                return feeder.taken
        except (SourceError, ArtifactError, OSError) as error:
            fail(f"{error}; what was imported before this stays, and the same command goes on from there")
        finally:
            if store is not None:
                await store.close()
