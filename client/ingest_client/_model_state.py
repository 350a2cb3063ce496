"""A PyTorch module as tensors and plain words, and back: no object of the file is unpickled, no code in it is run.

A model is written as one file that `torch.load(…, weights_only=True)` reads anywhere:

    {"ingest_model": 1, "state_dict": {name: tensor}, "tensors": {name: tensor}, "skeleton": JSON}

`state_dict` is what `module.state_dict()` gives. The skeleton says of which classes the module is made, by name, and what their
attributes are: numbers, texts, lists, dicts, and references to tensors, modules and torch's own functions. `restore` imports the
modules that define the classes, as they are installed, makes objects without calling their constructors, as unpickling does, and
refuses every name that is no subclass of `torch.nn.Module`, and every function that is not one of `torch.nn.functional` and its like.

This file comes with every model saved so: a stock MLflow finds it as the model's "pickle module" and reads the model by it,
with no ingest installed. So it imports torch and the standard library, and nothing of ingest.
"""

from __future__ import annotations

import functools
import importlib
import json
import sys
from collections import OrderedDict
from typing import Any, Final

import torch
from torch._weights_only_unpickler import Unpickler as _WeightsOnlyUnpickler

__all__ = ["NotRestorable", "Unexpressible", "describe", "is_payload", "restore"]

FORMAT: Final = 1
_FUNCTION_PLACES: Final = (torch.nn.functional, torch.special, torch)
_CONTAINERS: Final = {"list": list, "tuple": tuple, "set": set, "size": torch.Size}
_STATE_KEYS: Final = frozenset({"_parameters", "_buffers", "_modules"})


class Unexpressible(Exception):
    """Something in a module has no form in a skeleton; the message says where and what."""


class NotRestorable(Exception):
    """A class of the model is not here, or is none that may be made."""


class Unpickler(_WeightsOnlyUnpickler):  # type: ignore[misc]  # torch is not typed here
    """What `torch.load(…, pickle_module=<this module>)` uses: tensors and plain values, then the module made of them."""

    def load(self) -> Any:
        """The module; anything that is no payload as it is."""
        loaded = super().load()
        return restore(loaded) if is_payload(loaded) else loaded


def is_payload(loaded: Any) -> bool:
    """Whether this is what `describe` made."""
    return isinstance(loaded, dict) and loaded.get("ingest_model") == FORMAT


# --- writing ----------------------------------------------------------------------------------------------------------


def describe(module: torch.nn.Module) -> dict[str, Any]:
    """The payload of a module; its tensors are those of the module, on the CPU.

    Raises:
        Unexpressible: A hook, a lambda, an object of another kind: it would be lost.
    """
    return _Describer(module).payload()


