"""Puts the commands together. A command is a function or a Typer application of its own module."""

from __future__ import annotations

import importlib.util
from importlib import import_module

import typer

COMMANDS = (
    "serve",
    "migrate",
    "config",
    "sql",
    "runs",
    "sync",
    "compact",
    "gc",
    "reader",
    "export",
    "doctor",
)
"""Modules of this package that hold one command, a function of the same name."""
GROUPS = {"import": "imports", "token": "token", "retention": "retention", "bench": "bench"}
"""Commands with commands of their own, and the modules that hold them, as a Typer application called `app`."""


def build() -> typer.Typer:
    """The whole program."""
    program = typer.Typer(
        name="ingest",
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,  # they print local variables, and those may hold tokens and passwords
        help="A tracking service for machine-learning runs.",
    )
    program.callback()(_options)
    for name in COMMANDS:
        if importlib.util.find_spec(f"ingest.cli.{name}") is not None:
            program.command(name)(getattr(import_module(f"ingest.cli.{name}"), name))
    for name, module in GROUPS.items():
        if importlib.util.find_spec(f"ingest.cli.{module}") is not None:
            program.add_typer(import_module(f"ingest.cli.{module}").app, name=name)
    return program


def _version(wanted: bool) -> None:  # Typer calls it with the option's value
    if wanted:
        from importlib.metadata import version

        print(f"ingest {version('metric-ingest')}")
        raise typer.Exit


def _options(
    *,
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """A tracking service for machine-learning runs."""
    del version
