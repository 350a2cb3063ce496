"""How processes end: in bounded time, with the right status, and with every point delivered or in the spool."""

from __future__ import annotations

import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from ingest.bench.ports import free_port
from ingest_client import sync_spool
from tests.integration.client.stub import Stub, running_stub, wait_until

BODY = """
    import os, signal, sys, time
    import ingest
    ingest.log_param("p", 1)
    for step in range(500):
        ingest.log_metrics({"a": 1.0, "b": 2.0}, step=step)
    print("logged", flush=True)
    END
"""
ASYNC_BODY = """
    import asyncio, os, signal, sys, time
    import ingest
    async def main():
        async with ingest.AsyncClient() as client:
            async with client.start_run() as run:
                run.log_params({"p": 1})
                for step in range(500):
                    run.log_metrics({"a": 1.0, "b": 2.0}, step=step)
                print("logged", flush=True)
                END
    asyncio.run(main())
"""
FORK_BODY = """
    import os, signal, sys, time
    import ingest
    run = ingest.start_run()
    if os.fork() == 0:
        ingest.log_param("p", 1)
        for step in range(500):
            ingest.log_metrics({"a": 1.0, "b": 2.0}, step=step)
        print("logged", flush=True)
        END
        sys.exit(0)
    _, status = os.wait()
    os._exit(os.waitstatus_to_exitcode(status) % 256)
"""
BODIES = {"sync": BODY, "asyncio": ASYNC_BODY, "fork": FORK_BODY}
ENDS = {
    "normal": ("pass", 0, "FINISHED"),
    "exception": ("raise RuntimeError('boom')", 1, "FAILED"),
    "ctrl_c": ("os.kill(os.getpid(), signal.SIGINT); time.sleep(30)", -signal.SIGINT, "KILLED"),
    "sigterm": ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(30)", -signal.SIGTERM, "KILLED"),
    "sigkill": ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, None),
    "os_exit": ("os._exit(7)", 7, None),
}
BOUNDS = {"healthy": 3.0, "dead": 3.0, "black_hole": 3.5, "slow": 3.5}
"""Seconds from the end of logging to the end of the process; shutdown_timeout is 1.5 in these scripts."""


@pytest.fixture(scope="module")
def exits():
    """Rows of the matrix: who, how, where to, seconds to the exit, points lost. `pytest -s` shows them as a table of Markdown."""
    rows: dict[tuple[str, str, str], tuple[float, int]] = {}
    yield rows
    if len(rows) > 1:
        servers = [*BOUNDS]
        print(
            "\n\n| script | ends by | "
            + " | ".join(servers)
            + " | points lost |\n"
            + "|---" * (3 + len(servers))
            + "|"
        )
        for body in BODIES:
            for end in ENDS:
                found = [rows.get((body, end, server)) for server in servers]
                seconds = [f"{row[0]:.2f} s" if row else "" for row in found]
                lost = sum(row[1] for row in found if row)
                print(f"| {body} | {end} | " + " | ".join(seconds) + f" | {lost} |")


def source_of(body: str, end: str) -> str:
    source = BODIES[body].replace("END", end)
    # A sleep that blocks the loop would keep asyncio from seeing Ctrl-C.
    return source.replace("time.sleep", "await asyncio.sleep") if body == "asyncio" else source


@pytest.mark.parametrize("body", [*BODIES])
@pytest.mark.parametrize("end", [*ENDS])
@pytest.mark.parametrize("server", [*BOUNDS])
def test_exit_matrix(script, tmp_path, exits, *, body, end, server):
    """Wherever it is hit, the process ends in bounded time, and afterwards everything is on the service, once."""
    took: list[float] = []
    while not took or took[-1] >= BOUNDS[server]:
        assert len(took) < 3, (
            took
        )  # other work on the machine may add a second to one of them, and not to each
        seconds, lost = one_exit(script, tmp_path / f"spool{len(took)}", body=body, end=end, server=server)
        took.append(seconds)
        exits[body, end, server] = seconds, lost
        assert lost == 0


def one_exit(script, spool_dir: Path, *, body: str, end: str, server: str) -> tuple[float, int]:
    """Seconds until the process is gone, and points lost; everything else is checked here."""
    statement, code, status = ENDS[end]
    environment = {"INGEST_SPOOL_DIR": str(spool_dir), "INGEST_SHUTDOWN_TIMEOUT": "1.5"}
    stub = Stub()
    if server == "slow":
        stub.delay = 0.3
    if server == "black_hole":
        stub.misbehave = lambda stub, batch: "hang"
    port = free_port()
    if server == "dead":
        process = script(source_of(body, statement), f"http://127.0.0.1:{port}", **environment)
        took, output = watch(process)
    else:
        with running_stub(port, stub):
            process = script(source_of(body, statement), stub.url, **environment)
            took, output = watch(process)
    assert process.returncode == (code % 256 if body == "fork" else code), output
    stub.misbehave, stub.delay = None, 0.0
    if server in {"dead", "black_hole"} and end in {"normal", "exception"} and body != "fork":
        assert "ingest sync" in output
    with running_stub(port, stub):
        sync_spool(spool_dir)
    counts = Counter(p[:2] for p in stub.points())
    assert set(counts.values()) == {1}, "nothing is there twice"
    ends = [event.body["status"] for event in stub.events() if event.kind == "run_end"]
    if body == "fork" or status is None:
        assert ends == []
    else:
        assert ends == [status]
    assert list(spool_dir.rglob("*.seg")) == []
    return took, 1000 - len(counts)


