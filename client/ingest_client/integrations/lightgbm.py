"""LightGBM: a callback for `lightgbm.train(callbacks=[…])` and estimators, and `autolog`, which gives each training one.

Metrics are named `<data>/<metric>`, such as `valid_0/l2`; the step is the boosting round.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ingest_client.integrations._boosting import Boosting, log_round
from ingest_client.integrations._guard import guarded
from ingest_client.integrations._patch import Patches

if TYPE_CHECKING:
    from ingest_client._run import Run

__all__ = ["LightGBMCallback", "install"]


class LightGBMCallback:
    """Logs the evaluation of each round to the active run."""

    order = 25
    """LightGBM calls callbacks in this order; early stopping has 30 and ends the round by raising."""
    before_iteration = False

    @guarded("lightgbm.after_iteration")
    def __call__(self, env: Any) -> None:
        """Log what was evaluated in this round."""
        found = {f"{entry[0]}/{entry[1]}": entry[2] for entry in env.evaluation_result_list or ()}
        log_round(found, env.iteration)


def install(patches: Patches) -> None:
    """Put a run and a callback around every training, also those of the estimators."""
    import lightgbm

    modules = (lightgbm, sys.modules["lightgbm.engine"], sys.modules.get("lightgbm.sklearn"))
    Boosting(library="lightgbm", callback=LightGBMCallback, log_best=_log_best).install(patches, modules)


def _log_best(run: Run, booster: Any) -> None:
    if booster.best_iteration > 0:
        run.log_metric("best_iteration", booster.best_iteration)
