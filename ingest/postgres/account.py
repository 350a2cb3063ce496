"""Which operating system user runs the bundled PostgreSQL, and how its programs are started as that user.

PostgreSQL refuses to run as root. When the service is root, its PostgreSQL runs as another user, and two things follow:

* The binaries may lie where that user can't go (a virtual environment below /root). Then they are copied once, to a
  directory named after their version, below `INSTALL_ROOT`.
* The data directory may lie there too. Then the server gets it as an open file descriptor and is told the path
  `/proc/self/fd/N`: the kernel follows such a link without asking for permission on the directories above. The files
  stay where the user wanted them and nobody's home has to be opened.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

INSTALL_ROOT = Path("/var/lib/ingest/postgresql")
PREFERRED_USERS = ("ingest", "postgres")


class PostgresError(Exception):
    """The bundled PostgreSQL can't be set up, started or kept running; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Account:
    """The user that owns the cluster's files and runs its processes."""

    uid: int
    gid: int
    switches: bool
    """Whether processes have to change to this user, because we are root."""

    def can_enter(self, directory: Path) -> bool:
        """Whether this user may pass through every directory on the way to `directory`, itself included."""
        if not self.switches:
            return True
        resolved = directory.resolve()
        return all(self._may_search(part) for part in (resolved, *resolved.parents))

    def _may_search(self, directory: Path) -> bool:
        status = directory.stat()
        if status.st_uid == self.uid:
            return bool(status.st_mode & 0o100)
        if status.st_gid == self.gid:
            return bool(status.st_mode & 0o010)
        return bool(status.st_mode & 0o001)

    def make_directory(self, path: Path) -> None:
        """Make a directory that belongs to this user alone; an existing one must already be so, and no link."""
        path.mkdir(mode=0o700, exist_ok=True)
        status = path.lstat()
        if self.switches and status.st_uid == 0 and path.is_dir() and not path.is_symlink():
            os.chown(path, self.uid, self.gid, follow_symlinks=False)
            status = path.lstat()
        if path.is_symlink() or not path.is_dir() or status.st_uid != self.uid:
            raise PostgresError(f"{path} must be a directory owned by user {self.uid}, and no symbolic link")
        if status.st_mode & 0o077:
            path.chmod(0o700)

    def popen(
        self,
        command: list[str],
        *,
        descriptors: tuple[int, ...] = (),
        output: int = subprocess.PIPE,
        stdin: int = subprocess.DEVNULL,
    ) -> subprocess.Popen[bytes]:
        """Start a program as this user, in a session of its own, so that Ctrl-C in a terminal does not reach it."""
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PG", "INGEST_", "LC_", "LANG", "LD_PRELOAD"))
        } | {"LC_ALL": "C", "HOME": "/"}
        return subprocess.Popen(
            command,
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=environment,
            pass_fds=descriptors,
            start_new_session=True,
            umask=0o077,
            user=self.uid if self.switches else None,
            group=self.gid if self.switches else None,
            extra_groups=[] if self.switches else None,
        )


def choose_account(cluster_directory: Path, wanted: str | None) -> Account:
    """Pick the user: ourselves unless we are root; then whoever owns the cluster, who is wanted, or a service user.

    Raises:
        PostgresError: The wanted user does not exist or is root, or no user could be found or made.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), switches=False)
    if cluster_directory.is_dir() and (owner := cluster_directory.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid, switches=True)
    candidates = (wanted,) if wanted else PREFERRED_USERS
    for name in candidates:
        if (found := _look_up(name)) is not None:
            return found
    if wanted:
        raise PostgresError(f"postgres_user: there is no user {wanted!r} other than root on this machine")
    return _create_user("ingest")


def _look_up(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(entry.pw_uid, entry.pw_gid, switches=True) if entry.pw_uid != 0 else None


def _create_user(name: str) -> Account:
    """Make a system user without a home, a shell or a password, as a distribution's package would."""
    shell = shutil.which("nologin") or "/bin/false"
    command = [
        "useradd",
        "--system",
        "--user-group",
        "--no-create-home",
        "--home-dir",
        "/",
        "--shell",
        shell,
        name,
    ]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=30)
    except (OSError, subprocess.SubprocessError) as error:
        raise PostgresError(
            "PostgreSQL does not run as root, and there is no user to run it as; create one "
            f"(useradd --system {name}), name one by --postgres-user, or run the service as an ordinary user"
        ) from error
    logger.info("created the system user %s, which runs the bundled PostgreSQL", name)
    if (found := _look_up(name)) is None:
        raise PostgresError(f"the user {name} was created but can't be looked up")
    return found


def readable_install(install: Path, version: str, account: Account) -> Path:
    """The directory of PostgreSQL's programs, copied where the account can read it if need be."""
    if account.can_enter(install / "bin"):
        return install
    built_ns = (install / "bin" / "postgres").stat().st_mtime_ns
    digest = hashlib.sha256(f"{install}\0{built_ns}".encode()).hexdigest()
    target = INSTALL_ROOT / f"{version}-{digest[:12]}"
    # initdb looks for libpq relative to itself, at ../../../<package>.libs: the copy keeps the package's layout.
    package = install.parent
    copied = target / package.name / install.name
    if copied.is_dir():
        return copied
    INSTALL_ROOT.mkdir(mode=0o755, parents=True, exist_ok=True)
    if not account.can_enter(INSTALL_ROOT):
        raise PostgresError(
            f"user {account.uid} can't enter {INSTALL_ROOT}, where PostgreSQL would be copied for it"
        )
    scratch = Path(tempfile.mkdtemp(prefix=".copy-", dir=INSTALL_ROOT))
    try:
        shutil.copytree(
            install,
            scratch / package.name / install.name,
            symlinks=True,
            ignore=shutil.ignore_patterns("*.a", "include"),
        )
        if (libraries := package.with_name(package.name + ".libs")).is_dir():
            shutil.copytree(libraries, scratch / libraries.name, symlinks=True)
        scratch.chmod(0o755)
        scratch.rename(target)
    except OSError:
        shutil.rmtree(scratch, ignore_errors=True)
        if not copied.is_dir():  # otherwise another service made the same copy first
            raise
    logger.info("copied PostgreSQL's programs to %s, where user %d can read them", target, account.uid)
    return copied