def watch(process) -> tuple[float, str]:
    """Seconds from the last log call to the end, and what was said on standard error."""
    assert process.stdout.readline() == "logged\n", process.stderr.read()
    began = time.monotonic()
    _, errors = process.communicate(timeout=90)
    return time.monotonic() - began, errors


def test_a_handler_of_the_user_is_kept(script, stub):
    """Ours is only there where the default action was."""
    source = """
        import os, signal, sys, time, ingest
        signal.signal(signal.SIGTERM, lambda *_: (print("mine", flush=True), sys.exit(5)))
        ingest.log_metric("a", 1.0)
        print("logged", flush=True)
        time.sleep(30)
    """
    process = script(source, stub.url)
    assert process.stdout.readline() == "logged\n"
    process.terminate()
    assert process.stdout.readline() == "mine\n"
    assert process.wait(60) == 5
    assert len(stub.points()) == 1


def test_a_handler_of_the_user_may_call_the_one_that_was_there(script, stub):
    """As handlers should that come later: theirs, then the end of the run, then that of the process."""
    source = """
        import os, signal, time
        import ingest
        ingest.log_metric("a", 1.0)
        before = signal.getsignal(signal.SIGTERM)
        def mine(number, frame):
            print("mine", flush=True)
            before(number, frame)
        signal.signal(signal.SIGTERM, mine)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)
    """
    process = script(source, stub.url)
    output, _ = process.communicate(timeout=20)
    assert (process.returncode, output) == (-signal.SIGTERM, "mine\n")
    assert [e.body["status"] for e in stub.events() if e.kind == "run_end"] == ["KILLED"]


def test_what_the_user_has_registered_for_the_exit_is_called_and_may_log(script, stub):
    """What is registered after the first run is called before it ends."""
    source = """
        import atexit
        import ingest
        atexit.register(print, "first")
        ingest.log_metric("a", 1.0)
        atexit.register(print, "second")
        atexit.register(ingest.log_metric, "late", 2.0)
    """
    process = script(source, stub.url)
    output, errors = process.communicate(timeout=20)
    assert (process.returncode, output) == (0, "second\nfirst\n"), errors
    assert [p[0] for p in stub.points()] == ["a", "late"]
    assert [e.body["status"] for e in stub.events() if e.kind == "run_end"] == ["FINISHED"]


@pytest.mark.parametrize("order", ["before", "after"])
def test_an_excepthook_of_the_user_is_called(script, stub, order):
    """Also where it was put in after ours, and does not call ours."""
    hook = 'sys.excepthook = lambda *args: print("mine", flush=True)'
    log = 'ingest.log_metric("a", 1.0)'
    first, second = (hook, log) if order == "before" else (log, hook)
    source = f"""
        import sys, ingest
        {first}
        {second}
        raise ValueError
    """
    process = script(source, stub.url)
    assert process.stdout.readline() == "mine\n"
    assert process.wait(60) == 1
    assert [e.body["status"] for e in stub.events() if e.kind == "run_end"] == ["FAILED"]


def test_without_an_address_it_says_so_once_and_exits_with_0(script, spool_dir):
    source = """
        import ingest
        for _ in range(2):
            with ingest.start_run():
                ingest.log_metric("a", 1.0)
    """
    process = script(source, "", INGEST_SHUTDOWN_TIMEOUT="1.5")
    _, errors = process.communicate(timeout=90)
    assert process.returncode == 0
    assert errors.count("no tracking URI is set") == 1
    assert "http://127.0.0.1:5000" in errors


