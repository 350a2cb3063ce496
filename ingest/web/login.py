"""Login and logout of browsers, and who is logged in. A token is exchanged for a session (`ingest.web.sessions`)."""

from __future__ import annotations

from typing import Any, Final

import orjson
from aiohttp import web

from ingest.auth import Principal, Unauthenticated, hash_token, new_session
from ingest.web import sessions
from ingest.web.health import json_response
from ingest.web.problems import Problem
from ingest.web.routes import SERVICES, Route

__all__ = ["ROUTES"]

MAX_BODY_BYTES: Final = 4096


async def post_login(request: web.Request) -> web.Response:
    """Log a browser in: {"token": "ingest_…"} sets a cookie that stands for the token from then on."""
    services = request.app[SERVICES]
    token = await _token(request)
    try:
        principal = await services.authenticator.identify(f"Bearer {token}")
    except Unauthenticated as error:
        hint = "ingest token create NAME --role read, on the service's machine, makes one"
        raise Problem(401, "unauthenticated", str(error), hint=hint, headers=_CHALLENGE) from None
    response = json_response(_shown(principal, needs_token=services.authenticator.required))
    if principal.token_id is not None:
        session = new_session()
        await services.housekeeping.create_session(
            hash_token(session), principal.token_id, sessions.SESSION_SECONDS
        )
        sessions.remember(
            response, session, seconds=sessions.SESSION_SECONDS, origin=request.headers.get("Origin")
        )
    return response


async def post_logout(request: web.Request) -> web.Response:
    """Log the browser out: its session is over, not only forgotten."""
    session = request.cookies.get(sessions.COOKIE)
    if session:
        await request.app[SERVICES].housekeeping.delete_session(hash_token(session))
    response = web.Response(status=204)
    sessions.forget(response, request.headers.get("Origin"))
    return response


async def get_session(request: web.Request) -> web.Response:
    """Who asks, by token or by session; role and name are null if that is needed and missing."""
    authenticator = request.app[SERVICES].authenticator
    try:
        principal = await authenticator.identify(
            request.headers.get("Authorization"), session=sessions.of_request(request)
        )
    except Unauthenticated:
        principal = None
    return json_response(_shown(principal, needs_token=authenticator.required))


_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="ingest"'}


def _shown(principal: Principal | None, *, needs_token: bool) -> dict[str, Any]:
    return {
        "needs_token": needs_token,
        "role": None if principal is None else principal.role,
        "name": None if principal is None else principal.name,
    }


async def _token(request: web.Request) -> str:
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise Problem(413, "body_too_large", f"A login may have {MAX_BODY_BYTES:,} bytes.")
    try:
        body = orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise Problem(400, "bad_request", f"The body is not JSON: {error}") from error
    token = body.get("token") if isinstance(body, dict) else None
    if not isinstance(token, str) or not token.strip():
        raise Problem(400, "bad_request", 'The body must be {"token": "ingest_…"}.')
    return token.strip()


ROUTES = (
    Route("POST", "/api/v1/login", post_login, access="open", body="application/json"),
    Route("POST", "/api/v1/logout", post_logout, access="open"),
    Route("GET", "/api/v1/session", get_session, access="open"),
)
