"""The fluent face: module-level functions on an active run, with the names and meaning of MLflow's.

Which run is active: the innermost one started in this context (contextvars: a thread, or an asyncio task and what it
starts); where a context has none, the last one started in the process that has not ended. So worker threads, data
loaders' callbacks and notebook cells log into the run of the training script without being told, and threads that start
runs of their own do not mix. Logging with no active run starts one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from ingest_client import _launch, _lifetime, _system
from ingest_client._run import Run
from ingest_client._settings import Settings, checked_uri
from ingest_client._writer import warn
from ingest_client.errors import RunAlreadyActive
from ingest_schema.ids import parse_id
from ingest_schema.values import check_key

__all__ = [
    "Experiment",
    "active_run",
    "create_experiment",
    "end_run",
    "flush",
    "get_tracking_uri",
    "last_active_run",
    "log_metric",
    "log_metrics",
    "log_param",
    "log_params",
    "set_experiment",
    "set_tag",
    "set_tags",
    "set_tracking_uri",
    "start_run",
]

_stack: ContextVar[tuple[Run, ...]] = ContextVar("ingest_runs", default=())
_started: list[
    tuple[Run, int]
] = []  # all active runs of the process with the thread that started each, oldest first
_last: Run | None = None
_tracking_uri: str | None = None
_experiment: str | int | None = None
_lock = threading.RLock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """An experiment as this client knows it. The service makes it with its first run and gives it its number then."""

    name: str | None
    experiment_id: str
    """What `start_run(experiment_id=…)` takes: the service's number, or the name where the number is not known."""
    artifact_location: str | None = None
    """None, as the times are and the tags empty, until the service was asked (`get_experiment`)."""
    lifecycle_stage: str = "active"
    creation_time: int | None = None
    """Milliseconds since the Unix epoch."""
    last_update_time: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


def set_tracking_uri(uri: str) -> None:
    """Send the runs that are started from now on to this service.

    Args:
        uri: Its address, http or https. An empty string goes back to the environment's.

    Raises:
        ValueError: It is no such address.
    """
    global _tracking_uri
    _tracking_uri = checked_uri(str(uri).rstrip("/")) if uri else None


def get_tracking_uri() -> str:
    """The address at which runs are delivered: set_tracking_uri's, else INGEST_TRACKING_URI's, else MLFLOW_TRACKING_URI's."""
    return Settings.read(tracking_uri=_tracking_uri).tracking_uri


def set_experiment(experiment_name: str | None = None, experiment_id: str | int | None = None) -> Experiment:
    """Put the runs that are started from now on into this experiment; it is made if there is none of the name.

    Raises:
        ValueError: Not exactly one of name and id is given, or the name can't be stored.
    """
    global _experiment
    if (experiment_name is None) == (experiment_id is None):
        raise ValueError("give either experiment_name or experiment_id")
    if experiment_name is not None:
        check_key(experiment_name, "experiment")
        _experiment = experiment_name
    elif experiment_id is not None:
        _experiment = _experiment_of(experiment_id)
    name = _experiment if isinstance(_experiment, str) else None
    return Experiment(name=name, experiment_id=str(_experiment))


def create_experiment(name: str) -> str:
    """Name an experiment. It works without a service, which makes the experiment with its first run.

    Returns:
        What `start_run(experiment_id=…)` and `set_experiment(experiment_id=…)` take for it.

    Raises:
        BadKey: The name can't be stored.
    """
    check_key(name, "experiment")
    return _ExperimentName(name)


class _ExperimentName(str):
    """A name in the place of an id, kept apart from ids even if it is all digits."""

    __slots__ = ()


