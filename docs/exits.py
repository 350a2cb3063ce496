"""Renew the table of docs/exits.md from the test that it is taken from: `python docs/exits.py`. Takes about a minute."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

DOCS = Path(__file__).parent
TEST = "tests/integration/client/test_exits.py"
BEGIN, END = "<!-- Written by docs/exits.py. -->\n", "<!-- end -->\n"


def measured() -> str:
    """The table that the test prints.

    Raises:
        SystemExit: A cell of it failed.
    """
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-s",
        "-q",
        "-p",
        "no:randomly",
        TEST,
        "-k",
        "test_exit_matrix",
    ]
    done = subprocess.run(command, cwd=DOCS.parent, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout)
    return "".join(line for line in done.stdout.splitlines(keepends=True) if line.startswith("|"))


def main() -> None:
    """Put it between the two marks."""
    page = DOCS / "exits.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    taken = f"\nTaken {time.strftime('%d %B %Y')}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.0f}.\n\n"
    page.write_text(f"{before}{BEGIN}{taken}{measured()}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
