"""MLflow's REST API: thin handlers between `ingest.mlflow` (what a request says) and `ingest.service` (what is done).

    shape        errors in MLflow's form, for every path of MLflow's
    endpoint     from a parser and an action to routes under both prefixes
    experiments, runs, metrics, searches, artifacts, probes     the endpoints, by subject
    logged_models, registry, model_versions, model_artifacts    the same, of models

A further subject is a module with a tuple ROUTES, joined below.
"""

from __future__ import annotations

from ingest.web.mlflow import (
    artifacts,
    experiments,
    logged_models,
    metrics,
    model_artifacts,
    model_versions,
    probes,
    registry,
    runs,
    searches,
)
from ingest.web.routes import Route

__all__ = ["ROUTES"]

ROUTES: tuple[Route, ...] = (
    *probes.ROUTES,
    *experiments.ROUTES,
    *runs.ROUTES,
    *metrics.ROUTES,
    *searches.ROUTES,
    *artifacts.ROUTES,
    *logged_models.ROUTES,
    *model_artifacts.ROUTES,
    *registry.ROUTES,
    *model_versions.ROUTES,
)
