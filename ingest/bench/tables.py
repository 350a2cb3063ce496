"""Results for people: rich tables on the terminal. The Markdown of docs/performance.md is made by bench/report.py.

Every table says on what and how often it was measured; figures are medians, spreads stand in the JSON.
"""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from ingest.bench.timing import duration_text

MIB = 2**20


def count_text(number: float) -> str:
    """A rate for people: 950, 12,300, 2.31 M."""
    return f"{number / 1e6:.2f} M" if number >= 1e6 else f"{number:,.0f}"


def cpu_text(run: dict[str, Any], group: str) -> str:
    """Share of one core, such as 87%."""
    used = run["usage"].get(group)
    return "-" if used is None else f"{used['cpu'] / run['elapsed']:.0%}"


def ratio_text(ratio: dict[str, Any]) -> str:
    """A ratio with what it is worth: its extremes and the number of pairs. Over 1 the yardstick was disturbed."""
    text = f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f}, {ratio['n']})"
    return text + " INVALID" if ratio["median"] > 1 else text


LOAD_COLUMNS = (
    "workload", "points/s", "of raw COPY", "requests/s", "request p50", "p99", "p99.9", "ack p50", "p99", "p99.9",
    "CPU generator", "service", "PostgreSQL", "service RSS", "proven",
)  # fmt: skip


def load_row(figures: dict[str, Any]) -> list[str]:
    """One workload as cells under LOAD_COLUMNS."""
    run, ratio = figures["median_run"], figures.get("ratio_to_raw_copy")
    memory = figures["rss_peak_bytes"]
    request, ack = run["request"], run["ack"]
    return [
        figures["workload"]["name"],
        count_text(figures["points_per_s"]["median"]),
        "-" if ratio is None else ratio_text(ratio),
        count_text(run["batches_per_s"]),
        *(duration_text(request[name]) for name in ("median_ns", "p99_ns", "p999_ns")),
        *(duration_text(ack[name]) for name in ("median_ns", "p99_ns", "p999_ns")),
        *(cpu_text(run, group) for group in ("generator", "service", "postgres")),
        "-" if memory is None else f"{memory['max'] / MIB:,.0f} MiB",
        f"{figures['points_proven']:,}",
    ]


def print_load(console: Console, results: list[dict[str, Any]]) -> None:
    """The table of `ingest bench load`."""
    table = Table(title="ingest bench load: every point counted and checked by SQL", title_justify="left")
    for i, column in enumerate(LOAD_COLUMNS):
        table.add_column(column, justify="left" if i == 0 else "right", overflow="fold")
    for figures in results:
        table.add_row(*load_row(figures))
    console.print(table)
    if any(figures.get("ratio_to_raw_copy", {}).get("median", 0.0) > 1 for figures in results):
        console.print(
            "INVALID: a service can't be faster than raw COPY; something else used the machine. Measure again."
        )
    for figures in results:
        run = figures["median_run"]
        if run["refused"] or run["overdue_points"]:
            console.print(
                f"{figures['workload']['name']}: refused and sent again {run['refused']}; "
                f"{run['overdue_points']:,} points were due and not sent: with a client they wait in its spool"
            )


CALL_COLUMNS = (
    "contender",
    "server",
    "scalars",
    "pace",
    "median",
    "p99",
    "p99.9",
    "max",
    "sender CPU s/1M points",
)


def call_row(line: dict[str, Any]) -> list[str]:
    """One contender as cells under CALL_COLUMNS."""
    sender = line.get("sender_cpu_per_million")
    return [
        line["contender"],
        line["server"],
        str(line["scalars"]),
        "paced" if line["paced"] else "flat out",
        *(duration_text(line[name]["median"]) for name in ("median_ns", "p99_ns", "p999_ns", "max_ns")),
        "-" if sender is None else f"{sender['median']:.2f}",
    ]


def print_client(console: Console, figures: dict[str, Any]) -> None:
    """The tables of `ingest bench client`."""
    repeat, overhead = figures["calls"][0]["repeat"], figures["calls"][0]["clock_overhead_ns"]
    table = Table(
        title=f"ingest bench client: cost of one call, median of {repeat} (clock's {overhead:.0f} ns taken off)",
        title_justify="left",
    )
    for i, column in enumerate(CALL_COLUMNS):
        table.add_column(column, justify="left" if i in {0, 1, 3} else "right")
    last = None
    for line in figures["calls"]:
        if last is not None and (line["scalars"], line["paced"]) != last:
            table.add_section()
        last = (line["scalars"], line["paced"])
        table.add_row(*call_row(line))
    console.print(table)
    if (steps := figures.get("steps")) is not None:
        console.print(step_text(steps))


def step_text(steps: dict[str, Any]) -> str:
    """What logging does to a training step, in a sentence."""
    ratio = steps["ratio_of_medians"]
    return (
        f"A training step of {duration_text(steps['step_median_ns']['median'])} ({steps['backend']}, {steps['threads']} "
        f"thread) with {steps['scalars']} scalars logged takes {ratio['median']:.4f} × its time without "
        f"({ratio['min']:.4f} to {ratio['max']:.4f} over {ratio['n']} alternated pairs; p99 {steps['ratio_of_p99']['median']:.3f} ×)."
    )
