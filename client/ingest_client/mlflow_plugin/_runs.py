"""The runs that this process logs to through the spool, by id: those that it created, and those that it resumed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from typing import Final
from uuid import UUID

from ingest_client import _launch
from ingest_client._lifetime import UNREACHABLE_PATIENCE
from ingest_client._run import Run
from ingest_client._settings import Settings
from ingest_client._writer import warn
from ingest_client.mlflow_plugin._addresses import as_http

__all__ = ["ParamChanged", "SpooledRuns", "shared_runs"]

_SLICE: Final = 0.5  # seconds between two looks at whether anybody listens

READ_TIMEOUT: Final = 30.0
"""Seconds that a read waits for what was logged before; then it answers with what has arrived."""


class ParamChanged(ValueError):
    """A param that this process logged with another value."""


class SpooledRuns:
    """Shared by the stores and repositories of one service in this process."""

    def __init__(self, uri: str) -> None:
        token = os.environ.get("INGEST_TOKEN") or os.environ.get("MLFLOW_TRACKING_TOKEN")
        self.settings = Settings.read(tracking_uri=as_http(uri), token=token)
        self._runs: dict[str, Run] = {}
        self._params: dict[str, dict[str, str]] = {}
        self._tags: dict[str, dict[str, str]] = {}
        self._lock = threading.RLock()
        os.register_at_fork(after_in_child=self._renew_lock)

    def create(self, experiment_id: int, name: str, start_ms: int | None, parent_run_id: str | None) -> Run:
        """A new run; nobody is asked. In a rank of a distributed job it is the job's."""
        run = Run(
            self.settings,
            experiment=experiment_id,
            run_id=_launch.next_run_id(self.settings, warn),
            run_name=name,
            parent_run_id=UUID(hex=parent_run_id) if parent_run_id else None,
            start_time=start_ms,
        )
        self._keep(run)
        return run

    def resume(self, run_id: str, experiment_id: int) -> Run:
        """Log to a run of the service through the spool from now on."""
        run = Run(self.settings, experiment=experiment_id, run_id=UUID(hex=run_id))
        self._keep(run)
        return run

    def _keep(self, run: Run) -> None:
        with self._lock:
            for run_id in [run_id for run_id, old in self._runs.items() if old.is_delivered]:
                del self._runs[run_id]
                self._params.pop(run_id, None)
                self._tags.pop(run_id, None)
            self._runs[run.id.hex] = run
            self._params[run.id.hex] = {}

    def find(self, run_id: str) -> Run | None:
        """The run, if this process logs to it through the spool and it has not ended."""
        run = self._runs.get(run_id)
        return run if run is not None and run.is_active else None

    def log_params(self, run: Run, params: Mapping[str, str]) -> None:
        """Log them, unless one has another value already as far as this process knows: MLflow's callers expect an error.

        Raises:
            ParamChanged: Nothing was logged.
        """
        known = self._params.setdefault(run.id.hex, {})
        for key, value in params.items():
            if known.get(key, value) != value:
                raise ParamChanged(
                    f"Changing param values is not allowed. Param with key='{key}' was already logged with"
                    f" value='{known[key]}' for run ID='{run.id.hex}'. Attempted logging new value '{value}'."
                )
        run.log_params(params)
        known.update(params)

    def known(self, run_id: str) -> Run | None:
        """The run, if this process has logged to it and not all of that has arrived."""
        run = self._runs.get(run_id)
        return run if run is not None and not run.is_delivered else None

    def tell(self, run: Run, tags: Mapping[str, str]) -> None:
        """Set tags, and remember them for `seen`."""
        run.set_tags(tags)
        self._tags.setdefault(run.id.hex, {}).update(tags)

    def seen(self, run: Run) -> tuple[dict[str, str], dict[str, str]]:
        """Params and tags that this process has logged to the run."""
        return self._params.get(run.id.hex, {}), self._tags.get(run.id.hex, {})

    def flush(self, timeout: float = READ_TIMEOUT) -> bool:
        """Wait for what was logged: a read sees it.

        Returns:
            False if some is still under way after `timeout`, or where nobody listens, which is noticed sooner.
        """
        deadline = time.monotonic() + timeout
        for run in list(self._runs.values()):
            is_settled = run.ask_flush()
            while not (is_settled() or run.is_delivered):
                sender = run.sender
                is_gone = sender is not None and not sender.is_worth_waiting(UNREACHABLE_PATIENCE)
                if is_gone or (not run.flush(_SLICE) and time.monotonic() >= deadline):
                    if is_settled() or run.is_delivered:
                        break
                    return False
        return True

    def _renew_lock(self) -> None:
        self._lock = threading.RLock()


_shared: dict[str, SpooledRuns] = {}
_lock = threading.Lock()


def shared_runs(uri: str) -> SpooledRuns:
    """The one for this service."""
    address = as_http(uri)
    with _lock:
        if address not in _shared:
            _shared[address] = SpooledRuns(uri)
        return _shared[address]
