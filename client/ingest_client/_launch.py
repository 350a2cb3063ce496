"""How this process was launched: one of several ranks of a job, or alone.

The ranks of a job log to one run without talking to each other: each derives the run's id from what its launcher put into the
environment of all of them, and from how many runs it has started before. So the n-th run of one rank is the n-th run of
every rank. docs/distributed.md says what that takes of a script.

    launcher        rank and size from                     job known by
    any             as below, if set                       INGEST_JOB_ID
    torchrun        RANK, WORLD_SIZE                       TORCHELASTIC_RUN_ID, MASTER_ADDR, MASTER_PORT; on one machine: the agent
    Open MPI        OMPI_COMM_WORLD_RANK, …_SIZE           PMIX_NAMESPACE, …_transports; on one machine: the launcher
    MPICH, Intel    PMI_RANK, PMI_SIZE                     the SLURM step that carries it; on one machine: the launcher
    SLURM (srun)    SLURM_PROCID, SLURM_STEP_NUM_TASKS     SLURM_JOB_ID, SLURM_STEP_ID, SLURM_CLUSTER_NAME
    others          RANK, WORLD_SIZE                       MASTER_ADDR, MASTER_PORT; on one machine: the launcher
    a script        RANK, WORLD_SIZE                       INGEST_JOB_ID

A process on the same machine is told apart by its pid, the time at which it started and the boot it started in, which no other
ever has: two jobs in a row never share a run. Restarts of workers by torchrun's agent, and requeued SLURM jobs, keep theirs.

Pure but for `next_run_id`, which reads the environment and /proc.
"""

from __future__ import annotations

import itertools
import os
import sys
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

from ingest_client._settings import Settings

__all__ = ["Launch", "Ranks", "launch_of", "next_run_id", "ranks_of"]

_NAMESPACE: Final = UUID("6a1f3c0e-5d0b-4b0e-9b43-0f3b8d2c7a55")

