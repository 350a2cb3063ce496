"""`ingest export`."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingest.cli.common import EXIT_USAGE, AsJson, Config, DatabaseUrl, DataDir, fail, load, print_json, run
from ingest_schema.limits import INT64_MAX

if TYPE_CHECKING:
    from uuid import UUID

    from ingest.service.database import Database
    from ingest.settings import Settings
    from ingest.transfer.export import Exported, Selection

PAGE = 5_000
READ_TIMEOUT = 300.0


class ExportFormat(StrEnum):
    """Parquet can be imported again; CSV is for other programs."""

    parquet = "parquet"
    csv = "csv"


def export(
    target: Annotated[Path, typer.Argument(help="Directory that is made; it must not be there yet.")],
    *,
    run_id: Annotated[
        list[str] | None, typer.Option("--run", metavar="RUN", help="Only this run; may be repeated.")
    ] = None,
    experiment: Annotated[
        list[str] | None, typer.Option(help="Only this experiment, by name or id; may be repeated.")
    ] = None,
    where: Annotated[
        str | None, typer.Option(help="Only runs that this filter finds (docs/search.md).")
    ] = None,
    file_format: Annotated[
        ExportFormat, typer.Option("--format", help="Of the files.")
    ] = ExportFormat.parquet,
    artifacts: Annotated[bool, typer.Option(help="Also the files of the runs.")] = True,
    artifact_root: Annotated[
        str | None, typer.Option(help="Where the artifacts are, as for `ingest serve`.")
    ] = None,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Write runs with everything that belongs to them as files, in one snapshot, while the service goes on.

    Without a choice: all experiments and runs, deleted ones too. Run it where the artifacts are, with the settings of the service.
    """
    settings = load(
        config, database_url=database_url, data_dir=data_dir, artifact_root=artifact_root
    ).settings
    if run_id and (experiment or where):
        fail("--run can't be combined with --experiment or --where", code=EXIT_USAGE)
    done = run(
        settings,
        _export(settings, target, run_id or [], experiment or [], where, file_format.value, artifacts),
    )
    if as_json:
        print_json(asdict(done))
        return
    rate = done.points / done.seconds if done.seconds else 0.0
    print(
        f"exported {done.experiments:,} experiments, {done.runs:,} runs, {done.points:,} points, {done.models:,} models and "
        f"{done.artifacts:,} artifacts to {done.target}: {done.size_bytes:,} bytes in {done.seconds:.1f} s ({rate:,.0f} points/s)"
    )


async def _export(  # noqa: PLR0917 - the options, one by one
    settings: Settings,
    target: Path,
    run_ids: list[str],
    experiments: list[str],
    where: str | None,
    file_format: Any,
    with_artifacts: bool,
) -> Exported:
    from ingest.artifacts.opening import open_store
    from ingest.database import reach_database
    from ingest.transfer.errors import TransferError
    from ingest.transfer.export import export as write

    async with reach_database(settings) as url:
        selection = await _selection(url, run_ids, experiments, where)
        store = open_store(settings.artifact_location, settings.artifact_options) if with_artifacts else None
        try:
            return await write(url, target, selection, file_format=file_format, artifacts=store)
        except (TransferError, OSError) as error:
            fail(error)
        finally:
            if store is not None:
                await store.close()


async def _selection(url: str, run_ids: list[str], experiments: list[str], where: str | None) -> Selection:
    from ingest.service.database import Database
    from ingest.transfer.export import Selection
    from ingest_schema.ids import parse_id

    if run_ids:
        try:
            return Selection(run_ids=[parse_id(text) for text in run_ids])
        except ValueError as error:
            fail(error, code=EXIT_USAGE)
    async with Database.open(url, readers=2, timeout=READ_TIMEOUT) as database:
        chosen = [await _experiment_id(database, text) for text in experiments]
        if where is None:
            return Selection(experiment_ids=chosen or None)
        return Selection(run_ids=await _found(database, where, chosen or None))


async def _experiment_id(database: Database, text: str) -> int:
    from ingest.service.errors import ExperimentUnknown
    from ingest.service.experiments import get_experiment, get_experiment_by_name

    try:
        return (await get_experiment_by_name(database, text)).experiment_id
    except ExperimentUnknown as error:
        if not text.isdecimal() or int(text) > INT64_MAX:
            fail(error)
    try:
        return (await get_experiment(database, int(text))).experiment_id
    except ExperimentUnknown as error:
        fail(error)


async def _found(database: Database, where: str, experiment_ids: list[int] | None) -> list[UUID]:
    from ingest.search.errors import FilterError
    from ingest.store.search import RunQuery, search_runs

    found: list[UUID] = []
    token: str | None = None
    try:
        query = RunQuery(filter=where, order_by=[], experiment_ids=experiment_ids, view="ALL")
        while True:
            page = await search_runs(database, query, limit=PAGE, page_token=token)
            found += page.run_ids
            token = page.next_page_token
            if token is None:
                return found
    except FilterError as error:
        fail(error, code=EXIT_USAGE)
