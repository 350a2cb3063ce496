"""`ingest gc`."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingest.cli.common import EXIT_USAGE, AsJson, Config, DatabaseUrl, DataDir, fail, load, print_json, run

if TYPE_CHECKING:
    from ingest.gc import Collected
    from ingest.settings import Settings
    from ingest.store.gone import Which

LOCK_TIMEOUT = 30.0
"""Seconds to wait for another `ingest gc` on this database."""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


def gc(
    *,
    older_than: Annotated[
        str,
        typer.Option(
            help="Only what was deleted so long ago: 30d, 12h, 90m, 45s, 2w. 0: all that is deleted."
        ),
    ] = "0",
    experiment: Annotated[
        str | None, typer.Option(help="Only this experiment and its runs; a name or an id.")
    ] = None,
    run_id: Annotated[str | None, typer.Option("--run", metavar="RUN", help="Only this run.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go, and change nothing.")
    ] = False,
    vacuum: Annotated[bool, typer.Option(help="Make the space free for new points at once.")] = True,
    artifact_root: Annotated[
        str | None, typer.Option(help="Where the artifacts are, as for `ingest serve`.")
    ] = None,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Delete for good the runs, logged models and experiments that are deleted, with their points and artifacts.

    What a registered model has its files in stays. Nothing is asked and nothing comes back. The service goes on meanwhile; an interrupted call is made good by the next one.
    Run it where the artifacts are, with the settings of the service.
    """
    from ingest.store.gone import Which
    from ingest_schema.ids import parse_id

    settings = load(
        config, database_url=database_url, data_dir=data_dir, artifact_root=artifact_root
    ).settings
    try:
        only = None if run_id is None else parse_id(run_id)
        seconds = parse_duration(older_than)
    except ValueError as error:
        fail(error, code=EXIT_USAGE)
    which = Which(older_than=seconds, run_id=only)
    total = run(settings, _gc(settings, which, experiment, dry_run=dry_run, vacuum=vacuum, says=not as_json))
    if as_json:
        print_json(total)
        return
    verb = "would free" if dry_run else "freed"
    print(
        f"{verb} {total['runs']:,} runs, {total['models']:,} models and {total['experiments']:,} experiments: {total['points']:,} points of "
        f"{total['series']:,} series ({total['database_bytes']:,} bytes), {total['files']:,} artifacts "
        f"({total['artifact_bytes']:,} bytes), in {total['seconds']:.1f} s"
    )


def parse_duration(text: str) -> float:
    """Seconds of a text such as 30d or 12h.

    Raises:
        ValueError: It is none.
    """
    match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)([smhdw]?)", text.strip())
    if match is None or (not match[2] and float(match[1]) != 0):
        raise ValueError(f"{text!r} is no duration; give a number and a unit, such as 30d, 12h, 90m or 45s")
    return float(match[1]) * _UNITS.get(match[2], 1)


async def _gc(
    settings: Settings, which: Which, experiment: str | None, *, dry_run: bool, vacuum: bool, says: bool
) -> dict[str, Any]:
    from ingest.artifacts.errors import ArtifactError
    from ingest.artifacts.library import Artifacts
    from ingest.artifacts.opening import open_store
    from ingest.database import reach_database
    from ingest.gc import collect, preview
    from ingest.store.errors import Contention
    from ingest.store.gone import Gone

    total = dict.fromkeys(
        (
            "runs",
            "models",
            "experiments",
            "stayed",
            "points",
            "series",
            "rows",
            "database_bytes",
            "files",
            "artifact_bytes",
        ),
        0,
    )
    deadline = time.monotonic() + LOCK_TIMEOUT
    try:
        store = open_store(settings.artifact_location, settings.artifact_options)
    except ArtifactError as error:
        fail(error)
    artifacts = Artifacts(store, transfers_num=1)
    try:
        async with reach_database(settings) as url:
            while True:
                async with Gone.open(url) as gone:
                    if gone is not None:
                        started = time.monotonic()
                        which = await gone.narrowed(which, experiment)
                        steps = (preview if dry_run else collect)(gone, artifacts, which)
                        async for one in steps:
                            _add(total, one)
                            if says:
                                print(_line(one), flush=True)
                        seconds = round(time.monotonic() - started, 3)
                        if vacuum and total["rows"] and not dry_run:
                            await gone.vacuum()
                        return {"is_dry_run": dry_run, **total, "seconds": seconds}
                if time.monotonic() > deadline:
                    raise Contention(
                        f"another ingest gc has been at work here for {LOCK_TIMEOUT:.0f} seconds"
                    )
                await asyncio.sleep(0.2)
    except ArtifactError as error:
        fail(f"{error}. What is gone is gone; run ingest gc again to go on")
    finally:
        await store.close()


def _add(total: dict[str, int], one: Collected) -> None:
    from ingest.store.gone import DueModel, DueRun

    if one.outcome == "stays":
        total["stayed"] += 1
        return
    is_run, is_model = isinstance(one.what, DueRun), isinstance(one.what, DueModel)
    total["runs" if is_run else "models" if is_model else "experiments"] += 1
    total["points"] += one.freed.points
    total["series"] += one.freed.series
    total["rows"] += one.freed.rows
    total["database_bytes"] += one.freed.size_bytes
    total["files"] += one.files.number
    total["artifact_bytes"] += one.files.size_bytes


def _line(one: Collected) -> str:
    from ingest.store.gone import DueModel, DueRun

    if isinstance(one.what, DueRun):
        name = f"run {one.what.run_id.hex} {one.what.name}".rstrip()
        if one.outcome == "stays":
            return f"{name}: stays, {'a registered model has its files there' if one.what.is_registered else 'it was restored'}"
        return f"{name}: {one.freed.points:,} points, {one.files.number:,} artifacts"
    if isinstance(one.what, DueModel):
        return f"model {one.what.model_id} {one.what.name}: {one.files.number:,} artifacts"
    name = f"experiment {one.what.experiment_id} {one.what.name}".rstrip()
    return f"{name}: stays, it has runs or files of registered models" if one.outcome == "stays" else name
