"""Servers that speak the stores' own protocols, as processes on this machine.

    S3      moto's server, from PyPI, in an environment of its own
    Azure   Azurite, from npm
    GCS     moto's server again, with another front: see `gcs_front.py`
    SFTP    OpenSSH

What is missing is installed once into the user's cache; Node and OpenSSH come from the system (`.ci/run`).
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import hmac
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path

import platformdirs
import psutil
import pytest

from ingest.bench.ports import free_port

MOTO = ("moto[server]==5.2.5",)
AZURITE = "azurite@3.37.0"
SSHD = "/usr/sbin/sshd"
AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Azurite's own, known to everybody."""
BUCKET = "bucket"


@dataclass
class Server:
    """A process that answers on a port, and how a store gets there."""

    command: Sequence[str]
    port: int
    log: Path
    options: dict[str, str] = field(default_factory=dict)
    """For artifact_options."""
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._wait()

    def _wait(self) -> None:
        import socket

        deadline = time.monotonic() + 120
        while True:
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text(errors="replace")
            with socket.socket() as probe:
                probe.settimeout(1)
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert time.monotonic() < deadline, self.log.read_text(errors="replace")
            time.sleep(0.05)

    def kill(self) -> None:
        """At once, with all its children: what a machine does that loses its power."""
        if self.process is not None and self.process.poll() is None:
            below = psutil.Process(self.process.pid).children(
                recursive=True
            )  # sshd's sessions leave its group
            for process in (psutil.Process(self.process.pid), *below):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            self.process.wait(60)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


# --- what has to be installed -----------------------------------------------------------------------------------------


@contextmanager
def _only_one() -> Iterator[Path]:
    home = platformdirs.user_cache_path("ingest-tests", ensure_exists=True)
    with (home / "emulators.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield home


def moto_python() -> Path:
    """The interpreter of an environment that has moto."""
    tag = hashlib.sha256(" ".join((*MOTO, sys.version)).encode()).hexdigest()[:12]
    with _only_one() as cache:
        home = cache / f"moto-{tag}"
        if not (home / "complete").exists():
            venv.create(home, with_pip=True, clear=True)
            pip = [str(home / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
            subprocess.run([*pip, *MOTO], check=True, timeout=540)
            (home / "complete").touch()
    return home / "bin" / "python"


def azurite_command() -> list[str]:
    """Azurite's blob service."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm, which Azurite comes by")
    with _only_one() as cache:
        home = cache / AZURITE.replace("@", "-")
        if not (home / "complete").exists():
            subprocess.run(
                [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", home, AZURITE],
                check=True,
                timeout=540,
            )
            (home / "complete").touch()
    return [str(home / "node_modules" / ".bin" / "azurite-blob")]


# --- the servers ------------------------------------------------------------------------------------------------------


def s3_server(directory: Path) -> Server:
    """moto, with a bucket."""
    port = free_port()
    script = Path(__file__).parent / "gcs_front.py"
    server = Server(
        [str(moto_python()), str(script), "s3", str(port)],
        port,
        directory / f"s3-{port}.log",
        {
            "endpoint": f"http://127.0.0.1:{port}",
            "access_key_id": "key",
            "secret_access_key": "secret",
            "region": "us-east-1",
        },
    )
    server.start()
    _put(f"{server.url}/{BUCKET}")
    return server


def gcs_server(directory: Path) -> Server:
    """moto behind the front that stands for Google's XML API."""
    port = free_port()
    script = Path(__file__).parent / "gcs_front.py"
    account = (
        f'{{"gcs_base_url": "http://127.0.0.1:{port}", "disable_oauth": true, "client_email": "", "private_key": "", '
        '"private_key_id": ""}'
    )
    server = Server(
        [str(moto_python()), str(script), "gcs", str(port)],
        port,
        directory / f"gcs-{port}.log",
        {"service_account_key": account, "allow_http": "true"},
    )
    server.start()
    _put(f"{server.url}/{BUCKET}")
    return server


def azure_server(directory: Path) -> Server:
    """Azurite, with a container."""
    port = free_port()
    home = directory / f"azurite-{port}"
    home.mkdir()
    server = Server(
        [*azurite_command(), "--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(home), "--silent",
         "--skipApiVersionCheck"],
        port,
        directory / f"azure-{port}.log",
        {
            "account_name": AZURE_ACCOUNT,
            "account_key": AZURE_KEY,
            "endpoint": f"http://127.0.0.1:{port}/{AZURE_ACCOUNT}",
        },
    )  # fmt: skip
    server.start()
    _make_container(server.url)
    return server


def sftp_server(directory: Path) -> Server:
    """OpenSSH's server, for the user that runs the tests, by key."""
    if not Path(SSHD).exists():
        pytest.skip("no OpenSSH server")
    home = Path(subprocess.check_output(["mktemp", "-d", str(directory / "sshd-XXXXXX")], text=True).strip())
    for name in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / name], check=True, timeout=150
        )
    port = free_port()
    (home / "known_hosts").write_text(f"[127.0.0.1]:{port} {(home / 'host.pub').read_text()}")
    (home / "config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {home}/host\nAuthorizedKeysFile {home}/user.pub\nStrictModes no\n"
        f"PermitRootLogin prohibit-password\nPasswordAuthentication no\nUsePAM no\nPidFile none\nSubsystem sftp internal-sftp\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # OpenSSH insists on it
    server = Server(
        [SSHD, "-D", "-e", "-f", str(home / "config")],
        port,
        home / "log",
        {"client_keys": str(home / "user"), "known_hosts": str(home / "known_hosts")},
    )
    server.start()
    return server


def _put(url: str) -> None:
    with urllib.request.urlopen(urllib.request.Request(url, method="PUT"), timeout=60) as response:
        assert response.status == 200


def _make_container(url: str) -> None:
    """By the REST API, signed (Shared Key): obstore makes none."""
    date = formatdate(usegmt=True)
    signed = "\n".join(
        ["PUT", *[""] * 11, f"x-ms-date:{date}", "x-ms-version:2021-08-06",
         f"/{AZURE_ACCOUNT}/{AZURE_ACCOUNT}/{BUCKET}", "restype:container"]
    )  # fmt: skip
    digest = hmac.new(base64.b64decode(AZURE_KEY), signed.encode(), hashlib.sha256).digest()
    request = urllib.request.Request(
        f"{url}/{AZURE_ACCOUNT}/{BUCKET}?restype=container",
        method="PUT",
        headers={
            "x-ms-date": date,
            "x-ms-version": "2021-08-06",
            "Authorization": f"SharedKey {AZURE_ACCOUNT}:{base64.b64encode(digest).decode()}",
        },
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        assert response.status == 201


def s3_unfinished(server: Server) -> int:
    """Multipart uploads that were begun and neither completed nor aborted."""
    with urllib.request.urlopen(f"{server.url}/{BUCKET}?uploads", timeout=60) as response:
        return int(response.read().count(b"<UploadId>"))
