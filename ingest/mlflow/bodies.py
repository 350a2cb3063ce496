"""The object in a request's body, by MLflow's rules on content types and broken JSON.

A body that is no JSON counts as {} and fails on the first required field. A JSON string that holds JSON is decoded a
second time: old clients send that.
"""

from __future__ import annotations

import json
from typing import Any, Final

import orjson

from ingest.mlflow.errors import refused

__all__ = ["body_object", "check_content_type"]

_JSON: Final = "application/json"


def check_content_type(content_type: str | None, *, has_body: bool) -> None:
    """Refuse what is not declared to be JSON. A DELETE without a body needs no declaration."""
    if content_type is None:
        if has_body:
            raise refused("Bad Request. Content-Type header is missing.")
    elif content_type.partition(";")[0].strip().lower() != _JSON:
        raise refused(f"Bad Request. Content-Type must be one of ['{_JSON}'].")


def body_object(body: bytes) -> dict[str, Any]:
    """The object that the body holds; {} if it holds none."""
    found = _decoded(body)
    if isinstance(found, str):
        found = _decoded(found.encode())
    return found if isinstance(found, dict) else {}


def _decoded(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    # Python's own json takes more: NaN and Infinity as bare words, which Python programs send.
    try:
        found = json.loads(body)
        json.dumps(found, ensure_ascii=False).encode()  # a lone surrogate can't be stored
    except (ValueError, RecursionError):
        return {}
    return found
