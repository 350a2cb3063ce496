"""Hooks that can't hurt training: an exception in one becomes one warning, and the hook does nothing from then on.

Telemetry runs inside other people's loops. A library that changed, a metric of a strange type, a full disk: none of them
may end a training of hours, and none may fill its log either.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from ingest_client._warn import Warner

__all__ = ["broken_hooks", "guarded", "mend_hooks"]

P = ParamSpec("P")
T = TypeVar("T")

_broken: dict[str, str] = {}
_lock = threading.Lock()
_warn = Warner()


def guarded(name: str) -> Callable[[Callable[P, T]], Callable[P, T | None]]:
    """Decorator: the hook called `name` returns None instead of raising, and is off after its first exception.

    KeyboardInterrupt, SystemExit and the like pass: they are not the hook's.
    """

    def decorate(hook: Callable[P, T]) -> Callable[P, T | None]:
        @functools.wraps(hook)
        def safely(*args: P.args, **kwargs: P.kwargs) -> T | None:
            if name in _broken:
                return None
            try:
                return hook(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 - whatever it is, training goes on
                _turn_off(name, error)
                return None

        return safely

    return decorate


def broken_hooks() -> dict[str, str]:
    """The hooks that are off, each with the error that did it."""
    return dict(_broken)


def mend_hooks() -> None:
    """Give every hook another chance; `autolog()` does it."""
    with _lock:
        _broken.clear()


def _turn_off(name: str, error: Exception) -> None:
    with _lock:
        is_first = name not in _broken
        _broken.setdefault(name, f"{type(error).__name__}: {error}")
    if is_first:
        _warn(
            f"hook {name}",
            f"the hook {name} failed and is off from now on; training goes on ({type(error).__name__}: {error})",
        )
