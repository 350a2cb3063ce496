"""POST and PATCH of experiments and runs: what people change by hand, in the dashboard or by a script.

A PATCH names what is to change and leaves the rest; it is done whole or not at all, and answers with the thing as it is then.
A run's note is its tag `mlflow.note.content`, in Markdown. Deleting only hides: `ingest gc` deletes for good.
"""

from __future__ import annotations

from typing import Any, Final, Literal, cast
from uuid import UUID

import orjson
from aiohttp import web

from ingest.service import experiments, runs
from ingest.service.errors import (
    ExperimentDeleted,
    ExperimentUnknown,
    NameTaken,
    RunIsDeleted,
    RunUnknown,
    ServiceError,
)
from ingest.store.retention import Rule, RuleInvalid
from ingest.web.problems import Problem
from ingest.web.reads import get_experiment, get_run
from ingest.web.routes import SERVICES, Route
from ingest_schema.errors import SchemaError
from ingest_schema.ids import parse_id
from ingest_schema.values import check_key, check_text

__all__ = ["ROUTES"]

MAX_TAGS: Final = 1_000
"""Of one request."""


async def post_experiment(request: web.Request) -> web.Response:
    """Make an experiment."""
    body = await _body(request, {"name", "tags"})
    name = _name(body, "experiment")
    if name is None:
        raise Problem(400, "bad_request", "name is missing.")
    tags = {key: value for key, value in _tags(body).items() if value is not None}
    try:
        experiment_id = await experiments.create_experiment(request.app[SERVICES].database, name, tags)
    except ServiceError as error:
        raise _problem(error) from error
    request.match_info["experiment_id"] = str(experiment_id)
    return await get_experiment(request)


async def patch_experiment(request: web.Request) -> web.Response:
    """Rename, tag, delete or restore an experiment, or set what becomes of its runs with time."""
    body = await _body(request, {"name", "tags", "lifecycle", "retention"})
    text = request.match_info["experiment_id"]
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Problem(400, "bad_request", f"experiment_id must be an integer from 0, not {text[:40]!r}.")
    try:
        await experiments.edit_experiment(
            request.app[SERVICES].database,
            int(text),
            name=_name(body, "experiment"),
            tags=_tags(body),
            lifecycle=_lifecycle(body),
            retention=_retention(body),
        )
    except ServiceError as error:
        raise _problem(error) from error
    return await get_experiment(request)


async def patch_run(request: web.Request) -> web.Response:
    """Rename, tag, delete or restore a run."""
    body = await _body(request, {"name", "tags", "lifecycle"})
    name, tags = _name(body, "run"), _tags(body)
    if runs.NAME_TAG in tags:
        raise Problem(400, "bad_request", f"{runs.NAME_TAG} is the run's name: send it as name.")
    try:
        run_id: UUID = parse_id(request.match_info["run_id"])
        await runs.edit_run(
            request.app[SERVICES].database, run_id, name=name, tags=tags, lifecycle=_lifecycle(body)
        )
    except ValueError as error:
        raise Problem(400, "bad_request", f"run_id: {error}.") from error
    except ServiceError as error:
        raise _problem(error) from error
    return await get_run(request)


def _problem(error: ServiceError) -> Problem:
    match error:
        case ExperimentUnknown() | RunUnknown():
            return Problem(404, "not_found", f"{error}.")
        case NameTaken():
            hint = "choose another name; deleted experiments keep theirs until ingest gc"
            return Problem(409, "name_taken", f"{error}.", hint=hint)
        case ExperimentDeleted() | RunIsDeleted():
            hint = 'restore it first, or in the same request: "lifecycle": "active"'
            return Problem(409, "is_deleted", f"{error}.", hint=hint)
    raise error


async def _body(request: web.Request, known: set[str]) -> dict[str, Any]:
    try:
        body = orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise Problem(400, "bad_request", f"the body is no JSON: {error}.") from error
    if not isinstance(body, dict):
        raise Problem(400, "bad_request", "the body must be a JSON object.")
    if unknown := sorted(body.keys() - known):
        listed = ", ".join(sorted(known))
        raise Problem(400, "bad_request", f"there is no field {unknown[0][:40]!r}; there are {listed}.")
    return body


def _name(body: dict[str, Any], what: str) -> str | None:
    name = body.get("name")
    if name is None:
        return None
    try:
        check_key(name, what)
    except SchemaError as error:
        raise Problem(400, "bad_request", f"{error}.") from error
    if not name.strip():
        raise Problem(400, "bad_request", f"the name of a {what} may not be blank.")
    return cast("str", name)


def _tags(body: dict[str, Any]) -> dict[str, str | None]:
    tags = body.get("tags")
    if tags is None:
        return {}
    if not isinstance(tags, dict) or len(tags) > MAX_TAGS:
        raise Problem(
            400, "bad_request", f"tags must be an object of at most {MAX_TAGS:,} texts; null deletes a tag."
        )
    try:
        for key, value in tags.items():
            check_key(key, "tag")
            if value is not None:
                check_text(key, value, "tag")
    except SchemaError as error:
        raise Problem(400, "bad_request", f"{error}.") from error
    return tags


def _lifecycle(body: dict[str, Any]) -> Any:
    lifecycle = body.get("lifecycle")
    if lifecycle not in {None, "active", "deleted"}:
        raise Problem(400, "bad_request", "lifecycle must be active or deleted.")
    return lifecycle


def _retention(body: dict[str, Any]) -> Rule | Literal["as it is"] | None:
    """The rule; null takes it away, nothing said leaves it."""
    if "retention" not in body:
        return "as it is"
    given = body["retention"]
    if given is None:
        return None
    if not isinstance(given, dict):
        raise Problem(400, "bad_request", "retention must be an object, or null for no rule.")
    try:
        return Rule.of(given)
    except RuleInvalid as error:
        raise Problem(400, "bad_request", f"retention: {error}.") from error


ROUTES = (
    Route("POST", "/api/v1/experiments", post_experiment, access="write", body="application/json"),
    Route(
        "PATCH",
        "/api/v1/experiments/{experiment_id}",
        patch_experiment,
        access="write",
        body="application/json",
    ),
    Route("PATCH", "/api/v1/runs/{run_id}", patch_run, access="write", body="application/json"),
)
