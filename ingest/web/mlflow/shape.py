"""Errors under MLflow's paths: its JSON, its codes, its sentences, whatever went wrong and wherever.

The edge asks `mlflow_problem` for them where it makes a problem+json of others. Unknown paths are 404 ENDPOINT_NOT_FOUND, never a 5xx:
the stock client repeats a 5xx for minutes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from uuid import UUID

import orjson
from aiohttp import web

from ingest.artifacts.errors import ArtifactUnknown, IsDirectory, PathTaken, UnsafePath, Unsupported
from ingest.mlflow.errors import MlflowError, already_exists, not_found, refused
from ingest.mlflow.runs import run_not_found
from ingest.service.errors import (
    ExperimentDeleted,
    ExperimentUnknown,
    NameTaken,
    ParamsDiffer,
    RunIsDeleted,
    RunUnknown,
    ServiceError,
    TagUnknown,
    Unstorable,
)
from ingest.store.errors import Contention, ContentRefused, DatabaseUnavailable
from ingest.web.mlflow.model_errors import model_error
from ingest.web.problems import Problem, problem_of
from ingest.write.admission import QueueFull

__all__ = ["MlflowProblem", "mlflow_error_of", "mlflow_problem", "speaks_mlflow"]

_PATHS: Final = re.compile(
    r"/(ajax-)?api/[234]\.0/|/v1/traces|/graphql|/get-artifact|/model-versions/get-artifact"
)
_GENAI: Final = re.compile(
    r"/(ajax-)?api/[234]\.0/mlflow/(traces|assessments|scorers|datasets|webhooks|issues|gateway|label-schemas|"
    r"review-queues|prompt-optimization|jobs|skills|mcp|chat|prompts|genai)\b|/v1/traces|/graphql"
)

_CODES: Final = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "ENDPOINT_NOT_FOUND",
    405: "ENDPOINT_NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
}


def speaks_mlflow(path: str) -> bool:
    """Whether a request to this path expects MLflow's errors."""
    return _PATHS.match(path) is not None


class MlflowProblem(Problem):
    """An error that shows itself in MLflow's form."""

    def as_response(self, request_id: str) -> web.Response:
        del request_id  # the edge sets the header; MLflow's body has no place for it
        body = {"error_code": self.error_code, "message": self.detail}
        return web.Response(
            body=orjson.dumps(body), status=self.status, content_type="application/json", headers=self.headers
        )

    def __init__(
        self, status: int, code: str, detail: str, *, error_code: str, headers: Mapping[str, str]
    ) -> None:
        super().__init__(status, code, detail, headers=headers)
        self.error_code = error_code


def mlflow_problem(error: BaseException, request: web.Request) -> MlflowProblem:
    """The answer for anything that was raised on the way to or in a handler of MLflow's."""
    known = mlflow_error_of(error)
    if known is not None:
        headers = {"Retry-After": f"{known.retry_after:.0f}"} if known.retry_after is not None else {}
        return MlflowProblem(
            known.status, known.code.lower(), known.message, error_code=known.code, headers=headers
        )
    problem = problem_of(error)
    status, message = problem.status, problem.detail
    if status in {404, 405}:
        status, message = 404, _no_endpoint(request)
    elif problem.hint:
        message = f"{message} ({problem.hint})"
    code = _CODES.get(status, "BAD_REQUEST" if status < 500 else "INTERNAL_ERROR")
    headers = {name: value for name, value in problem.headers.items() if name != "Allow"}
    return MlflowProblem(status, problem.code, message, error_code=code, headers=headers)


def _no_endpoint(request: web.Request) -> str:
    if _GENAI.match(request.path):
        return f"{request.path}: tracing, evaluation and the other GenAI services of MLflow are out of this service's scope."
    return f"{request.method} {request.path} is no endpoint of this service."


def mlflow_error_of(error: BaseException) -> MlflowError | None:
    """What MLflow would say of it; None if it is no error of a request or of the store."""
    match error:
        case MlflowError():
            return error
        case ServiceError():
            return _of_service(error)
        case QueueFull():
            return MlflowError("RESOURCE_EXHAUSTED", str(error), retry_after=1)
        case DatabaseUnavailable() | Contention() | TimeoutError():
            text = "The database can't be used now; nothing is known to be stored. Send the same again."
            return MlflowError("TEMPORARILY_UNAVAILABLE", text, retry_after=1)
        case ContentRefused() | IsDirectory() | PathTaken():
            return refused(str(error))
        case UnsafePath():
            return refused(f"Invalid path: {error.reason}")
        case ArtifactUnknown():
            return not_found(f"No such artifact: '{error.path}'")
        case Unsupported():
            return MlflowError("NOT_IMPLEMENTED", str(error))
        case _:
            return None


def _of_service(error: ServiceError) -> MlflowError:
    match error:
        case RunUnknown():
            return run_not_found(error.run_id.hex)
        case RunIsDeleted():
            return refused(
                f"The run {error.run_id.hex} must be in the 'active' state. Current state is deleted."
            )
        case ExperimentUnknown() if isinstance(error.wanted, int):
            return not_found(f"No Experiment with id={error.wanted} exists")
        case ExperimentUnknown():
            return not_found(f"Could not find experiment with name '{error.wanted}'")
        case ExperimentDeleted():
            return refused(
                f"The experiment {error.experiment_id} must be in the 'active' state. Current state is deleted."
            )
        case NameTaken():
            return already_exists(f"Experiment(name={error.name}) already exists.")
        case TagUnknown():
            where = (
                f"run with id {error.owner.hex}"
                if isinstance(error.owner, UUID)
                else f"experiment with id {error.owner}"
            )
            return not_found(f"No tag with name: {error.key} in {where}")
        case ParamsDiffer():
            return _params_differ(error)
        case Unstorable():
            return refused(f"This can't be stored: {error}")
        case _:
            return model_error(error) or refused(str(error))


def _params_differ(error: ParamsDiffer) -> MlflowError:
    changes = [
        {"key": change.key, "old_value": change.old_value, "new_value": change.new_value}
        for change in error.changes
    ]
    return refused(
        f"Changing param values is not allowed. Params were already logged='{changes}' for run ID='{error.run_id.hex}'."
    )
