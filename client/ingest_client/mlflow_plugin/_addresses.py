"""Addresses: `ingest://host:port/…` on MLflow's side, http and `mlflow-artifacts:/…` on the service's. Pure."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

__all__ = ["OF_SERVICE", "as_http", "outgoing", "root_of", "show_addresses"]

SCHEMES: Final = {"ingest": "http", "ingests": "https"}
OF_SERVICE: Final = "mlflow-artifacts:/"
"""How the service names places of artifacts."""

_WITHOUT_PLACES: Final = frozenset({"data", "metrics", "params", "tags"})
"""Fields of answers that hold a run's content: large, and none of it an address of ours."""


def as_http(uri: str) -> str:
    """The service's address: that of `ingest://host:port` is `http://host:port`.

    Raises:
        ValueError: It is no such address.
    """
    parts = urlsplit(uri)
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise ValueError(f"{uri!r} is not an address such as ingest://127.0.0.1:5000")
    return f"{SCHEMES[parts.scheme]}://{parts.netloc}"


def root_of(uri: str) -> str:
    """`ingest://host:port/`: what stands for `mlflow-artifacts:/` on MLflow's side."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}/"


def outgoing(body: str | None, root: str) -> str | None:
    """A request's JSON with our addresses as the service's."""
    return body.replace(f'"{root}', f'"{OF_SERVICE}') if body else body


def show_addresses(message: Any, root: str) -> Any:
    """An answer (a protobuf message) with the service's addresses as ours, changed in place; models' sources included."""
    for field, value in message.ListFields():
        if field.name in _WITHOUT_PLACES:
            continue
        if field.cpp_type == field.CPPTYPE_STRING and isinstance(value, str):
            if value.startswith(OF_SERVICE):
                setattr(message, field.name, root + value.removeprefix(OF_SERVICE))
        elif field.cpp_type == field.CPPTYPE_MESSAGE:
            for part in value if hasattr(value, "extend") else (value,):
                if hasattr(part, "ListFields"):
                    show_addresses(part, root)
    return message
