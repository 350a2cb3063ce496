"""What the commands share: options for the settings, output as a table or JSON, errors as one line."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import orjson
import typer

if TYPE_CHECKING:
    from ingest.settings import LoadedSettings, Settings

T = TypeVar("T")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Config = Annotated[
    Path | None,
    typer.Option(help="Settings file (TOML). Otherwise INGEST_CONFIG, ./ingest.toml, or the user's own."),
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(help="PostgreSQL 14 or later. Without it: the bundled PostgreSQL in the data directory."),
]
DataDir = Annotated[Path | None, typer.Option(help="Where the bundled PostgreSQL and the artifacts are.")]

EXIT_FAILED = 1
EXIT_USAGE = 2
NO_TERMINAL_WIDTH = 10_000
"""Columns of a table that goes to a file or a pipe: enough for all; a table takes only what it needs."""


def fail(message: object, *, code: int = EXIT_FAILED) -> NoReturn:
    """End the command with one line on standard error."""
    print(f"error: {message}", file=sys.stderr)
    raise typer.Exit(code)


def load(config: Path | None, **flags: object) -> LoadedSettings:
    """The settings with this command's flags on top, or a clear end."""
    from ingest.settings import SettingsError, load_settings

    try:
        loaded = load_settings(flags, config=config)
    except SettingsError as error:
        fail(error, code=EXIT_USAGE)
    for warning in loaded.warnings:
        warn(warning)
    return loaded


@contextmanager
def errors_as_one_line() -> Iterator[None]:
    """Turn what a command may expect to go wrong into a message; anything else is a bug and keeps its traceback."""
    from ingest.migrations import MigrationError
    from ingest.postgres import PostgresError
    from ingest.store.errors import StoreError

    try:
        yield
    except (MigrationError, PostgresError, StoreError) as error:
        fail(error)


def run(settings: Settings, work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine, its log on standard error."""
    from ingest.logs import configure

    configure(settings)
    with errors_as_one_line():
        return asyncio.run(work)


def print_json(value: object) -> None:
    """Write a value to standard output as JSON; times and ids become strings."""
    sys.stdout.buffer.write(
        orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    )
    sys.stdout.flush()


def print_table(
    columns: Sequence[str], rows: Sequence[Mapping[str, object]], *, titles: Sequence[str] | None = None
) -> None:
    """Rows by column name; None is left empty, times lose their fraction. titles: what to show for the names.

    Nothing is cut: ids stay in one piece, to be copied, other cells break into lines, and what is no terminal has no width.
    """
    import datetime as dt

    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    def shown(value: object) -> Text:
        if value is None:
            return Text("")
        if isinstance(value, dt.datetime):
            value = f"{value:%Y-%m-%d %H:%M:%S}"
        return Text(str(value))  # Text: a name with brackets is no markup

    def column(title: str) -> Column:
        return Column(Text(title), overflow="fold", no_wrap=title == "id" or title.endswith("_id"))

    table = Table(*(column(title) for title in titles or columns))
    for row in rows:
        table.add_row(*(shown(row.get(name)) for name in columns))
    Console(width=None if sys.stdout.isatty() else NO_TERMINAL_WIDTH).print(table)


def warn(message: object) -> None:
    """Say something on standard error that is no reason to stop."""
    print(f"warning: {message}", file=sys.stderr)
