"""YAML, written by hand: the client has no YAML library, and writing the plain part of it needs none.

Maps and lists in block style, texts as in JSON where they are not plain words; what PyYAML reads back as the same values
(YAML 1.1: a float needs its point, and yes is a boolean).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

__all__ = ["to_yaml"]

_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_./=-]*")
_RESERVED: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none"})

_UNPRINTABLE: Final = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
"""What JSON lets stand and YAML does not (YAML 1.1, section 5.1)."""


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def to_yaml(value: Any) -> str:
    """The document.

    Raises:
        TypeError: Something in it is no map, list, text, number, boolean or None.
    """
    return "\n".join(_lines(value)) + "\n"


def _lines(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _entry(f"{_scalar(key)}:", item, "  ")
    elif isinstance(value, list | tuple) and value:
        for item in value:
            yield from _entry("-", item, "  ")
    else:
        yield _scalar(value)


def _entry(lead: str, item: Any, indent: str) -> Iterator[str]:
    if isinstance(item, Mapping | list | tuple) and item:
        inner = _lines(item)
        if lead == "-":  # the first line of what is listed stands beside the dash
            yield f"- {next(inner)}"
        else:
            yield lead
        for line in inner:
            yield indent + line
    else:
        yield f"{lead} {_scalar(item)}"


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        is_plain = _PLAIN.fullmatch(value) is not None and value.lower() not in _RESERVED
        return value if is_plain else _UNPRINTABLE.sub(_escape, json.dumps(value, ensure_ascii=False))
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return _float(float(value))
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, list | tuple):
        return "[]"
    raise TypeError(f"a value of type {type(value).__name__} can't be written as YAML: {value!r:.100}")


def _float(value: float) -> str:
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    text = repr(value)
    mantissa, e, exponent = text.partition("e")
    if e and "." not in mantissa:
        mantissa += ".0"
    return f"{mantissa}{e}{exponent}"
