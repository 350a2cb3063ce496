"""Requests as tables of fields, read by protobuf's JSON rules as MLflow applies them.

A request is a table of `Field`s; `read` takes the decoded body (or, for GET, `query_object` of the query) and gives
`Fields`, whose values have the types that the table says. Nothing but `MlflowError` is raised for any object.

    int64, int32  a number without fraction, or one as a decimal string; out of range is refused
    double        a number, a numeric string, "NaN", "Infinity", "-Infinity"; true and false are 1 and 0
    string        a string without NUL; a number is refused
    bool          true, false
    enum          a name, or its number
    null          means absent; unknown fields are ignored
    lowerCamel    is read too, but does not count for a required field; both spellings at once are refused

Checks run in the order of the table and the first failure is reported, as the reference server does it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ingest.mlflow.errors import API_DOCS, MlflowError, refused

__all__ = ["Field", "Fields", "Table", "enum", "query_object", "read"]

Reader = Callable[[Any], Any]


class WrongTypeError(Exception):
    """The value does not fit the field's type; the caller knows the field's name."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a request.

    name: snake_case, as on the wire. read: its type. required: absent, null and "" are refused.
    repeated: a list of such values. message: a table, for a field that is an object (then `read` is not used).
    """

    name: str
    read: Reader = lambda value: value
    required: bool = False
    repeated: bool = False
    message: Table | None = None


class Table:
    """The fields of one request or message, in the order in which they are checked."""

    __slots__ = ("camel_names", "fields", "names")

    def __init__(self, *fields: Field) -> None:
        self.fields: Final = fields
        self.names: Final = frozenset(field.name for field in fields)
        self.camel_names: Final = {
            camel: field.name for field in fields if (camel := _camel(field.name)) != field.name
        }


class Fields:
    """What `read` found: typed looks into it. An absent field is None, an absent list is empty."""

    __slots__ = ("_values",)

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def has(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str, default: str = "") -> str:
        value = self._values.get(name, default)
        assert isinstance(value, str)  # noqa: S101  # a table that says otherwise is a fault of ours
        return value

    def text_or_none(self, name: str) -> str | None:
        return self.text(name) if name in self._values else None

    def integer(self, name: str, default: int = 0) -> int:
        value = self._values.get(name, default)
        assert isinstance(value, int)  # noqa: S101  # as above
        return value

    def integer_or_none(self, name: str) -> int | None:
        return self.integer(name) if name in self._values else None

    def flag(self, name: str, *, default: bool = False) -> bool:
        value = self._values.get(name, default)
        assert isinstance(value, bool)  # noqa: S101  # as above
        return value

    def number(self, name: str) -> float:
        value = self._values[name]
        assert isinstance(value, float)  # noqa: S101  # as above
        return value

    def texts(self, name: str) -> list[str]:
        return list(self._values.get(name, ()))

    def message(self, name: str) -> Fields:
        """The message in that field; an absent one has no fields."""
        value = self._values.get(name)
        return value if isinstance(value, Fields) else Fields({})

    def messages(self, name: str) -> list[Fields]:
        return list(self._values.get(name, ()))


# --- types -----------------------------------------------------------------------------------------------------------

_DECIMAL = re.compile(r"-?[0-9]{1,19}")
_NUMERIC = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,4})?")
_NAMED_NUMBERS: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def string(value: Any) -> str:
    """A text that PostgreSQL can store."""
    if type(value) is not str:
        raise WrongTypeError
    if "\0" in value:
        raise refused(f"{value[:80]!r} holds a NUL character, which can't be stored.")
    return value


def _integer(bits: int) -> Reader:
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1

    def read_integer(value: Any) -> int:
        if type(value) is str and _DECIMAL.fullmatch(value):
            number = int(value)
        elif type(value) is int:
            number = value
        elif type(value) is float and value.is_integer():
            number = int(value)
        else:
            raise WrongTypeError
        if not low <= number <= high:
            raise WrongTypeError
        return number

    return read_integer


int64 = _integer(64)
int32 = _integer(32)


def double(value: Any) -> float:
    """A float64. There is one NaN, so that points that hold it can be told to be equal."""
    if isinstance(value, int | float):
        try:
            number = float(value)
        except OverflowError:  # an integer beyond float64
            raise WrongTypeError from None
        return number if number == number else math.nan  # noqa: PLR0124  # only NaN differs from itself
    if type(value) is str:
        if value in _NAMED_NUMBERS:
            return _NAMED_NUMBERS[value]
        if len(value) < 400 and _NUMERIC.fullmatch(value):
            return float(value)
    raise WrongTypeError


def boolean(value: Any) -> bool:
    """A boolean, or its name from a query."""
    if type(value) is bool:
        return value
    if type(value) is str and value.lower() in {"true", "false"}:  # from a query
        return value.lower() == "true"
    raise WrongTypeError


def enum(names: Mapping[str, int]) -> Reader:
    """A type whose values are these names; their numbers are read as well."""
    by_number = {number: name for name, number in names.items()}

    def read_enum(value: Any) -> str:
        if type(value) is str and value in names:
            return value
        if type(value) is int and value in by_number:
            return by_number[value]
        if type(value) is str and _DECIMAL.fullmatch(value) and int(value) in by_number:
            return by_number[int(value)]
        raise WrongTypeError

    return read_enum


# --- reading ---------------------------------------------------------------------------------------------------------


def read(table: Table, body: Any, path: str = "") -> Fields:
    """The fields of `body` that `table` knows.

    Args:
        body: What JSON gave; anything but an object counts as {}.
        path: Where the object stands, for messages, such as `metrics[3].`; empty for a whole request.

    Raises:
        MlflowError: A required field is missing, or a value has the wrong type.
    """
    given: Mapping[str, Any] = body if isinstance(body, dict) else {}
    if not given.keys() <= table.names:
        given = _with_camel_names(table, given, path)
    values: dict[str, Any] = {}
    for field in table.fields:
        value = given.get(field.name)
        if value is None or value == "":
            if field.required:
                raise missing(path + field.name)
            if value is None:
                continue
        values[field.name] = _read_field(field, value, path)
    return Fields(values)


def missing(name: str) -> MlflowError:
    """The sentence about a required field that is absent or empty."""
    return refused(f"Missing value for required parameter '{name}'.{API_DOCS}")


def wrong_type(name: str, value: Any) -> MlflowError:
    """The sentence about a value of the wrong type. A long value is cut: it may be a megabyte."""
    shown = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    if len(shown) > 1000:
        shown = shown[:1000] + "…"
    return refused(
        f"Invalid value {shown} for parameter '{name}' supplied:  Hint: Value was of type "
        f"'{type(value).__name__}'.{API_DOCS}"
    )


def query_object(table: Table, pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The arguments of a GET as the object that a POST would carry: the first of each name, lists whole."""
    repeated = {field.name for field in table.fields if field.repeated}
    found: dict[str, Any] = {}
    for name, text in pairs:
        if name in repeated:
            found.setdefault(name, []).append(text)
        else:
            found.setdefault(name, text)
    return found


