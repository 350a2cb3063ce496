"""Keras 3: a callback for `fit(callbacks=[…])`, and `autolog`, which gives each fit one. Any backend.

Metrics are those of Keras's logs at the end of each epoch (`loss`, `val_loss`, …); the step is the epoch, from 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ingest_client import _fluent
from ingest_client.integrations._guard import guarded
from ingest_client.integrations._patch import Patches
from ingest_client.integrations._runs import flat, numbers, run_of_fit

if TYPE_CHECKING:
    from ingest_client._run import Run

__all__ = ["KerasCallback", "install"]


def _callback_class() -> Any:
    from keras.callbacks import Callback

    return Callback


class KerasCallback(_callback_class()):  # type: ignore[misc]  # untyped here
    """Logs settings at the begin of training and metrics at the end of each epoch, to the active run."""

    @guarded("keras.on_train_begin")
    def on_train_begin(self, logs: Any = None) -> None:
        """Log the settings of fit and of the optimizer."""
        del logs
        run = _fluent.active_run()
        if run is None:
            return
        run.log_params({key: value for key, value in self.params.items() if key in {"epochs", "steps"}})
        optimizer = getattr(self.model, "optimizer", None)
        if optimizer is not None:
            run.log_params(flat(_plain(optimizer.get_config()), "optimizer/"))

    @guarded("keras.on_epoch_end")
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Log what Keras evaluated in this epoch."""
        run = _fluent.active_run()
        if run is not None and logs:
            run.log_metrics(numbers(logs), step=epoch)


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    """The optimizer's configuration; a learning rate on an accelerator is read once, before training."""
    return {key: value for key, value in config.items() if value is not None}


def install(patches: Patches) -> None:
    """Put a run and a callback around every `fit`."""
    import keras

    def wrap(fit: Any) -> Any:
        def fit_and_log(self: Any, *args: Any, **kwargs: Any) -> Any:
            if not patches.is_on:
                return fit(self, *args, **kwargs)
            with run_of_fit("keras") as run:
                if run is not None:
                    kwargs = _prepared(run, self, kwargs) or kwargs
                return fit(self, *args, **kwargs)

        return fit_and_log

    patches.replace(keras.Model, "fit", wrap)


@guarded("keras.autolog")
def _prepared(run: Run, model: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    run.set_tag("ingest.model_class", type(model).__qualname__)
    if kwargs.get("batch_size") is not None:
        run.log_param("batch_size", kwargs["batch_size"])
    callbacks = kwargs.get("callbacks") or []
    callbacks = list(callbacks) if isinstance(callbacks, list | tuple) else [callbacks]
    if not any(isinstance(one, KerasCallback) for one in callbacks):
        callbacks.append(KerasCallback())
    return {**kwargs, "callbacks": callbacks}
