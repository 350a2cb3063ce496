"""The bundled PostgreSQL's files: what is found, what is refused, how it is tuned."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from ingest.postgres.account import Account, PostgresError
from ingest.postgres.cluster import (
    LOG_FILES_KEPT,
    MAJOR,
    MAX_SOCKET_DIRECTORY_BYTES,
    Cluster,
    _check_version,
    find_running_server,
    log_tail,
    make_socket_directory,
    remove_old_logs,
    tuning,
)

GIB = 1024**3
MYSELF = Account(os.geteuid(), os.getegid(), switches=False)


def cluster_in(home: Path) -> Cluster:
    return Cluster(MYSELF, Path("/nowhere"), home, None)


@pytest.mark.parametrize(
    ("memory_bytes", "shared"), [(GIB // 8, "32MB"), (GIB, "128MB"), (64 * GIB, "256MB")]
)
def test_shared_buffers_follow_the_machine(memory_bytes: int, shared: str) -> None:
    assert tuning(memory_bytes, 50)["shared_buffers"] == shared


def test_durability_is_never_traded() -> None:
    options = tuning(8 * GIB, 50)

    assert {options[name] for name in ("fsync", "synchronous_commit", "full_page_writes")} == {"on"}


@pytest.mark.parametrize(
    "lines",
    ["", "x\n", "999999999\n/x\n0\n5432\n/run\n\n\nready\n", "{myself}\n/x\n0\n5432\n/run\n\n\nready\n"],
)  # fmt: skip
def test_a_stale_pid_file_counts_as_no_server(lines: str, tmp_path: Path) -> None:
    """A pid of another program, as after a restart in a container, must not be taken for PostgreSQL's."""
    (tmp_path / MAJOR).mkdir()
    (tmp_path / MAJOR / "postmaster.pid").write_text(lines.format(myself=os.getpid()))

    assert find_running_server(tmp_path) is None


def test_a_process_in_the_data_directory_is_its_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pgdata = tmp_path / MAJOR
    pgdata.mkdir()
    (pgdata / "postmaster.pid").write_text(f"{os.getpid()}\n{pgdata}\n0\n5432\n/run/x\n\n  1  2\nstarting\n")
    monkeypatch.chdir(pgdata)

    server = find_running_server(tmp_path)

    assert server is not None
    assert (server.pid, server.socket_directory, server.is_ready) == (
        psutil.Process().pid,
        Path("/run/x"),
        False,
    )


def test_the_sockets_directory_is_short_private_and_stays_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = tmp_path / ("x" * 120)
    runtime.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))  # too long for a socket: /tmp has to do

    first = make_socket_directory(cluster_in(tmp_path))
    try:
        assert len(os.fsencode(first)) <= MAX_SOCKET_DIRECTORY_BYTES
        assert first.stat().st_mode & 0o777 == 0o700
        assert make_socket_directory(cluster_in(tmp_path)) == first
    finally:
        first.rmdir()


def test_a_socket_directory_that_is_a_link_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody may make a name in /tmp: a link planted there must not be followed."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    planted = make_socket_directory(cluster_in(tmp_path))
    planted.rmdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    planted.symlink_to(elsewhere)
    made = make_socket_directory(cluster_in(tmp_path))
    try:
        assert made != planted
        assert made.stat().st_mode & 0o777 == 0o700
    finally:
        planted.unlink()
        made.rmdir()


def test_another_major_version_is_refused_and_so_is_a_directory_that_is_no_cluster(tmp_path: Path) -> None:
    with pytest.raises(PostgresError, match="is no PostgreSQL cluster"):
        _check_version(tmp_path)
    (tmp_path / "PG_VERSION").write_text("16\n")
    with pytest.raises(PostgresError, match="made by PostgreSQL 16, and the bundled one is"):
        _check_version(tmp_path)


def test_a_directory_of_somebody_elses_is_refused(tmp_path: Path) -> None:
    other = Account(os.geteuid() + 1, os.getegid(), switches=False)

    with pytest.raises(PostgresError, match="must be a directory owned by user"):
        other.make_directory(tmp_path)


def test_old_logs_go_and_the_newest_stay(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    names = [f"postgresql-2026010{day}T000000.log" for day in range(1, 10)]
    for name in names:
        (tmp_path / "log" / name).write_text(name)

    remove_old_logs(tmp_path)

    assert sorted(path.name for path in (tmp_path / "log").iterdir()) == names[-LOG_FILES_KEPT:]
    assert log_tail(tmp_path).startswith("postgresql-2026010")


def test_an_account_that_switches_knows_where_it_can_not_go(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)

    assert not Account(os.geteuid() + 1, os.getegid() + 1, switches=True).can_enter(closed)
    assert Account(os.geteuid(), os.getegid(), switches=False).can_enter(closed)
