"""What clients are told about where artifacts are: the service's own proxy, or the store's own address (`artifact_mode`).

One answer for a whole process, given when its services open and never changed while they are; whoever shows a location or
searches by one asks here, rather than have the setting handed through every function on the way.
"""

from __future__ import annotations

from typing import Final

__all__ = ["PROXY", "base", "path_below", "tell"]

PROXY: Final = "mlflow-artifacts:/"
"""MLflow's client makes requests to the service of this."""

_told = [PROXY]


def tell(uri: str | None) -> None:
    """From now on, locations begin with this address of the store; None: with the service's."""
    _told[0] = PROXY if uri is None else uri.rstrip("/") + "/"


def path_below(uri: str) -> str | None:
    """The path in the store that an address of the store's own leads to; None: it leads elsewhere."""
    return uri.removeprefix(_told[0]) if _told[0] != PROXY and uri.startswith(_told[0]) else None


def base() -> str:
    """What an experiment's id is put behind."""
    return _told[0]
