"""XGBoost: a callback for `xgboost.train(callbacks=[…])` and estimators, and `autolog`, which gives each training one.

Metrics are named `<data>/<metric>`, such as `validation_0/rmse`; the step is the boosting round.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ingest_client.integrations._boosting import Boosting, log_round
from ingest_client.integrations._guard import guarded
from ingest_client.integrations._patch import Patches

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
        found = {
            f"{data}/{metric}": values[-1][0] if isinstance(values[-1], tuple) else values[-1]
            for data, metrics in evals_log.items()
            for metric, values in metrics.items()
            if values
        }
        log_round(found, epoch)


def install(patches: Patches) -> None:
    """Put a run and a callback around every training, also those of the estimators."""
    import xgboost

    modules = (xgboost, sys.modules["xgboost.training"], sys.modules.get("xgboost.sklearn"))
    Boosting(
        library="xgboost",
        callback=XGBoostCallback,
        log_best=_log_best,
        train_arguments=("early_stopping_rounds",),
    ).install(patches, modules)


def _log_best(run: Run, booster: Any) -> None:
    best = booster.attributes()
    if "best_iteration" in best:
        run.log_metrics(
            {"best_iteration": int(best["best_iteration"]), "best_score": float(best["best_score"])}
        )
