"""MLflow's REST API: thin handlers between `ingest.mlflow` (what a request says) and `ingest.service` (what is done).

    shape        errors in MLflow's form, for every path of MLflow's
    endpoint     from a parser and an action to routes under both prefixes
    experiments, runs, metrics, searches, artifacts, probes     the endpoints, by subject

A further subject (logged models, the registry) is a module with a tuple ROUTES, joined below.
"""

from __future__ import annotations

from ingest.web.mlflow import artifacts, experiments, metrics, probes, runs, searches
from ingest.web.routes import Route

__all__ = ["ROUTES"]

ROUTES: tuple[Route, ...] = (
    *probes.ROUTES,
    *experiments.ROUTES,
    *runs.ROUTES,
    *metrics.ROUTES,
    *searches.ROUTES,
    *artifacts.ROUTES,
)
