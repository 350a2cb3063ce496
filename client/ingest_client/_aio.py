"""The asyncio twin. Logging never waits anyway, so only the two things that do wait are coroutines: flush and closing.

It uses the same spool and the same sender thread; nothing here blocks the event loop.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from ingest_client import _lifetime, _system
from ingest_client._artifacts_spool import Keep
from ingest_client._identity import RunInfo
from ingest_client._roster import Roster
from ingest_client._run import Run
from ingest_client._settings import Settings
from ingest_client._stats import Stats
from ingest_schema.ids import parse_id

__all__ = ["AsyncClient", "AsyncRun"]

_POLL = 0.01  # seconds


class AsyncRun:
    """A run for code under asyncio; `async with` ends it as `Run` does, and waits for nothing.

    Attributes:
        log_metrics, log_metric: Plain calls, exactly those of `Run`.
    """

    log_metrics: Callable[..., None]
    log_metric: Callable[..., None]

    def __init__(self, run: Run) -> None:
        self.run = run
        self.log_metrics = run.log_metrics
        self.log_metric = run.log_metric

    @property
    def info(self) -> RunInfo:
        """As `Run.info`."""
        return self.run.info

    def log_params(self, params: Mapping[str, Any]) -> None:
        """As `Run.log_params`."""
        self.run.log_params(params)

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """As `Run.set_tags`."""
        self.run.set_tags(tags)

    async def log_artifact(
        self, local_path: str | os.PathLike[str], artifact_path: str | None = None, *, keep: Keep = "copy"
    ) -> None:
        """As `Run.log_artifact`; the copying is done in a thread."""
        import asyncio

        await asyncio.to_thread(self.run.log_artifact, local_path, artifact_path, keep=keep)

    async def log_artifacts(
        self, local_dir: str | os.PathLike[str], artifact_path: str | None = None, *, keep: Keep = "copy"
    ) -> None:
        """As `Run.log_artifacts`; the copying is done in a thread."""
        import asyncio

        await asyncio.to_thread(self.run.log_artifacts, local_dir, artifact_path, keep=keep)

    def stats(self) -> Stats:
        """As `Run.stats`."""
        return self.run.stats()

    def end(self, status: str = "FINISHED") -> None:
        """As `Run.end`."""
        self.run.end(status)

    async def flush(self, timeout: float = 30.0) -> bool:
        """As `Run.flush`; other tasks go on meanwhile, and cancelling it stops the waiting only.

        Args:
            timeout: Seconds to wait at most.
        """
        import asyncio

        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        is_through = self.run.ask_flush()
        while not is_through():
            if loop.time() >= deadline:
                return False
            await asyncio.sleep(_POLL)
        return self.run.has_lost_nothing()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import asyncio

        cancelled = kind is not None and issubclass(kind, asyncio.CancelledError)
        self.run.end("KILLED" if cancelled else _lifetime.status_of(kind))


class AsyncClient:
    """Starts runs on one service, from asyncio code. It has no active run: each run is an object of its own.

    Example:
        async with AsyncClient("http://127.0.0.1:5000") as client:
            async with client.start_run(experiment="mnist") as run:
                run.log_metrics({"loss": 0.3}, step=1)
                await run.flush()
    """

    def __init__(self, tracking_uri: str | None = None, *, token: str | None = None) -> None:
        """Choose the service.

        Args:
            tracking_uri: Its address; from the environment if not given.
            token: Bearer token; from the environment if not given.

        Raises:
            ValueError: It is no address.
        """
        self.settings = Settings.read(tracking_uri=tracking_uri, token=token)
        self._runs: Roster[AsyncRun] = Roster(lambda twin: twin.run.is_delivered)

    def start_run(
        self,
        *,
        experiment: str | int = "Default",
        run_id: str | None = None,
        run_name: str | None = None,
        parent_run_id: str | None = None,
        tags: Mapping[str, Any] | None = None,
        resume_from_step: int | None = None,
    ) -> AsyncRun:
        """Start a run; as `ingest.start_run`, but it does not become the active one."""
        run = Run(
            self.settings,
            experiment=experiment,
            run_id=parse_id(run_id) if run_id else None,
            run_name=run_name,
            parent_run_id=parse_id(parent_run_id) if parent_run_id else None,
            resume_from_step=resume_from_step,
        )
        if tags:
            run.set_tags(tags)
        # An event loop waits for nothing when a run ends: what of the environment is not known by then is left out.
        _system.accompany(run, environment=run_id is None or resume_from_step is not None, end_patience=0.0)
        twin = AsyncRun(run)
        self._runs.add(twin)
        return twin

    async def aclose(self, timeout: float | None = None) -> bool:
        """End the runs that are active and wait for their delivery.

        Args:
            timeout: Seconds to wait at most; the setting shutdown_timeout if not given.

        Returns:
            True if all is delivered; what is not stays in the spool. False at once where nobody listens.
        """
        import asyncio

        loop = asyncio.get_running_loop()
        deadline = loop.time() + (self.settings.shutdown_timeout if timeout is None else timeout)
        for run in self._runs:
            run.end()
        deliverers = _lifetime.deliverers([run.run for run in self._runs])
        for deliverer in deliverers:
            deliverer.hurry()
        while any(d.is_worth_waiting(_lifetime.UNREACHABLE_PATIENCE) for d in deliverers):
            if loop.time() >= deadline:
                break
            await asyncio.sleep(_POLL)
        for deliverer in deliverers:
            deliverer.was_given_up = not deliverer.is_complete
        return all(run.run.is_delivered for run in self._runs)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for run in self._runs:
            run.end(_lifetime.status_of(kind))
        await self.aclose()
