"""The session of a browser in its cookie, and what keeps other sites from using it. Pure: headers in, verdict out.

A browser adds the cookie by itself, whoever's page makes it send the request. Two things stand against that: SameSite=Strict,
so that requests from other sites come without it; and an Origin, which browsers add to whatever can change something and which
has to be our own (`ingest.web.hosts`). A request that relies on the cookie and lacks an Origin is no request of our page.
HttpOnly keeps the cookie from scripts, ours included. Secure is set where the page came by https, which the Origin says even
if a proxy in front ends TLS.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

__all__ = ["COOKIE", "SESSION_SECONDS", "NotOurPage", "forget", "of_request", "remember"]

COOKIE: Final = "ingest_session"
SESSION_SECONDS: Final = 14 * 86_400
"""Two weeks, and never longer than its token."""
_HARMLESS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class NotOurPage(Exception):
    """A request relies on the cookie and does not say which page it comes from."""


def of_request(request: web.Request) -> str | None:
    """The session that a request relies on: none if it brings a token, or no cookie.

    Raises:
        NotOurPage: It could change something, and might be another site's.
    """
    if "Authorization" in request.headers:
        return None
    session = request.cookies.get(COOKIE)
    if session and request.method not in _HARMLESS and "Origin" not in request.headers:
        raise NotOurPage(
            "A request with a session's cookie needs an Origin header; scripts send a token instead."
        )
    return session or None


def remember(response: web.Response, session: str, *, seconds: float, origin: str | None) -> None:
    """Have the browser send this session from now on, to nobody else."""
    response.set_cookie(
        COOKIE,
        session,
        max_age=int(seconds),
        path="/",
        httponly=True,
        samesite="Strict",
        secure=_is_https(origin),
    )


def forget(response: web.Response, origin: str | None) -> None:
    """Have the browser drop its session."""
    response.del_cookie(COOKIE, path="/", httponly=True, samesite="Strict", secure=_is_https(origin))


def _is_https(origin: str | None) -> bool:
    return (origin or "").startswith("https://")
