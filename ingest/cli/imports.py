"""`ingest import`: an export of our own, or what another tool wrote.

`ingest import DIR` means `ingest import export DIR`: the first word is a directory unless it names a kind of source.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from ingest.cli import importers
from ingest.cli.common import AsJson, Config, DatabaseUrl, DataDir, fail, load, print_json, run

if TYPE_CHECKING:
    from ingest.settings import Settings
    from ingest.transfer.load import Imported

DEFAULT = "export"


class _DefaultsToExport(TyperGroup):
    """A group whose first word may be the argument of its first command."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands:
            args = [DEFAULT, *args]
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=_DefaultsToExport, no_args_is_help=True, help="Import an export, or what another tool wrote."
)


@app.command(DEFAULT)
def from_export(
    source: Annotated[Path, typer.Argument(help="Directory that `ingest export` made.")],
    *,
    artifacts: Annotated[bool, typer.Option(help="Also the files of the runs.")] = True,
    check: Annotated[bool, typer.Option(help="Compare every file with the manifest first.")] = True,
    artifact_root: Annotated[
        str | None, typer.Option(help="Where the artifacts go, as for `ingest serve`.")
    ] = None,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Import an export of this tool: every run whole or not at all. Runs that are there already are compared and left alone.

    Exit code 1 if one of those differs. An interrupted import goes on when it is started again.
    """
    settings = load(
        config, database_url=database_url, data_dir=data_dir, artifact_root=artifact_root
    ).settings
    done = run(settings, _import_export(settings, source, artifacts=artifacts, check=check))
    if as_json:
        print_json(asdict(done))
    else:
        rate = done.points / done.seconds if done.seconds else 0.0
        print(
            f"imported {done.runs:,} runs, {done.points:,} points, {done.models:,} models and {done.artifacts:,} artifacts in {done.seconds:.1f} s "
            f"({rate:,.0f} points/s); {done.same:,} runs were there already"
        )
    if done.different:
        shown = ", ".join(done.different[:5])
        fail(
            f"{len(done.different):,} runs are here with another content and were left as they are: {shown}; "
            "delete them here for good (ingest gc) to import them"
        )


async def _import_export(settings: Settings, source: Path, *, artifacts: bool, check: bool) -> Imported:
    from ingest.artifacts.library import Artifacts
    from ingest.artifacts.opening import open_store
    from ingest.database import reach_database
    from ingest.transfer.errors import TransferError
    from ingest.transfer.load import load as read

    async with reach_database(settings) as url:
        store = open_store(settings.artifact_location, settings.artifact_options) if artifacts else None
        try:
            into = None if store is None else Artifacts(store, transfers_num=1)
            return await read(url, source, artifacts=into, checks_files=check)
        except (TransferError, OSError) as error:
            fail(error)
        finally:
            if store is not None:
                await store.close()


app.command("mlflow")(importers.mlflow)
app.command("tensorboard")(importers.tensorboard)
app.command("csv")(importers.csv)
