"""MLflow's own user interface at /mlflow, with our REST behind it; only with `ingest serve --mlflow-ui`.

Its files come from the installed mlflow package (`ingest.mlflow.ui_build`). What it asks for beyond experiments, runs, models and
artifacts (traces, evaluation, telemetry) is out of this service's scope: it is told that there is none of it.
"""

from __future__ import annotations

from typing import Final

import orjson
from aiohttp import web

from ingest.mlflow.ui_build import UiBuild, UiMissing, find_ui_build
from ingest.web.problems import Problem
from ingest.web.routes import Handler, Route

__all__ = ["ui_routes"]

_POLICY: Final = (
    "default-src 'self'; script-src 'self' 'unsafe-eval' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; frame-src 'self' blob:; "
    "connect-src 'self' data: blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
"""As tight as that build allows: it compiles templates of plots and sets styles in elements."""
_NOTHING: Final[tuple[tuple[str, object], ...]] = (
    ("/ajax-api/2.0/mlflow/gateway-proxy", {"endpoints": []}),
    ("/ajax-api/2.0/mlflow/users/current", {}),
    (
        "/ajax-api/3.0/mlflow/assistant/config",
        {"providers": {}, "projects": {}, "remote_access_allowed": False},
    ),
    (
        "/ajax-api/3.0/mlflow/assistant/providers",
        {"providers": [], "resolved": None, "gateway_vendor_options": []},
    ),
    (
        "/ajax-api/3.0/mlflow/ui-telemetry",
        {"disable_ui_telemetry": True, "disable_ui_events": [], "ui_rollout_percentage": 0},
    ),
)
"""What the pages in scope ask for beside, by path: there is no assistant, no gateway and nobody who counts clicks."""


def ui_routes() -> tuple[Route, ...]:
    """The page, its files, and the answers to what it asks for in vain.

    Raises:
        UiMissing: mlflow is not installed here, or without its build.
    """
    build = find_ui_build()
    try:
        from ingest.web.mlflow import graphql
    except ImportError as error:
        raise UiMissing(
            f"MLflow's user interface asks in GraphQL: pip install graphql-core ({error})"
        ) from error
    return (
        *graphql.ROUTES,
        *(Route("GET", path, _nothing(answer), access="open") for path, answer in _NOTHING),
        *(
            Route("GET", path, _page(build), access="open", answer="text/html")
            for path in ("/mlflow", "/mlflow/")
        ),
        Route(
            "GET", "/static-files/{path:.+}", _file(build), access="open", answer="application/octet-stream"
        ),
    )


def _page(build: UiBuild) -> Handler:
    async def page(request: web.Request) -> web.Response:
        """MLflow's user interface."""
        del request
        return web.Response(
            body=build.page,
            content_type="text/html",
            charset="utf-8",
            headers={"Cache-Control": "no-cache", "Content-Security-Policy": _POLICY},
        )

    return page


def _file(build: UiBuild) -> Handler:
    async def file(request: web.Request) -> web.StreamResponse:
        """A file of MLflow's user interface."""
        path = build.files.get(request.match_info["path"])
        if path is None:
            raise Problem(404, "not_found", f"MLflow {build.version}'s user interface has no such file.")
        # Names hold a digest of the content, but those at the top; the policy counts for workers.
        kept = (
            "public, max-age=31536000, immutable"
            if path.parent.name in {"js", "css", "media"}
            else "no-cache"
        )
        return web.FileResponse(path, headers={"Cache-Control": kept, "Content-Security-Policy": _POLICY})

    return file


def _nothing(answer: object) -> Handler:
    body = orjson.dumps(answer)

    async def nothing(request: web.Request) -> web.Response:
        """MLflow: a part of its user interface that this service has not."""
        del request
        return web.Response(body=body, content_type="application/json")

    return nothing
