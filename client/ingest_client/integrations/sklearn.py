"""scikit-learn: `fit` logs the estimator's settings and how well it fits what it was given.

Only the outermost fit counts: a pipeline or a search is one run, not one for each of its parts. Params are
`get_params(deep=True)`; metrics are named `training_…`, as MLflow's users know them:

    classifiers   training_score, training_accuracy_score, training_precision_score, training_recall_score,
                  training_f1_score (weighted), training_log_loss and training_roc_auc where there are probabilities
    regressors    training_score, training_mse, training_rmse, training_mae, training_r2_score
    searches      best_cv_score, and the best params as params `best_…`

The scores cost one prediction of the training data; `autolog(log_training_metrics=False)` saves it.
"""

from __future__ import annotations

import math
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from ingest_client.integrations._guard import guarded
from ingest_client.integrations._patch import Patches
from ingest_client.integrations._runs import numbers, run_of_fit

if TYPE_CHECKING:
    from ingest_client._run import Run

__all__ = ["install"]

_is_inside: ContextVar[bool] = ContextVar("ingest_sklearn_fit", default=False)
_METHODS: Final = ("fit", "fit_predict", "fit_transform")


def install(patches: Patches, *, log_training_metrics: bool) -> None:
    """Put hooks around `fit` of every estimator class, those that are defined later too."""
    from sklearn.base import BaseEstimator

    def patch(estimator_class: Any) -> None:
        for name in _METHODS:
            if name in vars(estimator_class) and callable(vars(estimator_class)[name]):
                patches.replace(estimator_class, name, lambda fit: _wrap(patches, fit, log_training_metrics))

    for known in _all_subclasses(BaseEstimator):
        patch(known)

    def wrap_init_subclass(original: Any) -> Any:
        def init_subclass(cls: Any, /, **kwargs: Any) -> None:
            original.__func__(cls, **kwargs)
            if patches.is_on:
                guarded("sklearn.patch")(patch)(cls)

        return classmethod(init_subclass)

    own = vars(BaseEstimator).get("__init_subclass__")
    setattr(BaseEstimator, "__init_subclass__", wrap_init_subclass(BaseEstimator.__init_subclass__))  # noqa: B010

    def undo() -> None:
        if own is None:
            del BaseEstimator.__init_subclass__
        else:
            setattr(BaseEstimator, "__init_subclass__", own)  # noqa: B010

    patches.add_undo(undo)


def _all_subclasses(base: Any) -> list[Any]:
    found, waiting = [base], [base]
    while waiting:
        for one in waiting.pop().__subclasses__():
            if one not in found:
                found.append(one)
                waiting.append(one)
    return found


def _wrap(patches: Patches, fit: Any, log_training_metrics: bool) -> Any:
    def fit_and_log(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not patches.is_on or _is_inside.get() or _is_preparation(self):
            return fit(self, *args, **kwargs)
        token = _is_inside.set(True)
        try:
            with run_of_fit("sklearn") as run:
                if run is not None:
                    _log_settings(run, self)
                result = fit(self, *args, **kwargs)
                if run is not None:
                    _log_search(run, self)
                    if log_training_metrics:
                        _log_scores(run, self, args, kwargs)
                return result
        finally:
            _is_inside.reset(token)

    return fit_and_log


def _is_preparation(estimator: Any) -> bool:
    return hasattr(estimator, "transform") and not hasattr(estimator, "predict")


@guarded("sklearn.settings")
def _log_settings(run: Run, estimator: Any) -> None:
    kind = type(estimator)
    run.set_tags(
        {"estimator_name": kind.__name__, "estimator_class": f"{kind.__module__}.{kind.__qualname__}"}
    )
    run.log_params({key: _shown(value) for key, value in estimator.get_params(deep=True).items()})


def _shown(value: Any) -> Any:
    """Settings that are objects of many lines, such as an inner estimator, by their class."""
    return type(value).__name__ if hasattr(value, "get_params") else value


@guarded("sklearn.search")
def _log_search(run: Run, estimator: Any) -> None:
    if hasattr(estimator, "best_params_") and hasattr(estimator, "best_score_"):
        run.log_params({f"best_{key}": value for key, value in estimator.best_params_.items()})
        run.log_metric("best_cv_score", float(estimator.best_score_))


@guarded("sklearn.scores")
def _log_scores(run: Run, estimator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    data = args[0] if args else kwargs.get("X")
    target = args[1] if len(args) > 1 else kwargs.get("y")
    if data is None or not hasattr(estimator, "predict"):
        return
    scores: dict[str, Any] = {}
    if target is not None:
        from sklearn.base import is_classifier, is_regressor

        if is_classifier(estimator):
            scores = _of_classifier(estimator, data, target)
        elif is_regressor(estimator):
            scores = _of_regressor(estimator, data, target)
    if hasattr(estimator, "score"):
        scores["score"] = float(estimator.score(data, target))
    run.log_metrics(numbers(scores, "training_"))


def _of_classifier(estimator: Any, data: Any, target: Any) -> dict[str, Any]:
    from sklearn import metrics

    predicted = estimator.predict(data)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        target, predicted, average="weighted", zero_division=0.0
    )
    scores = {
        "accuracy_score": metrics.accuracy_score(target, predicted),
        "precision_score": precision,
        "recall_score": recall,
        "f1_score": f1,
    }
    if hasattr(estimator, "predict_proba"):
        chances = estimator.predict_proba(data)
        scores["log_loss"] = metrics.log_loss(target, chances, labels=estimator.classes_)
        if len(estimator.classes_) == 2:
            scores["roc_auc"] = metrics.roc_auc_score(target, chances[:, 1])
        else:
            scores["roc_auc"] = metrics.roc_auc_score(target, chances, average="weighted", multi_class="ovo")
    return scores


def _of_regressor(estimator: Any, data: Any, target: Any) -> dict[str, Any]:
    from sklearn import metrics

    predicted = estimator.predict(data)
    mse = float(metrics.mean_squared_error(target, predicted))
    return {
        "mse": mse,
        "rmse": math.sqrt(mse),
        "mae": metrics.mean_absolute_error(target, predicted),
        "r2_score": metrics.r2_score(target, predicted),
    }
