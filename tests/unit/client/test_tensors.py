"""Values on an accelerator, on a fake device that finishes when the test says so."""

from __future__ import annotations

import pytest

from ingest_client._tensors import DeferredReads


class FakeDevice:
    """Copies arrive by hand."""

    def __init__(self) -> None:
        self.slots: dict[int, float] = {}
        self.arrived = 0
        self.started = 0
        self.broken = False

    def start(self, tensor: float, slot: int) -> int:
        self.slots[slot] = tensor
        self.started += 1
        return self.started

    def is_done(self, token: int) -> bool:
        if self.broken:
            raise RuntimeError("an illegal memory access was encountered")
        return token <= self.arrived

    def read(self, slot: int) -> float:
        return self.slots[slot]


@pytest.fixture
def device():
    return FakeDevice()


@pytest.fixture
def put():
    return []


@pytest.fixture
def dropped():
    return {}


@pytest.fixture
def reads(device, put, dropped):
    return DeferredReads(
        device, lambda *row: put.append(row), lambda reason, n: dropped.update({reason: n}), slots=4
    )


def test_values_come_with_the_step_and_time_of_their_call(reads, device, put):
    reads.defer([("loss", 0.5), ("acc", 0.75)], 7, 1000)
    reads.defer([("loss", 0.25)], 8, 2000)
    assert reads.resolve() == 2
    assert put == []
    device.arrived = 2
    assert reads.resolve() == 1
    device.arrived = 3
    assert reads.resolve() == 0
    assert put == [({"loss": 0.5, "acc": 0.75}, 7, 1000), ({"loss": 0.25}, 8, 2000)]


def test_without_a_free_slot_the_rest_is_refused(reads):
    assert reads.defer([(f"m{i}", 1.0) for i in range(6)], 1, 1) == 2
    assert reads.defer([("m", 1.0)], 2, 2) == 1
    assert reads.pending_num == 4


def test_slots_are_used_again(reads, device, put):
    for step in range(20):
        assert reads.defer([("a", float(step)), ("b", 0.0)], step, step) == 0
        device.arrived = device.started
        reads.resolve()
    assert [row[0]["a"] for row in put] == [*map(float, range(20))]


def test_waiting_ends_by_time(reads):
    reads.defer([("a", 1.0)], 1, 1)
    assert reads.wait(0.02) is False


def test_a_device_error_is_counted_and_not_raised(reads, device, put, dropped):
    reads.defer([("a", 1.0)], 1, 1)
    device.broken = True
    assert reads.resolve() == 0
    assert put == []
    assert dropped == {"tensor_failed": 1}
    assert reads.wait(0.01)


@pytest.mark.gpu
def test_a_cuda_tensor_arrives(reads, put):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    from ingest_client._tensors import CudaCopier

    real = DeferredReads(CudaCopier(16), lambda *row: put.append(row), lambda *_: None, slots=16)
    loss = torch.full((), 0.5, device="cuda")
    real.defer([("loss", loss)], 1, 1)
    loss.add_(1.0)  # a later in-place change is not what was logged
    torch.cuda.synchronize()
    assert real.resolve() == 0
    assert put == [({"loss": 0.5}, 1, 1)]
