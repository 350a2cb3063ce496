"""Errors as the API shows them: problem+json (RFC 9457) with a stable `code` for programs and a `hint` for people.

    {"type": "about:blank", "title": "Conflict", "status": 409, "detail": "…", "code": "sequence_gap",
     "hint": "…", "request_id": "…", "expected_seq": 7}

Handlers raise `Problem`; the middleware turns it, and everything else that is raised, into the answer.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus

import orjson
from aiohttp import web

from ingest.artifacts import errors as artifacts
from ingest.store.errors import Contention, ContentRefused, DatabaseUnavailable, NotFound, QueryRefused

logger = logging.getLogger("ingest.http")

CONTENT_TYPE = "application/problem+json"
REQUEST_ID = "X-Request-Id"

_CODES: Mapping[int, str] = {
    400: "bad_request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "body_too_large",
    415: "unsupported_media_type",
    421: "host_not_allowed",
    429: "too_many_requests",
    500: "internal_error",
    503: "unavailable",
}


class Problem(Exception):
    """An answer that is an error.

    Args:
        status: HTTP status, 400 or more.
        code: What programs branch on; never changes once released.
        detail: What happened, with its values.
        hint: What to do about it.
        headers: Such as Retry-After.
        extra: Further members of the JSON object, such as expected_seq.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        hint: str | None = None,
        headers: Mapping[str, str] | None = None,
        **extra: object,
    ) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.hint = hint
        self.headers = dict(headers or {})
        self.extra = extra

    def as_response(self, request_id: str) -> web.Response:
        body: dict[str, object] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }
        if self.hint is not None:
            body["hint"] = self.hint
        body["request_id"] = request_id
        body.update(self.extra)
        return web.Response(
            body=orjson.dumps(body), status=self.status, content_type=CONTENT_TYPE, headers=self.headers
        )


def retry_later(code: str, detail: str, *, seconds: int = 1) -> Problem:
    """503 with Retry-After: the same request may succeed then."""
    return Problem(503, code, detail, headers={"Retry-After": str(seconds)})


def problem_of(error: BaseException) -> Problem:
    """The answer for anything that a handler can raise. What nobody foresaw is 500 and says nothing of the inside."""
    match error:
        case Problem():
            return error
        case web.HTTPException():
            return _of_http_exception(error)
        case DatabaseUnavailable() | Contention():
            return retry_later("database_unavailable", "The database can't be used now; nothing was stored.")
        case NotFound():
            return Problem(404, "not_found", str(error))
        case QueryRefused():
            return Problem(
                400,
                "query_refused",
                str(error),
                hint=error.hint,
                sqlstate=error.sqlstate,
                position=error.position,
            )
        case ContentRefused():
            return Problem(422, "content_refused", str(error))
        case artifacts.ArtifactError():
            return _of_artifacts(error)
        case TimeoutError():
            return retry_later("timeout", "The request took too long and was given up.")
        case _:
            return Problem(
                500, "internal_error", "The service failed; its log has the cause under this request_id."
            )


def answer_logged(request: web.Request, problem: Problem, error: Exception, request_id: str) -> web.Response:
    """The problem as the answer to this request; in the log, too, if it is the service's fault."""
    if problem.status >= 500:
        unforeseen = problem.code == "internal_error"
        logger.log(
            logging.ERROR if unforeseen else logging.WARNING,
            "%s %s answered %d %s: %s",
            request.method,
            request.path,
            problem.status,
            problem.code,
            error,
            exc_info=error if unforeseen else None,
        )
    return problem.as_response(request_id)


_ARTIFACTS: Mapping[type[artifacts.ArtifactError], tuple[int, str, str | None]] = {
    artifacts.UnsafePath: (
        400,
        "path_refused",
        "a path is relative, with / between names; docs/artifacts.md has the rules",
    ),
    artifacts.ArtifactUnknown: (404, "not_found", None),
    artifacts.IsDirectory: (409, "is_directory", "list it, or get it as artifacts.zip?path=…"),
    artifacts.PathTaken: (409, "path_taken", "choose another name, or delete what is there first"),
    artifacts.ContentDiffers: (422, "sha256_mismatch", None),
    artifacts.SizeDiffers: (422, "size_mismatch", None),
    artifacts.UploadUnknown: (404, "upload_unknown", None),
    artifacts.PartRefused: (422, "part_refused", None),
    artifacts.PartsMissing: (409, "parts_missing", "send them, then complete again"),
    artifacts.TooManyFiles: (422, "too_many_files", "take a directory at a time: path=…"),
    artifacts.TooManyTransfers: (429, "too_many_transfers", None),
    artifacts.Unsupported: (501, "not_supported", None),
    artifacts.StoreFull: (507, "store_full", "make room, then send the file again"),
    artifacts.StoreUnavailable: (503, "store_unavailable", None),
}


def _of_artifacts(error: artifacts.ArtifactError) -> Problem:
    status, code, hint = _ARTIFACTS.get(type(error), (500, "internal_error", None))
    headers = {"Retry-After": "2"} if status in {429, 503} else {}
    return Problem(status, code, f"{error}.", hint=hint, headers=headers)


def _of_http_exception(error: web.HTTPException) -> Problem:
    status = error.status
    headers = {
        name: value for name, value in error.headers.items() if name in {"Allow", "Retry-After", "Location"}
    }
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return Problem(
            413, "body_too_large", error.text or "The body is too large.", headers={"Connection": "close"}
        )
    details = {404: "There is no such route.", 405: "The route does not take this method."}
    hint = "GET /api/v1/openapi.json lists the routes" if status in details else None
    detail = details.get(status, error.text or error.reason)
    return Problem(status, _CODES.get(status, "error"), detail, hint=hint, headers=headers)
