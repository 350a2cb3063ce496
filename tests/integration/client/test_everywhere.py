"""Where training happens: many threads, pools, persistent loaders, preemption; each case ends with a count in the database."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from ingest.bench.ports import free_port
from ingest_client._parking import PLACES
from tests.conftest import ServiceProcess, run_ingest
from tests.integration.client.ranks import ask

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def start(service: ServiceProcess, tmp_path: Path):
    """A function that starts a script: `start(source, **environment)`."""
    started: list[subprocess.Popen[str]] = []

    def run(source: str, **variables: str) -> subprocess.Popen[str]:
        path = tmp_path / f"script{len(started)}.py"
        path.write_text(textwrap.dedent(source))
        env = {**os.environ, "INGEST_TRACKING_URI": service.url, "INGEST_SPOOL_DIR": str(tmp_path / "spool")}
        env["INGEST_SHUTDOWN_TIMEOUT"] = "60"
        process = subprocess.Popen(
            [sys.executable, str(path)], env={**env, **variables},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=90)


def finish(process: subprocess.Popen[str], code: int = 0) -> None:
    _, errors = process.communicate(timeout=150)
    assert process.returncode == code, errors


POINTS = "SELECT count(*), count(DISTINCT (run_id, key, step)) FROM metrics"


MANY_AND_NOBODY = """
import os, sys, threading, time
import ingest
ingest.set_experiment("many")
for number in range(150):
    with ingest.start_run() as run:
        ingest.log_metrics({"loss": 1.0 / (number + 1)}, step=number)
        if number % 10 == 0:
            ingest.log_text("kept", "note.txt")
def settle(descriptors, threads):
    # Says what is held, once it is no more than that; after a minute, however much it is.
    deadline = time.monotonic() + 60
    while True:
        held = len(os.listdir("/proc/self/fd")), threading.active_count()
        if (held[0] <= descriptors and held[1] <= threads) or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    print(*held, flush=True)
