"""`ingest migrate`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from ingest.cli.common import AsJson, Config, DatabaseUrl, DataDir, load, print_json, run, warn

if TYPE_CHECKING:
    from ingest.migrations import MigrationReport, Phase
    from ingest.settings import Settings


class Phases(StrEnum):
    """Which files to apply."""

    all = "all"
    pre = "pre"
    post = "post"


def migrate(
    *,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    phase: Annotated[
        Phases,
        typer.Option(help="pre: what the previous release can live with; post: the rest, once it is gone."),
    ] = Phases.all,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be applied.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Bring a database to this release's schema, and make the role that may only read.

    The bundled PostgreSQL is migrated by `ingest serve` itself.
    """
    from ingest.migrations import label

    settings = load(config, database_url=database_url, data_dir=data_dir).settings
    phases: tuple[Phase, ...] = ("pre", "post") if phase is Phases.all else (phase.value,)  # type: ignore[assignment]
    report = run(settings, _migrate(settings, phases, dry_run=dry_run))
    names = [label(migration) for migration in report.applied]
    problem = report.reader.problem if report.reader is not None else None
    if as_json:
        reader = {"role": report.reader.name, "problem": problem} if report.reader is not None else None
        print_json({"applied": names, "dry_run": dry_run, "version": report.version, "reader": reader})
        return
    for name in names:
        print(f"{'would apply' if dry_run else 'applied'} {name}")
    print(f"schema version {report.version}{'' if names else ', nothing to do'}")
    if problem is not None:
        warn(problem)


async def _migrate(settings: Settings, phases: tuple[Phase, ...], *, dry_run: bool) -> MigrationReport:
    from ingest.database import reach_database
    from ingest.migrations import migrate as apply

    reader_url = settings.reader_database_url
    role = urlsplit(reader_url).username if reader_url is not None else None
    async with reach_database(settings) as url:
        return await apply(url, phases=phases, dry_run=dry_run, reader_role=role)
