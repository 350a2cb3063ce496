"""The rules of names, values, steps and times: the one place that says what may be logged.

Pure functions, used by the client before anything is written and by the service's JSON routes.

    value   float64. bool, int and float; numpy scalars and anything else with one element and an `item()` method
            (numpy arrays of one element, tensors of one element). NaN and the infinities are values like any other.
            An int beyond 2**53 is rounded to the nearest float64, as Python's float() does; beyond float64 it is refused.
    step    int64, any sign, in any order, repeated or with gaps. Integers only (also numpy's); a bool or float is refused.
    time    int64 milliseconds since the Unix epoch, UTC, on an axis of its own; negative means before 1970.
    key     1 to 1,000 bytes of UTF-8 without NUL and without lone surrogates. Nothing else is forbidden.
    text    values of params and tags: at most 1 MiB of UTF-8 without NUL.
"""

from __future__ import annotations

from operator import index
from typing import Any, Final

from ingest_schema.errors import BadKey, BadStep, BadText, BadTime, BadValue
from ingest_schema.limits import INT64_MAX, INT64_MIN, MAX_KEY_BYTES, MAX_TEXT_BYTES

__all__ = ["as_step", "as_time_ms", "as_value", "check_key", "check_text"]

_NUMBER_KINDS: Final = (bool, int, float)


def as_value(key: str, value: Any) -> float:
    """The float64 that is stored for `value`.

    Args:
        key: The metric's name, for the message only.
        value: A bool, int or float; a numpy scalar; or an array or tensor of one element. Reading a tensor that
            lives on an accelerator waits for that device: callers that must not wait resolve it themselves.

    Raises:
        BadValue: Anything else: strings, None, Decimal, complex numbers, arrays of no or several elements.
    """
    if isinstance(value, _NUMBER_KINDS):
        return _as_float64(key, value)
    item = getattr(value, "item", None)
    if item is None or isinstance(value, type):
        raise BadValue(f"metric {key!r} has a value of type {_type_name(value)}; it must be a number")
    size = _element_count(value)
    if size != 1:
        raise BadValue(
            f"metric {key!r} has a {_type_name(value)} of {size} elements; it must be a single number"
        )
    try:
        scalar = item()
    except Exception as error:  # item() is foreign code: whatever it raises, the caller is told which metric
        raise BadValue(f"metric {key!r}: {_type_name(value)} gave no number: {error}") from error
    if not isinstance(scalar, _NUMBER_KINDS):
        raise BadValue(
            f"metric {key!r} has a {_type_name(value)} holding {_type_name(scalar)}; it must be a number"
        )
    return _as_float64(key, scalar)


def as_step(step: Any) -> int:
    """`step` as a Python int in the range of int64.

    Raises:
        BadStep: A bool, a float, a string …, or an integer beyond int64. Nothing is rounded or wrapped.
    """
    return _as_int64(step, "step", BadStep)


def as_time_ms(time_ms: Any) -> int:
    """`time_ms`, milliseconds since the Unix epoch, as a Python int in the range of int64.

    Raises:
        BadTime: As `as_step`. A float is most likely time.time(), in seconds: the message says what to write.
    """
    if isinstance(time_ms, float):
        raise BadTime(
            f"timestamp {time_ms!r} is a float; give whole milliseconds, such as int(time.time() * 1000)"
        )
    return _as_int64(time_ms, "timestamp", BadTime)


def check_key(key: Any, what: str = "metric") -> None:
    """Refuse a name that can't be stored.

    Args:
        key: The name.
        what: "metric", "param" or "tag", for the message.

    Raises:
        BadKey: No string, empty, too long, or with NUL or lone surrogates in it.
    """
    if not isinstance(key, str):
        raise BadKey(f"the name of a {what} must be a string, not {_type_name(key)} ({key!r})")
    problem = _text_problem(key, MAX_KEY_BYTES)
    if problem is None and not key:
        problem = "is empty"
    if problem is not None:
        raise BadKey(f"{what} name {_shortened(key)} {problem}")


def check_text(key: str, text: Any, what: str = "param") -> None:
    """Refuse a param's or tag's value that can't be stored.

    Raises:
        BadText: No string, over 1 MiB of UTF-8, or with NUL or lone surrogates in it.
    """
    if not isinstance(text, str):
        raise BadText(f"{what} {key!r} has a value of type {_type_name(text)}; it must be a string")
    problem = _text_problem(text, MAX_TEXT_BYTES)
    if problem is not None:
        hint = "; log it as an artifact" if "over the limit" in problem else ""
        raise BadText(f"{what} {key!r}: its value {_shortened(text)} {problem}{hint}")


def _as_float64(key: str, number: bool | float) -> float:
    try:
        return float(number)
    except OverflowError:  # an int; its digits are not shown, since str() refuses a very long one itself
        bits = int(number).bit_length()
        raise BadValue(f"metric {key!r} has an integer of {bits:,} bits, beyond float64") from None


def _element_count(value: Any) -> int:
    numel = getattr(value, "numel", None)
    if callable(numel):  # torch: `size` is a method there
        return int(numel())
    size = getattr(value, "size", 1)
    return int(size) if isinstance(size, int) else 1


def _as_int64(number: Any, what: str, error: type[BadStep | BadTime]) -> int:
    if isinstance(number, bool):
        raise error(f"{what} {number!r} is a bool; it must be an integer")
    try:
        value = index(number)
    except TypeError:
        raise error(f"{what} is of type {_type_name(number)}; it must be an integer") from None
    if not INT64_MIN <= value <= INT64_MAX:
        shown = (
            str(value) if value.bit_length() < 256 else f"of {value.bit_length():,} bits"
        )  # str() has its limit
        raise error(f"{what} {shown} is outside the range of a 64-bit integer")
    return value


def _text_problem(text: str, max_bytes: int) -> str | None:
    if "\0" in text:
        return "holds a NUL character, which PostgreSQL can't store"
    try:
        size_bytes = len(text.encode())
    except UnicodeEncodeError:
        return "holds a lone surrogate, which UTF-8 can't express"
    if size_bytes > max_bytes:
        return f"is {size_bytes:,} bytes of UTF-8, over the limit of {max_bytes:,}"
    return None


def _type_name(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _shortened(text: str, limit: int = 80) -> str:
    return repr(text) if len(text) <= limit else f"{text[:limit]!r}…"
