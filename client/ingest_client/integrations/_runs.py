"""The run that a fit logs to: the active one, or one of its own that ends with the fit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from ingest_client import _fluent
from ingest_client.integrations._guard import guarded

if TYPE_CHECKING:
    from ingest_client._run import Run

__all__ = ["flat", "numbers", "run_of_fit"]

MAX_DEPTH: Final = 8
MAX_PARAMS: Final = 5_000
"""Of one fit: a configuration of a large model has a few hundred entries."""


@contextmanager
def run_of_fit(library: str, name: str | None = None) -> Iterator[Run | None]:
    """The active run; if there is none, a new one for the time of the block, FAILED if the block raises.

    None if no run can be started: then nothing is logged, and training goes on.
    """
    run = _fluent.active_run()
    if run is not None:
        yield run
        return
    run = _start(library, name)
    if run is None:
        yield None
        return
    status = "FAILED"
    try:
        yield run
        status = "FINISHED"
    finally:
        guarded(f"{library}.end_run")(_fluent.end_run)(status)


def _start(library: str, name: str | None) -> Run | None:
    @guarded(f"{library}.start_run")
    def start() -> Run:
        return _fluent.start_run(run_name=name, tags={"ingest.autologging": library})

    return start()


def numbers(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Those of the values that are single numbers, tensors of one element included; others are left out."""
    kept: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, bool | int | float) or _has_one_element(value):
            kept[f"{prefix}{key}"] = value
    return kept


def _has_one_element(value: Any) -> bool:
    """A tensor, an array or a numpy scalar of one element. Nothing of it is read."""
    numel = getattr(value, "numel", None)
    return bool(numel() == 1 if callable(numel) else getattr(value, "size", None) == 1)


def flat(config: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as params: `{"optimizer": {"lr": 0.1}}` becomes `{"optimizer/lr": 0.1}`; at most MAX_PARAMS."""
    found: dict[str, Any] = {}
    _flatten(config, prefix, 0, found)
    return found


def _flatten(config: Mapping[Any, Any], prefix: str, depth: int, found: dict[str, Any]) -> None:
    for key, value in config.items():
        if len(found) >= MAX_PARAMS:
            return
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value and depth < MAX_DEPTH:
            _flatten(value, f"{name}/", depth + 1, found)
        else:
            found[name] = "nan" if isinstance(value, float) and math.isnan(value) else value
