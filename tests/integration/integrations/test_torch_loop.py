"""autolog of a plain PyTorch loop."""

from __future__ import annotations

import math

import pytest

import ingest

torch = pytest.importorskip("torch")


def train(steps: int, *, batch: int = 8, groups: int = 1) -> list[float]:
    """A loop as anybody writes it; the norm of the gradients at each step."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    parameters = list(model.parameters())
    split = [{"params": parameters[:2], "lr": 0.1}, {"params": parameters[2:], "lr": 0.2}]
    optimizer = torch.optim.SGD(split if groups == 2 else parameters, lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    norms = []
    for _ in range(steps):
        loss = model(torch.randn(batch, 4)).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        norms.append(math.sqrt(sum(float(p.grad.pow(2).sum()) for p in parameters)))
        optimizer.step()
        scheduler.step()
    return norms


def test_rates_norms_and_times_arrive_under_the_optimizers_steps(logged):
    ingest.autolog(every_n_steps=1)
    with ingest.start_run():
        norms = train(5)
    (run,) = logged()
    assert run.points["optim/lr"] == [(i, pytest.approx(0.1 * 0.5**i)) for i in range(5)]
    assert run.points["optim/grad_norm"] == [
        (i, pytest.approx(norm, rel=1e-5)) for i, norm in enumerate(norms)
    ]
    assert [step for step, _ in run.points["optim/step_seconds"]] == [1, 2, 3, 4]
    for (_, seconds), (_, rate) in zip(
        run.points["optim/step_seconds"], run.points["optim/samples_per_second"], strict=True
    ):
        assert rate == pytest.approx(8 / seconds)


def test_every_nth_step_and_each_group(logged):
    ingest.autolog(every_n_steps=4)
    with ingest.start_run():
        train(9, groups=2)
    (run,) = logged()
    assert [step for step, _ in run.points["optim/lr/0"]] == [0, 4, 8]
    assert [value for _, value in run.points["optim/lr/1"]] == [
        pytest.approx(2 * value) for _, value in run.points["optim/lr/0"]
    ]


def test_without_a_run_nothing_is_logged_and_none_is_started(logged):
    ingest.autolog(every_n_steps=1)
    train(3)
    assert logged() == []


def test_disable_takes_every_hook_out(logged):
    from torch.nn.modules import module
    from torch.optim import optimizer

    before = (len(optimizer._global_optimizer_post_hooks), len(module._global_forward_pre_hooks))
    ingest.autolog(every_n_steps=1)
    assert len(optimizer._global_optimizer_post_hooks) == before[0] + 1
    ingest.autolog(disable=True)
    assert (len(optimizer._global_optimizer_post_hooks), len(module._global_forward_pre_hooks)) == before
    with ingest.start_run():
        train(3)
    (run,) = logged()
    assert run.points == {}


def test_the_hook_on_all_modules_is_gone_after_the_first_step(logged):
    """It costs a call of Python for every layer; one on the model alone remains."""
    from torch.nn.modules import module

    ingest.autolog(every_n_steps=1)
    assert module._global_forward_pre_hooks
    with ingest.start_run():
        train(1)
    assert not module._global_forward_pre_hooks
    assert not module._global_forward_hooks
