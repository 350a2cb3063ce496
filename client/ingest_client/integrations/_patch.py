"""Functions of other libraries that we put something around, and how they come back.

A patch is undone in the opposite order, and only if nobody else has patched over it meanwhile: then ours stays in the
chain and its hooks do nothing. Libraries that are imported later are patched when their import is done.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import sys
import threading
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, Final

__all__ = ["Patches", "on_import"]

_MISSING: Final = object()


class Patches:
    """What one integration has replaced."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], object]] = []
        self.is_on = False

    def start(self) -> None:
        """From now on hooks do something."""
        self.is_on = True

    def replace(self, owner: Any, name: str, wrap: Callable[[Any], Any]) -> None:
        """Put `wrap(original)` in the place of an attribute; an inherited one is shadowed, not changed."""
        own = vars(owner).get(name, _MISSING)
        original = getattr(owner, name) if own is _MISSING else own
        replacement = functools.wraps(original)(wrap(original))
        setattr(owner, name, replacement)

        def undo() -> None:
            if vars(owner).get(name) is not replacement:
                return
            if own is _MISSING:
                delattr(owner, name)
            else:
                setattr(owner, name, own)

        self._undo.append(undo)

    def add_undo(self, undo: Callable[[], object]) -> None:
        """Something else to do when this is over, such as removing a hook."""
        self._undo.append(undo)

    def stop(self) -> None:
        """Put everything back."""
        self.is_on = False
        while self._undo:
            self._undo.pop()()


# --- libraries that are imported later ----------------------------------------------------------------------------------

_waiting: dict[str, list[Callable[[], object]]] = {}
_lock = threading.RLock()


def on_import(module: str, act: Callable[[], object]) -> Callable[[], None]:
    """Call `act` once `module` has been imported: now, or after its import.

    Returns:
        A function that takes the order back.
    """
    if module in sys.modules and not _is_loading(sys.modules[module]):
        act()
        return lambda: None
    with _lock:
        _waiting.setdefault(module, []).append(act)
        if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
            sys.meta_path.insert(0, _Finder())

    def forget() -> None:
        with _lock:
            acts = _waiting.get(module, [])
            if act in acts:
                acts.remove(act)

    return forget


def _is_loading(module: ModuleType) -> bool:
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


class _Finder(importlib.abc.MetaPathFinder):
    """Finds nothing itself: asks the others, and has the loader of a module that is waited for tell us."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in _waiting:
            return None
        for finder in sys.meta_path:
            if isinstance(finder, _Finder):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None and hasattr(spec.loader, "exec_module"):
                    _tell_after(spec.loader, fullname)
                return spec
        return None


def _tell_after(loader: Any, fullname: str) -> None:
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        execute(module)
        with _lock:
            acts = _waiting.pop(fullname, [])
        for act in acts:
            act()

    loader.exec_module = exec_module
