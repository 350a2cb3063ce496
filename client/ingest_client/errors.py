"""Errors of the client. Values that can't be logged raise those of `ingest_schema.errors`.

    ClientError
     ├─ RunAlreadyActive       start_run while a run is active, without nested=True
     └─ SearchFailed           the service can't be reached, or refuses the search

Logging never raises for trouble with the service, the network or the disk: that is counted in `Run.stats()`.
"""

from __future__ import annotations

__all__ = ["ClientError", "RunAlreadyActive", "SearchFailed"]


class ClientError(Exception):
    """Base of the client's own errors."""


class RunAlreadyActive(ClientError):
    """A run is active here; end it first, or start the new one with nested=True."""


class SearchFailed(ClientError):
    """A search has no answer: the service can't be reached, or can't read the filter. The message says which."""
