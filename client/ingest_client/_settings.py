"""Settings of the client: the environment is read here, when a run starts, and nowhere else."""

from __future__ import annotations

import getpass
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

__all__ = ["DEFAULT_URI", "Settings", "checked_uri", "default_spool_dir"]

DEFAULT_URI: Final = "http://127.0.0.1:5000"
"""Where points go when no address is set: the address at which `ingest serve` listens by default."""

DEFAULT_SPOOL_BYTES: Final = 4 * 1024**3

DEFAULT_ARTIFACT_SPOOL_BYTES: Final = 32 * 1024**3

_MODES: Final = ("online", "offline")
_SWITCH: Final = ("auto", "off")
_ON_OFF: Final = ("on", "off")

MIN_SYSTEM_METRICS_INTERVAL: Final = 0.1
"""Seconds. Below, reading the counters would be felt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything a run needs to know about its surroundings.

    Raises:
        ValueError: A setting has a value that can't be right; the message names it.
    """

    tracking_uri: str = DEFAULT_URI
    """INGEST_TRACKING_URI, else MLFLOW_TRACKING_URI: the http or https address of the service."""
    uri_is_default: bool = False
    """Nobody named an address: the client says where the points go."""
    token: str | None = field(default=None, repr=False)
    """INGEST_TOKEN: sent as a bearer token; needed where the service listens off loopback."""
    ca_file: str | None = None
    """INGEST_TLS_CA: certificates to trust for https instead of the system's."""
    spool_dir: Path
    """INGEST_SPOOL_DIR: where what is logged lies until the service has it."""
    spool_max_bytes: int = DEFAULT_SPOOL_BYTES
    """INGEST_SPOOL_MAX_BYTES: bound on one writer's spool; 4 GiB hold about 10 hours of 1,000 calls with 10 scalars a second."""
    artifact_spool_max_bytes: int = DEFAULT_ARTIFACT_SPOOL_BYTES
    """INGEST_ARTIFACT_SPOOL_MAX_BYTES: bound on the artifacts of one run and process that wait in the spool; 32 GiB by default."""
    mode: str = "online"
    """INGEST_MODE: `online`, or `offline` to only spool; `ingest sync` delivers later."""
    max_age: float = 1.0
    """INGEST_MAX_AGE: seconds that a point waits for others before it is sent; wide runs wait up to five times as long."""
    shutdown_timeout: float = 10.0
    """INGEST_SHUTDOWN_TIMEOUT: seconds that the end of the process waits at most for the service."""
    distributed: str = "auto"
    """INGEST_DISTRIBUTED: `auto`: the ranks of a job by torchrun, SLURM or MPI log to one run; `off`: each to its own."""
    job_id: str | None = None
    """INGEST_JOB_ID: a name for a distributed job, the same in all ranks and in no other job; needed where ranks on several machines can't agree otherwise."""
    system_metrics: str = "on"
    """INGEST_SYSTEM_METRICS: `on`, or `off` to log no metrics of the machine (`system/…`, docs/environment.md)."""
    system_metrics_interval: float = 10.0
    """INGEST_SYSTEM_METRICS_INTERVAL: seconds between two samples of the machine; 10 by default. A shorter run has none."""
    environment: str = "on"
    """INGEST_ENVIRONMENT: `on`, or `off` not to note host, command, commit, packages and variables of a new run (docs/environment.md)."""

    def __post_init__(self) -> None:
        checked_uri(self.tracking_uri)
        for name, switch in (
            ("INGEST_SYSTEM_METRICS", self.system_metrics),
            ("INGEST_ENVIRONMENT", self.environment),
        ):
            if switch not in _ON_OFF:
                raise ValueError(f"{name} is {switch!r}; it must be one of {', '.join(_ON_OFF)}")
        if not MIN_SYSTEM_METRICS_INTERVAL <= self.system_metrics_interval <= 86_400:
            raise ValueError(
                f"INGEST_SYSTEM_METRICS_INTERVAL is {self.system_metrics_interval}; it must be from 0.1 to 86,400 seconds"
            )
        if self.mode not in _MODES:
            raise ValueError(f"INGEST_MODE is {self.mode!r}; it must be one of {', '.join(_MODES)}")
        if self.distributed not in _SWITCH:
            raise ValueError(
                f"INGEST_DISTRIBUTED is {self.distributed!r}; it must be one of {', '.join(_SWITCH)}"
            )
        for name, value in (
            ("INGEST_MAX_AGE", self.max_age),
            ("INGEST_SHUTDOWN_TIMEOUT", self.shutdown_timeout),
        ):
            if not 0 <= value <= 86_400:
                raise ValueError(f"{name} is {value}; it must be from 0 to 86,400 seconds")
        if self.spool_max_bytes < 4 * 1024**2:
            raise ValueError(
                f"INGEST_SPOOL_MAX_BYTES is {self.spool_max_bytes}; it must be at least 4 MiB (4194304)"
            )

        if self.artifact_spool_max_bytes < 0:
            raise ValueError(
                f"INGEST_ARTIFACT_SPOOL_MAX_BYTES is {self.artifact_spool_max_bytes}; it must be 0 or more"
            )

    @classmethod
    def read(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        tracking_uri: str | None = None,
        token: str | None = None,
    ) -> Settings:
        """Settings from the environment; arguments win over it."""
        env = os.environ if environ is None else environ
        uri = tracking_uri or env.get("INGEST_TRACKING_URI") or env.get("MLFLOW_TRACKING_URI")
        spool = env.get("INGEST_SPOOL_DIR")
        return cls(
            tracking_uri=_as_http((uri or DEFAULT_URI).rstrip("/")),
            uri_is_default=not uri,
            token=token or env.get("INGEST_TOKEN") or None,
            ca_file=env.get("INGEST_TLS_CA") or None,
            spool_dir=Path(spool).expanduser() if spool else default_spool_dir(env),
            spool_max_bytes=int(_number(env, "INGEST_SPOOL_MAX_BYTES", DEFAULT_SPOOL_BYTES)),
            artifact_spool_max_bytes=int(
                _number(env, "INGEST_ARTIFACT_SPOOL_MAX_BYTES", DEFAULT_ARTIFACT_SPOOL_BYTES)
            ),
            mode=env.get("INGEST_MODE") or "online",
            max_age=_number(env, "INGEST_MAX_AGE", 1.0),
            shutdown_timeout=_number(env, "INGEST_SHUTDOWN_TIMEOUT", 10.0),
            distributed=(env.get("INGEST_DISTRIBUTED") or "auto").lower(),
            job_id=env.get("INGEST_JOB_ID") or None,
            system_metrics=(env.get("INGEST_SYSTEM_METRICS") or "on").lower(),
            system_metrics_interval=_number(env, "INGEST_SYSTEM_METRICS_INTERVAL", 10.0),
            environment=(env.get("INGEST_ENVIRONMENT") or "on").lower(),
        )


