"""Writes docs/performance.md from the result files in bench/results; `--check` says whether it is up to date.

    python bench/report.py

Every figure in that page comes from a result file, which is named beside it together with the command that made it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ingest.bench.results import read_results
from ingest.bench.tables import CALL_COLUMNS, LOAD_COLUMNS, call_row, load_row, step_text
from ingest.bench.timing import duration_text

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
PAGE = ROOT / "docs" / "performance.md"
INTRODUCTION = """\
# Performance

Made by `python bench/report.py` from the files in `bench/results`; change those, not this page. `make bench` measures
the same in a short form on your machine, and `bench/README.md` says what each bench does and what it leaves out.

A run that loses, doubles or changes a point fails and leaves no result: every figure here is of points that were counted
and checked in the database by SQL. Generator, service and PostgreSQL share the machine that is named. Ratios were
measured in one run, side by side, since machines are noisy; spreads are in the result files.
"""


def main() -> int:
    """Write the page, or compare it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument(
        "--check", action="store_true", help="exit with 1 if the page is not what would be written"
    )
    arguments = parser.parse_args()
    text = page([result for result in read_results(RESULTS) if not result["file"].startswith("local/")])
    if arguments.check:
        return 0 if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text else 1
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(text, encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")
    return 0


def page(results: Sequence[dict[str, Any]]) -> str:
    """The whole page."""
    sections = [INTRODUCTION]
    for kind, title, body in (
        ("load", "What the service takes", load_section),
        ("client", "What a logging call costs", client_section),
        ("charts", "Charts of long series", charts_section),
        ("search", "Search over many runs", search_section),
        ("housekeeping", "Compaction, and deleting for good", housekeeping_section),
        ("transfer", "Export and import", transfer_section),
        ("dashboard", "What somebody at the dashboard waits for", dashboard_section),
        ("clients", "Beside other clients", clients_section),
        ("compare_mlflow", "Beside MLflow's server", mlflow_section),
        ("chaos", "Exactly once", chaos_section),
    ):
        found = [result for result in results if result["bench"] == kind]
        if found:
            sections.append(f"## {title}\n")
            sections += ["\n".join([*body(result), "", *source(result), ""]) for result in found]
    if len(sections) == 1:
        sections.append("No results are kept yet.\n")
    return "\n".join(sections)


def load_section(result: dict[str, Any]) -> Iterable[str]:
    """Throughput, latency and memory of each workload."""
    workloads = result["figures"]["workloads"]
    yield from table(LOAD_COLUMNS, [load_row(figures) for figures in workloads])
    yield ""
    for figures in workloads:
        workload, run = figures["workload"], figures["median_run"]
        yield f"- `{workload['name']}`: {workload['about']} {spread_text(figures)}"
        if run["refused"]:
            bound = workload["service_rss_max_bytes"]
            limit = f", bound {bound / 2**20:,.0f} MiB" if bound else ""
            yield f"  Refused with 429 or 503 and sent again: {sum(run['refused'].values()):,} requests{limit}."


def spread_text(figures: dict[str, Any]) -> str:
    """How often it was measured, and between what the figures lay."""
    points, ratio = figures["points_per_s"], figures.get("ratio_to_raw_copy")
    text = (
        f"{points['n']} measurements, {points['min'] / 1e6:.2f} to {points['max'] / 1e6:.2f} million points/s"
    )
    return text + (f", {ratio['min']:.2f} to {ratio['max']:.2f} of raw COPY." if ratio else ".")


def client_section(result: dict[str, Any]) -> Iterable[str]:
    """Cost of calls beside the floors, and of logging to a training step."""
    calls = result["figures"]["calls"]
    yield from table(CALL_COLUMNS, [call_row(line) for line in calls])
    yield ""
    yield f"Each line: median of {calls[0]['repeat']} runs of {calls[0]['calls']:,} calls, each in a process of its own. "
    yield f"Reading the clock ({calls[0]['clock_overhead_ns']:.0f} ns) is taken off."
    if (steps := result["figures"].get("steps")) is not None:
        yield step_text(steps)


def clients_section(result: dict[str, Any]) -> Iterable[str]:
    """What logging costs a training step with each client, and what SIGKILL takes."""
    figures = result["figures"]
    rows = []
    for line in figures["clients"]:
        ratio, killed = line["ratio_of_medians"], line["killed"]
        low, high = ratio["interval"]
        rows.append(
            (
                f"{line['client']} {line['version']}",
                f"{ratio['median']:.4f} ({low:.4f} to {high:.4f}; {ratio['n']} pairs)",
                f"{line['ratio_of_p99']:.3f}",
                f"{line['call']['median_ns'] / 1e3:,.1f} µs",
                f"{line['call']['p99_ns'] / 1e3:,.1f} µs",
                f"{killed['lost']:,} of {killed['returned']:,}",
            )
        )
    yield (
        f"{figures['metrics']} metrics after each training step of about {figures['step_ms']:.0f} ms: the step's time with logging as a multiple "
        f"of that without, in alternated pairs of blocks of {figures['block_steps']} steps (median over the pairs, and where it lies with 95% certainty; p99 of all "
        "steps); what the logging itself takes of a step; and the points lost by SIGKILL of the training process, of those whose calls had returned."
    )
    yield ""
    yield from table(
        ("client", "step, median ×", "step, p99 ×", "logging a step", "p99", "lost by SIGKILL"), rows
    )


def mlflow_section(result: dict[str, Any]) -> Iterable[str]:
    """The same requests to both servers."""
    rows = [
        (name, f"{row['ingest']:,.1f}", f"{row['mlflow']:,.1f}", f"{row['ratio']:,.1f} ×")
        for name, row in result["figures"].items()
    ]
    yield "The same requests of MLflow's REST API to both, on one PostgreSQL, one after the other; medians. Ratios are of speed."
    yield ""
    yield from table(("scenario", "ingest", "MLflow's server", "ratio"), rows)


def chaos_section(result: dict[str, Any]) -> Iterable[str]:
    """Kills, and the ledger's sums."""
    figures = result["figures"]
    accounts = figures["accounts"]

    def total(name: str) -> int:
        return sum(account[name] for account in accounts)

    kills = ", ".join(f"{count} × {name}" for name, count in sorted(figures["kills"].items()))
    network = ", ".join(f"{count} × {name}" for name, count in sorted(figures["network"].items()))
    yield f"{figures['rounds']} rounds with seed {figures['seed']}, {len(accounts)} writers in {total('lives')} lives. "
    yield f"SIGKILL: {kills}. Network: {network}."
    yield ""
    yield from table(
        ("points of calls that returned", "stored", "lost", "doubled", "wrong"),
        [[f"{total(name):,}" for name in ("expected", "stored", "lost", "doubled", "wrong")]],
    )


def charts_section(result: dict[str, Any]) -> Iterable[str]:
    """Service time of charts, fresh and compacted, and what readers cost the writers."""
    series = result["figures"].get("series", ())
    if series:
        rows = [
            [f"{one['points']:,}", f"{one['chunk_points']:,}", state.replace("_", " "), name, figures["told"],
             duration_text(figures["service"]["median_ns"]), duration_text(figures["service"]["p99_ns"])]
            for one in series for state in ("as_they_came", "compacted") for name, figures in one[state].items()
        ]  # fmt: skip
        yield from table(("points", "in flushes of", "state", "range", "answer", "service p50", "p99"), rows)
        yield ""
        yield "Every bucket was compared with the points. A spike of one sample and one NaN were in every one of "
        yield f"{sum(one['zoom_levels_with_spike_and_nan'] for one in series)} answers, at every zoom level with 10, 300 and 2,000 buckets."
    if (storm := result["figures"].get("storm")) is not None:
        alone, crowd = storm["alone"], storm["storm"]
        yield ""
        yield f"100 batches a second with {storm['readers']} chart readers ({storm['charts_per_s']:.0f} charts/s), and without, in turn: acknowledged after "
        yield f"p50 {duration_text(crowd['median_ns'])} and p99 {duration_text(crowd['p99_ns'])}, without {duration_text(alone['median_ns'])} and "
        yield f"{duration_text(alone['p99_ns'])}; p99 is {storm['p99_ratio']:.2f} times as long (promised: at most 2)."


def search_section(result: dict[str, Any]) -> Iterable[str]:
    """Pages and counts."""
    settings, sealing = result["settings"], result["figures"]["sealing"]
    yield f"{settings['runs']:,} runs with {settings['params']} params and {settings['metrics']} metrics each; sealed at {sealing['runs_per_s']:,.0f} runs/s. "
    yield "Ids and counts of every answer were compared with brute force."
    yield ""
    rows = []
    for figure in result["figures"]["questions"]:
        count = figure.get("page_of_1_and_count")
        page = figure["page"]
        rows.append([
            figure["question"], figure.get("runs", ""), duration_text(page["median_ns"]), duration_text(page["p99_ns"]),
            duration_text(count["median_ns"]) if count else "",
        ])  # fmt: skip
    yield from table(("question", "runs", "page of 100, p50", "p99", "page of 1 and count, p50"), rows)


def housekeeping_section(result: dict[str, Any]) -> Iterable[str]:
    """Bytes a point, and what gc does to a writer beside it."""
    settings, figures = result["settings"], result["figures"]
    packed = figures["compacted"]
    yield f"{settings['rounds']} runs of {settings['points']:,} points, deleted one after the other beside a writer of a small batch every 10 ms; "
    yield f"load of the machine before: {settings['load_before']}. Compaction: {packed['compaction_points_per_second']:,} points/s, "
    yield f"{packed['bytes_per_point_before']} bytes a point on disk before and {packed['bytes_per_point_after']} after (promised: at most 14)."
    yield ""
    rows = []
    for name, one in figures.items():
        without, during = one["batches_without_gc"], one["batches_during_gc"]
        rows.append([
            name.replace("_", " "), ", ".join(f"{seconds:.1f} s" for seconds in one["gc_seconds"]), f"{one['gc_memory_bytes'] / 2**20:.0f} MiB",
            f"{one['longest_wait_for_gc_ms']} ms", f"{during['p50_ms']}, {during['p99_ms']}, {during['max_ms']} ms ({during['batches']})",
            f"{without['p50_ms']}, {without['p99_ms']}, {without['max_ms']} ms ({without['batches']})",
        ])  # fmt: skip
    columns = (
        "points",
        "gc of each",
        "its memory",
        "longest wait for its locks",
        "batches meanwhile: p50, p99, max",
        "without gc, in turn",
    )
    yield from table(columns, rows)
    yield ""
    yield "Promised: 64 MiB, and no batch held up for more than 100 ms by gc."


def transfer_section(result: dict[str, Any]) -> Iterable[str]:
    """Rates, and memory."""
    settings = result["settings"]
    yield f"One run of {settings['metrics']} metrics, {settings['points']:,} points in chunks of {settings['chunk_points']}. The exports were the same files before and "
    yield "after compaction, and from the database that the first was imported into."
    yield ""
    rows = [
        [name, f"{one['points_per_s']:,}", f"{one['points_per_cpu_s']:,}", f"{one['peak_mib']} MiB"]
        for name, one in result["figures"].items()
    ]
    yield from table(("command", "points/s", "per CPU second of the command", "its memory"), rows)


def dashboard_section(result: dict[str, Any]) -> Iterable[str]:
    """Medians in the browser, beside what is promised."""
    settings = result["settings"]
    yield f"{settings['runs']:,} runs; {settings['charts']} charts of {settings['chart_runs']} runs with {settings['points']:,} points each; "
    yield f"a run with {settings['wide_keys']:,} metrics. Chromium {settings['chromium']}, {settings['screen']['width']} × {settings['screen']['height']}."
    yield ""
    rows = [
        [name, f"{one['median']:,.0f}", f"{one['min']:,.0f} to {one['max']:,.0f} ({one['n']})", f"{one['limit']:,}" if one["limit"] else ""]
        for name, one in result["figures"].items()
    ]  # fmt: skip
    yield from table(("measured", "median", "spread", "at most"), rows)
    if (rival := result.get("mlflow_ui")) is not None:
        yield ""
        yield from mlflow_ui_rows(rival, result["figures"])


def mlflow_ui_rows(rival: dict[str, Any], ours: dict[str, Any]) -> Iterable[str]:
    """The same pages of MLflow's own interface: times beside ours, what it can't show, what it drew."""
    yield f"The same pages of the interface that mlflow {rival['version']} brings, in the same browser and run, served by this service out of the same "
    yield "database, which flatters it: its own server has no part in these figures. Ratios are of theirs to ours."
    yield ""
    rows = []
    for name, one in rival["figures"].items():
        own = f"{ours[name]['median']:,.0f}" if name in ours else ""
        rows.append([name, own, f"{one['median']:,.0f}", f"{one['ratio']:,.1f} ×" if one["ratio"] else ""])
    for name, reason in rival["cannot"].items():
        own = f"{ours[name]['median']:,.0f}" if name in ours else ""
        rows.append([name, own, f"can't be shown: {reason.replace('|', '/')}", ""])
    yield from table(("measured, median", "ingest", "MLflow's interface", "ratio"), rows)
    yield ""
    yield " ".join(f"{what[0].upper()}{what[1:]}: {told}." for what, told in rival["told"].items())


def source(result: dict[str, Any]) -> Iterable[str]:
    """Where the figures are from: machine, versions, file and command."""
    machine = result["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items() if version)
    yield f"On {machine['cores']} cores of {machine['cpu']}, Linux {machine['kernel']}, Python {machine['python']},"
    yield f"commit {machine['commit']}, {machine['measured_at'][:10]}; {packages}."
    yield f"`{machine['command']}` → [`bench/results/{result['file']}`](../bench/results/{result['file']})"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterable[str]:
    """A Markdown table."""
    yield "| " + " | ".join(columns) + " |"
    yield "|" + "|".join("---" for _ in columns) + "|"
    for row in rows:
        yield "| " + " | ".join(row) + " |"


if __name__ == "__main__":
    sys.exit(main())
