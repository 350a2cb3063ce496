"""Exactly once, under SIGKILL and a bad network: the controller of the chaos runs, and the judge.

Eight trainers log through a cutting, stalling, repeating proxy into a service with its bundled PostgreSQL. In each
round one of them all is killed with SIGKILL at a random moment: a trainer, the service, PostgreSQL's server, or one of
its backends. What was killed is started again (PostgreSQL by the service itself); sometimes it is killed again while it
still recovers. At the end the weather clears, the trainers end, what the dead left in the spool is delivered as `ingest sync` does it,
and every ledger is compared with the database: each point for which a logging call had returned must be there once.

The dice are seeded: the same seed kills in the same order after the same pauses, though not at the same instruction.

Errors: BenchError when a point is lost or doubled, or nothing recovers in time. Units: seconds.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil

import ingest
from ingest.bench import BenchError
from ingest.bench.api import Api
from ingest.bench.chaos_judge import Verdict, judge
from ingest.bench.chaos_ledger import Ledger
from ingest.bench.chaos_writer import WriterOrders
from ingest.bench.ports import free_port
from ingest.bench.proxy import CLEAR, STORM, Faults, ProxyThread
from ingest.bench.service import Service, postgres_processes
from ingest.bench.verify import check_counters
from ingest.bench.worker import Worker
from ingest_schema.ids import new_id

Victim = Literal["trainer", "service", "postgres", "backend"]
Report = Callable[[str], None]
RECOVERY_TIMEOUT = 120.0
SYNC_PATIENCE = 60.0
WRITER_END_TIMEOUT = 120.0
REPLAY_TIMEOUT = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chaos:
    """One chaos run."""

    rounds: int = 52
    seed: int = 1
    writers: int = 8
    writers_per_run: int = 2
    calls_per_s: float = 50.0
    """Of each writer; three points each."""
    pause: tuple[float, float] = (0.05, 0.8)
    """Shortest and longest time between two rounds."""
    weights: dict[Victim, float] = field(
        default_factory=lambda: {"trainer": 5.0, "service": 2.0, "postgres": 1.5, "backend": 1.5}
    )
    kill_again: float = 0.25
    """Chance that what was killed is killed again before it has recovered."""
    faults: Faults = STORM
    settings: dict[str, Any] = field(default_factory=dict)
    """Of the service."""


class Trainer:
    """One writer's place: process after process logs to the same run, with the same ledger."""

    def __init__(self, orders: WriterOrders, spool: Path) -> None:
        self.orders = orders
        self.lives = 0
        self.doubtful: list[int] = []
        """Steps whose call was under way when its process was killed."""
        self._spool = spool
        self._worker: Worker | None = None

    def start(self) -> None:
        environment = {"INGEST_SPOOL_DIR": str(self._spool), "INGEST_SHUTDOWN_TIMEOUT": "2"}
        self._worker = Worker("ingest.bench.chaos_writer", asdict(self.orders), environment)
        self.lives += 1

    def kill(self) -> None:
        """SIGKILL, and close its account."""
        if self._worker is not None:
            self._worker.process.kill()
            self._worker.process.wait(timeout=10.0)
            self._worker.close()
            self._worker = None
        with Ledger(Path(self.orders.ledger)) as ledger:
            self.doubtful += ledger.settle()

    def tell_to_end(self) -> None:
        if self._worker is not None:
            self._worker.go()

    def end(self) -> dict[str, Any]:
        """What it says at its end.

        Raises:
            BenchError: It ended otherwise than told.
        """
        if self._worker is None:
            raise BenchError(f"writer {self.orders.slot} does not run")
        said = self._worker.result(WRITER_END_TIMEOUT)
        self._worker.process.wait(timeout=WRITER_END_TIMEOUT)
        return said

    @property
    def is_alive(self) -> bool:
        return self._worker is not None and self._worker.process.poll() is None

    def close(self) -> None:
        if self._worker is not None:
            self._worker.process.kill()
            self._worker.close()


