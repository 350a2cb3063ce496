"""Plain PyTorch loops: learning rates, gradient norm, step time and samples per second, by hooks that torch offers.

The loss is the user's to log: nobody else knows which tensor it is. What is taken, under the optimizer's steps, every
`every_n_steps`-th of them, in the active run (none is started for it):

    optim/lr                    of each param group: `optim/lr/0`, `optim/lr/1` … where there are several
    optim/grad_norm             2-norm over all gradients; a tensor that stays on its device and is read in the background
    optim/step_seconds          mean time between two steps since the last that was logged
    optim/samples_per_second    where the first argument of the model's forward is a batch

A second optimizer of the same class gets `optim1/…`, and so on. Cost: one Python call a step, and a pass over the gradients
every `every_n_steps`. How the model is found: until the first step, a hook on all modules notes the outermost one that runs
forward in training mode; then it is removed and one on that module alone counts samples.
"""

from __future__ import annotations

import time
import weakref
from typing import Any, Final

from ingest_client import _fluent
from ingest_client.integrations._guard import guarded
from ingest_client.integrations._patch import Patches

__all__ = ["install"]

MAX_OPTIMIZERS: Final = 16
"""Followed at a time; a search that makes thousands of them forgets the dead ones."""
MAX_MODELS: Final = 4


class _Progress:
    """What is known of one optimizer."""

    __slots__ = ("logged_at", "logged_samples", "logged_step", "prefix", "step")

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.step = -1  # the first step is number 0
        self.logged_step = -1  # nothing yet, so the first has no duration
        self.logged_at = 0.0
        self.logged_samples = 0


class _Samples:
    """Counts the samples that went through the model in training."""

    def __init__(self, patches: Patches) -> None:
        self.count = 0
        self._patches = patches
        self._depth = 0
        self._models: weakref.WeakSet[Any] = weakref.WeakSet()
        self._global: list[Any] = []

    def look_for_models(self) -> None:
        from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

        self._global = [
            register_module_forward_pre_hook(self._enter),
            register_module_forward_hook(self._leave, always_call=True),
        ]
        self._patches.add_undo(self.stop_looking)

    def stop_looking(self) -> None:
        """The first step is done: whoever ran forward until now is the model."""
        while self._global:
            self._global.pop().remove()

    @guarded("torch.find_model")
    def _enter(self, module: Any, inputs: Any) -> None:
        if self._depth == 0 and module.training and module not in self._models:
            if len(self._models) < MAX_MODELS:
                self._models.add(module)
                handle = module.register_forward_pre_hook(self._count)
                self._patches.add_undo(handle.remove)
            self._count(module, inputs)  # its own hook comes into force with the next call
        self._depth += 1

    @guarded("torch.find_model")
    def _leave(self, module: Any, inputs: Any, output: Any) -> None:
        del module, inputs, output
        self._depth = max(0, self._depth - 1)

    @guarded("torch.count_samples")
    def _count(self, module: Any, inputs: Any) -> None:
        if module.training and inputs:
            shape = getattr(inputs[0], "shape", None)
            if shape:
                self.count += int(shape[0])


class _Loop:
    """The hooks on optimizers."""

    def __init__(self, patches: Patches, every_n_steps: int) -> None:
        self._patches = patches
        self._every = every_n_steps
        self._progress: weakref.WeakKeyDictionary[Any, _Progress] = weakref.WeakKeyDictionary()
        self._samples = _Samples(patches)

    def install(self) -> None:
        from torch.optim.optimizer import register_optimizer_step_post_hook

        self._samples.look_for_models()
        handle = register_optimizer_step_post_hook(self._after_step)
        self._patches.add_undo(handle.remove)

    @guarded("torch.optimizer_step")
    def _after_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        del args, kwargs
        progress = self._progress.get(optimizer)
        if progress is None:
            self._samples.stop_looking()
            if len(self._progress) >= MAX_OPTIMIZERS:
                return
            progress = self._progress[optimizer] = _Progress(self._prefix())
        progress.step += 1
        if progress.step % self._every:
            return
        run = _fluent.active_run()
        if run is not None:
            run.log_metrics(self._taken(optimizer, progress), step=progress.step)
        progress.logged_step, progress.logged_at = progress.step, time.perf_counter()
        progress.logged_samples = self._samples.count

    def _prefix(self) -> str:
        number = len(self._progress)
        return f"optim{number}/" if number else "optim/"

    def _taken(self, optimizer: Any, progress: _Progress) -> dict[str, Any]:
        prefix, groups = progress.prefix, optimizer.param_groups
        taken: dict[str, Any] = {}
        for i, group in enumerate(groups):
            if "lr" in group:
                taken[f"{prefix}lr" if len(groups) == 1 else f"{prefix}lr/{i}"] = group["lr"]
        norm = _gradient_norm(groups)
        if norm is not None:
            taken[f"{prefix}grad_norm"] = norm
        if progress.logged_step < 0:
            return taken
        seconds = time.perf_counter() - progress.logged_at
        steps = progress.step - progress.logged_step
        taken[f"{prefix}step_seconds"] = seconds / steps
        samples = self._samples.count - progress.logged_samples
        if samples > 0 and seconds > 0:
            taken[f"{prefix}samples_per_second"] = samples / seconds
        return taken


def _gradient_norm(groups: list[dict[str, Any]]) -> Any:
    """The 2-norm over all gradients, as a tensor; None if there are none. They are still there after the step."""
    import torch

    gradients = [
        p.grad for group in groups for p in group["params"] if p.grad is not None and not p.grad.is_sparse
    ]
    if not gradients:
        return None
    with torch.no_grad():
        norms = torch._foreach_norm([g.detach() for g in gradients])  # noqa: SLF001 - what clip_grad_norm_ uses
        device = norms[0].device
        return torch.linalg.vector_norm(torch.stack([norm.to(device, non_blocking=True) for norm in norms]))


def install(patches: Patches, *, every_n_steps: int) -> None:
    """Hook into all optimizers that torch has and will have."""
    _Loop(patches, every_n_steps).install()
