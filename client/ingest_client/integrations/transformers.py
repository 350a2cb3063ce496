"""Hugging Face Transformers: a TrainerCallback, and `autolog`, which gives each Trainer one.

What the Trainer logs (loss, learning rate, evaluation) arrives under its global step. Only the world's first process logs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ingest_client import _fluent
from ingest_client.integrations._guard import guarded
from ingest_client.integrations._patch import Patches
from ingest_client.integrations._runs import flat, numbers

if TYPE_CHECKING:
    from ingest_client._run import Run

__all__ = ["TransformersCallback", "install"]


def _callback_class() -> Any:
    from transformers import TrainerCallback

    return TrainerCallback


class TransformersCallback(_callback_class()):  # type: ignore[misc]  # untyped here
    """For `Trainer(callbacks=[…])`. Logs to the active run, or to one that lasts from the begin of training to its end."""

    def __init__(self) -> None:
        self._owned: Run | None = None

    @guarded("transformers.on_train_begin")
    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Start a run if none is active, and log the settings of training and model."""
        del control, kwargs
        if not state.is_world_process_zero:
            return
        run = _fluent.active_run()
        if run is None:
            run = self._owned = _fluent.start_run(run_name=getattr(args, "run_name", None) or None)
        run.log_params(flat(args.to_sanitized_dict(), "train/"))
        config = getattr(model, "config", None)
        if config is not None and hasattr(config, "to_diff_dict"):
            run.log_params(flat(config.to_diff_dict(), "model/"))

    @guarded("transformers.on_log")
    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Log what the Trainer logs."""
        del args, control, kwargs
        run = _fluent.active_run()
        if state.is_world_process_zero and run is not None and logs:
            run.log_metrics(numbers(logs), step=state.global_step)

    @guarded("transformers.on_train_end")
    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End the run if this callback started it."""
        del args, state, control, kwargs
        self.end_own_run("FINISHED")

    def end_own_run(self, status: str) -> None:
        """End the run that this callback started, if it did."""
        run, self._owned = self._owned, None
        if run is not None:
            run.end(status)


def install(patches: Patches) -> None:
    """Give every Trainer that is made from now on the callback; runs that its training starts end FAILED if it raises."""
    from transformers import Trainer

    def wrap_init(init: Any) -> Any:
        def init_and_add(self: Any, *args: Any, **kwargs: Any) -> None:
            init(self, *args, **kwargs)
            if patches.is_on:
                _add(self)

        return init_and_add

    def wrap_train(train: Any) -> Any:
        def train_and_end(self: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                return train(self, *args, **kwargs)
            except BaseException:
                _fail(self)
                raise

        return train_and_end

    patches.replace(Trainer, "__init__", wrap_init)
    patches.replace(Trainer, "train", wrap_train)


def _callbacks(trainer: Any) -> list[Any]:
    return [one for one in trainer.callback_handler.callbacks if isinstance(one, TransformersCallback)]


@guarded("transformers.autolog")
def _add(trainer: Any) -> None:
    if not _callbacks(trainer):
        trainer.add_callback(TransformersCallback())


@guarded("transformers.autolog")
def _fail(trainer: Any) -> None:
    for callback in _callbacks(trainer):
        callback.end_own_run("FAILED")
