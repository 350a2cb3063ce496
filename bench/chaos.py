"""Exactly once under SIGKILL and a bad network, for as long as you like: the long form of tests/chaos.

    python bench/chaos.py --rounds 500 --seed 7 --output bench/results/chaos.json

Prints the ledger of each writer, and exits with 1 when a point was lost or doubled. `ingest.bench.chaos` says how.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import NoReturn

from ingest.bench import BenchError
from ingest.bench.chaos import Chaos, run_chaos
from ingest.bench.machine import machine_facts
from ingest.bench.results import write_result


def main() -> int:
    """Run the rounds, print the ledger."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument(
        "--calls-per-s", type=float, default=100.0, help="of each writer; three points a call"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes of the service")
    parser.add_argument("--output", type=Path, help="file that receives the result as JSON")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    chaos = Chaos(
        rounds=arguments.rounds,
        seed=arguments.seed,
        writers=arguments.writers,
        calls_per_s=arguments.calls_per_s,
        settings={"workers": arguments.workers},
    )
    facts = machine_facts()
    try:
        verdict = run_chaos(chaos, lambda text: print(text, flush=True))
    except BenchError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    print(verdict)
    if arguments.output is not None:
        figures = {"rounds": chaos.rounds, "seed": chaos.seed, **verdict.as_json()}
        write_result(arguments.output, {"bench": "chaos", "machine": facts, "figures": figures})
    return 0 if verdict.is_exactly_once else 1


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
