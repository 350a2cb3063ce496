"""`ingest runs`."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

import typer

from ingest.cli.common import AsJson, print_json, print_table
from ingest.cli.remote import Service, Url

PAGE_ROWS = 1_000


def runs(
    *,
    experiment: Annotated[str | None, typer.Option(help="Only runs of the experiment called so.")] = None,
    limit: Annotated[int, typer.Option(help="Most runs.", min=1)] = 50,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List runs, the one that started last first."""
    service = Service(url)
    found: list[dict[str, Any]] = []
    token: str | None = None
    while len(found) < limit:
        wanted = min(PAGE_ROWS, limit - len(found))
        page = service.get("/api/v1/runs", experiment=experiment, limit=wanted, page_token=token)
        found += page["runs"]
        token = page["next_page_token"]
        if token is None:
            break
    if as_json:
        print_json(found)
        return
    columns = ("run_id", "experiment", "name", "status", "user_name", "started", "took")
    print_table(columns, [_shown(run) for run in found])


def _shown(run: dict[str, Any]) -> dict[str, object]:
    start_ms, end_ms = run["start_time_ms"], run["end_time_ms"]
    took = None if end_ms is None else str(dt.timedelta(seconds=(end_ms - start_ms) // 1000))
    return {**run, "started": _time(start_ms), "took": took}


def _time(time_ms: int) -> dt.datetime | str:
    """Local time; any int64 is a legal time, so one that no calendar has is shown as it is."""
    try:
        return dt.datetime.fromtimestamp(time_ms / 1000, tz=dt.UTC).astimezone()
    except (OverflowError, ValueError, OSError):
        return f"{time_ms} ms"