class _Describer:
    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module
        self.state: dict[str, Any] = {key: _on_cpu(value) for key, value in module.state_dict().items()}
        self.tensors: dict[str, torch.Tensor] = {}
        self.named: dict[int, str] = {}
        self.modules = {id(part): path for path, part in module.named_modules()}
        own = dict(module.state_dict(keep_vars=True))
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            self.named[id(tensor)] = name
            if own.get(name) is not tensor:  # not persistent, or kept elsewhere by a state_dict of its own
                self.tensors[name] = _on_cpu(tensor)

    def payload(self) -> dict[str, Any]:
        parts = {path: self.part(path, part) for path, part in self.module.named_modules()}
        skeleton = json.dumps({"parts": parts})
        return {
            "ingest_model": FORMAT,
            "state_dict": self.state,
            "tensors": self.tensors,
            "skeleton": skeleton,
        }

    def part(self, path: str, part: torch.nn.Module) -> dict[str, Any]:
        kind = type(part)
        fresh = torch.nn.Module().__dict__
        try:
            state = part.__getstate__() if "__getstate__" in _methods(kind) else part.__dict__
        except (
            RuntimeError
        ) as error:  # parametrized modules say so: their class is made while the program runs
            raise Unexpressible(f"{path or 'the model'}: {error}") from error
        if not isinstance(state, dict):
            raise Unexpressible(f"{path or 'the model'} keeps its state in a {type(state).__name__}")
        attributes: dict[str, Any] = {}
        for name, value in state.items():
            if name in _STATE_KEYS:
                attributes[name] = {key: self.value(item, f"{path}.{key}") for key, item in value.items()}
            elif name not in fresh or value != fresh[name]:
                if name in fresh and name.endswith("hooks"):
                    raise Unexpressible(f"{path or 'the model'} has hooks ({name})")
                attributes[name] = self.value(value, f"{path}.{name}".lstrip("."))
        return {"class": _class_name(kind), "state": attributes}

    def value(self, value: Any, at: str) -> Any:
        """One value as JSON: plain ones as they are, all others as an object of one word."""
        if value is None or type(value) in {bool, int, float, str}:
            return value
        if isinstance(value, torch.Tensor):
            return self.tensor(value, at)
        if isinstance(value, torch.nn.Module):
            if id(value) not in self.modules:
                raise Unexpressible(f"{at} is a module that the model does not know as its part")
            return {"module": self.modules[id(value)]}
        for word, kind in _CONTAINERS.items():
            if type(value) is kind:
                return {word: [self.value(item, f"{at}[{n}]") for n, item in enumerate(value)]}
        if type(value) in {dict, OrderedDict}:
            items = [[self.value(k, at), self.value(v, f"{at}[{k!r}]")] for k, v in value.items()]
            return {"dict" if type(value) is dict else "ordered": items}
        if isinstance(value, torch.dtype):
            return {"dtype": str(value).removeprefix("torch.")}
        if isinstance(value, torch.device):
            return {"device": str(value)}
        if isinstance(value, type) and issubclass(value, torch.nn.Module):
            return {"class": _class_name(value)}
        if isinstance(value, functools.partial):
            inner = [self.value(v, at) for v in (value.func, value.args, dict(value.keywords))]
            return {"partial": inner}
        if callable(value) and (name := _function_name(value)) is not None:
            return {"function": name}
        raise Unexpressible(f"{at} is a {type(value).__module__}.{type(value).__qualname__}")

    def tensor(self, tensor: torch.Tensor, at: str) -> dict[str, Any]:
        name = self.named.get(id(tensor))
        if name is None:
            name = f"{at}#{len(self.tensors)}"
            self.named[id(tensor)] = name
            self.tensors[name] = _on_cpu(tensor)
        is_parameter = isinstance(tensor, torch.nn.Parameter)
        return {"parameter" if is_parameter else "tensor": name, "requires_grad": tensor.requires_grad}


def _methods(kind: type) -> set[str]:
    """Names that the classes below Module define."""
    return {name for base in kind.__mro__[: kind.__mro__.index(torch.nn.Module)] for name in vars(base)}


def _on_cpu(value: Any) -> Any:
    return value.detach().cpu() if isinstance(value, torch.Tensor) else value


def _class_name(kind: type) -> str:
    if "<locals>" in kind.__qualname__:
        raise Unexpressible(
            f"the class {kind.__qualname__} is defined inside a function, where nobody can find it"
        )
    name = f"{kind.__module__}:{kind.__qualname__}"
    try:
        found = _lookup(name)
    except NotRestorable:
        found = None
    if found is not kind:
        raise Unexpressible(f"the class {name} can't be found by its name")
    return name


def _function_name(function: Any) -> str | None:
    """The name of one of torch's functions on tensors, None for any other."""
    for place in _FUNCTION_PLACES:
        name = getattr(function, "__name__", "")
        if getattr(place, name, None) is function and _is_harmless(place, function):
            return f"{place.__name__}:{name}"
    return None


def _is_harmless(place: Any, function: Any) -> bool:
    """Whether it only computes: all that torch.nn.functional defines, and the operators that are written in C++."""
    if place is torch.nn.functional:
        module = getattr(function, "__module__", "") or ""
        return module in {"torch.nn.functional", "torch._jit_internal", "torch._C._nn", "torch", ""}
    operators = torch._C._VariableFunctions  # noqa: SLF001 - where torch keeps its operators; no other place lists them
    is_operator = hasattr(operators, function.__name__) and function.__name__ != "from_file"
    return is_operator and type(function).__name__ == "builtin_function_or_method"


