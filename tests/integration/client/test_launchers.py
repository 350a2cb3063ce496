"""Several ranks, one run, started by the real launchers: torchrun and Open MPI's mpirun. docs/distributed.md tells of srun, tried by hand."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.conftest import ServiceProcess
from tests.integration.client.ranks import ask, environment

pytestmark = [pytest.mark.timeout(400), pytest.mark.slow]

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
        [sys.executable, "-m", "ingest", "sync"], env=env, capture_output=True, timeout=150, check=True
    )
    assert ask(database_url, "SELECT count(*) FROM runs") == [(1,)]
    rows = ask(
        database_url,
        "SELECT rank, attempt, count(*), count(DISTINCT step) FROM metrics GROUP BY 1, 2 ORDER BY 2, 1",
    )
    assert rows == [*((rank, 1, 71, 71) for rank in range(3)), *((rank, 2, 49, 49) for rank in range(3))]


MPI_RANK = """
    import ingest
    ingest.set_experiment("mpi")
    for name in ("one", "two"):
        with ingest.start_run(run_name=name) as run:
            for step in range(100):
                run.log_metrics({"loss": step / 2, "acc": 0.5}, step)
            run.log_param("lr", 0.1)
"""

RANKS = 4


@pytest.fixture
def mpirun(service: ServiceProcess, tmp_path: Path):
    """A function that runs the script in four ranks on this machine, as root where the tests are root's."""
    program = shutil.which("mpirun.openmpi")
    if program is None:
        pytest.skip("no mpirun of Open MPI: apt-get install openmpi-bin")
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(MPI_RANK))
    options = ["--allow-run-as-root", "--oversubscribe", "-n", str(RANKS)]

    def run(*more: str) -> None:
        done = subprocess.run(
            [program, *options, *more, sys.executable, str(script)], env=environment(service, tmp_path / "spool"),
            cwd=tmp_path, capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    return run


def test_mpirun_gives_one_run_for_each_start_and_the_next_job_new_ones(mpirun, database_url):
    """No variable and no line of the script says that there are several."""
    runs = (
        "SELECT r.name, r.status, count(*), count(DISTINCT (m.rank, m.key, m.step)), count(DISTINCT m.rank) FROM metrics m"
        " JOIN runs r USING (run_id) GROUP BY r.run_id, r.name, r.status ORDER BY r.name"
    )
    for jobs in (1, 2):
        mpirun()
        one, two = (("FINISHED", 200 * RANKS, 200 * RANKS, RANKS) for _ in range(2))
        assert ask(database_url, runs) == [("one", *one)] * jobs + [("two", *two)] * jobs
    writers = "SELECT rank, world_size, local_rank, host <> '', count(*) FROM writers GROUP BY 1, 2, 3, 4 ORDER BY 1"
    assert ask(database_url, writers) == [(rank, RANKS, rank, True, 4) for rank in range(RANKS)]
    assert ask(database_url, "SELECT count(*) FROM params") == [(4,)]
