"""`ingest sync`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ingest.cli.common import EXIT_FAILED, EXIT_USAGE, AsJson, fail, print_json, print_table, warn

_COLUMNS = ("run_id", "status", "acknowledged_points", "rejected_points", "damaged_bytes", "tracking_uri")


def sync(
    directory: Annotated[
        Path | None,
        typer.Argument(help="The spool folder. Without it: INGEST_SPOOL_DIR, else the user's own."),
    ] = None,
    *,
    url: Annotated[
        str | None, typer.Option(help="Deliver everything there, not where each run was sent to.")
    ] = None,
    token: Annotated[
        str | None, typer.Option(envvar="INGEST_TOKEN", help="Token with the role write.")
    ] = None,
    patience: Annotated[
        float, typer.Option(min=0, help="Seconds to keep trying while the service does not take a batch.")
    ] = 10.0,
    as_json: AsJson = False,
) -> None:
    """Deliver what runs have left in the spool: after a crash, or logged offline.

    Safe to repeat and while runs are going on: a spool in use is left to its owner. Ends with 1 if something could not be
    delivered.
    """
    import ingest as face

    if directory is not None and not directory.is_dir():
        fail(f"{directory} is no folder", code=EXIT_USAGE)
    try:
        reports = face.sync_spool(directory, tracking_uri=url, token=token, patience=patience)
    except ValueError as error:
        fail(error, code=EXIT_USAGE)
    if as_json:
        print_json([asdict(report) for report in reports])
    elif reports:
        print_table(_COLUMNS, [asdict(report) for report in reports])
    else:
        print("nothing to deliver")
    undelivered = [report for report in reports if report.status in {"waiting", "damaged"}]
    for report in undelivered:
        warn(f"{report.directory}: {report.error}")
    if undelivered:
        raise typer.Exit(EXIT_FAILED)
