"""The GraphQL questions of MLflow's user interface, answered by what the REST endpoints answer; only with `--mlflow-ui`.

graphql-core reads the question and picks the fields: the interface of each MLflow release asks for its own. Objects are those of the
REST answers, whose names are in snake case; int64 are texts, as JavaScript's numbers have 53 bits.

An error is no status but an `apiError` in the answer, where the interface looks for it.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

import orjson
from aiohttp import web
from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLResolveInfo,
    GraphQLSchema,
    OperationDefinitionNode,
    build_schema,
    execute,
    is_list_type,
    parse,
    validate,
)

from ingest.mlflow import experiments as experiment_requests
from ingest.mlflow import history, model_versions, searches
from ingest.mlflow import runs as run_requests
from ingest.mlflow.bodies import body_object
from ingest.mlflow.errors import MlflowError, refused
from ingest.services import Services
from ingest.web.mlflow import experiments, metrics, runs
from ingest.web.mlflow import model_versions as version_endpoints
from ingest.web.mlflow import searches as search_endpoints
from ingest.web.mlflow.shape import mlflow_error_of
from ingest.web.routes import SERVICES, Route

__all__ = ["ROUTES"]

_SDL: Final = """
directive @component(name: String!) on QUERY | MUTATION

type Query {
  mlflowGetExperiment(input: MlflowGetExperimentInput): MlflowGetExperimentResponse
  mlflowGetRun(input: MlflowGetRunInput): MlflowGetRunResponse
  mlflowSearchRuns(input: MlflowSearchRunsInput): MlflowSearchRunsResponse
  mlflowGetMetricHistoryBulkInterval(input: MlflowGetMetricHistoryBulkIntervalInput): MlflowGetMetricHistoryBulkIntervalResponse
}

input MlflowGetExperimentInput { experimentId: String }
input MlflowGetRunInput { runId: String, runUuid: String }
input MlflowSearchRunsInput {
  experimentIds: [String], filter: String, runViewType: String, maxResults: Int, orderBy: [String], pageToken: String
}
input MlflowGetMetricHistoryBulkIntervalInput {
  runIds: [String], metricKey: String, startStep: Int, endStep: Int, maxResults: Int
}

type ApiError { code: String, message: String, helpUrl: String }
type MlflowGetExperimentResponse { experiment: MlflowExperiment, apiError: ApiError }
type MlflowGetRunResponse { run: MlflowRunExtension, apiError: ApiError }
type MlflowSearchRunsResponse { runs: [MlflowRunExtension!], nextPageToken: String, apiError: ApiError }
type MlflowGetMetricHistoryBulkIntervalResponse { metrics: [MlflowMetricWithRunId!], apiError: ApiError }

type Tag { key: String, value: String }
type MlflowExperiment {
  experimentId: String, name: String, artifactLocation: String, lifecycleStage: String, creationTime: String,
  lastUpdateTime: String, effectiveTraceArchivalRetention: String, tags: [Tag!]
}
type MlflowRunInfo {
  runId: String, runUuid: String, runName: String, experimentId: String, userId: String, status: String,
  startTime: String, endTime: String, artifactUri: String, lifecycleStage: String
}
type MlflowMetric {
  key: String, value: Float, timestamp: String, step: String, modelId: String, runId: String,
  datasetName: String, datasetDigest: String
}
type MlflowMetricWithRunId { key: String, value: Float, timestamp: String, step: String, runId: String }
type MlflowRunData { metrics: [MlflowMetric!], params: [Tag!], tags: [Tag!] }
type MlflowDataset { name: String, digest: String, sourceType: String, source: String, schema: String, profile: String }
type MlflowDatasetInput { tags: [Tag!], dataset: MlflowDataset }
type MlflowModelInput { modelId: String }
type MlflowModelOutput { modelId: String, step: String }
type MlflowRunInputs { datasetInputs: [MlflowDatasetInput!], modelInputs: [MlflowModelInput!] }
type MlflowRunOutputs { modelOutputs: [MlflowModelOutput!] }
type MlflowModelVersion {
  name: String, version: String, status: String, source: String, runId: String, currentStage: String, description: String,
  creationTimestamp: String, lastUpdatedTimestamp: String
}
type MlflowRunExtension {
  info: MlflowRunInfo, data: MlflowRunData, inputs: MlflowRunInputs, outputs: MlflowRunOutputs,
  experiment: MlflowExperiment, modelVersions: [MlflowModelVersion!]
}
"""
MAX_TOKENS: Final = 500
"""Of one request; the longest of the interface has about 150."""
MOST_RUNS: Final = 100
"""Of a search: each may be asked for its experiment and versions. The interface looks at the first."""
_LARGEST: Final = sys.float_info.max
_SNAKE: Final = {"runUuid": "run_id"}

Resolve = Callable[[dict[str, Any], Services], Awaitable[dict[str, Any]]]


def _metric_value(metric: dict[str, Any], _: GraphQLResolveInfo[Services]) -> float | None:
    """What JSON and the interface can take: no NaN, and the largest float for infinity, as MLflow stores it."""
    number = float(metric["value"])
    return None if math.isnan(number) else max(-_LARGEST, min(_LARGEST, number))


async def _experiment(sent: dict[str, Any], services: Services) -> dict[str, Any]:
    return _object(await experiments.get(services, experiment_requests.read_id(sent)))


async def _run(sent: dict[str, Any], services: Services) -> dict[str, Any]:
    return _object(await runs.get(services, run_requests.read_run_id(sent)))


async def _search_runs(sent: dict[str, Any], services: Services) -> dict[str, Any]:
    most = min(sent.get("max_results", MOST_RUNS), MOST_RUNS)
    return _object(
        await search_endpoints.runs(services, searches.read_search_runs({**sent, "max_results": most}))
    )


async def _history(sent: dict[str, Any], services: Services) -> dict[str, Any]:
    return _object(await metrics.get_history_interval(services, history.read_interval(sent)))


def _object(answer: dict[str, Any] | bytes) -> dict[str, Any]:
    # An object may hold pieces that are JSON already.
    found: dict[str, Any] = orjson.loads(answer if isinstance(answer, bytes) else orjson.dumps(answer))
    return found


async def _experiment_of_run(run: dict[str, Any], info: GraphQLResolveInfo[Services]) -> dict[str, Any]:
    found = await _experiment({"experiment_id": run["info"]["experiment_id"]}, info.context)
    experiment: dict[str, Any] = found["experiment"]
    return experiment


async def _versions_of_run(run: dict[str, Any], info: GraphQLResolveInfo[Services]) -> list[dict[str, Any]]:
    sent = {"filter": f"run_id='{run['info']['run_id']}'", "max_results": 1000}
    found = _object(await version_endpoints.search(info.context, model_versions.read_search(sent)))
    versions: list[dict[str, Any]] = found.get("model_versions", [])
    return versions


def _top(resolve: Resolve) -> Callable[..., Awaitable[dict[str, Any]]]:
    """A field of Query: the input in snake case, without what is not given; an error as `apiError`."""

    async def field(_: object, info: GraphQLResolveInfo[Services], **given: Any) -> dict[str, Any]:
        sent = {
            _snake(name): value for name, value in (given.get("input") or {}).items() if value is not None
        }
        try:
            return await resolve(sent, info.context)
        except Exception as error:
            known = mlflow_error_of(error)
            if known is None:
                raise
            return {"api_error": {"code": known.code, "message": known.message}}

    return field


def _plain(source: object, info: GraphQLResolveInfo[Services], **_: object) -> object:
    """A field of an object of REST's, which leaves empty lists out."""
    found = source.get(_snake(info.field_name)) if isinstance(source, dict) else None
    return [] if found is None and is_list_type(info.return_type) else found