POINTS_OF_CHILDREN = """
    import multiprocessing, sys, time
    import ingest

    def work(run, number):
        for step in range(100):
            run.log_metric(f"child_{number}", step, step)

    if __name__ == "__main__":
        context = multiprocessing.get_context(sys.argv[1] if len(sys.argv) > 1 else "METHOD")
        with ingest.start_run() as run:
            run.log_metric("parent", 1.0)
            children = [context.Process(target=work, args=(run, n)) for n in range(3)]
            [c.start() for c in children]
            [c.join() for c in children]
            assert [c.exitcode for c in children] == [0, 0, 0]
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_of_multiprocessing_log_to_the_run(script, stub, spool_dir, method):
    """Each as a writer of its own; no point of the parent is sent twice."""
    process = script(POINTS_OF_CHILDREN.replace("METHOD", method), stub.url)
    _, errors = process.communicate(timeout=90)
    assert process.returncode == 0, errors
    wait_until(lambda: len(stub.points()) == 301, timeout=30)
    assert len({batch.run_id for batch in stub.batches}) == 1
    assert len({batch.writer_id for batch in stub.batches}) == 4
    assert list(spool_dir.rglob("*.seg")) == []


def test_data_loader_workers_log_and_those_that_do_not_start_nothing(script, stub, spool_dir):
    pytest.importorskip("torch")
    source = """
        import os, threading
        import ingest
        from torch.utils.data import DataLoader, Dataset

        class Images(Dataset):
            def __init__(self, run=None):
                self.run = run
            def __len__(self):
                return 32
            def __getitem__(self, i):
                if self.run is not None:
                    self.run.log_metric("loaded", 1.0, i)
                ours = [t.name.split("-")[1] for t in threading.enumerate() if t.name.startswith("ingest-")]
                ours = sorted(name for name in ours if name != "sweep")
                assert ours == (["sender", "sigterm"] if self.run is not None else []), ours
                return i

        with ingest.start_run() as run:
            for dataset in (Images(run), Images()):
                for batch in DataLoader(dataset, batch_size=4, num_workers=2):
                    run.log_metric("batch", float(batch[0]))
    """
    process = script(source, stub.url)
    _, errors = process.communicate(timeout=90)
    assert process.returncode == 0, errors
    counts = Counter(p[0] for p in stub.points())
    assert counts == {"loaded": 32, "batch": 16}
    assert len({b.writer_id for b in stub.batches}) == 3


def test_a_forked_child_that_does_not_log_leaves_no_trace(script, stub, spool_dir):
    source = """
        import os, threading, sys, ingest
        run = ingest.start_run()
        run.log_metric("a", 1.0)
        if os.fork() == 0:
            assert threading.active_count() == 1
            sys.exit(0)
        assert os.wait()[1] == 0
        run.log_metric("a", 2.0)
    """
    process = script(source, stub.url)
    _, errors = process.communicate(timeout=90)
    assert process.returncode == 0, errors
    assert [p[3] for p in stub.points()] == [1.0, 2.0]
    assert len({b.writer_id for b in stub.batches}) == 1


def test_a_fork_after_a_run_was_delivered_closes_no_file_of_the_program(script, stub):
    """The numbers of the spool's files may be those of other files by then, such as a DataLoader's pipes."""
    source = """
        import os, time
        from pathlib import Path
        import ingest
        run = ingest.start_run()
        run.log_metric("a", 1.0)
        run.log_text("a", "a.txt")
        ingest.end_run()
        while not run.is_delivered:
            time.sleep(0.01)
        while list(Path(os.environ["INGEST_SPOOL_DIR"]).rglob("*")):
            time.sleep(0.01)  # the uploader takes the empty spool away
        files = [os.open("/dev/null", os.O_RDONLY) for _ in range(50)]
        child = os.fork()
        if child == 0:
            for fd in files:
                os.fstat(fd)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    """
    process = script(source, stub.url)
    _, errors = process.communicate(timeout=90)
    assert process.returncode == 0, errors


@pytest.mark.parametrize("moment", ["companion.end", "writer.conclude"])
def test_a_signal_that_meets_the_end_of_a_run_ends_it_and_the_process_at_once(script, stub, moment):
    """The handler ends the run itself, whatever the end was doing, and so does not wait for a spool that nobody closes."""
    owner, name = moment.split(".")
    source = f"""
        import os, signal
        import ingest
        run = ingest.start_run()
        run.log_metric("a", 1.0)
        owner = run.{owner}
        met = owner.{name}
        def meet():
            owner.{name} = met
            os.kill(os.getpid(), signal.SIGTERM)
            met()
        owner.{name} = meet
        run.end()
    """
    began = time.monotonic()
    process = script(source, stub.url, INGEST_SHUTDOWN_TIMEOUT="60", INGEST_ENVIRONMENT="on")
    assert process.wait(60) == -signal.SIGTERM
    assert time.monotonic() - began < 40
    wait_until(lambda: "run_end" in stub.kinds())
    assert [event.body["status"] for event in stub.events() if event.kind == "run_end"] == ["KILLED"]
    assert len(stub.points()) == 1


def test_a_fork_waits_until_what_delivery_needs_is_imported(script, stub):
    """A child that is forked in the middle of an import has half of the module, and could deliver nothing."""
    source = """
        import os, sys, threading
        import ingest
        from ingest_client import _transport
        begun, may_end = threading.Event(), threading.Event()
        class Slow:
            def find_spec(self, name, path, target=None):
                if name == "http.client":
                    begun.set()
                    may_end.wait(30)
        sys.meta_path.insert(0, Slow())
        threading.Thread(target=_transport._http_client).start()
        begun.wait(30)
        threading.Timer(0.2, may_end.set).start()
        child = os.fork()
        if child == 0:
            with ingest.start_run() as run:
                run.log_metric("a", 1.0)
            os._exit(0 if run.flush(30) else 3)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    process = script(source, stub.url)
    assert process.wait(60) == 0
    assert len(stub.points()) == 1
