"""Integrations with training libraries, one thin module each: `ingest.integrations`. Nothing here is loaded by `import ingest`.

The names of `__all__` are imported when they are first used, since each needs its library.

autolog         switches all of them on and off (`ingest.autolog`)
torch_loop      plain PyTorch loops: learning rates, gradient norm, step time, samples per second
lightning       Logger and callback        transformers   TrainerCallback      accelerate   GeneralTracker
sklearn         fit                        xgboost, lightgbm                   callbacks and train
keras           callback and fit           tensorboard    SummaryWriter, a drop-in for torch's

_guard          an error in a hook becomes one warning, and the hook is off from then on
_patch          replaced functions of other libraries, and how they come back
_runs           the run that a fit logs to
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ingest_client.integrations.accelerate import AccelerateTracker
    from ingest_client.integrations.keras import KerasCallback
    from ingest_client.integrations.lightgbm import LightGBMCallback
    from ingest_client.integrations.lightning import LightningLogger
    from ingest_client.integrations.transformers import TransformersCallback
    from ingest_client.integrations.xgboost import XGBoostCallback

__all__ = [
    "AccelerateTracker",
    "KerasCallback",
    "LightGBMCallback",
    "LightningLogger",
    "TransformersCallback",
    "XGBoostCallback",
]

_SOURCES: Final = {
    "AccelerateTracker": "accelerate",
    "KerasCallback": "keras",
    "LightGBMCallback": "lightgbm",
    "LightningLogger": "lightning",
    "TransformersCallback": "transformers",
    "XGBoostCallback": "xgboost",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for (PEP 562)."""
    if name not in _SOURCES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_SOURCES[name]}"), name)
