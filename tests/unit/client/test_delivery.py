"""Delivery against an in-memory service: whatever it answers and wherever it dies, each point is stored once."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest_client._columns import BatchLimits
from ingest_client._delivery import Delivery
from ingest_client._protocol import Gap, Refused, Retry, Stored
from ingest_client._recorder import Recorder
from ingest_client._spool import Spool
from ingest_schema.wire import decode_batch


class Service:
    """The contract in ten lines."""

    def __init__(self) -> None:
        self.last_seq = 0
        self.points: list[tuple[str, int, int, float]] = []

    def take(self, body: bytes):
        batch = decode_batch(body)
        if batch.seq > self.last_seq + 1:
            return Gap(self.last_seq + 1)
        if batch.seq <= self.last_seq:
            return Stored(repeated=True)
        self.last_seq = batch.seq
        self.points += batch.points()
        return Stored()


@pytest.fixture
def recorder(tmp_path):
    made = new_recorder(tmp_path / uuid.uuid4().hex)
    yield made
    made.spool.dispose(delete=True)


def new_recorder(root):
    def open_spool() -> Spool:
        return Spool(
            root,
            uuid.uuid4(),
            uuid.uuid4(),
            max_bytes=1 << 26,
            meta={},
            on_switch=made.attach,
            wake=lambda: None,
            warn=lambda cause, message: None,
        )

    made = Recorder(open_spool)
    made.open()
    return made


def drain(delivery: Delivery, take) -> int:
    sent = 0
    while (request := delivery.next_request(0)) is not None:
        delivery.settle(request, take(request.body))
        sent += 1
        assert sent < 5000
    return sent


@given(data=st.data())
@settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_any_service_that_keeps_the_contract_stores_each_point_once(tmp_path, data):
    """Answers are lost before or after the commit, batches cut small, and the delivery dies and is started again."""
    recorder = new_recorder(tmp_path / uuid.uuid4().hex)
    service = Service()
    logged: list[tuple[str, int, int, float]] = []
    delivery = Delivery(recorder.spool, BatchLimits(points=7))
    for action in data.draw(
        st.lists(st.sampled_from(["log", "send", "lose", "lose_answer", "die"]), max_size=40)
    ):
        if action == "log":
            step = len(logged)
            recorder.log_metrics({"a": 1.0, "b": 2.0} if step % 3 else {"a": 0.5}, step, 77)
            logged += [("a", step, 77, 1.0), ("b", step, 77, 2.0)] if step % 3 else [("a", step, 77, 0.5)]
        elif action == "die":
            delivery = Delivery(recorder.spool, BatchLimits(points=data.draw(st.integers(1, 50))))
        elif (request := delivery.next_request(0)) is not None:
            if action == "send":
                delivery.settle(request, service.take(request.body))
            elif action == "lose_answer":
                service.take(request.body)
                delivery.settle(request, Retry("timeout", ""))
    drain(delivery, service.take)
    assert sorted(service.points) == sorted(logged)
    recorder.spool.dispose(delete=True)


def test_a_repeat_is_the_same_batch_even_when_more_was_logged(recorder):
    delivery = Delivery(recorder.spool)
    recorder.log_metrics({"a": 1.0}, 1)
    first = delivery.next_request(0)
    recorder.log_metrics({"a": 1.0}, 2)
    again = Delivery(recorder.spool).next_request(0)
    assert first is not None
    assert again == first


def test_a_refused_record_is_found_and_the_others_are_stored(recorder):
    """One poisoned call of a thousand costs itself, not the batch."""
    service = Service()
    for step in range(1000):
        recorder.log_metrics({"a": float(step)}, step)

    def take(body):
        steps = [p[1] for p in decode_batch(body).points()]
        return Refused("batch_refused", "no 13 please") if 13 in steps else service.take(body)

    delivery = Delivery(recorder.spool)
    drain(delivery, take)
    assert sorted(p[1] for p in service.points) == [s for s in range(1000) if s != 13]
    assert delivery.refusals == {"batch_refused": 1}
    assert delivery.state.rejected_points == 1


def test_refusals_without_end_are_bounded_and_counted(recorder):
    for step in range(5000):
        recorder.log_metrics({"a": float(step)}, step)
    delivery = Delivery(recorder.spool)
    requests = drain(delivery, lambda body: Refused("batch_refused", "nothing at all"))
    assert delivery.state.rejected_points == 5000
    assert requests < 1000


def test_a_batch_that_is_too_large_is_split(recorder):
    service = Service()
    for step in range(1000):
        recorder.log_metrics({"a": 1.0, "b": 2.0}, step)

    def take(body):
        too_large = decode_batch(body).point_count > 300
        return Refused("batch_too_large", "") if too_large else service.take(body)

    delivery = Delivery(recorder.spool)
    drain(delivery, take)
    assert len(service.points) == 2000
    assert delivery.refusals == {}


def test_a_service_that_forgot_batches_gets_the_numbers_it_expects(recorder):
    service, delivery = Service(), Delivery(recorder.spool)
    for step in range(3):
        recorder.log_metrics({"a": 1.0}, step)
        drain(delivery, service.take)
    service.last_seq = 1  # restored from a backup
    recorder.log_metrics({"a": 1.0}, 3)
    drain(delivery, service.take)
    assert service.last_seq == 2
    assert len(service.points) == 4


def test_a_heartbeat_alone_keeps_its_number_until_it_is_acknowledged(recorder):
    """Else the next records would go out under a number that the service takes for a repeat, and be lost."""
    from ingest_schema.events import Event, encode_event

    service, delivery = Service(), Delivery(recorder.spool)
    beat = delivery.next_request(0, heartbeat=encode_event(Event("heartbeat", 0, {"accepted": 0})))
    assert beat is not None
    service.take(beat.body)  # stored, and the answer is lost
    recorder.log_metrics({"a": 1.0}, 1)
    drain(Delivery(recorder.spool), service.take)
    assert [p[1] for p in service.points] == [1]


def test_full_segments_are_recycled(recorder):
    service, delivery = Service(), Delivery(recorder.spool)
    for _ in range(6):
        for step in range(20_000):
            recorder.log_metric("a", 1.0, step)
        drain(delivery, service.take)
        recorder.spool.prepare_spare(lambda: None)
    assert len(service.points) == 120_000
    assert recorder.spool.size_bytes <= 8 * 2**20
