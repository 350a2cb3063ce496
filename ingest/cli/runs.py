"""`ingest runs`: list runs, or search them with the grammar of docs/search.md."""

from __future__ import annotations

import csv
import datetime as dt
import re
import sys
from typing import Annotated, Any

import typer

from ingest.cli.common import EXIT_USAGE, AsJson, fail, print_json, print_table
from ingest.cli.remote import Service, Url

PAGE_ROWS = 1_000
FACTS = (
    "experiment",
    "run_name",
    "status",
    "user_id",
    "start_time",
    "end_time",
    "lifecycle",
    "parent_run_id",
)
"""Attributes that are read when no columns are asked for."""
SHOWN = ("run_id", "experiment", "name", "status", "user_name", "started", "took")
MEMBERS = {
    "run_name": "name",
    "user_id": "user_name",
    "start_time": "start_time_ms",
    "end_time": "end_time_ms",
    "duration": "duration_ms",
}
"""What attributes are called in the service's answers."""

_COLUMN = re.compile(r"""(?:[^,("'`]|\([^)]*\)|"[^"]*"|`[^`]*`)+""")
_NAME = re.compile(r"(?:(?P<summary>\w+)\()?(?:(?P<type>\w+)\.)?(?P<key>[^)]+)\)?")


def runs(
    *,
    where: Annotated[
        str, typer.Option(help="Only runs that this holds for: metrics.loss < 0.1 AND params.lr = '0.01'.")
    ] = "",
    order: Annotated[
        list[str] | None, typer.Option(help="Sort by a field, such as 'metrics.loss DESC'; may come again.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option(help="Fields to show, between commas: name,params.lr,min(metrics.loss).")
    ] = None,
    experiment: Annotated[
        list[str] | None, typer.Option(help="Only runs of the experiment called so; may come again.")
    ] = None,
    view: Annotated[str, typer.Option(help="active, deleted or all.")] = "active",
    limit: Annotated[int, typer.Option(help="Most runs.", min=1)] = 50,
    url: Url = None,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of a table.")] = False,
) -> None:
    """List runs, the one that started last first; or search them by params, tags, metrics and what they were."""
    if as_json and as_csv:
        fail("give only one of --json and --csv", code=EXIT_USAGE)
    wanted = [name.strip() for name in _COLUMN.findall(columns)] if columns is not None else None
    question = {
        "filter": where,
        "order_by": order or [],
        "view": view,
        "columns": [*FACTS, "experiment_id"] if wanted is None else wanted,
        **({"experiments": experiment} if experiment else {}),
    }
    found = _search(Service(url), question, limit)
    if as_json:
        print_json(found)
        return
    if wanted is None:
        titles, rows = list(SHOWN), [_shown(run) for run in found]
    else:
        titles = ["run_id", *(name for name in wanted if name != "run_id")]
        rows = [{title: _value(run, title) for title in titles} for run in found]
    if as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(titles)
        writer.writerows([row[title] for title in titles] for row in rows)
    else:
        # Keys may hold dots and brackets: a table's columns are told apart by their places.
        places = [str(i) for i in range(len(titles))]
        shown = [{place: row[title] for place, title in zip(places, titles, strict=True)} for row in rows]
        print_table(places, shown, titles=titles)


def _search(service: Service, question: dict[str, Any], limit: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    token = None
    while len(found) < limit:
        page = service.post(
            "/api/v1/runs/search",
            {**question, "limit": min(PAGE_ROWS, limit - len(found)), "page_token": token},
        )
        found += page["runs"]
        token = page["next_page_token"]
        if token is None:
            break
    return found


def _value(run: dict[str, Any], column: str) -> object:
    """A column of the answer by its name in the grammar."""
    if (name := _NAME.fullmatch(column)) is None:
        return None
    key = re.sub(r"""^(["`])(.*)\1$""", r"\2", name["key"])
    if name["type"] in {None, "attribute", "attributes", "attr", "run"}:
        return run.get(MEMBERS.get(key, key))
    if name["type"].startswith("metric"):
        summary = (name["summary"] or "last").lower()
        values = run.get("metrics", {}) if summary == "last" else run.get("summaries", {}).get(summary, {})
        return values.get(key)
    return run.get("tags" if name["type"].startswith("tag") else "params", {}).get(key)


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
