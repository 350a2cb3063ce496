"""`ingest sync`."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.common import EXIT_FAILED, EXIT_USAGE, AsJson, fail, print_json, print_table, warn

if TYPE_CHECKING:
    from ingest import SpoolReport

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
    only_for: Annotated[
        list[str] | None,
        typer.Option(
            help="Only spools of this user that were meant for this address; may come again. What ingest serve runs."
        ),
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

    progress = _Progress(is_shown=sys.stderr.isatty())
    if directory is not None and not directory.is_dir():
        fail(f"{directory} is no folder", code=EXIT_USAGE)
    try:
        reports = face.sync_spool(
            directory,
            tracking_uri=url,
            token=token,
            only_for=only_for or None,
            patience=patience,
            on_report=progress.advance,
        )
    except ValueError as error:
        fail(error, code=EXIT_USAGE)
    if as_json:
        print_json([asdict(report) for report in reports])
    elif reports:
        print_table(_COLUMNS, [asdict(report) for report in reports])
        print(progress.summary())
    else:
        print("nothing to deliver")
    undelivered = [report for report in reports if report.status in {"waiting", "damaged"}]
    for report in undelivered:
        warn(f"{report.directory}: {report.error}")
    if undelivered:
        raise typer.Exit(EXIT_FAILED)


class _Progress:
    """What is through so far: a line on a terminal that is written over, and the last line of the table."""

    def __init__(self, *, is_shown: bool) -> None:
        self._is_shown = is_shown
        self._began = time.monotonic()
        self._spools = self._points = self._artifacts = 0

    def advance(self, report: SpoolReport) -> None:
        self._spools += 1
        self._points += report.acknowledged_points
        self._artifacts += report.uploaded_artifacts
        if self._is_shown:
            print(f"\r{self.summary()}", end="", file=sys.stderr, flush=True)

    def summary(self) -> str:
        took = max(time.monotonic() - self._began, 0.001)
        artifacts = f" and {self._artifacts:,} artifacts" if self._artifacts else ""
        rate = f", {self._points / took:,.0f} points/s" if self._points else ""
        return f"{self._points:,} points{artifacts} of {self._spools:,} spools in {took:.1f} s{rate}"