_RANKS: Final = (
    # (marker, rank, size, local rank, local size)
    ("TORCHELASTIC_RUN_ID", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    ("MPI_LOCALRANKID", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
    ("SLURM_STEP_ID", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", ""),
    ("PMI_RANK", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
    ("MASTER_ADDR", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
    ("INGEST_JOB_ID", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
)  # fmt: skip
"""In the order in which they are tried: the innermost launcher first. torchrun runs inside SLURM and MPI jobs; and inside a SLURM job the
two kinds of mpirun have srun start one process of their own on each machine, whose place in that step all ranks of it inherit."""

_JOB: Final = ("SLURM_CLUSTER_NAME", "SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID")
_STEP: Final = ("SLURM_STEP_ID",)
"""Not for Open MPI, which starts the ranks of its own machine outside any step."""
_OPEN_MPI: Final = ("PMIX_NAMESPACE", "OMPI_MCA_orte_precondition_transports")
"""Open MPI 5 names a job by host and pid, Open MPI 4 by a hash of them of 16 bits and, for its transports, a random number of 128."""

FindLauncher = Callable[[str], str | None]
"""The nearest ancestor whose environment has no such variable, as a text that no other process has; None if unknown."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """Where a process stands in its job."""

    marker: str
    rank: int
    size: int
    local_rank: int | None
    local_size: int | None


@dataclass(frozen=True, slots=True)
class Launch:
    """One rank of a job.

    key: Names the job; the same text in every rank. is_sure: whether no other job can have it.
    """

    key: str
    ranks: Ranks
    is_sure: bool = True

    def run_id(self, number: int) -> UUID:
        """The id of the job's `number`-th run, from 0."""
        return uuid.uuid5(_NAMESPACE, f"{self.key}\n{number}")


def ranks_of(env: Mapping[str, str]) -> Ranks | None:
    """Rank and size as the launcher gave them; None for a process that is no rank of anything."""
    for marker, rank_name, size_name, local_name, local_size_name in _RANKS:
        if marker not in env:
            continue
        rank, size = _int(env, rank_name), _int(env, size_name)
        if rank is not None and size is not None:
            return Ranks(marker, rank, size, _int(env, local_name), _int(env, local_size_name))
    return None


def launch_of(
    env: Mapping[str, str], find_launcher: FindLauncher, job_id: str | None = None
) -> Launch | None:
    """The job of this process; None if it is alone, or the ranks can't agree on a name for their job.

    Args:
        env: The environment.
        find_launcher: Looks for the launcher on this machine; called where all ranks are on it.
        job_id: The job's name, where somebody gave it one.
    """
    ranks = ranks_of(env)
    if ranks is None:
        return None
    if job_id:
        return Launch(f"job {job_id}", ranks)
    if ranks.size <= 1 and ranks.marker != "TORCHELASTIC_RUN_ID":
        return None
    if ranks.marker == "SLURM_STEP_ID":
        if not env.get("SLURM_JOB_ID"):
            return None
        return Launch(" ".join(_values(env, _JOB + _STEP)), ranks)
    if _is_on_one_machine(env, ranks):
        launcher = find_launcher(ranks.marker if ranks.marker != "MASTER_ADDR" else "RANK")
        if launcher is not None:
            return Launch(launcher, ranks)
    return _launch_by_names(env, ranks)


def _launch_by_names(env: Mapping[str, str], ranks: Ranks) -> Launch | None:
    """Ranks on several machines share nothing but words."""
    if ranks.marker == "OMPI_COMM_WORLD_RANK":
        names = _values(env, (*_OPEN_MPI, *_JOB))
        return Launch(" ".join(names), ranks) if names else None
    if ranks.marker in {"MPI_LOCALRANKID", "PMI_RANK"}:
        names = _values(
            env, _JOB + _STEP
        )  # by their step two mpirun of a SLURM job differ, elsewhere by nothing
        return Launch(" ".join(names), ranks, is_sure="SLURM_STEP_ID" in env) if names else None
    address, port = env.get("MASTER_ADDR"), env.get("MASTER_PORT")
    if not address or not port:
        return None
    rendezvous = env.get("TORCHELASTIC_RUN_ID", "none")
    names = [rendezvous, address, port, *_values(env, _JOB + _STEP)]
    return Launch(" ".join(names), ranks, is_sure=rendezvous != "none" or len(names) > 3)


def _is_on_one_machine(env: Mapping[str, str], ranks: Ranks) -> bool:
    if ranks.local_size is not None:
        return ranks.local_size == ranks.size
    return env.get("MASTER_ADDR") in {"127.0.0.1", "localhost", "::1"}


def _values(env: Mapping[str, str], names: tuple[str, ...]) -> list[str]:
    return [f"{name}={env[name]}" for name in names if env.get(name)]


def _int(env: Mapping[str, str], name: str) -> int | None:
    text = env.get(name, "") if name else ""
    return int(text) if text.isdecimal() and int(text) < 2**31 else None


# --- this process -----------------------------------------------------------------------------------------------------


_numbers = itertools.count()
_first_pid = os.getpid()


def next_run_id(settings: Settings, warn: Callable[[str, str], None]) -> UUID | None:
    """The id of the next run that this process starts, if it is a rank: the same in all ranks; None if it is alone.

    Args:
        settings: Say whether ranks share runs, and what the job is called.
        warn: Takes a cause and a message.
    """
    if settings.distributed == "off" or _is_helper():
        return None
    launch = launch_of(os.environ, _find_launcher, settings.job_id)
    if launch is None:
        return None
    if not launch.is_sure:
        warn(
            "job_id",
            f"the ranks of this job know it by nothing but {launch.key!r}; another job with the same would log to the same"
            " run: set INGEST_JOB_ID, or give torchrun a --rdzv-id",
        )
    return launch.run_id(next(_numbers))


def _is_helper() -> bool:
    """Whether this is a process that a rank has started, such as a data loader's worker: its runs are its own."""
    if os.getpid() != _first_pid:
        return True
    process = sys.modules.get("multiprocessing.process")
    if process is None or process.parent_process() is None:
        return False
    try:  # a rank that a script has made by multiprocessing was not given its rank, it has set it itself
        given = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        return True
    return any(
        entry.startswith((b"RANK=", b"SLURM_PROCID=", b"OMPI_COMM_WORLD_RANK=", b"PMI_RANK="))
        for entry in given
    )


def _find_launcher(variable: str) -> str | None:
    """Walk up from this process to the first ancestor that was not given the variable.

    A shell script between launcher and Python has it as well. Without /proc the parent is taken for the launcher.
    """
    pid = os.getppid()
    for _ in range(64):
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except PermissionError:  # a launcher that runs as another user, such as a system's daemon
            return _name_of(pid)
        except (OSError, ValueError):
            return f"parent {uuid.getnode():x} {os.getppid()}" if pid == os.getppid() else None
        if not any(entry.startswith(f"{variable}=".encode()) for entry in environment.split(b"\0")):
            return f"launcher {boot} {pid} {fields[19]}"
        pid = int(fields[1])
        if pid <= 0:
            return None
    return None


def _name_of(pid: int) -> str | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    return f"launcher {boot} {pid} {fields[19]}"
