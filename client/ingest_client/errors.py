"""Errors of the client. Values that can't be logged raise those of `ingest_schema.errors`.

    ClientError
     ├─ RunAlreadyActive       start_run while a run is active, without nested=True
     ├─ SearchFailed           the service can't be reached, or refuses the search
     ├─ ReadFailed             the service can't be reached, or refuses to tell of a run, an experiment, a metric
     │   └─ NotFound           there is no such run or experiment
     ├─ BadPath (ValueError)   no path of an artifact
     ├─ ArtifactError          reading: the service can't be reached, or what arrived is not what was sent
     │   └─ ArtifactNotFound   there is no such artifact, run or model
     └─ ModelError             a model can't be saved or loaded as asked

Logging, of artifacts too, never raises for trouble with the service, the network or the disk: that is counted in `Run.stats()`.
"""

from __future__ import annotations

__all__ = [
    "ArtifactError",
    "ArtifactNotFound",
    "BadPath",
    "ClientError",
    "ModelError",
    "NotFound",
    "ReadFailed",
    "RunAlreadyActive",
    "SearchFailed",
]


class ClientError(Exception):
    """Base of the client's own errors."""


class RunAlreadyActive(ClientError):
    """A run is active here; end it first, or start the new one with nested=True."""


class SearchFailed(ClientError):
    """A search has no answer: the service can't be reached, or can't read the filter. The message says which."""


class ReadFailed(ClientError):
    """A question about runs, experiments or metrics has no answer. The message says why."""


class NotFound(ReadFailed):
    """The service has no such run or experiment."""


class BadPath(ClientError, ValueError):
    """What was given can't be the path of an artifact; nothing was logged."""


class ArtifactError(ClientError):
    """An artifact could not be read: the service can't be reached, refuses, or sent something else than it holds."""


class ArtifactNotFound(ArtifactError):
    """There is no such artifact, run, model or version."""


class ModelError(ClientError):
    """A model can't be saved or loaded as asked. The message says what can be done instead."""