def _snake(name: str) -> str:
    return _SNAKE.get(name) or "".join(
        "_" + letter.lower() if letter.isupper() else letter for letter in name
    )


def _make_schema() -> GraphQLSchema:
    schema = build_schema(_SDL)
    for name in ("MlflowMetric", "MlflowMetricWithRunId"):
        cast("Any", schema.type_map[name]).fields["value"].resolve = _metric_value
    query = cast("Any", schema.type_map["Query"]).fields
    query["mlflowGetExperiment"].resolve = _top(_experiment)
    query["mlflowGetRun"].resolve = _top(_run)
    query["mlflowSearchRuns"].resolve = _top(_search_runs)
    query["mlflowGetMetricHistoryBulkInterval"].resolve = _top(_history)
    run = cast("Any", schema.type_map["MlflowRunExtension"]).fields
    run["experiment"].resolve = _experiment_of_run
    run["modelVersions"].resolve = _versions_of_run
    return schema


_SCHEMA: Final = _make_schema()


def _read(body: Any) -> tuple[DocumentNode, dict[str, Any], str | None]:
    """The question, its variables and which of its operations is meant.

    Raises:
        MlflowError: It is no question that this schema answers.
    """
    text, variables, name = body.get("query"), body.get("variables") or {}, body.get("operationName")
    if not isinstance(text, str) or not isinstance(variables, dict):
        raise refused(
            "A GraphQL request is an object with `query`, a text, and perhaps `variables`, an object."
        )
    try:
        document = parse(text, max_tokens=MAX_TOKENS)
    except GraphQLError as error:
        raise refused(f"The GraphQL query can't be read: {error.message}") from error
    if problems := validate(_SCHEMA, document, max_errors=3):
        raise MlflowError(
            "NOT_IMPLEMENTED", "; ".join(problem.message for problem in problems) + " (docs/mlflow.md)"
        )
    if any(
        isinstance(one, OperationDefinitionNode) and len(one.selection_set.selections) > 1
        for one in document.definitions
    ):
        # By aliases one small request could ask for a hundred histories at once.
        raise refused("A GraphQL request may ask one question: one field of Query.")
    return document, variables, name if isinstance(name, str) else None


async def answer(request: web.Request) -> web.Response:
    """MLflow: what its user interface asks in GraphQL."""
    document, variables, name = _read(body_object(await request.read()))
    outcome = execute(
        _SCHEMA,
        document,
        variable_values=variables,
        operation_name=name,
        context_value=request.app[SERVICES],
        field_resolver=_plain,
    )
    result = await outcome if isinstance(outcome, Awaitable) else outcome
    for error in result.errors or ():
        cause = error.original_error
        raise refused(f"The GraphQL query can't be answered: {error.message}") if cause is None else cause
    return web.Response(body=orjson.dumps(result.formatted), content_type="application/json")


ROUTES = (Route("POST", "/graphql", answer, access="read", body="application/json"),)
