"""Several ranks, one run: launched by the real torchrun, and with the variables of SLURM and MPI."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ServiceProcess, StartService, run_apart

pytestmark = [pytest.mark.timeout(180), pytest.mark.slow]

TRAIN = """
    import os, signal, sys, time
    import ingest
    import torch.distributed as dist
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    with ingest.start_run(run_name="one") as run:
        for step in range(100):
            run.log_metrics({"loss": float(rank), f"only/{rank}": 1.0}, step)
        run.log_param("world", dist.get_world_size())
        dist.barrier()
    with ingest.start_run(run_name="two") as run:
        run.log_metric("late", float(rank))
    dist.destroy_process_group()
"""


def ask(database_url: str, sql: str) -> list[tuple[Any, ...]]:
    from ingest.store.connect import connect

    async def query() -> list[tuple[Any, ...]]:
        async with connect(database_url, purpose="test") as connection:
            await connection.execute("SET search_path = ingest")
            return [tuple(row) for row in await connection.fetch(sql)]

    return run_apart(query)


def environment(service: ServiceProcess, spool: Path, **variables: str) -> dict[str, str]:
    return {**os.environ, "INGEST_TRACKING_URI": service.url, "INGEST_SPOOL_DIR": str(spool), **variables}


def torchrun(
    source: str, folder: Path, env: dict[str, str], *options: str
) -> subprocess.CompletedProcess[str]:
    script = folder / "train.py"
    script.write_text(textwrap.dedent(source))
    command = [sys.executable, "-m", "torch.distributed.run", *options, "--nproc-per-node", "3", str(script)]
    env = {**env, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        command, env=env, cwd=folder, capture_output=True, text=True, timeout=150, check=False
    )


def test_torchrun_gives_one_run_for_each_start_and_the_next_job_new_ones(
    service: ServiceProcess, database_url, tmp_path
):
    pytest.importorskip("torch")
    env = environment(service, tmp_path / "spool")
    for expected in (2, 4):
        done = torchrun(TRAIN, tmp_path, env, "--standalone")
        assert done.returncode == 0, done.stderr
        assert ask(database_url, "SELECT count(*) FROM runs") == [(expected,)]
    rows = ask(
        database_url,
        "SELECT r.name, count(*), count(DISTINCT (m.rank, m.key, m.step)), count(DISTINCT m.rank) FROM metrics m"
        " JOIN runs r USING (run_id) GROUP BY r.run_id, r.name ORDER BY r.name",
    )
    assert rows == [("one", 600, 600, 3), ("one", 600, 600, 3), ("two", 3, 3, 3), ("two", 3, 3, 3)]
    assert ask(database_url, "SELECT DISTINCT status FROM runs") == [("FINISHED",)]
    writers = "SELECT rank, world_size, local_rank, host <> '' FROM writers GROUP BY 1, 2, 3, 4 ORDER BY 1"
    assert ask(database_url, writers) == [(rank, 3, rank, True) for rank in range(3)]


def test_ranks_that_the_agent_restarts_go_on_with_the_run(service: ServiceProcess, database_url, tmp_path):
    """One rank is killed; the agent ends the others, starts all again, and they resume from their checkpoint."""
    pytest.importorskip("torch")
    source = """
        import os, signal, time
        import ingest
        from pathlib import Path
        again = os.environ["TORCHELASTIC_RESTART_COUNT"] != "0"
        with ingest.start_run(resume_from_step=50 if again else None) as run:
            for step in range(51 if again else 0, 100):
                run.log_metric("loss", float(again), step)
                if step == 70 and not again:
                    Path(f"at-70-{os.environ['RANK']}").touch()  # gloo does not come back after a restart
                    while len(list(Path().glob("at-70-*"))) < 3:
                        time.sleep(0.01)
                    if os.environ["RANK"] == "1":
                        os.kill(os.getpid(), signal.SIGKILL)
                    time.sleep(60)
    """
    env = environment(service, tmp_path / "spool")
    done = torchrun(source, tmp_path, env, "--standalone", "--max-restarts", "1")
    assert done.returncode == 0, done.stderr
    subprocess.run(
        [sys.executable, "-m", "ingest", "sync"], env=env, capture_output=True, timeout=60, check=True
    )
    assert ask(database_url, "SELECT count(*) FROM runs") == [(1,)]
    rows = ask(
        database_url,
        "SELECT rank, attempt, count(*), count(DISTINCT step) FROM metrics GROUP BY 1, 2 ORDER BY 2, 1",
    )
    assert rows == [*((rank, 1, 71, 71) for rank in range(3)), *((rank, 2, 49, 49) for rank in range(3))]


RANK = """
    import sys, time
    import ingest
    with ingest.start_run() as run:
        run.log_metric("loss", 1.0)
        assert run.flush(20)
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
        process.communicate(timeout=10)


def go_on(process: subprocess.Popen[str]) -> int:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return process.wait(20)


def wait_logged(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "logged\n"


LAUNCHERS = {
    "slurm": ("SLURM_PROCID", {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2"}),
    "open mpi": (
        "OMPI_COMM_WORLD_RANK",
        {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_SIZE": "2", "PMIX_NAMESPACE": "x"},
    ),
    "mpich": ("PMI_RANK", {"PMI_SIZE": "2", "MPI_LOCALNRANKS": "2"}),
    "by hand": ("RANK", {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "29511"}),
}


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
def service(start_service: StartService, database_url: str) -> ServiceProcess:
    """One that gives silent writers up soon."""
    return start_service("--database-url", database_url, env={"INGEST_LOST_AFTER": "5"})


def test_a_rank_that_vanished_is_given_up_when_it_is_silent(start_rank, database_url):
    rank, job = LAUNCHERS["slurm"]
    first, second = start_rank(**{rank: "0"}, **job), start_rank(**{rank: "1"}, **job)
    wait_logged(first, second)
    second.kill()
    second.wait(10)
    assert go_on(first) == 0
    deadline = time.monotonic() + 40
    while ask(database_url, "SELECT status FROM runs") != [("FINISHED",)]:
        assert time.monotonic() < deadline
        time.sleep(0.2)


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
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert ask(database_url, "SELECT count(*), count(DISTINCT run_id) FROM runs") == [(3, 3)]
