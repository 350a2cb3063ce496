"""Who a run is and who writes to it: what the first events of a writer say."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import Any

from ingest_client._transport import USER_AGENT
from ingest_schema.errors import SchemaError
from ingest_schema.values import check_text

__all__ = ["RunInfo", "user_name", "writer_body"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """What a run is, under MLflow's names. Times are milliseconds since the Unix epoch."""

    run_id: str
    run_name: str | None
    experiment: str | int
    """The experiment's name, or its id where only that was given."""
    status: str
    start_time: int
    end_time: int | None
    parent_run_id: str | None = None

    @property
    def run_uuid(self) -> str:
        """The older name of run_id."""
        return self.run_id

    @property
    def artifact_uri(self) -> str:
        """Where the run's artifacts are, as `download_artifacts` takes it."""
        return f"runs:/{self.run_id}"

    @property
    def experiment_id(self) -> str:
        """The experiment as `start_run` takes it: until the service has made it, its name stands for its id."""
        return str(self.experiment)


def writer_body() -> dict[str, Any]:
    """Who writes. Ranks as torchrun, SLURM and Open MPI name them in the environment."""
    body: dict[str, Any] = {
        "rank": _env_int("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK") or 0,
        "host": socket.gethostname()[:255] or "unknown",
        "pid": os.getpid(),
        "client": USER_AGENT,
    }
    for field, names in (
        ("world_size", ("WORLD_SIZE", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE")),
        ("local_rank", ("LOCAL_RANK", "SLURM_LOCALID", "OMPI_COMM_WORLD_LOCAL_RANK")),
    ):
        if (number := _env_int(*names)) is not None:
            body[field] = number
    return body


def _env_int(*names: str) -> int | None:
    for name in names:
        text = os.environ.get(name, "")
        if text.isdecimal() and int(text) < 2**31:
            return int(text)
    return None


def user_name() -> str | None:
    """The user of this process; None where it has no name, as in some containers."""
    import getpass

    try:
        user = getpass.getuser()
        check_text("user", user)
    except (OSError, KeyError, SchemaError):
        return None
    return user[:500] or None
