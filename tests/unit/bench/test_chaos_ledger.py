from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ingest.bench.chaos_ledger import Ledger

KILLED_IN_A_CALL = """
import os, signal, sys
from pathlib import Path
from ingest.bench.chaos_ledger import Ledger
ledger = Ledger(Path(sys.argv[1]))
for step in range(5):
    ledger.begin(step)
    if step == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    ledger.end(step)
"""


def test_the_counters_outlive_a_sigkill_and_name_the_call_in_doubt(tmp_path: Path) -> None:
    """A ledger that lost a call itself would hide a lost point."""
    path = tmp_path / "ledger"
    subprocess.run([sys.executable, "-c", KILLED_IN_A_CALL, str(path)], timeout=30, check=False)

    with Ledger(path) as ledger:
        assert (ledger.begun, ledger.returned) == (5, 4)
        assert ledger.settle() == [4]
        assert (ledger.begun, ledger.returned, ledger.settle()) == (5, 5, [])