def default_spool_dir(env: Mapping[str, str]) -> Path:
    """Where the user's state belongs (XDG base directories); the temporary folder if that can't be written."""
    base = env.get("XDG_STATE_HOME")
    if not base:
        home = env.get("HOME") or os.path.expanduser("~")
        base = os.path.join(home, ".local", "state")
    path = Path(base) / "ingest" / "spool"
    return path if _is_writable(path) else fallback_spool_dir()


def fallback_spool_dir() -> Path:
    """The spool in the temporary folder: lost at a reboot, but it keeps a run on a read-only home alive."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = str(os.getuid())
    return Path(tempfile.gettempdir()) / f"ingest-spool-{user}"


def _as_http(uri: str) -> str:
    """`ingest://host:port` is what MLflow's client calls a service that it reaches by our plug-in."""
    for ours, theirs in (("ingest://", "http://"), ("ingests://", "https://")):
        if uri.startswith(ours):
            return theirs + uri.removeprefix(ours)
    return uri


def checked_uri(uri: str) -> str:
    """The address, if points can be posted there.

    Raises:
        ValueError: It is no http or https address.
    """
    parts = urlsplit(uri)
    try:
        port_is_fine = parts.port is None or 0 < parts.port < 65536
    except ValueError:
        port_is_fine = False
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_fine:
        raise ValueError(
            f"the tracking URI {uri!r} is not an address such as {DEFAULT_URI} or https://ingest.example.org"
        )
    return uri


def _is_writable(path: Path) -> bool:
    """Whether the folder is, or can be made, writable."""
    while True:
        try:
            path.lstat()
        except OSError:
            if path.parent == path:
                return False
            path = path.parent
            continue
        return path.is_dir() and os.access(path, os.W_OK | os.X_OK)


def _number(env: Mapping[str, str], name: str, default: float) -> float:
    text = env.get(name)
    if not text:
        return float(default)
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name} is {text!r}; it must be a number") from None