def start_run(  # noqa: PLR0917 - the order of MLflow's arguments is kept
    run_id: str | None = None,
    experiment_id: str | int | None = None,
    run_name: str | None = None,
    nested: bool = False,
    parent_run_id: str | None = None,
    tags: Mapping[str, Any] | None = None,
    description: str | None = None,
    *,
    resume_from_step: int | None = None,
) -> Run:
    """Start a run and make it the active one; a context manager that ends it.

    Needs no service and no network: the run's id is made here.

    Args:
        run_id: Go on with this run instead (also INGEST_RUN_ID and MLFLOW_RUN_ID); an ended one is running again. Without it
            the ranks of a distributed job agree on one: the n-th call of each is the n-th run of all (docs/distributed.md).
        experiment_id: What `create_experiment` gave, or the service's number; else `set_experiment`'s, else
            INGEST_EXPERIMENT_NAME's or MLFLOW_EXPERIMENT_NAME's, else "Default".
        run_name: For people.
        nested: Start it inside the active run, as its child.
        parent_run_id: The parent, if it is not the active run.
        tags: Set at once.
        description: Kept as the tag `mlflow.note.content`, as MLflow does.
        resume_from_step: The run goes on from a checkpoint of this step: what was logged after it is an earlier attempt.

    Raises:
        RunAlreadyActive: A run is active here and `nested` is not given.
        ValueError: An id that is none.
    """
    outer = _own_run()
    if outer is not None and not nested:
        raise RunAlreadyActive(
            f"run {outer.id.hex} is already active; end it with end_run(), or give nested=True"
        )
    settings = Settings.read(tracking_uri=_tracking_uri)
    _say_where_runs_go(settings)
    run = Run(  # without the lock: a hundred threads that start runs wait for the disk side by side
        settings,
        experiment=_experiment_to_use(experiment_id),
        run_id=_run_id_to_use(run_id, settings, is_nested=outer is not None),
        run_name=run_name,
        parent_run_id=parse_id(parent_run_id) if parent_run_id else outer.id if outer is not None else None,
        resume_from_step=resume_from_step,
    )
    _push(run)
    if description is not None:
        run.set_tag("mlflow.note.content", description)
    if tags:
        run.set_tags(tags)
    # A run that is gone on with by its id alone, perhaps to add a result, keeps the environment that it was started in.
    _system.accompany(run, environment=run_id is None or resume_from_step is not None)
    return run


def _say_where_runs_go(settings: Settings) -> None:
    if settings.uri_is_default and settings.mode == "online":
        warn(
            "default_uri",
            f"no tracking URI is set: runs go to {settings.tracking_uri}, and wait in {settings.spool_dir}"
            " while no service listens there",
        )


def _run_id_to_use(given: str | None, settings: Settings, *, is_nested: bool) -> UUID | None:
    """The id of the run to go on with, or on which the ranks of a job agree; None: a new one."""
    if given is None and not is_nested:
        given = os.environ.get("INGEST_RUN_ID") or os.environ.get("MLFLOW_RUN_ID")
    return parse_id(given) if given else _launch.next_run_id(settings, warn)


def end_run(status: str = "FINISHED") -> None:
    """End the active run, if there is one. Does not wait: see `flush`.

    Args:
        status: FINISHED, FAILED or KILLED.

    Raises:
        ValueError: Another status.
    """
    run = active_run()
    if run is not None:
        run.end(status)
        _pop(run)


def active_run() -> Run | None:
    """The active run of this context, else the process's latest; None if there is none. See the module's docstring."""
    own = _stack.get()
    for run in reversed(own):
        if run.is_active:
            return run
    for run, _ in reversed(_started):
        if run.is_active:
            return run
    return None


def last_active_run() -> Run | None:
    """The active run; if there is none, the one of this process that was started last."""
    return active_run() or _last


def log_metric(
    key: str,
    value: Any,
    step: int | None = None,
    synchronous: bool | None = None,
    timestamp: int | None = None,
) -> None:
    """Log one value of one metric to the active run; starts a run if there is none. See `Run.log_metric`.

    Args:
        key, value, timestamp: As in `Run.log_metric`.
        step: 0 if not given.
        synchronous: True waits until the service has it, up to `Run.flush`'s time-out.
    """
    run = active_or_new()
    run.log_metric(key, value, 0 if step is None else step, timestamp)
    if synchronous:
        run.flush()


