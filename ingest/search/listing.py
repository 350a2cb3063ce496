"""Pages of anything: an ordered SELECT that goes on after the last row of the page before.

The rows come from a sub-select `x` with constant column names; conditions, sort keys and position are put around it.
Each key of an order is two columns, a rank and a value: 0 for values, 1 for NaN, 2 for things without the field. Ranks
rise whatever the direction, which puts NaN behind the numbers and the missing last, as MLflow has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ingest.search.paging import BadSearchToken, decode_position, encode_position
from ingest.search.predicates import Column, ColumnType, Parameters

__all__ = ["Key", "Listing", "Statement", "TieBreak"]

SORTED_CHARS: Final = 256
"""Texts are ordered by so many of their first characters, so that a page token stays short."""
_PYTHON_TYPES: Final[dict[ColumnType, type]] = {
    "float8": float,
    "bigint": int,
    "text": str,
    "uuid": bytes,
}


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL and its values."""

    sql: str
    values: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Key:
    """One key of an order over a column of `x`."""

    column: Column
    descending: bool

    @property
    def rank(self) -> str:
        nan = f" WHEN {self.column.sql} = 'NaN' THEN 1" if self.column.type == "float8" else ""
        return f"CASE WHEN {self.column.sql} IS NULL THEN 2{nan} ELSE 0 END"

    @property
    def value(self) -> str:
        if self.column.type == "float8":
            return f"NULLIF({self.column.sql}, 'NaN')"
        if self.column.type == "text":
            return f'left({self.column.sql}, {SORTED_CHARS}) COLLATE "C"'
        return self.column.sql


@dataclass(frozen=True, slots=True)
class TieBreak:
    """A column that is never NULL; the last of them is unique."""

    column: Column
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """A question: rows, condition, order. `question` is what its page tokens are bound to."""

    rows: str
    condition: str
    keys: tuple[Key, ...]
    ties: tuple[TieBreak, ...]
    parameters: Parameters
    question: bytes

    def page(self, limit: int, token: str | None) -> Statement:
        """The next `limit` rows: identity columns first, then the sort keys that `position` reads.

        Raises:
            BadSearchToken: The token is none of this question.
        """
        parameters = Parameters(list(self.parameters.values))
        columns = ["x.id"]
        order: list[str] = []
        for i, key in enumerate(self.keys):
            columns += [f"{key.rank} AS r{i}", f"{key.value} AS v{i}"]
            order += [f"y.r{i}", f"y.v{i}{' DESC' if key.descending else ''}"]
        for i, tie in enumerate(self.ties):
            columns.append(f"{tie.column.sql} AS t{i}")
            order.append(f"y.t{i}{' DESC' if tie.descending else ''}")
        after = f" WHERE {self._after(token, parameters)}" if token else ""
        sql = (
            f"SELECT y.* FROM (SELECT {', '.join(columns)} FROM ({self.rows}) AS x WHERE {self.condition}) AS y"  # noqa: S608  constants and placeholders
            f"{after} ORDER BY {', '.join(order)} LIMIT {parameters.add(limit, 'bigint')}"
        )
        return Statement(sql, tuple(parameters.values))

    def count(self) -> Statement:
        """How many rows the question has in all."""
        sql = f"SELECT count(*) FROM ({self.rows}) AS x WHERE {self.condition}"  # noqa: S608  constants and placeholders
        return Statement(sql, tuple(self.parameters.values))

    def token_after(self, row: Sequence[Any]) -> str:
        """The token of the page that begins behind this row of a page."""
        return encode_position(self.question, [getattr(value, "bytes", value) for value in list(row)[1:]])

    def _after(self, token: str, parameters: Parameters) -> str:
        types: list[tuple[type, ...]] = []
        for key in self.keys:
            types += [(int,), (type(None), _PYTHON_TYPES[key.column.type])]
        types += [(_PYTHON_TYPES[tie.column.type],) for tie in self.ties]
        position = decode_position(self.question, token, types)
        behind = "false"
        for i, tie in reversed(list(enumerate(self.ties))):
            value = self._value(position[2 * len(self.keys) + i], tie.column.type, parameters)
            sign = "<" if tie.descending else ">"
            behind = f"(y.t{i} {sign} {value} OR (y.t{i} = {value} AND {behind}))"
        for i, key in reversed(list(enumerate(self.keys))):
            ranked = (position[2 * i], position[2 * i + 1])
            behind = self._behind_key(i, key, ranked, behind, parameters)
        return behind

    def _behind_key(
        self, i: int, key: Key, ranked: tuple[int, object], rest: str, parameters: Parameters
    ) -> str:
        rank, value = ranked
        if rank not in {0, 1, 2} or (rank == 0) == (value is None):
            raise BadSearchToken("the page token is damaged")
        if rank:
            return f"(y.r{i} > {rank} OR (y.r{i} = {rank} AND {rest}))"
        placeholder = self._value(value, key.column.type, parameters)
        sign = "<" if key.descending else ">"
        return f"(y.r{i} > 0 OR (y.r{i} = 0 AND (y.v{i} {sign} {placeholder} OR (y.v{i} = {placeholder} AND {rest}))))"

    @staticmethod
    def _value(value: object, type_name: ColumnType, parameters: Parameters) -> str:
        if type_name == "uuid":
            if not isinstance(value, bytes) or len(value) != 16:
                raise BadSearchToken("the page token is damaged")
            value = value.hex()
        placeholder = parameters.add(value, type_name)
        return f'{placeholder} COLLATE "C"' if type_name == "text" else placeholder
