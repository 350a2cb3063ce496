"""What MLflow's client is told, by the status that makes it wait, repeat or give up."""

from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from ingest.artifacts.errors import PathTaken, StoreFull, StoreUnavailable, TooManyTransfers, Unsupported
from ingest.mlflow.errors import STATUS_OF
from ingest.store.errors import Contention, DatabaseUnavailable
from ingest.web.mlflow.shape import mlflow_problem
from ingest.web.problems import Problem
from ingest.write.admission import QueueFull

REPEATED = {408, 429, 500, 502, 503, 504}
"""Statuses after which the client sends again what may be repeated: seven times, for minutes."""
REQUEST = make_mocked_request("POST", "/api/2.0/mlflow/runs/log-batch")


@pytest.mark.parametrize(
    ("error", "status", "code", "retry_after"),
    [
        (QueueFull(1), 429, "RESOURCE_EXHAUSTED", "1"),
        (TooManyTransfers("all taken"), 429, "RESOURCE_EXHAUSTED", "2"),
        (DatabaseUnavailable("gone"), 503, "TEMPORARILY_UNAVAILABLE", "1"),
        (Contention("deadlock"), 503, "TEMPORARILY_UNAVAILABLE", "1"),
        (TimeoutError(), 503, "TEMPORARILY_UNAVAILABLE", "1"),
        (StoreUnavailable("no answer"), 503, "TEMPORARILY_UNAVAILABLE", "2"),
        (web.HTTPRequestEntityTooLarge(1, 2), 413, "BAD_REQUEST", None),
        (StoreFull("no room"), 507, "INTERNAL_ERROR", None),
        (PathTaken("a", "a file"), 400, "INVALID_PARAMETER_VALUE", None),
        (Unsupported("no parts"), 501, "NOT_IMPLEMENTED", None),
        (Problem(401, "unauthenticated", "Who?"), 401, "UNAUTHENTICATED", None),
        (Problem(403, "forbidden", "Not you."), 403, "PERMISSION_DENIED", None),
        (web.HTTPMethodNotAllowed("GET", ["POST"]), 404, "ENDPOINT_NOT_FOUND", None),
        (RuntimeError("a secret"), 500, "INTERNAL_ERROR", None),
    ],
)
def test_overload_is_waited_out_and_what_stays_wrong_is_not_repeated(
    error: Exception, status: int, code: str, retry_after: str | None
):
    problem = mlflow_problem(error, REQUEST)
    assert (problem.status, problem.error_code) == (status, code)
    assert problem.headers.get("Retry-After") == retry_after
    assert (status in REPEATED) == (retry_after is not None or isinstance(error, RuntimeError))
    assert "secret" not in problem.detail


def test_a_code_has_its_status():
    """As MLflow's server has it, but for INVALID_STATE: its 500 is repeated though nothing changes."""
    by_status: dict[int, set[str]] = {}
    for code, status in STATUS_OF.items():
        by_status.setdefault(status, set()).add(code)
    assert by_status == {
        400: {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_ALREADY_EXISTS", "INVALID_STATE"},
        401: {"UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"},
        403: {"PERMISSION_DENIED"},
        404: {"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "ENDPOINT_NOT_FOUND"},
        409: {"ALREADY_EXISTS", "RESOURCE_CONFLICT", "ABORTED"},
        429: {"REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED"},
        500: {"INTERNAL_ERROR", "DATA_LOSS"},
        501: {"NOT_IMPLEMENTED"},
        503: {"TEMPORARILY_UNAVAILABLE"},
        504: {"DEADLINE_EXCEEDED"},
    }
