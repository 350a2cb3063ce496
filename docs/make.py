"""Write the pages of docs/ that say what the code says: `python docs/make.py`. A test fails while they differ.

settings.md   every setting of the service, from ingest.settings
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from prometheus_client.metrics import MetricWrapperBase

from ingest import telemetry
from ingest.cli.program import build
from ingest.settings import ENV_PREFIX, GROUPS, Settings
from ingest.web.app import ALL_ROUTES
from ingest_client import _settings

DOCS = Path(__file__).parent
MIB = 1024 * 1024


def _default(name: str) -> str:
    field = Settings.model_fields[name]
    if name == "data_dir":
        return "the user's data directory"
    value = field.get_default(call_default_factory=True)
    if value in (None, (), {}):
        return "–"
    if name.endswith("_bytes") and isinstance(value, int) and value % MIB == 0:
        return f"{value} ({value // MIB} MiB)"
    return f"{value:g}" if isinstance(value, float) else str(value)


def settings_page() -> str:
    """Every setting by group: variable, default, meaning."""
    lines = [
        "# Settings",
        "",
        "<!-- Written by docs/make.py from ingest/settings.py and client/ingest_client/_settings.py. -->",
        "",
        "## The service",
        "",
        "Flags come before the environment, the environment before the file `ingest.toml`, the file before the defaults;",
        "`ingest config` prints all of them with their origin. The file is the one named by `--config` or `INGEST_CONFIG`, else",
        "`ingest.toml` in the working directory, else in the user's configuration directory; a group below is a table",
        "in it. Each variable also exists as `INGEST_<NAME>_FILE`, the path of a file that holds the value. Units are",
        "seconds and bytes.",
    ]
    for group, model in GROUPS.items():
        lines += ["", f"### [{group}]", "", "| variable | default | meaning |", "|---|---|---|"]
        for name in model.model_fields:
            meaning = " ".join((Settings.model_fields[name].description or "").split())
            lines.append(f"| `{ENV_PREFIX}{name.upper()}` | {_default(name)} | {meaning} |")
    lines += [
        "",
        "## The client",
        "",
        "Read from the environment when a run starts. Arguments of the functions win over it.",
        "",
        "| variable | meaning |",
        "|---|---|",
        *(f"| `{variable}` | {meaning} |" for variable, meaning in _client_settings()),
    ]
    return "\n".join(lines) + "\n"


def _client_settings() -> Iterator[tuple[str, str]]:
    """Variables and meanings. A dataclass forgets the text below a field, so the source is asked."""
    tree = ast.parse(Path(_settings.__file__).read_text(encoding="utf-8"))
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Settings")
    for statement in body:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            variable, colon, meaning = " ".join(str(statement.value.value).split()).partition(": ")
            if colon and variable.startswith(ENV_PREFIX):
                variable, _, fallback = variable.partition(", else ")
                yield variable, _cell(meaning) + (f" (else `{fallback}`)" if fallback else "")


def metrics_page() -> str:
    """Every metric that the service declares, with its labels."""
    lines = [
        "# Metrics of the service",
        "",
        "<!-- Written by docs/make.py from ingest/telemetry.py. -->",
        "",
        "What `GET /metrics` answers, in Prometheus' text form; with several workers, the sum over all. With one worker the usual",
        "`ingest_process_…` metrics come along. The law of points: received = stored + repeated + refused.",
        "",
        "| metric | type | labels | meaning |",
        "|---|---|---|---|",
    ]
    declared = [value for value in vars(telemetry).values() if isinstance(value, MetricWrapperBase)]
    for metric in declared:
        family = next(iter(metric.describe()))
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = ", ".join(f"`{label}`" for label in metric._labelnames) or "–"  # noqa: SLF001  # not public anywhere
        lines.append(f"| `{name}` | {family.type} | {labels} | {family.documentation} |")
    return "\n".join(lines) + "\n"


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every command below this one that does something, with what one types for it. Typer brings click's types unnamed."""
    below = getattr(command, "commands", None)
    if below is None:
        yield path, command
        return
    for name in sorted(below):
        yield from _commands(below[name], f"{path} {name}")


def cli_page() -> str:
    """Every command with its arguments and options."""
    lines = ["# The command line", "", "<!-- Written by docs/make.py from ingest/cli. -->"]
    for path, command in _commands(typer.main.get_command(build()), "ingest"):
        arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
        options = [
            parameter
            for parameter in command.params
            if parameter.name != "help" and parameter not in arguments
        ]
        usage = " ".join([path, *(_placeholder(argument) for argument in arguments), "[OPTIONS]"]).replace(
            "\\|", "|"
        )
        lines += ["", f"## {path}", "", f"    {usage}", "", (command.help or "").replace("\f", "").strip()]
        if options or arguments:
            lines += ["", "| | |", "|---|---|"]
        lines += [f"| {_placeholder(argument)} | {_cell(argument.help)} |" for argument in arguments]
        lines += [
            f"| `{'`, `'.join([*option.opts, *option.secondary_opts])}` | {_cell(option.help)} |"
            for option in options
        ]
    return "\n".join(lines) + "\n"


def _placeholder(argument: Any) -> str:
    return _cell(str(argument.metavar or argument.name).upper())


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


def http_page() -> str:
    """Every route by path."""
    lines = [
        "# HTTP",
        "",
        "<!-- Written by docs/make.py from the table of routes in ingest/web. -->",
        "",
        "Where the service wants tokens, a request needs `Authorization: Bearer TOKEN` with a token of the role named here, or of an",
        "admin's; `open` routes need none. Errors are `application/problem+json` (RFC 9457) with a stable `code`. The batch and its",
        "answers are specified in [schema/wire.md](../schema/wire.md); `GET /api/v1/openapi.json` describes the rest to programs.",
        "What stands under `/api/2.0/mlflow/` and `/api/3.0/mlflow/` is MLflow's API, with errors in MLflow's form, and stands under",
        "`/ajax-api/` as well ([mlflow.md](mlflow.md)).",
        "",
        "| route | role | |",
        "|---|---|---|",
    ]
    # What MLflow's user interface calls is the same again under another prefix.
    routes = [route for route in ALL_ROUTES if not route.path.startswith("/ajax-api/")]
    for route in sorted(routes, key=lambda route: (route.plain_path, route.method)):
        queries = "".join(f"<br>`{query.name}`: {_cell(query.description)}" for query in route.query)
        lines.append(
            f"| `{route.method} {route.plain_path}` | {route.access} | {_cell(route.summary)}{queries} |"
        )
    return "\n".join(lines) + "\n"


PAGES = {"settings.md": settings_page, "metrics.md": metrics_page, "cli.md": cli_page, "http.md": http_page}


def main() -> None:
    """Write every page."""
    for name, render in PAGES.items():
        (DOCS / name).write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