# --- reading ----------------------------------------------------------------------------------------------------------


def restore(payload: dict[str, Any]) -> torch.nn.Module:
    """The module that a payload describes.

    Raises:
        NotRestorable: A class is not installed here, or is none of torch.nn.Module's.
    """
    parts: dict[str, Any] = json.loads(payload["skeleton"])["parts"]
    return _Restorer(parts, payload).module("")


class _Restorer:
    def __init__(self, parts: dict[str, Any], payload: dict[str, Any]) -> None:
        self.parts = parts
        # Made before any of them is filled: they refer to each other.
        self.made: dict[str, torch.nn.Module] = {}
        for path, part in parts.items():
            kind = _module_class(part["class"])
            self.made[path] = object.__new__(kind)
        self.source = {**payload["state_dict"], **payload["tensors"]}
        self.parameters: dict[str, torch.nn.Parameter] = {}
        for path, part in reversed(
            list(parts.items())
        ):  # the inner ones first: __setstate__ may look into them
            self.fill(self.made[path], part["state"])

    def module(self, path: str) -> torch.nn.Module:
        return self.made[path]

    def fill(self, part: torch.nn.Module, state: dict[str, Any]) -> None:
        decoded = dict(torch.nn.Module().__dict__)
        for name, value in state.items():
            if name in _STATE_KEYS:
                decoded[name] = {key: self.value(item) for key, item in value.items()}
            else:
                decoded[name] = self.value(value)
        part.__setstate__(decoded)

    def value(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        word, content = next(iter(value.items()))
        if word in _CONTAINERS:
            return _CONTAINERS[word]([self.value(item) for item in content])
        if word in {"dict", "ordered"}:
            pairs = [(self.value(k), self.value(v)) for k, v in content]
            return dict(pairs) if word == "dict" else OrderedDict(pairs)
        if word == "tensor":
            return self.source[content]
        if word == "parameter":
            if content not in self.parameters:
                tensor = self.source[content]
                self.parameters[content] = torch.nn.Parameter(tensor, requires_grad=value["requires_grad"])
            return self.parameters[content]
        if word == "module":
            return self.made[content]
        if word == "dtype":
            return _checked(getattr(torch, content, None), torch.dtype, content)
        if word == "device":
            return torch.device(content)
        if word == "class":
            return _module_class(content)
        if word == "function":
            return _function(content)
        if word == "partial":
            function, arguments, keywords = (self.value(item) for item in content)
            return functools.partial(function, *arguments, **keywords)
        raise NotRestorable(f"the model holds a {word!r}, which this version does not know")


def _checked(found: Any, kind: type, name: str) -> Any:
    if not isinstance(found, kind):
        raise NotRestorable(f"torch has no {name!r} here")
    return found


def _module_class(name: str) -> type[torch.nn.Module]:
    found = _lookup(name)
    if not isinstance(found, type) or not issubclass(found, torch.nn.Module):
        raise NotRestorable(f"{name} is no class of modules, and no other is made")
    return found


def _function(name: str) -> Any:
    place_name, _, attribute = name.partition(":")
    place = next((place for place in _FUNCTION_PLACES if place.__name__ == place_name), None)
    found = getattr(place, attribute, None)
    if place is None or found is None or not _is_harmless(place, found):
        raise NotRestorable(f"{name} is none of torch's functions on tensors, and no other is taken")
    return found


def _lookup(name: str) -> Any:
    module_name, _, qualname = name.partition(":")
    if module_name.partition(".")[0] in sys.stdlib_module_names:  # some do things when they are imported
        raise NotRestorable(f"{name} is no class of modules: the standard library has none")
    try:
        found: Any = importlib.import_module(module_name)
        for part in qualname.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise NotRestorable(
            f"the model's class {name} is not here: {error}. Make it importable under this name"
            " (a class of a script is only known inside that script), or log the model as a torch.export program"
        ) from error
    return found
