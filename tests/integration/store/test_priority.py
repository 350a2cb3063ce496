"""Backends that read stand behind those that write, where PostgreSQL is here; nowhere else is anything touched."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from ingest.store.connections import connect_writer, open_reader_pool
from ingest.store.priority import NICENESS, is_here, stand_behind


@pytest.mark.skipif(sys.platform != "linux", reason="niceness by process is Linux's")
async def test_a_reader_is_nicer_than_a_writer(database_url: str) -> None:
    assert is_here(database_url)
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    pool = await open_reader_pool(database_url, size=1, timeout=10)
    writer = await connect_writer(database_url)
    async with pool.acquire() as reader:
        assert os.getpriority(os.PRIO_PROCESS, reader.get_server_pid()) == NICENESS
        assert await reader.fetchval("SELECT 1") == 1
    assert os.getpriority(os.PRIO_PROCESS, writer.get_server_pid()) <= max(ours, 0)
    await writer.close()
    pool.terminate()


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("postgresql://ingest@/db?host=/run/x", True),
        ("postgresql://ingest@%2Frun%2Fx/db", True),
        ("postgresql://ingest@db.example/db", False),
        ("postgresql://ingest@127.0.0.1:5432/db", False),
        ("postgresql://ingest@/db?host=/run/x&host=db.example", False),
        ("postgresql:///db", False),
    ],
)
def test_only_a_socket_in_the_file_system_is_here(url: str, *, here: bool) -> None:
    assert is_here(url) == here


def test_what_is_no_backend_is_left_alone() -> None:
    """The number of a backend in another container may be that of any process here."""
    other = subprocess.Popen(["sleep", "60"])
    try:

        class Connection:
            def get_server_pid(self) -> int:
                return other.pid

        before = os.getpriority(os.PRIO_PROCESS, other.pid)
        asyncio.run(stand_behind(Connection()))
        assert os.getpriority(os.PRIO_PROCESS, other.pid) == before
    finally:
        other.kill()
        other.wait()
