"""Searches of models: logged ones with their metrics, registered ones, and versions. Tags and params are JSON objects.

Prompts of MLflow's GenAI side lie in the same tables as registered models, marked by a tag. They are left out unless the
filter asks for them; a filter that excludes them by name finds what lacks the tag, too. MLflow contract, section 10.8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ingest.search.dialect import MLFLOW_LOGGED_MODELS
from ingest.search.errors import FilterError
from ingest.search.listing import Key, Listing, TieBreak
from ingest.search.nodes import And, Comparison, Condition, Field, OrderBy
from ingest.search.paging import fingerprint
from ingest.search.parser import parse_field
from ingest.search.predicates import Column, ColumnType, Parameters, compile_condition

__all__ = [
    "Dataset",
    "LoggedModelSearch",
    "MetricOrder",
    "list_logged_models",
    "list_model_versions",
    "list_registered_models",
    "parse_model_field",
]

Dataset = tuple[str, str]
"""Name and digest; "" where any digest will do."""

PROMPT_TAG: Final = "mlflow.prompt.is_prompt"

_LOGGED: Final[dict[str, tuple[str, ColumnType]]] = {
    "name": ("x.name", "text"),
    "model_id": ("x.id", "text"),
    "model_type": ("x.model_type", "text"),
    "status": ("x.status", "text"),
    "source_run_id": ("x.source_run_id", "text"),
    "creation_timestamp": ("x.created_at_ms", "bigint"),
    "last_updated_timestamp": ("x.updated_at_ms", "bigint"),
}
_REGISTERED: Final[dict[str, tuple[str, ColumnType]]] = {
    "name": ("x.id", "text"),
    "creation_timestamp": ("x.created_at_ms", "bigint"),
    "last_updated_timestamp": ("x.updated_at_ms", "bigint"),
}
_VERSIONS: Final[dict[str, tuple[str, ColumnType]]] = {
    **_REGISTERED,
    "run_id": ("x.run_id", "text"),
    "source_path": ("x.source", "text"),
    "version_number": ("x.version", "bigint"),
}


@dataclass(frozen=True, slots=True)
class MetricOrder:
    """One key of an order of logged models. dataset: what a metric was measured on; None for what the search says."""

    field: Field
    descending: bool
    dataset: Dataset | None = None


@dataclass(frozen=True, slots=True)
class LoggedModelSearch:
    """A search of active logged models. datasets: () where metrics on any dataset count."""

    condition: Condition
    experiment_ids: tuple[int, ...]
    order: tuple[MetricOrder, ...] = ()
    datasets: tuple[Dataset, ...] = ()


def parse_model_field(name: str) -> Field:
    """What logged models can be ordered by: an attribute, or `metrics.` and any key.

    Raises:
        FilterError: It is neither.
    """
    kind, dot, key = name.partition(".")
    if dot and key and kind in {"metric", "metrics"} and key[0] not in '`"':
        return Field("metric", key)
    found = parse_field(name, MLFLOW_LOGGED_MODELS)
    if found.kind not in {"metric", "attribute"}:
        raise FilterError(
            f"Invalid order by field name: {name[:100]}. Only attributes and metrics order models.", name
        )
    return found


def list_logged_models(search: LoggedModelSearch) -> Listing:
    """The listing whose pages answer the search; its rows begin with model_id."""
    parameters = Parameters()
    scope = parameters.add(list(search.experiment_ids), "bigint[]")
    joins: list[str] = []
    columns: dict[tuple[Field, tuple[Dataset, ...]], str] = {}

    def column_of(field: Field, datasets: tuple[Dataset, ...] = search.datasets) -> Column:
        if field.kind == "attribute":
            return Column(*_LOGGED[field.name])
        if field.kind != "metric":
            return _json_column(field, parameters)
        if (field, datasets) not in columns:
            columns[field, datasets] = f"c{len(joins)}"
            joins.append(_latest_metric(f"p{len(joins)}", field.name, datasets, parameters))
        return Column(f"x.{columns[field, datasets]}", "float8")

    condition = compile_condition(search.condition, column_of, parameters)
    keys = tuple(
        Key(column_of(key.field, (key.dataset,) if key.dataset else search.datasets), key.descending)
        for key in search.order
    )
    shown = "".join(f", p{i}.value AS c{i}" for i in range(len(joins)))
    rows = (
        "SELECT m.model_id AS id, m.name, m.model_type, m.source_run_id, m.status, m.created_at_ms, m.updated_at_ms,"  # noqa: S608  constants and placeholders
        f" m.params, m.tags{shown} FROM logged_models AS m{''.join(joins)}"
        f" WHERE m.experiment_id = ANY ({scope}) AND m.lifecycle = 'active'"
    )
    return Listing(
        rows=rows,
        condition=condition,
        keys=keys,
        ties=(
            TieBreak(Column("x.created_at_ms", "bigint"), descending=True),
            TieBreak(Column("x.id", "text")),
        ),
        parameters=parameters,
        question=fingerprint(search.condition, sorted(search.experiment_ids), search.order, search.datasets),
    )


def _latest_metric(alias: str, key: str, datasets: Sequence[Dataset], parameters: Parameters) -> str:
    """The latest value of a metric of each model, on one of the datasets if there are any."""
    on = ""
    if datasets:
        names = parameters.add([name for name, _ in datasets], "text[]")
        digests = parameters.add([digest for _, digest in datasets], "text[]")
        on = (
            f" AND EXISTS (SELECT FROM unnest({names}, {digests}) AS d (name, digest)"
            " WHERE d.name = l.dataset_name AND d.digest IN ('', l.dataset_digest))"
        )
    return (
        " LEFT JOIN LATERAL (SELECT l.value FROM logged_model_metrics AS l WHERE l.model_id = m.model_id"  # noqa: S608  constants and placeholders
        f" AND l.key = {parameters.add(key, 'text')}{on}"
        f" ORDER BY l.step DESC, l.time_ms DESC, l.value DESC LIMIT 1) AS {alias} ON true"
    )


def list_registered_models(condition: Condition, order: tuple[OrderBy, ...]) -> Listing:
    """The listing of registered models; its rows begin with the name."""
    prompts = _prompts_clause(condition, "r.tags")
    rows = (
        "SELECT r.name AS id, r.created_at_ms, r.updated_at_ms, r.tags FROM registered_models AS r"  # noqa: S608  constants
        f"{prompts}"
    )
    return _registry_listing(
        rows, _REGISTERED, condition, order, default=(), ties=(TieBreak(Column("x.id", "text")),)
    )


def list_model_versions(condition: Condition, order: tuple[OrderBy, ...]) -> Listing:
    """The listing of versions; its rows begin with the name and end with the version's number."""
    prompts = _prompts_clause(condition, "(r.tags || v.tags)")
    rows = (
        "SELECT v.name AS id, v.version::bigint AS version, v.run_id, v.source, v.created_at_ms, v.updated_at_ms, v.tags"  # noqa: S608  constants
        f" FROM model_versions AS v JOIN registered_models AS r ON r.name = v.name{prompts}"
    )
    newest = Key(Column("x.updated_at_ms", "bigint"), descending=True)
    ties = (TieBreak(Column("x.id", "text")), TieBreak(Column("x.version", "bigint"), descending=True))
    return _registry_listing(rows, _VERSIONS, condition, order, default=(newest,), ties=ties)


