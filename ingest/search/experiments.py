"""Searches of experiments: their columns, from the table itself and its tags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ingest.search.listing import Key, Listing, TieBreak
from ingest.search.nodes import Condition, Field, OrderBy, fields_of
from ingest.search.paging import fingerprint
from ingest.search.predicates import Column, ColumnType, Parameters, compile_condition
from ingest.search.runs import View

__all__ = ["ExperimentSearch", "list_experiments"]

_ATTRIBUTES: Final[dict[str, tuple[str, ColumnType]]] = {
    "experiment_id": ("x.id", "bigint"),
    "name": ("x.name", "text"),
    "creation_time": ("x.created_at_ms", "bigint"),
    "last_update_time": ("x.updated_at_ms", "bigint"),
    "lifecycle": ("x.lifecycle", "text"),
}
_VIEWS: Final[dict[View, str]] = {
    "ACTIVE_ONLY": " WHERE e.lifecycle = 'active'",
    "DELETED_ONLY": " WHERE e.lifecycle = 'deleted'",
    "ALL": "",
}


@dataclass(frozen=True, slots=True)
class ExperimentSearch:
    """A search of experiments."""

    condition: Condition
    order: tuple[OrderBy, ...] = ()
    view: View = "ACTIVE_ONLY"


def list_experiments(search: ExperimentSearch) -> Listing:
    """The listing whose pages and count answer the search; its rows begin with experiment_id."""
    parameters = Parameters()
    wanted = [*fields_of(search.condition), *(key.field for key in search.order)]
    tags = list(dict.fromkeys(f for f in wanted if f.kind == "tag"))
    joins = "".join(
        f" LEFT JOIN experiment_tags AS t{i} ON t{i}.experiment_id = e.experiment_id"
        f" AND t{i}.key = {parameters.add(tag.name, 'text')}"
        for i, tag in enumerate(tags)
    )
    columns = "".join(f", t{i}.value AS c{i}" for i in range(len(tags)))
    rows = (
        "SELECT e.experiment_id AS id, e.name, e.created_at_ms, e.updated_at_ms, e.lifecycle"  # noqa: S608  constants and placeholders
        f"{columns} FROM experiments AS e{joins}{_VIEWS[search.view]}"
    )

    def column_of(field: Field) -> Column:
        if field.kind == "tag":
            return Column(f"x.c{tags.index(field)}", "text")
        return Column(*_ATTRIBUTES[field.name])

    # MLflow contract, section 7: created last first; an order of the user's is finished by the newest id first.
    by_age = TieBreak(Column("x.created_at_ms", "bigint"), descending=True)
    by_id = TieBreak(Column("x.id", "bigint"), descending=bool(search.order))
    return Listing(
        rows=rows,
        condition=compile_condition(search.condition, column_of, parameters),
        keys=tuple(Key(column_of(key.field), key.descending) for key in search.order),
        ties=(by_id,) if search.order else (by_age, by_id),
        parameters=parameters,
        question=fingerprint(search.condition, search.order, search.view),
    )
