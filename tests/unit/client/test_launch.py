"""How ranks agree on a run: by what their launcher gave to all of them, and by nothing that another job has too."""

from __future__ import annotations

import pytest

from ingest_client._launch import launch_of, ranks_of

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none", "RANK": "2", "WORLD_SIZE": "4", "LOCAL_RANK": "2", "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500",
}  # fmt: skip
TWO_NODES = {**TORCHRUN, "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "node1"}
SLURM = {
    "SLURM_JOB_ID": "17", "SLURM_STEP_ID": "0", "SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "1",
}  # fmt: skip
OPEN_MPI = {
    "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2", "PMIX_NAMESPACE": "prterun-host-9@1",
}  # fmt: skip
HYDRA = {"PMI_RANK": "1", "PMI_SIZE": "2", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "2"}
JOBS = {"torchrun": TORCHRUN, "nodes": TWO_NODES, "slurm": SLURM, "open mpi": OPEN_MPI, "hydra": HYDRA}
RANKS = {
    "RANK",
    "LOCAL_RANK",
    "SLURM_PROCID",
    "SLURM_LOCALID",
    "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_LOCAL_RANK",
}


def launcher(variable: str) -> str:
    return f"launcher 1 without {variable}"


@pytest.mark.parametrize("env", JOBS.values(), ids=JOBS)
def test_all_ranks_of_a_job_get_the_same_runs_in_the_same_order(env):
    others = [{**env, **{name: str(rank) for name in RANKS & set(env)}} for rank in range(4)]
    launches = [launch_of(other, launcher) for other in others]
    assert None not in launches
    ids = [[launch.run_id(n) for n in range(3)] for launch in launches if launch]
    assert all(row == ids[0] for row in ids)
    assert len(set(ids[0])) == 3


@pytest.mark.parametrize("env", [TORCHRUN, OPEN_MPI, HYDRA])
def test_on_one_machine_the_launcher_tells_jobs_apart(env):
    """The same command once more gives the same variables: `--rdzv-id` is the same, the port too."""
    first, second = launch_of(env, lambda _: "pid 1"), launch_of(env, lambda _: "pid 2")
    assert first is not None
    assert second is not None
    assert first.run_id(0) != second.run_id(0)


def test_a_restart_by_the_agent_keeps_the_run():
    restarted = {**TORCHRUN, "TORCHELASTIC_RESTART_COUNT": "1", "MASTER_PORT": "41234"}
    first, second = launch_of(TORCHRUN, launcher), launch_of(restarted, launcher)
    assert first is not None
    assert first == second


def test_steps_of_a_slurm_job_are_jobs_of_their_own():
    first, second = launch_of(SLURM, launcher), launch_of({**SLURM, "SLURM_STEP_ID": "1"}, launcher)
    assert first is not None
    assert second is not None
    assert first.key != second.key


def test_a_name_that_another_job_may_have_is_not_sure():
    by_port = launch_of(TWO_NODES, launcher)
    assert by_port is not None
    assert not by_port.is_sure
    for more, name in (({"TORCHELASTIC_RUN_ID": "x"}, None), ({"SLURM_JOB_ID": "5"}, None), ({}, "mine")):
        named = launch_of({**TWO_NODES, **more}, launcher, name)
        assert named is not None
        assert named.is_sure


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"SLURM_JOB_ID": "17", "SLURM_NTASKS": "8"},  # in the batch script, outside any step
        {**SLURM, "SLURM_STEP_NUM_TASKS": "1"},
        {"RANK": "1", "WORLD_SIZE": "2"},
        {**TORCHRUN, "RANK": "-1"},
    ],
)
def test_a_process_alone_has_a_run_of_its_own(env):
    assert launch_of(env, launcher) is None


def test_a_script_that_starts_its_ranks_itself_names_the_job():
    env = {"WORLD_SIZE": "2", "INGEST_JOB_ID": "sweep-7"}
    first, second = (launch_of({**env, "RANK": rank}, launcher, "sweep-7") for rank in "01")
    assert first is not None
    assert second is not None
    assert (first.ranks.rank, second.ranks.rank, second.ranks.size, second.is_sure) == (0, 1, 2, True)
    assert first.run_id(0) == second.run_id(0)


def test_mpi_over_machines_without_any_name_is_not_guessed_at():
    env = {**HYDRA, "MPI_LOCALNRANKS": "1"}
    assert launch_of(env, launcher) is None


def test_torchrun_inside_a_slurm_step_goes_by_torchrun():
    found = ranks_of({**SLURM, **TORCHRUN})
    assert found is not None
    assert (found.rank, found.size, found.local_rank) == (2, 4, 2)
