"""`ingest bench load` and `ingest bench client`: thin commands over `ingest.bench`, which says what they measure."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    no_args_is_help=True, help="Measure the service and the client, and prove that no point was lost."
)

Output = Annotated[Path | None, typer.Option(help="File that receives the result as JSON.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON instead of a table.")]


@app.command()
def load(
    *,
    url: Annotated[
        str | None, typer.Option(help="Service to measure. Without it: one of the bench's own.")
    ] = None,
    token: Annotated[
        str | None, typer.Option(envvar="INGEST_TOKEN", help="Token with the roles write and read.")
    ] = None,
    workload: Annotated[
        list[Path] | None, typer.Option(help="Workload file (TOML); may be repeated.")
    ] = None,
    writers: Annotated[int | None, typer.Option(min=1, help="Runs that are written at once.")] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Processes that the writers are spread over.")
    ] = None,
    metrics: Annotated[int | None, typer.Option(min=1, help="Metrics of each run.")] = None,
    chunk_points: Annotated[
        int | None, typer.Option(min=1, help="Points of one metric in one batch.")
    ] = None,
    rate: Annotated[float | None, typer.Option(help="Points a second in all. Without it: flat out.")] = None,
    overload: Annotated[
        float | None, typer.Option(help="Offer so many times what the service takes.")
    ] = None,
    duration: Annotated[float | None, typer.Option(help="Seconds of one measurement.")] = None,
    client: Annotated[bool, typer.Option("--client", help="Log through the real client.")] = False,
    raw_copy: Annotated[
        bool, typer.Option("--raw-copy", help="Measure raw COPY of the same chunks beside it.")
    ] = False,
    repeat: Annotated[int, typer.Option(min=1, help="Measurements of each workload.")] = 1,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Offer a service load from N writers, and prove count and checksum in the database."""
    from ingest.bench.load_suite import LoadBench, measure_workload
    from ingest.bench.tables import print_load
    from ingest.bench.workload import Workload, load_workload

    bench = LoadBench(url=url, token=token, raw_copy=raw_copy, repeat=repeat)
    changes = {
        "writers": writers,
        "processes": processes,
        "metrics": metrics,
        "chunk_points": chunk_points,
        "rate": rate,
        "overload": overload,
        "duration": duration,
        "client": client or None,
    }

    def measure() -> dict[str, Any]:
        workloads = [load_workload(path) for path in workload or ()] or [Workload(name="flags")]
        return {"workloads": [measure_workload(one.but(**changes), bench, _report) for one in workloads]}

    figures = _run("load", measure, output)
    if as_json:
        typer.echo(json.dumps(figures, indent=1))
    else:
        print_load(_console(), figures["workloads"])


@app.command()
def client(
    *,
    calls: Annotated[int, typer.Option(min=100, help="Calls of one flat-out measurement.")] = 20_000,
    paced_seconds: Annotated[
        float, typer.Option(help="Seconds of one measurement at 1,000 calls a second.")
    ] = 3.0,
    scalars: Annotated[list[int] | None, typer.Option(help="Metrics in one call; may be repeated.")] = None,
    server: Annotated[list[str] | None, typer.Option(help="healthy, slow or dead; may be repeated.")] = None,
    repeat: Annotated[int, typer.Option(min=1, help="Repetitions of every measurement.")] = 3,
    pairs: Annotated[
        int, typer.Option(min=0, help="Pairs of blocks of training steps; 0 leaves them out.")
    ] = 5,
    step_ms: Annotated[float, typer.Option(help="Milliseconds of one training step.")] = 4.0,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Measure what a logging call costs, beside list.append and os.write, and what logging does to a training loop."""
    from ingest.bench.client import SERVERS, ClientBench, run_client
    from ingest.bench.tables import print_client

    if unknown := set(server or ()) - set(SERVERS):
        raise typer.BadParameter(
            f"{', '.join(sorted(unknown))}; there are {', '.join(SERVERS)}", param_hint="--server"
        )
    bench = ClientBench(
        scalars=tuple(scalars or (1, 10, 100)),
        servers=tuple(server or SERVERS),
        calls=calls,
        paced_seconds=paced_seconds,
        repeat=repeat,
        pairs=pairs,
        step_ms=step_ms,
    )
    figures = _run("client", lambda: run_client(bench, _report), output)
    if as_json:
        typer.echo(json.dumps(figures, indent=1))
    else:
        print_client(_console(), figures)


def _run(kind: str, measure: Any, output: Path | None) -> dict[str, Any]:
    """Measure, and write the result file; Ctrl-C and SIGTERM stop what was started."""
    from ingest.bench import BenchError
    from ingest.bench.machine import machine_facts
    from ingest.bench.results import write_result

    signal.signal(signal.SIGTERM, lambda *_: _raise_interrupt())
    facts = machine_facts()
    try:
        figures: dict[str, Any] = measure()
    except BenchError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    if output is not None:
        write_result(output, {"bench": kind, "machine": facts, "figures": figures})
        typer.echo(f"result: {output}", err=True)
    return figures


def _raise_interrupt() -> None:
    raise KeyboardInterrupt


def _report(text: str) -> None:
    typer.echo(f"… {text}", err=True)


def _console() -> Any:
    """A console wide enough for the table where the output is no terminal."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=200)
