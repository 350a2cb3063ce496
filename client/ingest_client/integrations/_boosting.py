"""What LightGBM and XGBoost have in common: `train(params, data, rounds, …)` with callbacks, which their estimators call as well.

`autolog` puts a run and a callback around each training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ingest_client import _fluent
from ingest_client.integrations._guard import guarded
from ingest_client.integrations._patch import Patches
from ingest_client.integrations._runs import flat, run_of_fit

if TYPE_CHECKING:
    from ingest_client._run import Run

__all__ = ["Boosting", "log_round"]


def log_round(found: Mapping[str, Any], step: int) -> None:
    """Log what was evaluated in one round to the active run."""
    run = _fluent.active_run()
    if run is not None and found:
        run.log_metrics(found, step=step)


@dataclass(frozen=True, kw_only=True)
class Boosting:
    """What is particular to one of the libraries."""

    library: str
    callback: type
    """The class of the callback; one that the user gave is kept."""
    log_best: Callable[[Run, Any], None]
    """Logs what early stopping found out, from the booster."""
    train_arguments: tuple[str, ...] = ()
    """Arguments of `train` beside `num_boost_round` that are settings."""

    def install(self, patches: Patches, modules: Iterable[ModuleType | None]) -> None:
        """Put a run and a callback around `train` in each of the library's modules that has it."""
        for module in modules:
            if module is not None and hasattr(module, "train"):
                patches.replace(module, "train", lambda train: self._wrap(patches, train))

    def _wrap(self, patches: Patches, train: Any) -> Any:
        hook = guarded(f"{self.library}.autolog")
        prepare, log_best = hook(self._prepared), hook(self.log_best)

        def train_and_log(params: Any, *args: Any, **kwargs: Any) -> Any:
            if not patches.is_on:
                return train(params, *args, **kwargs)
            with run_of_fit(self.library) as run:
                if run is not None:
                    kwargs = prepare(run, params, args, kwargs) or kwargs
                booster = train(params, *args, **kwargs)
                if run is not None:
                    log_best(run, booster)
                return booster

        return train_and_log

    def _prepared(
        self, run: Run, params: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        """Log the settings; the arguments with the callback among them."""
        settings = flat(dict(params))
        arguments = {**kwargs, "num_boost_round": args[1]} if len(args) > 1 else kwargs
        for name in ("num_boost_round", *self.train_arguments):
            if arguments.get(name) is not None:
                settings[name] = arguments[name]
        run.log_params(
            {key: value for key, value in settings.items() if value is not None and not callable(value)}
        )
        callbacks = list(kwargs.get("callbacks") or [])
        if not any(isinstance(one, self.callback) for one in callbacks):
            callbacks.append(self.callback())
        return {**kwargs, "callbacks": callbacks}
