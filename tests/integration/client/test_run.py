"""A run against a stub that keeps the contract, and against ones that do not."""

from __future__ import annotations

import random
import time

import pytest

from ingest.bench.ports import free_port
from ingest_client._run import Run
from ingest_schema.errors import BadKey, BadText
from tests.integration.client.conftest import settings_for
from tests.integration.client.stub import problem, quickest, running_stub, wait_until


def law(stats) -> None:
    """Accepted = acknowledged + spooled + rejected + dropped; asserted with the test's own count beside it."""
    assert stats.accepted_num == (
        stats.acknowledged_num + stats.spooled_num + stats.rejected_num + stats.dropped_num
    )


def test_what_is_logged_arrives_in_order_with_start_and_end(run, stub):
    run.log_params({"lr": 0.1, "name": "net"})
    for step in range(100):
        run.log_metrics({"loss": step / 2, "acc": 1}, step=step, timestamp=1000 + step)
    run.set_tags({"team": "a", "gone": None})
    assert run.flush(30)
    run.end()
    wait_until(lambda: run.is_delivered)
    assert sorted(stub.points(run.id)) == sorted(
        [("loss", s, 1000 + s, s / 2) for s in range(100)] + [("acc", s, 1000 + s, 1.0) for s in range(100)]
    )
    assert stub.kinds() == ["run_start", "writer", "params", "tags", "run_end", "writer_end"]
    events = {event.kind: event.body for event in stub.events()}
    assert events["run_start"]["experiment"] == "tests"
    assert events["params"] == {"lr": "0.1", "name": "net"}
    assert events["tags"] == {"team": "a", "gone": None}
    assert events["run_end"]["status"] == "FINISHED"


def test_a_run_appears_at_once(run, stub):
    wait_until(lambda: stub.kinds() == ["run_start", "writer"], timeout=30)


def test_a_delivered_spool_leaves_nothing_behind(run, spool_dir):
    run.log_metric("a", 1.0)
    run.end()
    wait_until(lambda: run.is_delivered)
    assert list(spool_dir.rglob("*")) == []
    assert run.stats().acknowledged_num == 1
    assert run.stats().spooled_num == 0


def test_counters_keep_their_law_while_points_move(run):
    for step in range(20_000):
        run.log_metrics({"a": 1.0, "b": 2.0}, step)
        if step % 500 == 0:
            stats = run.stats()
            law(stats)
            assert stats.accepted_num == 2 * (step + 1)
    assert run.flush(30)
    assert run.stats().acknowledged_num == 40_000


def test_flush_gives_up_in_time_and_keeps_the_points(dead_settings):
    run = Run(dead_settings)
    run.log_metrics({"a": 1.0, "b": 2.0}, 1)
    assert quickest(lambda: run.flush(0.5)) < 1.5
    assert run.flush(0.1) is False
    stats = run.stats()
    assert (stats.accepted_num, stats.spooled_num) == (2, 2)
    assert stats.last_error is not None


def test_everything_is_delivered_when_the_service_comes_up_later(spool_dir):
    port = free_port()
    run = Run(settings_for(f"http://127.0.0.1:{port}", spool_dir))
    for step in range(1000):
        run.log_metric("a", float(step), step)
    run.end()
    with running_stub(port) as stub:
        wait_until(lambda: run.is_delivered, timeout=30)
        assert [p[1] for p in stub.points()] == [*range(1000)]


@pytest.mark.parametrize("verdict", ["cut", "cut_after", "garbage"])
def test_broken_answers_lose_and_double_nothing(settings, stub, verdict):
    """Every third answer is lost, before or after the commit, or is no HTTP at all."""
    count = iter(range(10**6))
    stub.misbehave = lambda stub, batch: verdict if next(count) % 3 == 0 else None
    run = Run(settings)
    for step in range(3000):
        run.log_metric("a", float(step), step)
        if step % 500 == 0:
            run.flush(0.05)
    assert run.flush(30)
    assert sorted(p[1] for p in stub.points()) == [*range(3000)]
    run.end()


def test_retry_after_is_obeyed(settings, stub):
    """A waiting flush does not hurry a service that asked for time."""
    times = []

    def busy(stub, batch):
        times.append(time.monotonic())
        return problem(429, "queue_full", retry_after=1) if len(times) == 1 else None

    stub.misbehave = busy
    run = Run(settings)
    run.log_metric("a", 1.0)
    assert run.flush(30)
    assert times[1] - times[0] >= 1.0
    assert run.stats().retries_num == 1


@pytest.mark.parametrize(
    "answer", [problem(401, "unauthorized"), problem(404, "not_found"), problem(500, "oops")]
)
def test_wrong_tokens_and_wrong_services_cost_no_point(settings, stub, answer):
    stub.misbehave = lambda stub, batch: answer
    run = Run(settings)
    run.log_metric("a", 1.0)
    assert run.flush(0.7) is False
    stub.misbehave = None
    assert run.flush(30)
    assert len(stub.points()) == 1


def test_a_refused_batch_does_not_hold_up_the_next(settings, stub):
    """And flush says that something was not stored."""

    def refuse(stub, batch):
        bad = any(p[0] == "bad" for p in batch.points())
        return problem(422, "batch_refused", detail="no bad ones") if bad else None

    stub.misbehave = refuse
    run = Run(settings)
    run.log_metric("good", 1.0)
    run.log_metric("bad", 1.0)
    run.log_metric("good", 2.0)
    assert run.flush(30) is False
    stats = run.stats()
    law(stats)
    assert (stats.acknowledged_num, stats.rejected_num, stats.rejected) == (2, 1, {"batch_refused": 1})
    assert [p[3] for p in stub.points()] == [1.0, 2.0]
    assert "run_start" in stub.kinds()


