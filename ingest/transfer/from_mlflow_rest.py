"""A running MLflow server, by its REST API, page by page. Nothing is written to it.

A token for it comes from MLFLOW_TRACKING_TOKEN, or user and password from MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, as
for its own client. Histories come in the server's order, which is that of its database.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Final, Self

import aiohttp

from ingest.transfer.mlflow_source import Point, SourceExperiment, SourceRun
from ingest.transfer.source_errors import BadSource

__all__ = ["RestStore"]

_PAGE: Final = 1_000
_POINTS: Final = 25_000
"""Points of one page: the most that MLflow's server gives."""
_TIMEOUT: Final = 120.0
"""Seconds for one answer."""
_TRIES: Final = 4


class RestStore(AbstractAsyncContextManager["RestStore"]):
    """A server at an address; connected for as long as the `async with` block."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/") + "/api/2.0/mlflow/"
        self._keys: dict[str, list[str]] = {}

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            headers=_authorization(), timeout=aiohttp.ClientTimeout(total=_TIMEOUT)
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def experiments(self) -> AsyncIterator[SourceExperiment]:
        """All, deleted ones too."""
        question = {"max_results": _PAGE, "view_type": "ALL"}
        async for found in self._pages("POST", "experiments/search", question, "experiments"):
            yield SourceExperiment(
                source_id=str(found["experiment_id"]),
                name=found["name"],
                is_deleted=found.get("lifecycle_stage") == "deleted",
                tags=_texts(found.get("tags", [])),
            )

    async def runs(self, experiment: SourceExperiment) -> AsyncIterator[SourceRun]:
        """All runs of one, deleted ones too."""
        question = {
            "experiment_ids": [experiment.source_id],
            "max_results": _PAGE,
            "run_view_type": "ALL",
            "order_by": ["attributes.start_time ASC"],
        }
        async for found in self._pages("POST", "runs/search", question, "runs"):
            info, data = found["info"], found.get("data", {})
            self._keys = {info["run_id"]: sorted(metric["key"] for metric in data.get("metrics", []))}
            yield SourceRun(
                run_id=info["run_id"],
                name=info.get("run_name") or None,
                user=info.get("user_id") or None,
                status=info["status"],
                start_time_ms=_whole(info.get("start_time")),
                end_time_ms=_whole(info.get("end_time")),
                is_deleted=info.get("lifecycle_stage") == "deleted",
                artifact_uri=info.get("artifact_uri"),
                params=_texts(data.get("params", [])),
                tags=_texts(data.get("tags", [])),
            )

    async def points(self, run: SourceRun) -> AsyncIterator[Point]:
        """All points of the run that `runs` gave last, metric after metric."""
        for key in self._keys[run.run_id]:
            question = {"run_id": run.run_id, "metric_key": key, "max_results": str(_POINTS)}
            async for found in self._pages("GET", "metrics/get-history", question, "metrics"):
                yield key, int(found.get("step", 0)), int(found["timestamp"]), float(found["value"])

    async def _pages(
        self, method: str, path: str, question: dict[str, Any], what: str
    ) -> AsyncIterator[dict[str, Any]]:
        token: str | None = None
        while True:
            page = await self._ask(method, path, {**question, **({"page_token": token} if token else {})})
            for found in page.get(what, []):
                yield found
            token = page.get("next_page_token")
            if not token:
                return

    async def _ask(self, method: str, path: str, question: dict[str, Any]) -> dict[str, Any]:
        for left in reversed(range(_TRIES)):
            try:
                return await self._ask_once(method, path, question)
            except (aiohttp.ClientError, TimeoutError) as error:
                if not left:
                    raise BadSource(
                        f"{self._url} does not answer: {type(error).__name__}: {error}; "
                        "start again when it does, what is here stays"
                    ) from error
            await asyncio.sleep(random.uniform(0.5, 1.5) * (_TRIES - left))
        raise AssertionError("unreachable")

    async def _ask_once(self, method: str, path: str, question: dict[str, Any]) -> dict[str, Any]:
        how: dict[str, Any] = {"params": question} if method == "GET" else {"json": question}
        async with self._session.request(method, self._url + path, **how) as answer:
            body = await answer.read()
            if answer.status >= 500 or answer.status == 429:
                answer.raise_for_status()
            try:
                document = json.loads(body)  # also takes a bare NaN, as some servers send it
            except ValueError as error:
                raise BadSource(f"{self._url} is no MLflow server: {body[:100]!r}") from error
            if answer.status != 200:
                reason = document.get("message") or document.get("detail") or repr(body[:200])
                raise BadSource(f"{self._url}{path} answers {answer.status}: {reason}")
            found: dict[str, Any] = document
            return found


def _authorization() -> dict[str, str]:
    token, user = os.environ.get("MLFLOW_TRACKING_TOKEN"), os.environ.get("MLFLOW_TRACKING_USERNAME")
    if token:
        return {"Authorization": f"Bearer {token}"}
    if user:
        pair = f"{user}:{os.environ.get('MLFLOW_TRACKING_PASSWORD', '')}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
    return {}


def _texts(pairs: Sequence[dict[str, str]]) -> dict[str, str]:
    return {pair["key"]: pair.get("value", "") for pair in pairs}


def _whole(value: Any) -> int | None:
    return None if value in {None, "", 0, "0"} else int(value)
