"""Searches of runs: which columns a condition and an order need, and the rows that have them.

Runs come from two places. A run that has ended and rests is *sealed*: its facts stand in `search_segments` and its
companions, a column of up to a thousand runs in one array, in the order of the segment's runs. Reading a metric of 100,000
runs is reading a hundred arrays, and joining metrics is unnesting arrays side by side. All other runs come from the
tables that the write path keeps. Both give the same columns, so that a condition is written once.

Everything a fact needs is a row in a table of this module; the keys that users name are parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal

from ingest.artifacts import addresses
from ingest.search.listing import Key, Listing, TieBreak
from ingest.search.nodes import Condition, Field, OrderBy, Summary, fields_of
from ingest.search.paging import fingerprint
from ingest.search.predicates import Column, ColumnType, Parameters, compile_condition

__all__ = ["SEALED_CHARS", "RunSearch", "View", "list_runs"]

View = Literal["ACTIVE_ONLY", "DELETED_ONLY", "ALL"]

SEALED_CHARS: Final = 256
"""Characters of a param or tag that stand in a segment; a longer one is looked up where it is whole."""

_SUMMARIES: Final[dict[Summary, tuple[tuple[str, ...], str]]] = {
    "last": (("last_value",), "{}"),
    "min": (("min_value",), "{}"),
    "max": (("max_value",), "{}"),
    "first": (("first_value",), "{}"),
    "sum": (("sum_value",), "{}"),
    "count": (("n",), "({})::float8"),
    "nonfinite": (("non_finite",), "({})::float8"),
    "argmin": (("min_step",), "({})::float8"),
    "argmax": (("max_step",), "({})::float8"),
    "last_step": (("last_step",), "({})::float8"),
    "mean": (("sum_value", "n", "non_finite"), "({} / NULLIF({} - {}, 0)::float8)"),
}
"""Columns of `series`, and of the arrays in `search_metrics`, that a summary needs; and what it is in terms of them."""

_HEX: Final = "replace(({})::text, '-', '')"
_URI: Final = (
    "rtrim(COALESCE(NULLIF(<e>.artifact_location, ''), <base> || <e>.experiment_id::text), '/') "
    "|| '/' || " + _HEX + " || '/artifacts'"
)
_BASE: Final = ("base", "")
"""The key of the placeholder for <base>: what locations begin with."""
_ATTRIBUTES: Final[dict[str, tuple[tuple[str, ...], str, ColumnType]]] = {
    "run_id": (("run_id",), "{}", "uuid"),
    "run_name": (("name",), "NULLIF({}, '')", "text"),
    "status": (("status",), "{}", "text"),
    "user_id": (("user_name",), "{}", "text"),
    "start_time": (("start_time_ms",), "{}", "bigint"),
    "end_time": (("end_time_ms",), "{}", "bigint"),
    "duration": (("end_time_ms", "start_time_ms"), "(({})::float8 - {})", "float8"),
    "parent_run_id": (("parent_run_id",), "{}", "uuid"),
    "artifact_uri": (("run_id",), _URI, "text"),
    "experiment_id": ((), "<e>.experiment_id", "bigint"),
    "experiment": ((), "<e>.name", "text"),
    "lifecycle": (("lifecycle",), "{}", "text"),
}
"""Columns of `runs`, or arrays of `search_segments`; the attribute in terms of them; its type. <e> stands for the experiment."""

_MLFLOW_STATUS: Final = "CASE {} WHEN 'LOST' THEN 'FAILED' ELSE {} END"
"""MLflow has no word for a run whose writers fell silent."""


@dataclass(frozen=True, slots=True)
class RunSearch:
    """A search of runs.

    experiment_ids: None for all. is_mlflow: answer in MLflow's words where ours differ.
    """

    condition: Condition
    order: tuple[OrderBy, ...] = ()
    experiment_ids: tuple[int, ...] | None = None
    view: View = "ACTIVE_ONLY"
    is_mlflow: bool = False


def list_runs(search: RunSearch) -> Listing:
    """The listing whose pages and count answer the search; its rows begin with run_id."""
    parameters = Parameters()
    fields = list(dict.fromkeys([*fields_of(search.condition), *(key.field for key in search.order)]))
    shown = [f for f in fields if f.kind != "dataset"]
    names = {f: f"c{i}" for i, f in enumerate(shown)}
    columns = {f: Column(f"x.{name}", _type_of(f)) for f, name in names.items()}
    rows = _rows(search, shown, parameters)

    def column_of(wanted: Field) -> Column:
        if wanted.kind != "dataset":
            return columns[wanted]
        name = {"name": "d.name", "digest": "d.digest", "context": "d.context"}[wanted.name]
        return Column(name, "text", "EXISTS (SELECT FROM run_datasets AS d WHERE d.run_id = x.id AND {})")

    condition = compile_condition(search.condition, column_of, parameters)
    ties = [TieBreak(Column("x.start_time_ms", "bigint"), descending=True)]
    if any(key.field == Field("attribute", "start_time") for key in search.order):
        ties = []
    return Listing(
        rows=rows,
        condition=condition,
        keys=tuple(Key(columns[key.field], key.descending) for key in search.order),
        ties=(*ties, TieBreak(Column("x.id", "uuid"))),
        parameters=parameters,
        question=fingerprint(
            search.condition,
            search.order,
            search.experiment_ids and sorted(search.experiment_ids),
            search.view,
        ),
    )


def _type_of(wanted: Field) -> ColumnType:
    if wanted.kind == "metric":
        return "float8"
    return _ATTRIBUTES[wanted.name][2] if wanted.kind == "attribute" else "text"


def _rows(search: RunSearch, fields: Sequence[Field], parameters: Parameters) -> str:
    scope = None
    if search.experiment_ids is not None:
        scope = parameters.add(list(search.experiment_ids), "bigint[]")
    keys: dict[tuple[str, str], str] = {}
    for f in fields:
        if f.kind != "attribute" and (f.kind, f.name) not in {_RUN_NAME, *keys}:
            keys[f.kind, f.name] = parameters.add(f.name, "text")
    if any(f == Field("attribute", "artifact_uri") for f in fields):
        keys[_BASE] = parameters.add(addresses.base(), "text")
    branches = []
    if search.view != "DELETED_ONLY":
        branches.append(_Sealed(keys, search.is_mlflow).select(fields, scope))
    branches.append(_Open(keys, search.is_mlflow).select(fields, scope, search.view))
    return " UNION ALL ".join(branches)


_RUN_NAME: Final = ("tag", "mlflow.runName")
_PARENT: Final = ("tag", "mlflow.parentRunId")
"""Tags that are columns of the run: MLflow's client sets them, and reads them as tags."""
_OF_EXPERIMENT: Final = frozenset({"artifact_uri", "experiment", "experiment_id"})


