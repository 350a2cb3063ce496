"""What can be searched, and how it is called: tables given to the parser.

A `Dialect` lists entities (metrics, params, tags: things with keys) and attributes (columns of the thing itself), with
their names, types and operators. A strict dialect has MLflow's grammar and no more: AND only, no brackets, no NOT.
The others add OR, NOT, brackets, summaries of metrics, IS NULL everywhere, IS NAN, RLIKE, and numbers for params.

Adding something to search means adding a row here and a column expression where its SQL is put together.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias

from ingest.search.nodes import Kind

__all__ = [
    "EXPERIMENTS",
    "MLFLOW_EXPERIMENTS",
    "MLFLOW_LOGGED_MODELS",
    "MLFLOW_MODEL_VERSIONS",
    "MLFLOW_REGISTERED_MODELS",
    "MLFLOW_RUNS",
    "RUNS",
    "Attribute",
    "Dialect",
    "Entity",
]

ValueType: TypeAlias = Literal["number", "text", "id"]
"""An id is an integer that is written as a quoted text."""

ORDERING: Final = ("=", "!=", "<", "<=", ">", ">=")
MATCHING: Final = ("=", "!=", "LIKE", "ILIKE")
LISTS: Final = ("IN", "NOT IN")
MORE_MATCHING: Final = (*MATCHING, *LISTS, "NOT LIKE", "NOT ILIKE", "RLIKE", "NOT RLIKE")


@dataclass(frozen=True, slots=True)
class Entity:
    """Things with keys of their own, such as metrics.

    names: before the dot, as users write them. label: in messages. keys: the only ones there are; None: any.
    """

    kind: Kind
    names: tuple[str, ...]
    label: str
    type: ValueType
    operators: tuple[str, ...]
    keys: tuple[str, ...] | None = None
    has_null: bool = False
    takes_numbers: bool = False
    """Whether its texts may also be compared with numbers, as numbers."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """A column of the thing itself, by its canonical name."""

    name: str
    type: ValueType
    operators: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    only_filters: tuple[str, ...] = ()
    """Those of its names that an order does not take."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What one parser accepts.

    attribute_names: what may stand before an attribute's dot. unknown_entity: the end of the message about another word.
    """

    name: str
    entities: tuple[Entity, ...]
    attributes: tuple[Attribute, ...]
    attribute_names: tuple[str, ...] = ("attribute", "attributes", "attr", "run")
    strict: bool = False
    unknown_entity: str = "Valid values are ['metric', 'parameter', 'tag', 'attribute', 'dataset']"
    _entities: dict[str, Entity] = field(default_factory=dict, repr=False, compare=False)
    _attributes: dict[str, Attribute] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._entities.update({name: entity for entity in self.entities for name in entity.names})
        self._attributes.update({name: a for a in self.attributes for name in (a.name, *a.aliases)})

    def entity(self, name: str) -> Entity | None:
        return self._entities.get(name)

    def attribute(self, name: str) -> Attribute | None:
        return self._attributes.get(name)

    @property
    def attribute_keys(self) -> tuple[str, ...]:
        return tuple(self._attributes)

    @property
    def list_attributes(self) -> list[str]:
        return [a.name for a in self.attributes if "IN" in a.operators]


_METRICS = Entity("metric", ("metric", "metrics"), "metric", "number", ORDERING)
_PARAMS = Entity(
    "param", ("param", "params", "parameter", "parameters"), "parameter", "text", MATCHING, has_null=True
)
_TAGS = Entity("tag", ("tag", "tags"), "tag", "text", MATCHING, has_null=True)
_DATASETS = Entity(
    "dataset",
    ("dataset", "datasets"),
    "dataset",
    "text",
    (*MATCHING, *LISTS),
    keys=("name", "digest", "context"),
)

MLFLOW_RUNS: Final = Dialect(
    name="MLflow runs",
    strict=True,
    entities=(_METRICS, _PARAMS, _TAGS, _DATASETS),
    attributes=(
        Attribute("run_id", "text", (*MATCHING, *LISTS)),
        Attribute(
            "run_name",
            "text",
            MATCHING,
            aliases=("run name", "Run name", "Run Name"),
            only_filters=("run name", "Run name", "Run Name"),
        ),
        Attribute("status", "text", MATCHING),
        Attribute("user_id", "text", MATCHING),
        Attribute("artifact_uri", "text", MATCHING),
        Attribute("start_time", "number", ORDERING, aliases=("created", "Created")),
        Attribute("end_time", "number", ORDERING),
    ),
)

RUNS: Final = Dialect(
    name="runs",
    entities=(
        replace(_METRICS, has_null=True),
        replace(_PARAMS, operators=MORE_MATCHING, takes_numbers=True),
        replace(_TAGS, operators=MORE_MATCHING, takes_numbers=True),
        replace(_DATASETS, operators=MORE_MATCHING),
    ),
    attributes=(
        Attribute("run_id", "text", MORE_MATCHING),
        Attribute("run_name", "text", MORE_MATCHING, aliases=("name", "run name", "Run name", "Run Name")),
        Attribute("status", "text", MORE_MATCHING),
        Attribute("user_id", "text", MORE_MATCHING, aliases=("user", "user_name")),
        Attribute("artifact_uri", "text", MORE_MATCHING),
        Attribute("start_time", "number", ORDERING, aliases=("created", "Created", "start_time_ms")),
        Attribute("end_time", "number", ORDERING, aliases=("end_time_ms",)),
        Attribute("duration", "number", ORDERING, aliases=("duration_ms",)),
        Attribute("experiment_id", "id", (*ORDERING, *LISTS)),
        Attribute("experiment", "text", MORE_MATCHING, aliases=("experiment_name",)),
        Attribute("lifecycle", "text", MATCHING, aliases=("lifecycle_stage",)),
        Attribute("parent_run_id", "text", (*MATCHING, *LISTS)),
    ),
)

MLFLOW_EXPERIMENTS: Final = Dialect(
    name="MLflow experiments",
    strict=True,
    attribute_names=("attribute", "attributes"),
    unknown_entity="Valid entity types are ('attribute', 'attributes', 'tag', 'tags')",
    entities=(_TAGS,),
    attributes=(
        Attribute("name", "text", MATCHING),
        Attribute("creation_time", "number", ORDERING),
        Attribute("last_update_time", "number", ORDERING),
        Attribute("experiment_id", "id", ("=", "!=", *LISTS)),
    ),
)

EXPERIMENTS: Final = replace(
    MLFLOW_EXPERIMENTS,
    name="experiments",
    strict=False,
    attribute_names=("attribute", "attributes", "attr"),
    entities=(replace(_TAGS, operators=MORE_MATCHING, takes_numbers=True),),
    attributes=(
        Attribute("name", "text", MORE_MATCHING),
        Attribute("creation_time", "number", ORDERING, aliases=("created_at_ms",)),
        Attribute("last_update_time", "number", ORDERING, aliases=("updated_at_ms",)),
        Attribute("experiment_id", "id", (*ORDERING, *LISTS)),
        Attribute("lifecycle", "text", MATCHING, aliases=("lifecycle_stage",)),
    ),
    _entities={},
    _attributes={},
)

# --- models -----------------------------------------------------------------------------------------------------------

_TIMES: Final = (
    Attribute("creation_timestamp", "number", ORDERING, aliases=("creation_time",)),
    Attribute("last_updated_timestamp", "number", ORDERING, aliases=("last_updated_time",)),
)
_NAMES: Final = (*MATCHING, *LISTS)
_ATTRIBUTE: Final = ("attribute", "attributes")

MLFLOW_LOGGED_MODELS: Final = Dialect(
    name="MLflow logged models",
    strict=True,
    attribute_names=_ATTRIBUTE,
    unknown_entity="Valid values are ['metrics', 'params', 'tags', 'attributes']",
    entities=(
        _METRICS,
        replace(_PARAMS, operators=_NAMES, has_null=False),
        replace(_TAGS, operators=_NAMES, has_null=False),
    ),
    attributes=(
        Attribute("name", "text", _NAMES),
        Attribute("model_id", "text", _NAMES),
        Attribute("model_type", "text", _NAMES),
        Attribute("status", "text", _NAMES),
        Attribute("source_run_id", "text", _NAMES),
        *_TIMES,
    ),
)

MLFLOW_REGISTERED_MODELS: Final = Dialect(
    name="MLflow registered models",
    strict=True,
    attribute_names=_ATTRIBUTE,
    unknown_entity="Valid values are ['attribute', 'tag']",
    entities=(replace(_TAGS, has_null=False),),
    attributes=(
        Attribute("name", "text", _NAMES),
        Attribute("last_updated_timestamp", "number", (), aliases=("timestamp",)),
        Attribute("creation_timestamp", "number", ()),
    ),
)
"""Attributes without operators are for orders only."""

MLFLOW_MODEL_VERSIONS: Final = Dialect(
    name="MLflow model versions",
    strict=True,
    attribute_names=_ATTRIBUTE,
    unknown_entity="Valid values are ['attribute', 'tag']",
    entities=(replace(_TAGS, has_null=False),),
    attributes=(
        Attribute("name", "text", _NAMES),
        Attribute("run_id", "text", _NAMES),
        Attribute("source_path", "text", MATCHING),
        Attribute("version_number", "number", ORDERING),
        Attribute("creation_timestamp", "number", ()),
        Attribute("last_updated_timestamp", "number", (), aliases=("timestamp",)),
    ),
)
