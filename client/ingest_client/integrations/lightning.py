"""Lightning: a Logger for `Trainer(logger=…)`, and `autolog`, which gives each Trainer one.

Works with the packages `pytorch_lightning` and `lightning`. The global step of the Trainer is the step of every metric.
Only rank 0 logs, as Lightning has it.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ingest_client import _fluent
from ingest_client.integrations._guard import guarded
from ingest_client.integrations._patch import Patches
from ingest_client.integrations._runs import flat, numbers, run_of_fit

if TYPE_CHECKING:
    from ingest_client._run import Run

__all__ = ["LightningLogger", "install"]


def _logger_class() -> Any:
    if "lightning.pytorch" in sys.modules:
        from lightning.pytorch.loggers.logger import Logger
    else:
        from pytorch_lightning.loggers.logger import Logger
    return Logger


def _rank() -> int:
    """As Lightning's rank_zero_only finds it."""
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"):
        if name in os.environ:
            return int(os.environ[name])
    return 0


class LightningLogger(_logger_class()):  # type: ignore[misc]  # Lightning's class is untyped here
    """Logs to the active run, or to one that starts with the first thing logged and ends with training.

    Args:
        run: Another run to log to. It is the caller's to end.
        run_name, experiment_name: Of the run that is started where there is none.
    """

    def __init__(
        self, run: Run | None = None, *, run_name: str | None = None, experiment_name: str | None = None
    ) -> None:
        super().__init__()
        self._run = run
        self._owned: Run | None = None
        self._run_name = run_name
        self._experiment_name = experiment_name

    @property
    def experiment(self) -> Any:
        """The run itself, for whatever Lightning's interface lacks; on other ranks than 0 something that does nothing."""
        return self._target() if _rank() == 0 else _Nothing()

    @property
    def name(self) -> str:
        return "ingest"

    @property
    def version(self) -> str:
        run = self._run or _fluent.active_run()
        return "0" if run is None else run.info.run_id

    @guarded("lightning.log_hyperparams")
    def log_hyperparams(self, params: Mapping[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Log settings as params; nested ones with `/` between the names."""
        del args, kwargs
        if _rank() == 0:
            self._target().log_params(flat(vars(params) if isinstance(params, Namespace) else params))

    @guarded("lightning.log_metrics")
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log single numbers under the Trainer's global step."""
        if _rank() == 0:
            self._target().log_metrics(numbers(metrics), step=step or 0)

    @guarded("lightning.finalize")
    def finalize(self, status: str) -> None:
        """End the run if this logger started it."""
        run, self._owned = self._owned, None
        if run is not None:
            self._run = None
            run.end("FINISHED" if status in {"success", "finished"} else "FAILED")

    def _target(self) -> Run:
        run = self._run or _fluent.active_run()
        if run is None:
            if self._experiment_name is not None:
                _fluent.set_experiment(self._experiment_name)
            run = self._run = self._owned = _fluent.start_run(run_name=self._run_name)
        return run


class _Nothing:
    """Takes any call; Lightning asks every rank for `experiment`."""

    def __getattr__(self, name: str) -> Any:
        return self._ignore

    @staticmethod
    def _ignore(*args: Any, **kwargs: Any) -> None:
        del args, kwargs


def install(patches: Patches, package: str) -> None:
    """Give every `Trainer.fit` of the package (`pytorch_lightning` or `lightning.pytorch`) a logger and a run."""
    trainer_class = sys.modules[package].Trainer

    def wrap(fit: Any) -> Any:
        def fit_and_log(self: Any, *args: Any, **kwargs: Any) -> Any:
            if not patches.is_on or _rank() != 0:
                return fit(self, *args, **kwargs)
            with run_of_fit("lightning") as run:
                if run is not None:
                    _prepare(self, run, args[0] if args else kwargs.get("model"))
                return fit(self, *args, **kwargs)

        return fit_and_log

    patches.replace(trainer_class, "fit", wrap)


@guarded("lightning.autolog")
def _prepare(trainer: Any, run: Run, model: Any) -> None:
    if not any(isinstance(logger, LightningLogger) for logger in trainer.loggers):
        trainer.loggers = [*trainer.loggers, LightningLogger(run)]
    settings = {
        name: getattr(trainer, name, None)
        for name in ("max_epochs", "max_steps", "accumulate_grad_batches", "gradient_clip_val", "precision")
    }
    settings = {name: value for name, value in settings.items() if value is not None}
    run.log_params({f"trainer/{name}": value for name, value in settings.items()})
    if model is not None:
        run.set_tag("ingest.model_class", type(model).__qualname__)