def log_metrics(
    metrics: Mapping[str, Any],
    step: int | None = None,
    synchronous: bool | None = None,
    timestamp: int | None = None,
) -> None:
    """Log one value for each of several metrics to the active run. See `log_metric` and `Run.log_metrics`."""
    run = active_or_new()
    run.log_metrics(metrics, 0 if step is None else step, timestamp)
    if synchronous:
        run.flush()


def log_param(key: str, value: Any) -> Any:
    """Log one param to the active run; see `Run.log_param`. Returns the value."""
    return active_or_new().log_param(key, value)


def log_params(params: Mapping[str, Any]) -> None:
    """Log several params to the active run; see `Run.log_param`."""
    active_or_new().log_params(params)


def set_tag(key: str, value: Any) -> None:
    """Set one tag of the active run; see `Run.set_tag`."""
    active_or_new().set_tag(key, value)


def set_tags(tags: Mapping[str, Any]) -> None:
    """Set several tags of the active run; see `Run.set_tag`."""
    active_or_new().set_tags(tags)


def flush(timeout: float = 30.0) -> bool:
    """Wait until the service has acknowledged all that this process's runs have logged; see `Run.flush`.

    Args:
        timeout: Seconds, for all runs together.
    """
    import time

    deadline = time.monotonic() + timeout
    arrived = [run.flush(max(0.0, deadline - time.monotonic())) for run in _lifetime.live_runs()]
    return all(arrived)


# --- which run --------------------------------------------------------------------------------------------------------


def active_or_new() -> Run:
    """The active run; one is started if there is none."""
    own = _stack.get()
    if own and own[-1].is_active:
        return own[-1]
    run = active_run()
    if run is None:
        with _lock:
            run = active_run() or start_run()
    return run


def _own_run() -> Run | None:
    """The active run that start_run would nest in: of this context, or started by this thread in another context."""
    for run in reversed(_stack.get()):
        if run.is_active:
            return run
    here = threading.get_ident()
    return next((run for run, thread in reversed(_started) if run.is_active and thread == here), None)


def _push(run: Run) -> None:
    global _last
    _stack.set((*(r for r in _stack.get() if r.is_active), run))
    with _lock:
        _started[:] = [entry for entry in _started if entry[0].is_active]
        _started.append((run, threading.get_ident()))
        _last = run


def _pop(run: Run) -> None:
    with _lock:
        _stack.set(tuple(r for r in _stack.get() if r is not run))
        _started[:] = [entry for entry in _started if entry[0] is not run]


def _renew_lock() -> None:
    """In a forked child: a thread of the parent may have held it."""
    global _lock
    _lock = threading.RLock()


_lifetime.on_end(_pop)
os.register_at_fork(after_in_child=_renew_lock)


def current_experiment() -> str | int:
    """The experiment that a run would be started in: its number or its name."""
    return _experiment_to_use(None)


def _experiment_to_use(given: str | int | None) -> str | int:
    if given is not None:
        return _experiment_of(given)
    if _experiment is not None:
        return _experiment
    env = os.environ
    name = env.get("INGEST_EXPERIMENT_NAME") or env.get("MLFLOW_EXPERIMENT_NAME")
    if name:
        return name
    number = env.get("INGEST_EXPERIMENT_ID") or env.get("MLFLOW_EXPERIMENT_ID")
    return _experiment_of(number) if number else "Default"


def _experiment_of(given: str | int) -> str | int:
    """An experiment's number, or its name where a name stands for it."""
    if isinstance(given, int):
        return given
    if isinstance(given, _ExperimentName) or not given.isdecimal():
        check_key(given, "experiment")
        return str(given)
    return int(given)
