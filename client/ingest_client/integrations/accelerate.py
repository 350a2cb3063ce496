"""Hugging Face Accelerate: `Accelerator(log_with=AccelerateTracker("project"))`.

The main process logs, as Accelerate has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ingest_client import _fluent
from ingest_client.integrations._guard import guarded
from ingest_client.integrations._runs import flat, numbers

if TYPE_CHECKING:
    from ingest_client._run import Run

__all__ = ["AccelerateTracker"]


def _tracker_class() -> Any:
    from accelerate.tracking import GeneralTracker

    return GeneralTracker


def _on_main_process(method: Any) -> Any:
    from accelerate.tracking import on_main_process

    return on_main_process(method)


class AccelerateTracker(_tracker_class()):  # type: ignore[misc]  # untyped here
    """A tracker that logs to the active run, or starts one.

    Args:
        run_name: The experiment's name where a run is started, as other trackers of Accelerate take it.
    """

    name = "ingest"
    requires_logging_directory = False

    def __init__(self, run_name: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._experiment = run_name
        self._run: Run | None = None
        self._is_owner = False

    @property
    def tracker(self) -> Any:
        """The run."""
        return self._run

    @_on_main_process
    @guarded("accelerate.start")
    def start(self) -> None:
        """Take the active run, or start one; Accelerate calls it from `init_trackers`."""
        self._run = _fluent.active_run()
        if self._run is None:
            if self._experiment:
                _fluent.set_experiment(self._experiment)
            self._run, self._is_owner = _fluent.start_run(), True

    @_on_main_process
    @guarded("accelerate.store_init_configuration")
    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """Log the configuration as params."""
        self._target().log_params(flat(values))

    @_on_main_process
    @guarded("accelerate.log")
    def log(self, values: dict[str, Any], step: int | None = None, **kwargs: Any) -> None:
        """Log numbers as metrics, texts as tags."""
        del kwargs
        run = self._target()
        found = numbers(values)
        if found:
            run.log_metrics(found, step=step or 0)
        texts = {key: value for key, value in values.items() if isinstance(value, str)}
        if texts:
            run.set_tags(texts)

    @_on_main_process
    @guarded("accelerate.finish")
    def finish(self) -> None:
        """End the run if this tracker started it."""
        if self._run is not None and self._is_owner:
            self._run.end()
        self._run = None

    def _target(self) -> Run:
        if self._run is None:
            self.start()
        assert self._run is not None  # noqa: S101 - start() set it, or raised inside the guard of the caller
        return self._run
