"""Errors of the client. Values that can't be logged raise those of `ingest_schema.errors`.

    ClientError
     ├─ RunAlreadyActive       start_run while a run is active, without nested=True
     └─ ServiceError           a blocking read could not be answered
         ├─ NotFound           the service has no such run, experiment or metric
         └─ Unreachable        no answer, or none of an ingest service

Logging never raises one of these: trouble with the service, the network or the disk is counted in `Run.stats()`.
"""

from __future__ import annotations

__all__ = ["ClientError", "NotFound", "RunAlreadyActive", "ServiceError", "Unreachable"]


class ClientError(Exception):
    """Base of the client's own errors."""


class RunAlreadyActive(ClientError):
    """A run is active here; end it first, or start the new one with nested=True."""


class ServiceError(ClientError):
    """The service refused or could not answer.

    Attributes:
        status: HTTP status, or None if there was no answer.
        code: The service's own code for the error, if it gave one.
    """

    def __init__(self, message: str, *, status: int | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class NotFound(ServiceError):
    """There is no such thing on the service."""


class Unreachable(ServiceError):
    """Nobody answered, or not an ingest service."""
