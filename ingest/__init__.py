"""The public face of ingest: `import ingest` is all that a training script needs.

Everything here comes from `ingest_client`, when it is first used; the service and the command line in this package are not
loaded by it. This is the only place where the service's package meets the client's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ingest_client as _client

if TYPE_CHECKING:
    from ingest_client import *  # noqa: F403 - the client's __all__ is the public API, kept in one place

__all__ = _client.__all__


def __getattr__(name: str) -> Any:
    """A public name of the client, on first use (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(_client, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