def _registry_listing(
    rows: str,
    attributes: dict[str, tuple[str, ColumnType]],
    condition: Condition,
    order: tuple[OrderBy, ...],
    *,
    default: tuple[Key, ...],
    ties: tuple[TieBreak, ...],
) -> Listing:
    parameters = Parameters()

    def column_of(field: Field) -> Column:
        return (
            Column(*attributes[field.name]) if field.kind == "attribute" else _json_column(field, parameters)
        )

    return Listing(
        rows=rows,
        condition=compile_condition(_without_prompts(condition), column_of, parameters),
        keys=tuple(Key(column_of(key.field), key.descending) for key in order) or default,
        ties=ties,
        parameters=parameters,
        question=fingerprint(rows, condition, order),
    )


def _json_column(field: Field, parameters: Parameters) -> Column:
    column = "x.params" if field.kind == "param" else "x.tags"
    return Column(f"({column} ->> {parameters.add(field.name, 'text')})", "text")


def _is_about_prompts(part: Condition) -> bool:
    return isinstance(part, Comparison) and part.field == Field("tag", PROMPT_TAG)


def _prompts_clause(condition: Condition, tags: str) -> str:
    parts = condition.parts if isinstance(condition, And) else (condition,)
    wanted = any(
        isinstance(part, Comparison) and _is_about_prompts(part) and part.operator != "!=" for part in parts
    )
    return "" if wanted else f" WHERE {tags} ->> '{PROMPT_TAG}' IS DISTINCT FROM 'true'"


def _without_prompts(condition: Condition) -> Condition:
    """The condition without `tag != 'true'` on the tag of prompts: `_prompts_clause` has said it already."""
    parts = condition.parts if isinstance(condition, And) else (condition,)
    return And(
        tuple(
            part
            for part in parts
            if not (_is_about_prompts(part) and isinstance(part, Comparison) and part.operator == "!=")
        )
    )
