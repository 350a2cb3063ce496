"""`ingest retention`."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingest.cli.common import (
    EXIT_USAGE,
    AsJson,
    Config,
    DatabaseUrl,
    DataDir,
    fail,
    load,
    print_json,
    print_table,
    run,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ingest.settings import Settings
    from ingest.store.retention import Rule

app = typer.Typer(no_args_is_help=True, help="Set, show and apply what becomes of an experiment's old runs.")

LOCK_TIMEOUT = 30.0
"""Seconds to wait for a service that compacts this database to pause."""

Experiment = Annotated[str, typer.Argument(help="A name or an id.")]
MaybeExperiment = Annotated[str | None, typer.Argument(help="A name or an id; otherwise all.")]


@app.command("set")
def set_(
    experiment: Experiment,
    *,
    delete_after: Annotated[
        int | None,
        typer.Option(help="Days after which a run is deleted. It can be restored until ingest gc."),
    ] = None,
    thin_after: Annotated[
        int | None, typer.Option(help="Days after which a run's points are thinned. They don't come back.")
    ] = None,
    thin_to: Annotated[
        int, typer.Option(help="Buckets that each metric keeps, of at most eight points each.")
    ] = 1_000,
    keep_tag: Annotated[str, typer.Option(help="Runs with this tag are left alone.")] = "ingest.keep",
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Give an experiment a rule, in place of the one it has. The service applies it in the background, within ten minutes."""
    from ingest.store.retention import Rule, RuleInvalid

    settings = load(config, database_url=database_url, data_dir=data_dir).settings
    try:
        rule = Rule(
            delete_after_days=delete_after, thin_after_days=thin_after, thin_to=thin_to, keep_tag=keep_tag
        )
    except RuleInvalid as error:
        fail(error, code=EXIT_USAGE)
    _show(run(settings, _set(settings, experiment, rule)), as_json=as_json)


@app.command()
def clear(
    experiment: Experiment,
    *,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Take an experiment's rule away: its runs are kept as they are."""
    settings = load(config, database_url=database_url, data_dir=data_dir).settings
    _show(run(settings, _set(settings, experiment, None)), as_json=as_json)


@app.command()
def show(
    experiment: MaybeExperiment = None,
    *,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show the rules there are."""
    settings = load(config, database_url=database_url, data_dir=data_dir).settings
    _show(run(settings, _rules(settings, experiment)), as_json=as_json)


@app.command("run")
def run_(
    experiment: MaybeExperiment = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what is due, and change nothing.")] = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Apply the rules now, to the end."""
    settings = load(config, database_url=database_url, data_dir=data_dir).settings
    total = run(settings, _apply(settings, experiment, dry_run=dry_run, says=not as_json))
    if as_json:
        print_json(total)
        return
    would = "would be " if dry_run else ""
    print(f"{would}deleted: {total['deleted']:,} runs; {would}thinned: {total['thinned']:,} runs", end="")
    print("" if dry_run else f", {total['points_before']:,} points to {total['points_after']:,}")


def _show(rules: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(rules)
    else:
        columns = (
            "experiment_id",
            "experiment",
            "delete_after_days",
            "thin_after_days",
            "thin_to",
            "keep_tag",
        )
        print_table(columns, rules)


async def _set(settings: Settings, experiment: str, rule: Rule | None) -> list[dict[str, Any]]:
    from ingest.store.retention import find_experiment, set_rule

    async with _connected(settings) as connection:
        await set_rule(connection, await find_experiment(connection, experiment), rule)
    return await _rules(settings, experiment)


async def _rules(settings: Settings, experiment: str | None) -> list[dict[str, Any]]:
    from ingest.store.retention import find_experiment, rules_of

    async with _connected(settings) as connection:
        only = None if experiment is None else [await find_experiment(connection, experiment)]
        found = await rules_of(connection, only)
    return [{"experiment_id": number, "experiment": name, **rule.shown()} for number, name, rule in found]


@asynccontextmanager
async def _connected(settings: Settings) -> AsyncIterator[Any]:
    from ingest.database import reach_database
    from ingest.store.connect import connect
    from ingest.store.errors import DATABASE_ERRORS, translated

    async with reach_database(settings) as url:
        try:
            async with connect(url, purpose="retention") as connection:
                yield connection
        except DATABASE_ERRORS as error:
            raise translated(error) from error


async def _apply(settings: Settings, experiment: str | None, *, dry_run: bool, says: bool) -> dict[str, Any]:
    from ingest.compaction.retention import apply_rules, preview_rules
    from ingest.database import reach_database
    from ingest.store.compaction import Compaction
    from ingest.store.errors import Contention
    from ingest.store.retention import find_experiment

    only = None
    if experiment is not None:
        async with _connected(settings) as connection:
            only = await find_experiment(connection, experiment)
    total = {"is_dry_run": dry_run, "deleted": 0, "thinned": 0, "points_before": 0, "points_after": 0}
    deadline = time.monotonic() + LOCK_TIMEOUT
    async with reach_database(settings) as url:
        while True:
            async with Compaction.open(url, purpose="retention by hand") as compaction:
                if compaction is not None:
                    act = preview_rules if dry_run else apply_rules
                    async for one in act(compaction, experiment_id=only):
                        total["deleted" if one.action == "delete" else "thinned"] += 1
                        total["points_before"] += one.before
                        total["points_after"] += one.after
                        if says:
                            print(
                                f"{one.action} run {one.run.run_id.hex} {one.run.name}".rstrip(), flush=True
                            )
                    return total
            if time.monotonic() > deadline:
                raise Contention(
                    f"another process has been compacting this database for {LOCK_TIMEOUT:.0f} seconds"
                )
            await asyncio.sleep(0.2)
