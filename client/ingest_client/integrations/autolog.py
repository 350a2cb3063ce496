"""`autolog()`: hooks into every training library that is there, or will be imported.

Each integration is switched on once; calling `autolog()` again changes its options, `autolog(disable=True)` takes every hook
out again. A hook that failed is off (`_guard`) until `autolog()` is called again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from ingest_client.integrations._guard import guarded, mend_hooks
from ingest_client.integrations._patch import Patches, on_import

__all__ = ["FLAVORS", "autolog"]

_Install = Callable[[Patches, dict[str, Any]], None]

_active: list[tuple[Patches, Callable[[], None]]] = []
_lock = threading.Lock()


def _torch(patches: Patches, options: dict[str, Any]) -> None:
    from ingest_client.integrations import torch_loop

    torch_loop.install(patches, every_n_steps=options["every_n_steps"])


def _lightning(package: str) -> _Install:
    def install(patches: Patches, options: dict[str, Any]) -> None:
        from ingest_client.integrations import lightning

        del options
        lightning.install(patches, package)

    return install


def _transformers(patches: Patches, options: dict[str, Any]) -> None:
    from ingest_client.integrations import transformers

    del options
    transformers.install(patches)


def _sklearn(patches: Patches, options: dict[str, Any]) -> None:
    from ingest_client.integrations import sklearn

    sklearn.install(patches, log_training_metrics=options["log_training_metrics"])


def _xgboost(patches: Patches, options: dict[str, Any]) -> None:
    from ingest_client.integrations import xgboost

    del options
    xgboost.install(patches)


def _lightgbm(patches: Patches, options: dict[str, Any]) -> None:
    from ingest_client.integrations import lightgbm

    del options
    lightgbm.install(patches)


def _keras(patches: Patches, options: dict[str, Any]) -> None:
    from ingest_client.integrations import keras

    del options
    keras.install(patches)


_INTEGRATIONS: Final[Sequence[tuple[str, str, _Install]]] = (
    ("pytorch", "torch", _torch),
    ("lightning", "pytorch_lightning", _lightning("pytorch_lightning")),
    ("lightning", "lightning.pytorch", _lightning("lightning.pytorch")),
    ("transformers", "transformers.trainer", _transformers),
    ("sklearn", "sklearn.base", _sklearn),
    ("xgboost", "xgboost", _xgboost),
    ("lightgbm", "lightgbm", _lightgbm),
    ("keras", "keras", _keras),
)
"""Flavor, the module whose import it waits for, and what is done then."""

FLAVORS: Final = tuple(dict.fromkeys(flavor for flavor, _, _ in _INTEGRATIONS))


def autolog(
    *,
    disable: bool = False,
    flavors: Sequence[str] | None = None,
    exclude_flavors: Sequence[str] | None = None,
    every_n_steps: int = 10,
    log_training_metrics: bool = True,
    **ignored: Any,
) -> None:
    """Log what training libraries know by themselves: settings, losses, scores, learning rates.

    Libraries that are imported already are hooked into now, others when they are imported. Fits without an active run
    get a run of their own; plain PyTorch loops log to the active run only.

    Args:
        disable: Take all hooks out again.
        flavors: Only these of FLAVORS. exclude_flavors: Not these.
        every_n_steps: How often a plain PyTorch loop's optimizer is looked at.
        log_training_metrics: scikit-learn: score the training data after a fit, which costs a prediction of it.
        ignored: Options of MLflow's that mean nothing here, such as `log_models`, `silent`.

    Raises:
        ValueError: No such flavor, or every_n_steps below 1.
    """
    del ignored
    chosen = _chosen(flavors, exclude_flavors)
    if every_n_steps < 1:
        raise ValueError(f"every_n_steps must be at least 1, not {every_n_steps}")
    options = {"every_n_steps": every_n_steps, "log_training_metrics": log_training_metrics}
    with _lock:
        while _active:
            patches, forget = _active.pop()
            forget()
            patches.stop()
        if disable:
            return
        mend_hooks()
        for flavor, module, install in _INTEGRATIONS:
            if flavor in chosen:
                _active.append(_switch_on(flavor, module, install, options))


def _chosen(flavors: Sequence[str] | None, exclude: Sequence[str] | None) -> set[str]:
    for name in (*(flavors or ()), *(exclude or ())):
        if name not in FLAVORS:
            raise ValueError(f"there is no flavor {name!r}; there are {', '.join(FLAVORS)}")
    return set(FLAVORS if flavors is None else flavors) - set(exclude or ())


def _switch_on(
    flavor: str, module: str, install: _Install, options: dict[str, Any]
) -> tuple[Patches, Callable[[], None]]:
    patches = Patches()

    @guarded(f"{flavor}.install")
    def act() -> None:
        try:
            install(patches, options)
            patches.start()
        except BaseException:
            patches.stop()  # half of it would be worse than nothing
            raise

    return patches, on_import(module, act)
