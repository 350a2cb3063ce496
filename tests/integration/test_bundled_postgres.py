"""The bundled PostgreSQL survives kill -9 of itself and of its service, and belongs to one service at a time."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from ingest.postgres import BundledPostgres, DataDirectoryBusy, PostgresError, running_database_url
from ingest.postgres.cluster import MAJOR, find_running_server
from ingest.store.connect import connect, wait_until_usable

WaitFor = Callable[..., Awaitable[Any]]


def bundled(data_dir: Path, **options: str) -> BundledPostgres:
    return BundledPostgres(data_dir, durable=False, options={"fsync": "off", **options})


def is_running(pid: int) -> bool:
    """A zombie is not: whether somebody reaps it is up to the first process of the machine."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


async def ask(url: str, query: str) -> Any:
    async with connect(url, purpose="test") as connection:
        return await connection.fetchval(query)


async def test_it_starts_stops_and_leaves_nothing_behind(scratch: Path) -> None:
    async with bundled(scratch) as postgres:
        assert (await ask(postgres.url, "SELECT current_database()")) == "ingest"
        assert (await ask(postgres.url, "SHOW server_encoding")) == "UTF8"
        assert (await ask(postgres.url, "SHOW synchronous_commit")) == "on"
        assert (await ask(postgres.url, "SHOW listen_addresses")) == ""
        assert running_database_url(scratch) == postgres.url
        sockets = Path(str(await ask(postgres.url, "SHOW unix_socket_directories")))
        assert mode_of(sockets) == 0o700
        pid = postgres.pid
    assert not is_running(pid)
    assert sockets.name not in os.listdir(sockets.parent)
    assert running_database_url(scratch) is None
    assert mode_of(scratch / "postgres") == 0o700


async def test_a_killed_server_is_started_again_with_its_data(scratch: Path, wait_for: WaitFor) -> None:
    async with bundled(scratch) as postgres:
        await ask(postgres.url, "CREATE TABLE public.kept AS SELECT 7 AS x")
        busy = asyncio.create_task(ask(postgres.url, "SELECT count(*) FROM generate_series(1, 1000000000)"))
        await asyncio.sleep(0.2)  # its backend outlives the server and holds the shared memory
        os.kill(postgres.pid, signal.SIGKILL)
        await wait_for(lambda: postgres.restarts == 1, timeout=60)
        await asyncio.gather(busy, return_exceptions=True)
        await wait_until_usable(postgres.url, timeout=60)
        assert await ask(postgres.url, "SELECT x FROM public.kept") == 7
        assert not postgres.failure.done()


async def test_a_second_service_is_told_who_has_the_data_directory(scratch: Path) -> None:
    async with bundled(scratch) as first:
        with pytest.raises(
            DataDirectoryBusy, match=rf"in use by another ingest process \(pid {os.getpid()}\)"
        ):
            await bundled(scratch).__aenter__()
        assert await ask(first.url, "SELECT 1") == 1


ABANDON = """
import asyncio, os, pathlib, signal, sys
from ingest.postgres import BundledPostgres
async def main():
    async with BundledPostgres(pathlib.Path(sys.argv[1]), durable=False) as postgres:
        print(postgres.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


async def test_the_server_of_a_killed_service_is_adopted_and_then_stopped(scratch: Path) -> None:
    killed = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", ABANDON, str(scratch)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    pid = int(killed.stdout)
    assert is_running(pid)

    async with bundled(scratch) as postgres:
        assert postgres.pid == pid
        assert await ask(postgres.url, "SELECT 1") == 1
    assert not is_running(pid)


async def test_an_adopted_server_is_restarted_too(scratch: Path, wait_for: WaitFor) -> None:
    await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", ABANDON, str(scratch)], capture_output=True, timeout=120
    )
    async with bundled(scratch) as postgres:
        os.kill(postgres.pid, signal.SIGKILL)
        await wait_for(lambda: postgres.restarts == 1, timeout=60)
        assert await ask(postgres.url, "SELECT 1") == 1


async def test_a_stale_pid_file_with_a_living_pid_does_not_hold_it_up(scratch: Path) -> None:
    """After a container's restart the pid in the file may belong to anything: here to this test."""
    async with bundled(scratch):
        pass
    pid_file = scratch / "postgres" / MAJOR / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n{pid_file.parent}\n0\n5432\n/tmp\n\n  1  2\nready\n")
    pid_file.chmod(0o600)

    async with bundled(scratch) as postgres:
        assert await ask(postgres.url, "SELECT 1") == 1


async def test_initdb_that_was_killed_leaves_no_half_cluster(scratch: Path) -> None:
    async with bundled(scratch):
        pass
    home = scratch / "postgres"
    (home / MAJOR).rename(home / "new-12345")  # as if the rename at the end had not happened

    async with bundled(scratch) as postgres:
        assert await ask(postgres.url, "SELECT 1") == 1
    assert not (home / "new-12345").exists()


async def test_a_server_that_can_not_start_says_what_postgresql_said(scratch: Path) -> None:
    with pytest.raises(PostgresError, match="shared_buffers"):
        await bundled(scratch, shared_buffers="nonsense").__aenter__()
    assert find_running_server(scratch / "postgres") is None


@pytest.mark.skipif(
    os.geteuid() != 0, reason="needs root: an ordinary user's PostgreSQL is the ordinary user's"
)
async def test_root_runs_it_as_somebody_else_below_a_home_nobody_else_can_enter(scratch: Path) -> None:
    closed = scratch / "home"
    closed.mkdir(mode=0o700)

    async with bundled(closed / "data") as postgres:
        assert psutil.Process(postgres.pid).uids().effective != 0
        assert str(await ask(postgres.url, "SHOW data_directory")).startswith("/proc/self/fd/")
        assert await ask(postgres.url, "SELECT count(*) FROM pg_ls_logdir()") >= 1
    assert mode_of(closed) == 0o700
    assert (closed / "data" / "postgres" / MAJOR / "PG_VERSION").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
async def test_programs_that_the_user_can_not_read_are_copied_once(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ingest.postgres import account, cluster

    monkeypatch.setattr(account, "INSTALL_ROOT", scratch / "copies")
    original = account.Account.can_enter
    installed = cluster.locate_install()
    monkeypatch.setattr(
        account.Account, "can_enter", lambda self, path: path != installed / "bin" and original(self, path)
    )

    for _ in range(2):
        async with bundled(scratch / "data") as postgres:
            assert psutil.Process(postgres.pid).exe().startswith(str(scratch / "copies"))
    assert len(list((scratch / "copies").iterdir())) == 1


AS_USER = """
import asyncio, os, pathlib, sys
from ingest.postgres import BundledPostgres
from ingest.store.connect import connect
async def main():
    async with BundledPostgres(pathlib.Path(sys.argv[1]), durable=False) as postgres:
        async with connect(postgres.url, purpose="test") as connection:
            print(os.geteuid(), await connection.fetchval("SELECT 41 + 1"))
asyncio.run(main())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="the whole suite runs as an ordinary user then")
async def test_it_runs_as_an_ordinary_user(scratch: Path) -> None:
    home = scratch / "home"
    home.mkdir(mode=0o700)
    os.chown(home, 65534, 65534)
    # The interpreter may lie below /root: the capability to read lets the user run it there, and nothing else.
    become = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    become += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]

    done = await asyncio.to_thread(
        subprocess.run,
        [*become, sys.executable, "-c", AS_USER, str(home / "data")],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "HOME": str(home)},
        cwd="/",
    )

    assert done.stdout.split() == ["65534", "42"], done.stderr
