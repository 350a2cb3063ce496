"""Who a run is and who writes to it: what the first events of a writer say."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import Any

from ingest_client._launch import ranks_of
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
    """Who writes. Ranks as torchrun, SLURM and MPI name them in the environment."""
    ranks = ranks_of(os.environ)
    body: dict[str, Any] = {
        "rank": ranks.rank if ranks is not None else _rank_alone(),
        "host": socket.gethostname()[:255] or "unknown",
        "pid": os.getpid(),
        "client": USER_AGENT,
    }
    if ranks is not None:
        body["world_size"] = ranks.size
        if ranks.local_rank is not None:
            body["local_rank"] = ranks.local_rank
    return body


def _rank_alone() -> int:
    """RANK by itself, as some scripts set it for their own processes."""
    text = os.environ.get("RANK", "")
    return int(text) if text.isdecimal() and int(text) < 2**31 else 0


def user_name() -> str | None:
    """The user of this process; None where it has no name, as in some containers."""
    import getpass

    try:
        user = getpass.getuser()
        check_text("user", user)
    except (OSError, KeyError, SchemaError):
        return None
    return user[:500] or None
