"""The machinery behind `ingest bench` and the scripts of the folder bench/: what produces load, faults and figures.

    timing, machine, usage, results   pure helpers: percentiles, facts of the machine, CPU and memory of processes, JSON
    api, service, proxy               the service as an outsider sees it: HTTP, a process of its own, a bad network
    workload, template, load_*        `ingest bench load`: prepared batches, writer processes, raw COPY beside them
    client_*                          `ingest bench client`: what a logging call costs
    chaos_*                           exactly once under SIGKILL and a cutting, stalling, repeating proxy

Nothing here is imported by the service. A fast run that lost a point is a failed run: every bench proves its count.

Units: seconds, unless a name ends in _ns (nanoseconds), _ms (milliseconds) or _bytes.
"""

from __future__ import annotations

__all__: list[str] = ["BenchError"]


class BenchError(Exception):
    """A bench could not measure, or what it measured is wrong; the message says which and what was expected."""