@dataclass(slots=True)
class _Branch:
    """What both branches share: which tables a field needs, and its expression.

    EXPERIMENT: from which alias its columns are to be read. keys: the placeholder of each (kind, key).
    """

    EXPERIMENT: ClassVar[str]

    keys: dict[tuple[str, str], str]
    is_mlflow: bool
    aliases: dict[tuple[str, str], str] = field(default_factory=dict)

    def source(self, alias: str, column: str) -> str:
        """Where a column of the table called `alias` is to be read."""
        return f"{alias}.{column}"

    def own(self, column: str) -> str:
        """A column of the run itself."""
        raise NotImplementedError

    def alias(self, wanted: Field) -> str:
        key = (wanted.kind, wanted.name)
        return self.aliases.setdefault(key, f"{wanted.kind[0]}{len(self.aliases)}")

    def text(self, wanted: Field) -> str:
        """The value of a param or tag."""
        return self.source(self.alias(wanted), "value")

    def expression(self, wanted: Field) -> str:
        if wanted.kind == "metric":
            columns, template = _SUMMARIES[wanted.summary]
            alias = self.alias(wanted)
            return template.format(*(self.source(alias, column) for column in columns))
        if wanted.kind == "attribute":
            columns, template, _ = _ATTRIBUTES[wanted.name]
            template = template.replace("<e>", self.EXPERIMENT)
            own = [self.own(column) for column in columns]
            if wanted.name == "status" and self.is_mlflow:
                return _MLFLOW_STATUS.format(own[0], own[0])
            if wanted.name == "artifact_uri":
                return template.format(*own).replace("<base>", self.keys[_BASE])
            return template.format(*own)
        if (wanted.kind, wanted.name) == _RUN_NAME:
            return f"NULLIF({self.own('name')}, '')"
        if (wanted.kind, wanted.name) == _PARENT:
            return f"COALESCE({self.text(wanted)}, {_HEX.format(self.own('parent_run_id'))})"
        return self.text(wanted)