def test_a_refused_start_is_counted(settings, stub):
    """Whatever the reason: the points are stored, and somebody must be told of the rest."""

    def refuse(stub, batch):
        started = any(event.kind == "run_start" for event in batch.events)
        return problem(422, "batch_refused", detail="no such start") if started else None

    stub.misbehave = refuse
    run = Run(settings)
    run.log_metric("a", 1.0)
    run.flush(30)
    stats = run.stats()
    law(stats)
    assert (stats.acknowledged_num, stats.rejected_num, stats.rejected_events_num) == (1, 0, 1)


def test_a_black_hole_does_not_stop_the_caller(settings, stub):
    stub.misbehave = lambda stub, batch: "hang"
    run = Run(settings)

    def log() -> None:
        for step in range(20_000):
            run.log_metric("a", 1.0, step)

    assert quickest(log) < 2
    assert run.flush(0.2) is False
    assert run.stats().spooled_num == 60_000


def test_the_script_s_own_random_numbers_are_left_alone(dead_settings):
    """A seeded training must not change because a service was away: jitter has dice of its own."""
    random.seed(5)
    expected = [random.random() for _ in range(3)]
    random.seed(5)
    run = Run(dead_settings)
    run.log_metric("a", 1.0)
    assert run.flush(0.2) is False
    wait_until(lambda: run.stats().retries_num)
    assert [random.random() for _ in range(3)] == expected


def test_the_token_goes_along(stub, spool_dir):
    run = Run(settings_for(stub.url, spool_dir, INGEST_TOKEN="secret-token"))
    assert run.flush(30)
    assert stub.headers[0]["authorization"] == "Bearer secret-token"
    assert "secret-token" not in repr(run.settings)
    assert all(b"secret-token" not in path.read_bytes() for path in spool_dir.rglob("*") if path.is_file())


def test_logging_after_the_end_is_counted_not_raised(run):
    run.log_metric("a", 1.0)
    run.end()
    run.log_metric("a", 2.0)
    assert run.stats().dropped == {"after_end": 1}
    law(run.stats())


def test_bad_params_are_refused_whole(run):
    with pytest.raises(BadKey):
        run.log_params({"fine": 1, "": 2})
    with pytest.raises(BadText):
        run.log_param("huge", "x" * (2**20 + 1))
    assert "params" not in run.stats().rejected


def test_a_thousand_large_params_become_several_batches(run, stub):
    run.log_params({f"p{i}": "x" * 20_000 for i in range(1000)})
    assert run.flush(30)
    merged = {key for event in stub.events() if event.kind == "params" for key in event.body}
    assert len(merged) == 1000


def test_leaving_by_an_exception_fails_the_run(settings, stub):
    with pytest.raises(ZeroDivisionError), Run(settings) as run:
        run.log_metric("a", 1 / 0)
    wait_until(lambda: run.is_delivered)
    assert [e.body["status"] for e in stub.events() if e.kind == "run_end"] == ["FAILED"]


def test_leaving_by_ctrl_c_kills_the_run(settings, stub):
    with pytest.raises(KeyboardInterrupt), Run(settings) as run:
        raise KeyboardInterrupt
    assert run.info.status == "KILLED"


def test_an_unwritable_spool_folder_is_replaced_and_said(stub, tmp_path, caplog):
    occupied = tmp_path / "file"
    occupied.write_text("not a folder")
    run = Run(settings_for(stub.url, occupied / "spool"))
    run.log_metric("a", 1.0)
    assert run.flush(30)
    assert "no spool in" in caplog.text
    run.end()
    wait_until(lambda: run.is_delivered)


def test_points_on_an_accelerator_come_later_with_their_step(settings, stub, monkeypatch):
    """flush and the end wait for them."""
    import ingest_client._tensors as tensors

    ready: list[bool] = []

    class Device:
        def __init__(self):
            self.slots = {}

        def start(self, tensor, slot):
            self.slots[slot] = tensor.number

        def is_done(self, token):
            return bool(ready)

        def read(self, slot):
            return self.slots[slot]

    class Scalar:
        is_cuda = True

        def __init__(self, number):
            self.number = number

        def numel(self):
            return 1

        def is_complex(self):
            return False

        def __float__(self):
            raise AssertionError("this would wait for the GPU")

        item = __float__

    monkeypatch.setattr(
        tensors, "make_deferrer", lambda put, drop: tensors.DeferredReads(Device(), put, drop)
    )
    run = Run(settings)
    run.log_metrics({"loss": 1.0, "lr": 0.1}, 1)
    run.log_metrics({"loss": Scalar(0.5), "lr": 0.1}, step=2, timestamp=77)
    run.log_metric("acc", Scalar(0.75), step=2, timestamp=77)
    assert run.stats().accepted_num == 5
    assert run.flush(0.2) is False
    ready.append(True)
    assert run.flush(30)
    assert ("loss", 2, 77, 0.5) in stub.points()
    assert ("acc", 2, 77, 0.75) in stub.points()
    assert run.stats().acknowledged_num == 5