settle(MOST_DESCRIPTORS, MOST_THREADS)
sys.stdin.readline()
assert ingest.flush(timeout=100)
settle(30, 4)
"""


def test_many_ended_runs_wait_on_the_disk_alone_and_are_delivered_once_somebody_listens(
    start_service, database_url, tmp_path
):
    """A sweep of hundreds of runs with no service in sight must not eat the process's file handles, threads or memory."""
    port, spool = free_port(), tmp_path / "spool"
    env = {"INGEST_TRACKING_URI": f"http://127.0.0.1:{port}", "INGEST_SPOOL_DIR": str(spool)}
    most_descriptors, most_threads = 9 * PLACES + 39, PLACES + 5
    source = MANY_AND_NOBODY.replace("MOST_DESCRIPTORS", str(most_descriptors))
    with subprocess.Popen(
        [sys.executable, "-c", source.replace("MOST_THREADS", str(most_threads))], env={**os.environ, **env},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        descriptors, threads = map(int, process.stdout.readline().split())
        assert threads <= most_threads
        assert descriptors <= most_descriptors
        start_service("--database-url", database_url, port=port)
        process.stdin.write("go\n")
        process.stdin.flush()
        output = process.stdout.readline()
        assert process.wait(60) == 0
        descriptors, threads = map(int, output.split())
        assert (descriptors <= 30, threads <= 4) == (True, True), output
    found = ask(
        database_url, "SELECT count(*), count(DISTINCT run_id), sum(step) FROM metrics WHERE key = 'loss'"
    )
    assert found == [(150, 150, sum(range(150)))]
    assert ask(database_url, "SELECT count(*) FROM runs_wide WHERE status = 'FINISHED'") == [(150,)]
    assert not list(spool.glob("*/*"))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_pools_of_processes(start, database_url, tmp_path, method):
    """The pool ends its processes as pools do: by SIGTERM, which is no reason to lose what they logged."""
    source = f"""
        import multiprocessing
        import ingest
        run = None
        def begin(given):
            global run
            run = given
        def work(n):
            run.log_metric("a", float(n), n)
        if __name__ == "__main__":
            with ingest.start_run() as outer:
                with multiprocessing.get_context("{method}").Pool(3, initializer=begin, initargs=(outer,)) as pool:
                    pool.map(work, range(300), chunksize=10)
                outer.log_metric("done", 1.0)
    """
    finish(start(source))
    run_ingest("sync", str(tmp_path / "spool"))
    assert ask(database_url, POINTS) == [(301, 301)]
    assert ask(database_url, "SELECT count(*), min(status) FROM runs") == [(1, "FINISHED")]


def test_a_child_that_waits_for_ever_is_ended_by_a_sigterm_that_its_main_thread_did_not_notice(
    start, database_url, tmp_path
):
    """What a pool's end does to a worker in the instant in which it goes to wait; here another thread gets the signal."""
    source = """
        import multiprocessing, signal, threading
        import ingest
        def work(run, lock):
            run.log_metric("a", 1.0, 1)
            threading.Timer(0.2, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGTERM)).start()
            lock.acquire()
        if __name__ == "__main__":
            context = multiprocessing.get_context("fork")
            lock = context.Lock()
            with ingest.start_run() as run, lock:
                child = context.Process(target=work, args=(run, lock))
                child.start()
                child.join(30)
                code = child.exitcode
                child.kill()
                assert code == -signal.SIGTERM, code
    """
    finish(start(source))
    run_ingest("sync", str(tmp_path / "spool"))
    assert ask(database_url, POINTS) == [(1, 1)]


LOADERS = """
    import multiprocessing, os, sys
    import ingest
    from torch.utils.data import DataLoader, Dataset

    class Images(Dataset):
        def __init__(self, run, epoch):
            self.run, self.epoch = run, epoch
        def __len__(self):
            return 16
        def __getitem__(self, i):
            self.run.log_metric("loaded", float(os.getpid()), i + 16 * self.epoch.value)
            return i

    if __name__ == "__main__":
        method, steps = sys.argv[1], 0
        context = multiprocessing.get_context(method)
        if method == "forkserver":  # as one does to make its workers start fast: they are forked with torch and the client
            context.set_forkserver_preload(["torch.utils.data", "ingest"])
        with ingest.start_run() as run:
            epoch = context.Value("i", 0)
            for persistent in (True, False):
                loader = DataLoader(
                    Images(run, epoch), batch_size=4, num_workers=2, persistent_workers=persistent,
                    multiprocessing_context=context,
                )
                for _ in range(2):
                    for batch in loader:
                        run.log_metric("batch", float(batch[0]), steps)
                        steps += 1
                    epoch.value += 1
                del loader
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_workers_of_data_loaders_that_are_not_forked_from_the_script(start, database_url, tmp_path, method):
    """They have the run that was handed to them, and none is started by themselves."""
    pytest.importorskip("torch")
    finish(start(LOADERS.replace("sys.argv[1]", repr(method))))
    run_ingest("sync", str(tmp_path / "spool"))
    rows = ask(
        database_url, "SELECT key, count(*), count(DISTINCT step) FROM metrics GROUP BY key ORDER BY key"
    )
    assert rows == [("batch", 16, 16), ("loaded", 64, 64)]
    assert ask(database_url, "SELECT count(*), min(status) FROM runs") == [(1, "FINISHED")]
    processes = "SELECT count(DISTINCT value) FROM metrics WHERE key = 'loaded'"
    assert ask(database_url, f"{processes} AND step < 32") == [(2,)]
    assert ask(database_url, f"{processes} AND step >= 32") == [(4,)]


@pytest.mark.parametrize("persistent", [True, False])
def test_workers_of_data_loaders(start, database_url, tmp_path, persistent):
    pytest.importorskip("torch")
    source = f"""
        import ingest
        from torch.utils.data import DataLoader, Dataset
        class Images(Dataset):
            def __len__(self):
                return 32
            def __getitem__(self, i):
                ingest.log_metric("loaded", float(i), i + 32 * EPOCH.value)
                return i
        import multiprocessing
        EPOCH = multiprocessing.Value("i", 0)
        with ingest.start_run() as run:
            loader = DataLoader(Images(), batch_size=4, num_workers=2, persistent_workers={persistent})
            for epoch in range(3):
                EPOCH.value = epoch
                for batch in loader:
                    run.log_metric("batch", float(batch[0]), int(batch[0]) + 32 * epoch)
    """
    process = start(source)
    finish(process)
    run_ingest("sync", str(tmp_path / "spool"))
    rows = ask(
        database_url, "SELECT key, count(*), count(DISTINCT step) FROM metrics GROUP BY key ORDER BY key"
    )
    assert rows == [("batch", 24, 24), ("loaded", 96, 96)]
    assert ask(database_url, "SELECT count(*) FROM runs") == [(1,)]


PREEMPTED = """
    import os, time
    from pathlib import Path
    import ingest
    checkpoint = Path("CHECKPOINT")
    run_id, step = checkpoint.read_text().split() if checkpoint.exists() else (None, "-1")
    again = run_id is not None
    with ingest.start_run(run_id=run_id, resume_from_step=int(step) if again else None) as run:
        for n in range(int(step) + 1, 200):
            run.log_metric("loss", 2.0 if again else 1.0, n)
            if n == 99 and not again:
                checkpoint.write_text(f"{run.id.hex} {n}")
            if n == 150 and not again:
                print("there", flush=True)
                time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_preempted_run_goes_on_from_its_checkpoint(start, service, database_url, tmp_path, number):
    source = PREEMPTED.replace("CHECKPOINT", str(tmp_path / "checkpoint"))
    process = start(source)
    assert process.stdout.readline() == "there\n"
    process.send_signal(number)
    finish(process, -number)
    if number == signal.SIGTERM:
        assert ask(database_url, "SELECT status FROM runs") == [("KILLED",)]
    finish(start(source))
    deadline = time.monotonic() + 30
    rows = "SELECT attempt, count(*), count(DISTINCT step), min(step), max(step) FROM metrics GROUP BY 1 ORDER BY 1"
    while ask(database_url, rows) != [(1, 151, 151, 0, 150), (2, 100, 100, 100, 199)]:
        assert time.monotonic() < deadline, ask(database_url, rows)
        run_ingest("sync", str(tmp_path / "spool"))
    assert ask(database_url, "SELECT count(*), min(status) FROM runs") == [(1, "FINISHED")]


def test_sync_delivers_what_a_job_leaves_while_it_runs_and_touches_nothing_of_its_own(
    start, database_url, tmp_path
):
    """Several at once, twice: every point is there once."""
    source = """
        import time, ingest
        for number in range(4):
            with ingest.start_run() as run:
                for step in range(1000):
                    run.log_metrics({"a": 1.0, "b": 2.0}, step)
        run = ingest.start_run()
        run.log_metric("open", 1.0)
        print("there", flush=True)
        time.sleep(120)
    """
    process = start(source, INGEST_MODE="offline")
    assert process.stdout.readline() == "there\n"
    commands = [
        subprocess.Popen(
            [sys.executable, "-m", "ingest", "sync", str(tmp_path / "spool")], stdout=subprocess.DEVNULL
        )
        for _ in range(2)
    ]
    for command in commands:
        command.wait(60)
    assert ask(database_url, POINTS) == [(8000, 8000)]
    process.kill()
    process.wait(60)
    assert run_ingest("sync", str(tmp_path / "spool")).returncode == 0
    assert ask(database_url, POINTS) == [(8001, 8001)]