def _read_field(field: Field, value: Any, path: str) -> Any:
    name = path + field.name
    if not field.repeated:
        return _read_one(field, value, name, whole=value, whole_name=name)
    if type(value) is not list:
        raise wrong_type(name, value)
    if field.message is not None:
        return [
            _read_one(field, one, f"{name}[{i}]", whole=value, whole_name=name) for i, one in enumerate(value)
        ]
    return [_read_one(field, one, name, whole=value, whole_name=name) for one in value]


def _read_one(field: Field, value: Any, name: str, *, whole: Any, whole_name: str) -> Any:
    if field.message is not None:
        if not isinstance(value, dict):
            raise wrong_type(whole_name, whole)
        return read(field.message, value, name + ".")
    try:
        return field.read(value)
    except WrongTypeError:
        raise wrong_type(whole_name, whole) from None


def _with_camel_names(table: Table, given: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """`given` with lowerCamelCase names of optional fields turned into ours."""
    required = {field.name for field in table.fields if field.required}
    found = dict(given)
    for camel in given.keys() & table.camel_names.keys():
        name = table.camel_names[camel]
        if name in given:
            raise refused(f"Parameter '{path}{name}' is given twice, as '{name}' and as '{camel}'.")
        if name not in required:
            found[name] = given[camel]
    return found


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def texts_of(messages: Sequence[Fields], key: str, value: str) -> list[tuple[str, str]]:
    """The pairs in a list of messages, as in `tags`."""
    return [(one.text(key), one.text(value)) for one in messages]
