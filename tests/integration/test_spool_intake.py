"""`ingest serve` delivers to itself what runs of its user on this machine left in the spool for its address."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ingest.bench.ports import free_port
from tests.conftest import StartService, run_apart, run_ingest

SCRIPT = """
import ingest
with ingest.start_run(run_name="no set-up") as run:
    for step in range(500):
        run.log_metrics({"a": float(step), "b": 1.0}, step)
    run.log_text("hello", "note.txt")
"""


def train(uri: str, spool: Path, *, end: str = "", code: int = 0) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "INGEST_SPOOL_DIR": str(spool), "INGEST_TRACKING_URI": uri}
    env["INGEST_MODE"] = "offline" if code else "online"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT + end],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done


def ask(database_url: str, sql: str) -> list[tuple[object, ...]]:
    from ingest.store.connect import connect

    async def query() -> list[tuple[object, ...]]:
        async with connect(database_url, purpose="test") as connection:
            await connection.execute("SET search_path = ingest")
            return [tuple(row) for row in await connection.fetch(sql)]

    return run_apart(query)


def taking_in(spool: Path, **variables: str) -> dict[str, str]:
    return {
        "INGEST_SPOOL_DIR": str(spool),
        "INGEST_SPOOL_INTAKE": "true",
        "INGEST_SPOOL_INTAKE_INTERVAL": "1",
        **variables,
    }


def spools(directory: Path) -> list[Path]:
    return list(directory.glob("*/*/meta.json"))


COUNT = "SELECT count(*), count(DISTINCT (key, step)) FROM metrics"


async def test_the_next_service_shows_the_run(start_service: StartService, database_url, tmp_path, wait_for):
    """At its start, and what comes while it runs: here a run that was killed in between."""
    port, spool = free_port(), tmp_path / "spool"
    train(f"http://localhost:{port}", spool)
    assert spools(spool)
    service = start_service("--database-url", database_url, port=port, env=taking_in(spool))
    await wait_for(lambda: not spools(spool), timeout=60)
    assert ask(database_url, COUNT) == [(1000, 1000)]
    assert ask(database_url, "SELECT name, status FROM runs") == [("no set-up", "FINISHED")]
    await wait_for(lambda: "took in 1000 points and 1 artifacts of 1 runs" in service.output())
    train(f"http://127.0.0.1:{port}", spool, end="import os; os._exit(9)", code=9)
    await wait_for(lambda: ask(database_url, COUNT)[0][0] == 2000, timeout=60)


async def test_what_is_meant_for_another_service_stays(start_service, database_url, tmp_path, wait_for):
    port, spool = free_port(), tmp_path / "spool"
    train("http://127.0.0.1:1", spool)
    (other,) = {path.parent for path in spools(spool) if not path.parent.name.startswith("artifacts-")}
    train(f"http://127.0.0.1:{port}", spool)
    start_service("--database-url", database_url, port=port, env=taking_in(spool))
    await wait_for(lambda: len(spools(spool)) == 2, timeout=60)
    assert other.exists()
    assert ask(database_url, "SELECT count(*) FROM runs") == [(1,)]


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")
async def test_another_users_spool_is_left_alone(start_service, database_url, tmp_path, wait_for):
    port, spool = free_port(), tmp_path / "spool"
    train(f"http://127.0.0.1:{port}", spool)
    theirs = {path.parent for path in spools(spool)}
    for directory in theirs:
        os.chown(directory, 12345, 12345)
    train(f"http://127.0.0.1:{port}", spool)
    start_service("--database-url", database_url, port=port, env=taking_in(spool))
    await wait_for(lambda: {path.parent for path in spools(spool)} == theirs, timeout=60)
    assert ask(database_url, "SELECT count(*) FROM runs") == [(1,)]


async def test_a_service_with_tokens_takes_in_by_one_of_its_own(
    start_service, database_url, tmp_path, wait_for
):
    """It is gone afterwards; the scripts had none."""
    port, spool = free_port(), tmp_path / "spool"
    made = run_ingest("token", "create", "somebody", "--role", "admin", "--database-url", database_url)
    assert made.returncode == 0, made.stderr
    train(f"http://127.0.0.1:{port}", spool)
    start_service(
        "--database-url", database_url, "--require-token", port=port,
        env=taking_in(spool),
    )  # fmt: skip
    await wait_for(lambda: not spools(spool), timeout=60)
    assert ask(database_url, COUNT) == [(1000, 1000)]
    await wait_for(lambda: ask(database_url, "SELECT name FROM tokens") == [("somebody",)])


async def test_it_can_be_switched_off(start_service, database_url, tmp_path):
    port, spool = free_port(), tmp_path / "spool"
    train(f"http://127.0.0.1:{port}", spool)
    before = spools(spool)
    service = start_service(
        "--database-url", database_url, port=port, env=taking_in(spool, INGEST_SPOOL_INTAKE="false")
    )
    assert service.stop() == 0
    assert spools(spool) == before