class _Open(_Branch):
    """Runs that are not sealed, from the tables of the write path."""

    EXPERIMENT = "e"
    TABLES: ClassVar = {"metric": "series", "param": "params", "tag": "tags"}

    def own(self, column: str) -> str:
        return f"r.{column}"

    def select(self, fields: Sequence[Field], scope: str | None, view: View) -> str:
        columns = "".join(f", {self.expression(f)} AS c{i}" for i, f in enumerate(fields))
        joins = "".join(
            f" LEFT JOIN {self.TABLES[kind]} AS {alias}"
            f" ON {alias}.run_id = r.run_id AND {alias}.key = {self.keys[kind, key]}"
            for (kind, key), alias in self.aliases.items()
        )
        where = "r.segment_id IS NULL"
        if view != "ALL":
            where += f" AND r.lifecycle = '{'active' if view == 'ACTIVE_ONLY' else 'deleted'}'"
        if scope is not None:
            where += f" AND r.experiment_id = ANY ({scope})"
        if any(f.kind == "attribute" and f.name in _OF_EXPERIMENT for f in fields):
            joins += " JOIN experiments AS e ON e.experiment_id = r.experiment_id"
        return f"SELECT r.run_id AS id, r.start_time_ms{columns} FROM runs AS r{joins} WHERE {where}"  # noqa: S608  constants and placeholders


@dataclass(slots=True)
class _Sealed(_Branch):
    """Sealed runs: arrays unnested side by side. Sealed runs are active: deleting one breaks its seal.

    In the list of a SELECT, not in its FROM: there each array would first be written into a store of its own, twice the time.
    arrays: what is unnested, with the name of its column in `u`.
    """

    EXPERIMENT = "u"
    TABLES: ClassVar = {"metric": "search_metrics", "param": "search_params", "tag": "search_tags"}
    WHOLE: ClassVar = {"param": "params", "tag": "tags"}

    arrays: dict[str, str] = field(default_factory=dict)

    def source(self, alias: str, column: str) -> str:
        return "u." + self.arrays.setdefault(f"{alias}.{column}", f"a{len(self.arrays)}")

    def own(self, column: str) -> str:
        return "'active'::text" if column == "lifecycle" else self.source("s", column)

    def text(self, wanted: Field) -> str:
        short, run_id = self.source(self.alias(wanted), "value"), self.own("run_id")
        whole = (
            f"SELECT w.value FROM {self.WHOLE[wanted.kind]} AS w"  # noqa: S608  constants and placeholders
            f" WHERE w.run_id = {run_id} AND w.key = {self.keys[wanted.kind, wanted.name]}"
        )
        return f"CASE WHEN octet_length({short}) < {SEALED_CHARS} THEN {short} ELSE ({whole}) END"

    def select(self, fields: Sequence[Field], scope: str | None) -> str:
        run_id, start = self.own("run_id"), self.own("start_time_ms")
        columns = "".join(f", {self.expression(f)} AS c{i}" for i, f in enumerate(fields))
        joins = "".join(
            f" LEFT JOIN {self.TABLES[kind]} AS {alias}"
            f" ON {alias}.segment_id = s.segment_id AND {alias}.key = {self.keys[kind, key]}"
            for (kind, key), alias in self.aliases.items()
        )
        unnested = [f"unnest({array}) AS {name}" for array, name in self.arrays.items()]
        if any(f.kind == "attribute" and f.name in _OF_EXPERIMENT for f in fields):
            joins += " JOIN experiments AS e ON e.experiment_id = s.experiment_id"
            unnested += ["e.experiment_id", "e.name", "e.artifact_location"]
        where = "" if scope is None else f" WHERE s.experiment_id = ANY ({scope})"
        return (
            f"SELECT {run_id} AS id, {start} AS start_time_ms{columns}"  # noqa: S608  constants and placeholders
            f" FROM (SELECT {', '.join(unnested)} FROM search_segments AS s{joins}{where}) AS u"
            f" WHERE {run_id} IS NOT NULL"
        )
