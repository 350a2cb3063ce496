"""What a filter and an order mean: the syntax tree, without any trace of how it was written.

    Condition = And | Or | Not | Comparison | IsNull | IsNan

A comparison is two-valued: true or false, never unknown. A thing without the field makes every comparison false, `!=`
and NOT LIKE included; NaN makes every comparison false but `!=`. NOT, AND and OR are then plain logic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = [
    "And",
    "Comparison",
    "Condition",
    "Field",
    "IsNan",
    "IsNull",
    "Kind",
    "Not",
    "Or",
    "OrderBy",
    "Summary",
    "fields_of",
]

Kind: TypeAlias = Literal["attribute", "metric", "param", "tag", "dataset"]
Summary: TypeAlias = Literal[
    "last", "min", "max", "first", "count", "sum", "mean", "nonfinite", "argmin", "argmax", "last_step"
]
Value: TypeAlias = str | int | float | tuple[str, ...]


@dataclass(frozen=True, slots=True, order=True)
class Field:
    """One fact of a thing: an attribute by its canonical name, or the value of a key; of a metric, one summary."""

    kind: Kind
    name: str
    summary: Summary = "last"


@dataclass(frozen=True, slots=True)
class Comparison:
    """field operator value.

    operator: = != < <= > >= LIKE ILIKE RLIKE IN, and NOT before any of the last four.
    value: a number for numbers, a text for texts, a tuple of texts after IN.
    """

    field: Field
    operator: str
    value: Value


@dataclass(frozen=True, slots=True)
class IsNull:
    """The thing does not have the field."""

    field: Field


@dataclass(frozen=True, slots=True)
class IsNan:
    """The field is there and is not a number."""

    field: Field


@dataclass(frozen=True, slots=True)
class Not:
    """The contrary."""

    part: Condition


@dataclass(frozen=True, slots=True)
class And:
    """All of them; true if there is none."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one of them."""

    parts: tuple[Condition, ...]


Condition: TypeAlias = And | Or | Not | Comparison | IsNull | IsNan


@dataclass(frozen=True, slots=True)
class OrderBy:
    """One key of an order. Whatever the direction: values, then NaN, then things without the field."""

    field: Field
    descending: bool = False


def fields_of(condition: Condition) -> list[Field]:
    """Every field that the condition looks at, each once, in order of appearance."""
    match condition:
        case And(parts) | Or(parts):
            found = [field for part in parts for field in fields_of(part)]
        case Not(part):
            found = fields_of(part)
        case _:
            found = [condition.field]
    return list(dict.fromkeys(found))
