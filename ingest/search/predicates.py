"""A condition as a boolean SQL expression over given column expressions.

Texts of users never become SQL: every value is a parameter, and every fragment is a constant of this module. A missing
field is NULL in its column; a comparison with it is NULL, which WHERE, AND and OR take as false. Below NOT it is made
false by IS TRUE.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from ingest.search.nodes import And, Comparison, Condition, Field, IsNan, IsNull, Not, Or
from ingest_schema.limits import INT64_MAX, INT64_MIN

__all__ = ["Column", "ColumnType", "Parameters", "compile_condition"]

ColumnType: TypeAlias = Literal["float8", "bigint", "text", "uuid"]

_COMPARES: Final = {"=": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_MATCHES: Final = {
    "LIKE": "LIKE",
    "ILIKE": "ILIKE",
    "RLIKE": "~",
    "NOT LIKE": "NOT LIKE",
    "NOT ILIKE": "NOT ILIKE",
    "NOT RLIKE": "!~",
}
_IS_NUMBER: Final = r"'^\s*[-+]?([0-9]{1,30}(\.[0-9]{0,30})?|\.[0-9]{1,30})([eE][-+]?[0-9]{1,2})?\s*$'"
"""Texts that PostgreSQL casts to float8 without an error: longer exponents could overflow, and an overflow is one."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column expression, made of constants and parameters, and its type.

    template: for things with several rows, such as datasets: what to put the comparison into, at `{}`.
    """

    sql: str
    type: ColumnType
    template: str = "{}"


@dataclass(slots=True)
class Parameters:
    """The values of a statement, in the order of their numbers."""

    values: list[object] = field(default_factory=list)

    def add(self, value: object, type_name: str) -> str:
        """The placeholder of a value; an equal one of the same type is used again."""
        self.values.append(value)
        return f"${len(self.values)}::{type_name}"


def compile_condition(
    condition: Condition, column_of: Callable[[Field], Column], parameters: Parameters
) -> str:
    """The expression; true where the condition holds, else false or NULL."""

    def inner(part: Condition) -> str:
        match part:
            case And(parts):
                return "(" + " AND ".join(map(inner, parts)) + ")" if parts else "true"
            case Or(parts):
                return "(" + " OR ".join(map(inner, parts)) + ")" if parts else "false"
            case Not(negated):
                return f"({inner(negated)}) IS NOT TRUE"
            case IsNull(looked_at):
                return f"{column_of(looked_at).sql} IS NULL"
            case IsNan(looked_at):
                return f"{column_of(looked_at).sql} = 'NaN'"
            case Comparison(looked_at, operator, value):
                column = column_of(looked_at)
                return column.template.format(_comparison(column, operator, value, parameters))

    return inner(condition)


def _comparison(
    column: Column, operator: str, value: str | float | tuple[str, ...], parameters: Parameters
) -> str:
    if isinstance(value, tuple):
        return _membership(column, operator, value, parameters)
    if column.type == "float8":
        return _of_float(column.sql, operator, float(value), parameters)
    if column.type == "bigint":
        return _of_integer(
            column.sql, operator, value if isinstance(value, int) else float(value), parameters
        )
    if not isinstance(value, str):
        number = f"CASE WHEN {column.sql} ~ {_IS_NUMBER} THEN ({column.sql})::float8 END"
        return _of_float(number, operator, float(value), parameters)
    if operator in _MATCHES:
        pattern = value if "RLIKE" in operator else _whole_pattern(value)
        return f"{_as_text(column)} {_MATCHES[operator]} {parameters.add(pattern, 'text')}"
    if column.type == "uuid":
        return _membership(column, "IN" if operator == "=" else "NOT IN", (value,), parameters)
    return f'{column.sql} {_COMPARES[operator]} {parameters.add(value, "text")} COLLATE "C"'


def _of_float(sql: str, operator: str, value: float, parameters: Parameters) -> str:
    """NaN is greater than anything to PostgreSQL, and to us matches nothing but !=."""
    compared = f"{sql} {_COMPARES[operator]} {parameters.add(value, 'float8')}"
    return f"({compared} AND {sql} < 'NaN')" if operator in {">", ">="} else compared


def _of_integer(sql: str, operator: str, number: float, parameters: Parameters) -> str:
    """A number that is no int64 is compared as float8."""
    whole = int(number) if isinstance(number, int) or number.is_integer() else None
    if whole is not None and INT64_MIN <= whole <= INT64_MAX:
        return f"{sql} {_COMPARES[operator]} {parameters.add(whole, 'bigint')}"
    return f"({sql})::float8 {_COMPARES[operator]} {parameters.add(float(number), 'float8')}"


def _membership(column: Column, operator: str, values: tuple[str, ...], parameters: Parameters) -> str:
    listed: list[object]
    if column.type == "uuid":
        listed, name = [_uuid_text(value) for value in values if _is_run_id(value)], "uuid[]"
    elif column.type == "bigint":
        listed, name = [int(value) for value in values], "bigint[]"
    else:
        listed, name = list(values), "text[]"
    word = "= ANY" if operator == "IN" else "<> ALL"
    return f"{column.sql} {word} ({parameters.add(listed, name)})"


def _is_run_id(text: str) -> bool:
    """Whether the text is an id as we show it; any other equals none."""
    return len(text) == 32 and all(c in "0123456789abcdef" for c in text)


def _uuid_text(text: str) -> str:
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _as_text(column: Column) -> str:
    return f"replace({column.sql}::text, '-', '')" if column.type == "uuid" else column.sql


def _whole_pattern(pattern: str) -> str:
    """A lone backslash at the end of a LIKE pattern is an error to PostgreSQL; here it means itself."""
    backslashes = len(pattern) - len(pattern.rstrip("\\"))
    return pattern + "\\" if backslashes % 2 else pattern