class ChaosRun:
    """Service, proxy and trainers of one run, and the dice."""

    def __init__(self, chaos: Chaos, service: Service, proxy: ProxyThread, trainers: list[Trainer]) -> None:
        self.chaos = chaos
        self.service = service
        self.proxy = proxy
        self.trainers = trainers
        self.kills: Counter[str] = Counter()
        self._dice = random.Random(chaos.seed)

    def round(self) -> Victim:
        """Wait a little, kill something, and see it recover; what was killed."""
        time.sleep(self._dice.uniform(*self.chaos.pause))
        victim = self._dice.choices(list(self.chaos.weights), list(self.chaos.weights.values()))[0]
        self._kill(victim)
        if victim != "trainer":
            if self._dice.random() < self.chaos.kill_again:
                time.sleep(self._dice.uniform(0.0, 1.5))
                self._kill(victim)
            self.recover()
        return victim

    def recover(self) -> None:
        """See to it that the service runs and takes batches.

        Raises:
            BenchError: It did not within RECOVERY_TIMEOUT.
        """
        deadline = time.monotonic() + RECOVERY_TIMEOUT
        with Api(self.service.url, timeout=10.0) as api:
            while not api.is_ready():
                if not self.service.is_running:
                    self.kills["service ended by itself"] += 1
                    self.service.start()
                if time.monotonic() > deadline:
                    raise BenchError(
                        f"not ready {RECOVERY_TIMEOUT:.0f} s after a kill:\n{self.service.log_tail()}"
                    )
                time.sleep(0.05)
        for trainer in self.trainers:
            if not trainer.is_alive:
                raise BenchError(f"writer {trainer.orders.slot} ended though nobody killed it")

    def _kill(self, victim: Victim) -> None:
        if victim == "trainer":
            trainer = self._dice.choice(self.trainers)
            trainer.kill()
            trainer.start()
        elif victim == "service":
            self.service.kill()
            self.service.start()
        elif not self._kill_postgres(backend=victim == "backend"):
            return  # it was down already, from the kill before
        self.kills[victim] += 1

    def _kill_postgres(self, *, backend: bool) -> bool:
        master = self.service.postmaster_pid
        if not backend:
            victims = [] if master is None else [master]
        else:
            home = self.service.data_dir.resolve() / "postgres"
            victims = [process.pid for process in postgres_processes(home) if is_backend(process)]
        if not victims:
            return False
        try:
            os.kill(self._dice.choice(sorted(victims)), signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True


def is_backend(process: psutil.Process) -> bool:
    """Whether it is a PostgreSQL process that serves a connection, by the title it gives itself."""
    with contextlib.suppress(psutil.Error):
        return any("[local]" in part for part in process.cmdline())
    return False


def run_chaos(chaos: Chaos, report: Report = lambda _: None) -> Verdict:
    """Do it all, and judge.

    Raises:
        BenchError: Something did not recover, or a writer ended by itself. Lost and doubled points are the verdict's.
    """
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ingest-chaos-")))
        service = Service(port=free_port(), data_dir=scratch / "data", settings=chaos.settings)
        stack.enter_context(service)
        proxy = ProxyThread(("127.0.0.1", service.port), faults=chaos.faults, seed=chaos.seed)
        stack.enter_context(proxy)
        trainers = make_trainers(chaos, proxy.url, scratch)
        run = ChaosRun(chaos, service, proxy, trainers)
        for trainer in trainers:
            stack.callback(trainer.close)
            trainer.start()
        began = time.monotonic()
        for number in range(chaos.rounds):
            victim = run.round()
            report(f"round {number + 1:3} of {chaos.rounds}: {victim}")
        report("the weather clears: trainers end, the spool is delivered")
        said = end_all(run, scratch / "spool")
        verdict = judge(
            service.url,
            [(trainer.orders, trainer.doubtful, trainer.lives) for trainer in trainers],
            kills=dict(run.kills),
            network=proxy.seen,
            elapsed=time.monotonic() - began,
        )
        check_stats(said)
    return verdict


def make_trainers(chaos: Chaos, url: str, scratch: Path) -> list[Trainer]:
    """The writers' places; each group of `writers_per_run` shares a run, as the ranks of one training do."""
    run_ids = [new_id().hex for _ in range(-(-chaos.writers // chaos.writers_per_run))]
    return [
        Trainer(
            WriterOrders(
                url=url,
                experiment="chaos",
                run_id=run_ids[slot // chaos.writers_per_run],
                slot=slot,
                ledger=str(scratch / f"ledger-{slot}"),
                calls_per_s=chaos.calls_per_s,
            ),
            scratch / "spool",
        )
        for slot in range(chaos.writers)
    ]


def end_all(run: ChaosRun, spool: Path) -> list[dict[str, Any]]:
    """Heal the network, end the trainers, deliver what is left; what the trainers said at their end."""
    run.proxy.set_faults(CLEAR)
    run.recover()
    for trainer in run.trainers:
        trainer.tell_to_end()
    said = [trainer.end() for trainer in run.trainers]
    run.proxy.drain_replays(REPLAY_TIMEOUT)
    sync(spool, run.service.url)
    return said


def sync(spool: Path, url: str) -> None:
    """Deliver what dead writers left, as `ingest sync` does.

    Raises:
        BenchError: Something stays, was rejected, or is damaged.
    """
    for delivered in ingest.sync_spool(spool, tracking_uri=url, patience=SYNC_PATIENCE):
        if delivered.status != "delivered" or delivered.rejected_points:
            raise BenchError(f"a spool could not be delivered: {delivered}")


def check_stats(said: list[dict[str, Any]]) -> None:
    """Hold the last life of each trainer to the law of the counters.

    Raises:
        BenchError: accepted is not acknowledged + spooled + rejected + dropped, or something was dropped or left.
    """
    for one in said:
        check_counters(one["stats"], one["points"], "a writer's last life")
        if not one["flushed"]:
            raise BenchError(f"a writer ended with points that were not acknowledged: {one}")
