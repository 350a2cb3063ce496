"""How ranks agree on a run: by what their launcher gave to all of them, and by nothing that another job has too."""

from __future__ import annotations

import pytest

from ingest_client._launch import launch_of, ranks_of

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none", "RANK": "2", "WORLD_SIZE": "4", "LOCAL_RANK": "2", "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500",
}  # fmt: skip
TWO_NODES = {**TORCHRUN, "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "node1"}
# What was seen in the ranks of real launchers: SLURM 22.05.8 with two nodes, Open MPI 4.1.4, MPICH 4.0.2.
SRUN = {
    "SLURM_CLUSTER_NAME": "scratch", "SLURM_JOBID": "1", "SLURM_JOB_ID": "1", "SLURM_JOB_NODELIST": "n[1-2]",
    "SLURM_JOB_NUM_NODES": "2", "SLURM_LAUNCH_NODE_IPADDR": "127.0.0.1", "SLURM_LOCALID": "0", "SLURM_NNODES": "2",
    "SLURM_NODEID": "1", "SLURM_NPROCS": "4", "SLURM_NTASKS": "4", "SLURM_PROCID": "3", "SLURM_STEPID": "0",
    "SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": "n[1-2]", "SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_TASKS_PER_NODE": "3,1", "SLURM_TASKS_PER_NODE": "3,1", "SLURM_TASK_PID": "30124",
}  # fmt: skip
SRUN_PMI2 = {**SRUN, "PMI_FD": "11", "PMI_JOBID": "1.0", "PMI_RANK": "3", "PMI_SIZE": "4"}
OPEN_MPI = {
    "OMPI_COMM_WORLD_LOCAL_RANK": "2", "OMPI_COMM_WORLD_LOCAL_SIZE": "4", "OMPI_COMM_WORLD_NODE_RANK": "2",
    "OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "4", "PMIX_NAMESPACE": "518389761", "PMIX_RANK": "2",
    "OMPI_MCA_orte_precondition_transports": "7650f8b2cfa4a160-aa769e3c20a5fe53",
}  # fmt: skip
HYDRA = {"MPI_LOCALNRANKS": "4", "MPI_LOCALRANKID": "2", "PMI_FD": "14", "PMI_RANK": "2", "PMI_SIZE": "4"}
BY_SRUN = {
    "SLURM_JOB_ID": "2", "SLURM_LOCALID": "0", "SLURM_NTASKS": "2", "SLURM_PROCID": "1", "SLURM_STEP_ID": "2",
    "SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
}  # fmt: skip
OPEN_MPI_IN_SLURM = {
    **BY_SRUN, **OPEN_MPI, "OMPI_COMM_WORLD_LOCAL_RANK": "0", "OMPI_COMM_WORLD_LOCAL_SIZE": "1",
    "OMPI_COMM_WORLD_RANK": "3",
}  # fmt: skip
HYDRA_IN_SLURM = {**BY_SRUN, **HYDRA, "MPI_LOCALNRANKS": "1", "MPI_LOCALRANKID": "0", "PMI_RANK": "3"}
JOBS = {
    "torchrun": TORCHRUN, "nodes": TWO_NODES, "srun": SRUN, "srun pmi2": SRUN_PMI2, "open mpi": OPEN_MPI, "mpich": HYDRA,
    "open mpi in slurm": OPEN_MPI_IN_SLURM, "mpich in slurm": HYDRA_IN_SLURM,
}  # fmt: skip
RANKS = {
    "RANK",
    "LOCAL_RANK",
    "SLURM_PROCID",
    "SLURM_LOCALID",
    "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "PMI_RANK",
    "MPI_LOCALRANKID",
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
    first, second = launch_of(SRUN, launcher), launch_of({**SRUN, "SLURM_STEP_ID": "1"}, launcher)
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
        {**SRUN, "SLURM_STEP_NUM_TASKS": "1"},
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


@pytest.mark.parametrize("name", ["srun", "srun pmi2", "open mpi in slurm", "mpich in slurm"])
def test_inside_a_slurm_job_the_innermost_launcher_counts(name):
    """mpirun has srun start one process on each machine; the ranks that this starts inherit its place in the step."""
    found = ranks_of(JOBS[name])
    assert found is not None
    assert (found.rank, found.size, found.local_rank) == (3, 4, 0)


@pytest.mark.parametrize("name", ["open mpi in slurm", "mpich in slurm"])
def test_two_mpirun_of_one_slurm_job_are_jobs_of_their_own(name):
    """Open MPI's ranks on the machine of mpirun itself are in no step."""
    env = JOBS[name]
    other = {"SLURM_STEP_ID": "3", "OMPI_MCA_orte_precondition_transports": "another-one"}
    first, second = launch_of(env, launcher), launch_of({**env, **other}, launcher)
    assert first is not None
    assert second is not None
    assert (first.key != second.key, first.is_sure) == (True, True)
    if name == "open mpi in slurm":
        outside = {key: value for key, value in env.items() if "STEP" not in key}
        assert launch_of(outside, launcher) == first


def test_two_mpirun_of_mpich_in_a_job_of_another_scheduler_may_be_taken_for_one():
    env = {**HYDRA, "MPI_LOCALNRANKS": "1", "PBS_JOBID": "7"}
    launch = launch_of(env, launcher)
    assert launch is not None
    assert not launch.is_sure


def test_torchrun_inside_a_slurm_step_goes_by_torchrun():
    found = ranks_of({**SRUN, **TORCHRUN})
    assert found is not None
    assert (found.rank, found.size, found.local_rank) == (2, 4, 2)
