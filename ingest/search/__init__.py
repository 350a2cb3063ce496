"""Search: the grammar of filters and orders, and the SQL they become. Pure: no database, no network, no clock.

    tokens, parser   text -> `nodes`, by the tables of a `dialect`
    predicates       a condition -> a boolean SQL expression over given columns, all values as parameters
    statements       whole statements for runs and experiments, put together from constant fragments
    paging           page tokens, bound to filter and order

Used by `ingest.store.search`, which runs the statements.
"""

from __future__ import annotations

from ingest.search.dialect import (
    EXPERIMENTS,
    MLFLOW_EXPERIMENTS,
    MLFLOW_LOGGED_MODELS,
    MLFLOW_MODEL_VERSIONS,
    MLFLOW_REGISTERED_MODELS,
    MLFLOW_RUNS,
    RUNS,
    Dialect,
)
from ingest.search.errors import FilterError
from ingest.search.parser import EVERYTHING, parse_field, parse_filter, parse_order

__all__ = [
    "EVERYTHING",
    "EXPERIMENTS",
    "MLFLOW_EXPERIMENTS",
    "MLFLOW_LOGGED_MODELS",
    "MLFLOW_MODEL_VERSIONS",
    "MLFLOW_REGISTERED_MODELS",
    "MLFLOW_RUNS",
    "RUNS",
    "Dialect",
    "FilterError",
    "parse_field",
    "parse_filter",
    "parse_order",
]
