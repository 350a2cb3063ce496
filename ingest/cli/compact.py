"""`ingest compact`."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingest.cli.common import EXIT_USAGE, AsJson, Config, DatabaseUrl, DataDir, fail, load, print_json, run

if TYPE_CHECKING:
    from uuid import UUID

    from ingest.settings import Settings

LOCK_TIMEOUT = 30.0
"""Seconds to wait for a service that compacts this database to pause."""


def compact(
    run_id: Annotated[str | None, typer.Argument(metavar="[RUN]", help="Only this run.")] = None,
    *,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    vacuum: Annotated[bool, typer.Option(help="Give the space back at once.")] = True,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Merge small chunks of points into large ones now, those of running runs included.

    `ingest serve` does the same in the background, a little later and for what is worth it; while one works, the other waits.
    """
    from ingest_schema.ids import parse_id

    settings = load(config, database_url=database_url, data_dir=data_dir).settings
    try:
        only = None if run_id is None else parse_id(run_id)
    except ValueError as error:
        fail(error, code=EXIT_USAGE)
    done = run(settings, _compact(settings, only, vacuum=vacuum))
    if as_json:
        print_json(done)
        return
    rate = done["points"] / done["seconds"] if done["seconds"] else 0.0
    print(
        f"compacted {done['points']:,} points of {done['series']:,} series, from {done['chunks']:,} chunks into "
        f"{done['rows']:,} rows, in {done['seconds']:.1f} s ({rate:,.0f} points/s)"
    )
    print(f"on disk: {done['plain_bytes']:,} bytes waiting, {done['packed_bytes']:,} bytes compacted")


async def _compact(settings: Settings, run_id: UUID | None, *, vacuum: bool) -> dict[str, Any]:
    from ingest.compaction.worker import Progress, compact_all
    from ingest.database import reach_database
    from ingest.store.compaction import Compaction
    from ingest.store.errors import Contention

    progress = Progress()
    deadline = time.monotonic() + LOCK_TIMEOUT
    async with reach_database(settings) as url:
        while True:
            async with Compaction.open(url, purpose="by hand") as compaction:
                if compaction is not None:
                    started = time.monotonic()
                    await compact_all(compaction, progress, run_id=run_id, everything=True)
                    seconds = time.monotonic() - started
                    if vacuum:
                        await compaction.vacuum()
                    plain_bytes, packed_bytes = await compaction.sizes()
                    sizes = {"plain_bytes": plain_bytes, "packed_bytes": packed_bytes}
                    return {**asdict(progress), "seconds": round(seconds, 3), **sizes}
            if time.monotonic() > deadline:
                raise Contention(
                    f"another process has been compacting this database for {LOCK_TIMEOUT:.0f} seconds"
                )
            await asyncio.sleep(0.2)
