"""LightGBM: a callback for `lightgbm.train(callbacks=[…])` and estimators, and `autolog`, which gives each training one.

Metrics are named `<data>/<metric>`, such as `valid_0/l2`; the step is the boosting round.
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

__all__ = ["LightGBMCallback", "install"]


class LightGBMCallback:
    """Logs the evaluation of each round to the active run."""

    order = 25
    """LightGBM calls callbacks in this order; early stopping has 30 and ends the round by raising."""
    before_iteration = False

    @guarded("lightgbm.after_iteration")
    def __call__(self, env: Any) -> None:
        """Log what was evaluated in this round."""
        run = _fluent.active_run()
        found = {f"{entry[0]}/{entry[1]}": entry[2] for entry in env.evaluation_result_list or ()}
        if run is not None and found:
            run.log_metrics(found, step=env.iteration)


def install(patches: Patches) -> None:
    """Put a run and a callback around every training, also those of the estimators."""
    import lightgbm

    for module in (lightgbm, sys.modules["lightgbm.engine"], sys.modules.get("lightgbm.sklearn")):
        if module is not None and hasattr(module, "train"):
            patches.replace(module, "train", lambda train: _wrap(patches, train))


def _wrap(patches: Patches, train: Any) -> Any:
    def train_and_log(params: Any, *args: Any, **kwargs: Any) -> Any:
        if not patches.is_on:
            return train(params, *args, **kwargs)
        with run_of_fit("lightgbm") as run:
            if run is not None:
                kwargs = _prepared(run, params, args, kwargs) or kwargs
            booster = train(params, *args, **kwargs)
            if run is not None:
                _log_best(run, booster)
            return booster

    return train_and_log


@guarded("lightgbm.autolog")
def _prepared(run: Run, params: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    settings = flat(dict(params))
    rounds = args[1] if len(args) > 1 else kwargs.get("num_boost_round")
    if rounds is not None:
        settings["num_boost_round"] = rounds
    run.log_params(
        {key: value for key, value in settings.items() if value is not None and not callable(value)}
    )
    callbacks = list(kwargs.get("callbacks") or [])
    if not any(isinstance(one, LightGBMCallback) for one in callbacks):
        callbacks.append(LightGBMCallback())
    return {**kwargs, "callbacks": callbacks}


@guarded("lightgbm.autolog")
def _log_best(run: Run, booster: Any) -> None:
    if booster.best_iteration > 0:
        run.log_metric("best_iteration", booster.best_iteration)
