"""Several ranks, one run, with the variables that SLURM, MPI and others set; with the launchers themselves: test_launchers.py."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.conftest import ServiceProcess, StartService
from tests.integration.client.ranks import ask, environment
from tests.integration.client.stub import wait_until

pytestmark = [pytest.mark.timeout(400), pytest.mark.slow]

RANK = """
    import sys, time
    import ingest
    with ingest.start_run() as run:
        run.log_metric("loss", 1.0)
        assert run.flush(30)
        print("logged", flush=True)
        sys.stdin.readline()
        ERROR
"""


@pytest.fixture
def start_rank(service: ServiceProcess, tmp_path: Path):
    """A function that starts one rank; it goes on until it is told a line."""
    started: list[subprocess.Popen[str]] = []

    def start(error: str = "", **variables: str) -> subprocess.Popen[str]:
        source = textwrap.dedent(RANK).replace("ERROR", error)
        process = subprocess.Popen(
            [sys.executable, "-c", source],
            env=environment(service, tmp_path / "spool", **variables),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=90)


def go_on(process: subprocess.Popen[str]) -> int:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return process.wait(60)


def wait_logged(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "logged\n"


# fmt: off
LAUNCHERS = {
    "slurm": (
        "SLURM_PROCID",
        {
            "SLURM_CLUSTER_NAME": "scratch", "SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2",
            "SLURM_STEP_NUM_NODES": "2", "SLURM_NTASKS": "2", "SLURM_LOCALID": "0",
        },
    ),
    "open mpi over two machines of a slurm job": (
        "OMPI_COMM_WORLD_RANK",
        {
            "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_SIZE": "1", "PMIX_NAMESPACE": "350814209",
            "OMPI_MCA_orte_precondition_transports": "7650f8b2cfa4a160-aa769e3c20a5fe53", "SLURM_JOB_ID": "2",
            "SLURM_STEP_ID": "2", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1", "SLURM_LOCALID": "0",
        },
    ),
    "open mpi": (
        "OMPI_COMM_WORLD_RANK",
        {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_SIZE": "2", "PMIX_NAMESPACE": "x"},
    ),
    "mpich": ("PMI_RANK", {"PMI_SIZE": "2", "MPI_LOCALNRANKS": "2", "MPI_LOCALRANKID": "0"}),
    "by hand": ("RANK", {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "29511"}),
}
# fmt: on


@pytest.mark.parametrize("name", LAUNCHERS)
def test_the_run_ends_when_the_last_rank_is_done_with_the_status_of_rank_0(start_rank, database_url, name):
    rank, job = LAUNCHERS[name]
    first = start_rank(error="raise ValueError", **{rank: "0"}, **job)
    second = start_rank(**{rank: "1"}, **job)
    wait_logged(first, second)
    assert go_on(first) == 1
    assert ask(database_url, "SELECT status, end_time_ms FROM runs") == [("RUNNING", None)]
    assert go_on(second) == 0
    assert ask(database_url, "SELECT status FROM runs") == [("FAILED",)]
    ends = ask(
        database_url,
        "SELECT r.end_time_ms, max(w.ended_at_ms) FROM runs r JOIN writers w USING (run_id) GROUP BY 1",
    )
    assert ends[0][0] == ends[0][1]


@pytest.fixture
def service(start_service: StartService, database_url: str, request: pytest.FixtureRequest) -> ServiceProcess:
    """One that gives silent writers up after as many seconds as the test says."""
    return start_service(
        "--database-url", database_url, env={"INGEST_LOST_AFTER": str(getattr(request, "param", 90))}
    )


@pytest.mark.parametrize("service", [5], indirect=True)
def test_a_rank_that_vanished_is_given_up_when_it_is_silent(start_rank, database_url):
    rank, job = LAUNCHERS["slurm"]
    first, second = start_rank(**{rank: "0"}, **job), start_rank(**{rank: "1"}, **job)
    wait_logged(first, second)
    second.kill()
    second.wait(60)
    assert go_on(first) == 0
    wait_until(lambda: ask(database_url, "SELECT status FROM runs") == [("FINISHED",)], timeout=90)


def test_it_can_be_switched_off(start_rank, database_url):
    job = {
        "SLURM_JOB_ID": "9",
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NUM_TASKS": "2",
        "INGEST_DISTRIBUTED": "off",
    }
    ranks = [start_rank(SLURM_PROCID=str(rank), **job) for rank in range(2)]
    wait_logged(*ranks)
    assert [go_on(rank) for rank in ranks] == [0, 0]
    assert ask(
        database_url, "SELECT count(*), count(DISTINCT status) FROM runs WHERE status = 'FINISHED'"
    ) == [(2, 1)]


def test_a_helper_process_of_a_rank_that_starts_a_run_has_one_of_its_own(service, database_url, tmp_path):
    source = """
        import multiprocessing
        import ingest
        def work():
            with ingest.start_run(run_name="helper") as run:
                run.log_metric("a", 1.0)
        if __name__ == "__main__":
            for method in ("spawn", "fork"):
                child = multiprocessing.get_context(method).Process(target=work)
                child.start()
                child.join()
                assert child.exitcode == 0
            with ingest.start_run(run_name="rank") as run:
                run.log_metric("a", 1.0)
    """
    path = tmp_path / "helper.py"
    path.write_text(textwrap.dedent(source))
    job = {"SLURM_JOB_ID": "3", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "0"}
    done = subprocess.run(
        [sys.executable, str(path)], env=environment(service, tmp_path / "spool", **job),
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert ask(database_url, "SELECT count(*), count(DISTINCT run_id) FROM runs") == [(3, 3)]
