"""XGBoost: a callback for `xgboost.train(callbacks=[…])` and estimators, and `autolog`, which gives each training one.

Metrics are named `<data>/<metric>`, such as `validation_0/rmse`; the step is the boosting round.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ingest_client import _fluent
from ingest_client.integrations._guard import guarded
from ingest_client.integrations._patch import Patches
from ingest_client.integrations._runs import flat, run_of_fit

if TYPE_CHECKING:
    from ingest_client._run import Run

__all__ = ["XGBoostCallback", "install"]


def _callback_class() -> Any:
    from xgboost.callback import TrainingCallback

    return TrainingCallback


class XGBoostCallback(_callback_class()):  # type: ignore[misc]  # untyped here
    """Logs the evaluation of each round to the active run."""

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Log what was evaluated in this round. False: go on training."""
        del model
        self._log(epoch, evals_log)
        return False

    @guarded("xgboost.after_iteration")
    def _log(self, epoch: int, evals_log: Any) -> None:
        run = _fluent.active_run()
        found = {
            f"{data}/{metric}": values[-1][0] if isinstance(values[-1], tuple) else values[-1]
            for data, metrics in evals_log.items()
            for metric, values in metrics.items()
            if values
        }
        if run is not None and found:
            run.log_metrics(found, step=epoch)


def install(patches: Patches) -> None:
    """Put a run and a callback around every training, also those of the estimators."""
    import xgboost

    for module in (xgboost, sys.modules["xgboost.training"], sys.modules.get("xgboost.sklearn")):
        if module is not None:
            patches.replace(module, "train", lambda train: _wrap(patches, train))


def _wrap(patches: Patches, train: Any) -> Any:
    def train_and_log(params: Any, *args: Any, **kwargs: Any) -> Any:
        if not patches.is_on:
            return train(params, *args, **kwargs)
        with run_of_fit("xgboost") as run:
            if run is not None:
                kwargs = _prepared(run, params, args, kwargs) or kwargs
            booster = train(params, *args, **kwargs)
            if run is not None:
                _log_best(run, booster)
            return booster

    return train_and_log


@guarded("xgboost.autolog")
def _prepared(run: Run, params: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    settings = flat(dict(params))
    rounds = args[1] if len(args) > 1 else kwargs.get("num_boost_round")
    if rounds is not None:
        settings["num_boost_round"] = rounds
    if (stop := kwargs.get("early_stopping_rounds")) is not None:
        settings["early_stopping_rounds"] = stop
    run.log_params({key: value for key, value in settings.items() if value is not None})
    callbacks = list(kwargs.get("callbacks") or [])
    if not any(isinstance(one, XGBoostCallback) for one in callbacks):
        callbacks.append(XGBoostCallback())
    return {**kwargs, "callbacks": callbacks}


@guarded("xgboost.autolog")
def _log_best(run: Run, booster: Any) -> None:
    best = booster.attributes()
    if "best_iteration" in best:
        run.log_metrics(
            {"best_iteration": int(best["best_iteration"]), "best_score": float(best["best_score"])}
        )
