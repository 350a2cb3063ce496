"""The non-blocking, durable client of ingest: log from a training loop, lose nothing, wait for nothing.

A logging call writes one record into a memory-mapped spool and returns; a thread delivers the spool to the service,
exactly once, whenever the service is there. Training scripts import it as `ingest`.

    start_run, end_run, log_metrics …   the fluent face, with MLflow's names (`_fluent`)
    log_artifact, log_image …           files, texts, figures, pictures, tables (`_artifacts_fluent`)
    download_artifacts, load_text …     and back (`_artifacts_access`)
    pytorch, log_checkpoint …           models in MLflow's format, and checkpoints (`pytorch`, `_checkpoints`)
    Run                                 what start_run returns; thread-safe (`_run`)
    AsyncClient                         the asyncio twin (`_aio`)
    get_run, search_experiments …       what the service has, in MLflow's shape (`_read`); get_metric_history (`_history`)
    search_runs                         runs by a filter, as a DataFrame (`_search`)
    autolog, SummaryWriter, …           training libraries (`integrations`)
    sync_spool                          what `ingest sync` does (`_sync`)

Names are imported when they are first used: `import ingest` costs a few milliseconds at the top of every script, also of
those that never log.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ingest_client import integrations, pytorch
    from ingest_client._aio import AsyncClient, AsyncRun
    from ingest_client._artifacts_access import (
        FileInfo,
        download_artifacts,
        list_artifacts,
        load_dict,
        load_image,
        load_table,
        load_text,
    )
    from ingest_client._artifacts_fluent import (
        get_artifact_uri,
        log_artifact,
        log_artifacts,
        log_dict,
        log_figure,
        log_image,
        log_table,
        log_text,
    )
    from ingest_client._checkpoints import Checkpoint, load_checkpoint, log_checkpoint
    from ingest_client._fluent import (
        Experiment,
        active_run,
        create_experiment,
        end_run,
        flush,
        get_tracking_uri,
        last_active_run,
        log_metric,
        log_metrics,
        log_param,
        log_params,
        set_experiment,
        set_tag,
        set_tags,
        set_tracking_uri,
        start_run,
    )
    from ingest_client._history import Metric, get_metric_history
    from ingest_client._identity import RunInfo
    from ingest_client._read import (
        RunData,
        StoredRun,
        StoredRunInfo,
        get_experiment,
        get_experiment_by_name,
        get_run,
        search_experiments,
    )
    from ingest_client._registry import register_model
    from ingest_client._run import Run
    from ingest_client._search import search_runs
    from ingest_client._settings import Settings
    from ingest_client._stats import Stats
    from ingest_client._sync import SpoolReport, sync_spool, waiting_spools
    from ingest_client.errors import (
        ArtifactError,
        ArtifactNotFound,
        BadPath,
        ClientError,
        ModelError,
        NotFound,
        ReadFailed,
        RunAlreadyActive,
        SearchFailed,
    )
    from ingest_client.integrations.autolog import autolog
    from ingest_client.integrations.tensorboard import SummaryWriter
    from ingest_schema.errors import BadKey, BadStep, BadText, BadTime, BadValue, SchemaError

__all__ = [
    "ArtifactError",
    "ArtifactNotFound",
    "AsyncClient",
    "AsyncRun",
    "BadKey",
    "BadPath",
    "BadStep",
    "BadText",
    "BadTime",
    "BadValue",
    "Checkpoint",
    "ClientError",
    "Experiment",
    "FileInfo",
    "Metric",
    "ModelError",
    "NotFound",
    "ReadFailed",
    "Run",
    "RunAlreadyActive",
    "RunData",
    "RunInfo",
    "SchemaError",
    "SearchFailed",
    "Settings",
    "SpoolReport",
    "Stats",
    "StoredRun",
    "StoredRunInfo",
    "SummaryWriter",
    "active_run",
    "autolog",
    "create_experiment",
    "download_artifacts",
    "end_run",
    "flush",
    "get_artifact_uri",
    "get_experiment",
    "get_experiment_by_name",
    "get_metric_history",
    "get_run",
    "get_tracking_uri",
    "integrations",
    "last_active_run",
    "list_artifacts",
    "load_checkpoint",
    "load_dict",
    "load_image",
    "load_table",
    "load_text",
    "log_artifact",
    "log_artifacts",
    "log_checkpoint",
    "log_dict",
    "log_figure",
    "log_image",
    "log_metric",
    "log_metrics",
    "log_param",
    "log_params",
    "log_table",
    "log_text",
    "pytorch",
    "register_model",
    "search_experiments",
    "search_runs",
    "set_experiment",
    "set_tag",
    "set_tags",
    "set_tracking_uri",
    "start_run",
    "sync_spool",
    "waiting_spools",
]

_SOURCES: Final = {
    "ingest_client.integrations.autolog": ("autolog",),
    "ingest_client.integrations.tensorboard": ("SummaryWriter",),
    "ingest_schema.errors": ("BadKey", "BadStep", "BadText", "BadTime", "BadValue", "SchemaError"),
    "ingest_client._aio": ("AsyncClient", "AsyncRun"),
    "ingest_client._artifacts_fluent": (
        "get_artifact_uri",
        "log_artifact",
        "log_artifacts",
        "log_dict",
        "log_figure",
        "log_image",
        "log_table",
        "log_text",
    ),
    "ingest_client._artifacts_access": (
        "FileInfo",
        "download_artifacts",
        "list_artifacts",
        "load_dict",
        "load_image",
        "load_table",
        "load_text",
    ),
    "ingest_client._checkpoints": ("Checkpoint", "load_checkpoint", "log_checkpoint"),
    "ingest_client._fluent": (
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
    ),
    "ingest_client._history": ("Metric", "get_metric_history"),
    "ingest_client._read": (
        "RunData",
        "StoredRun",
        "StoredRunInfo",
        "get_experiment",
        "get_experiment_by_name",
        "get_run",
        "search_experiments",
    ),
    "ingest_client._registry": ("register_model",),
    "ingest_client._run": ("Run",),
    "ingest_client._identity": ("RunInfo",),
    "ingest_client._search": ("search_runs",),
    "ingest_client._settings": ("Settings",),
    "ingest_client._stats": ("Stats",),
    "ingest_client._sync": ("SpoolReport", "sync_spool", "waiting_spools"),
    "ingest_client.errors": (
        "ArtifactError",
        "ArtifactNotFound",
        "BadPath",
        "ClientError",
        "ModelError",
        "NotFound",
        "ReadFailed",
        "RunAlreadyActive",
        "SearchFailed",
    ),
}

_MODULES: Final = ("integrations", "pytorch")
"""Modules that are public by their own names, also as `import ingest.NAME`."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for (PEP 562); from then on it is an ordinary global."""
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    for module, names in _SOURCES.items():
        if name in names:
            value = getattr(import_module(module), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
