"""Which names and texts MLflow lets pass, with its words for those that it refuses.

Keys of metrics, params and tags: letters, digits, `_ - . : /` and space, at most 250 characters, and a path that is
written in its shortest form, since some stores of MLflow make files of them. Lengths count characters, not bytes.

Values of params and tags are not cut here: MLflow shortens them to 6,000 and 8,000 characters and says nothing. Ours
are whole up to `MAX_TEXT_BYTES`, beyond which they are refused.
"""

from __future__ import annotations

import json
import posixpath
import re
from functools import lru_cache
from typing import Final

from ingest.mlflow.errors import MlflowError, refused
from ingest_schema.limits import MAX_TEXT_BYTES

__all__ = [
    "check_experiment_tag",
    "check_key",
    "check_length",
    "check_model_text",
    "check_param",
    "check_run_name",
    "check_tag",
    "key_problem",
]

MAX_KEY_CHARS: Final = 250
MAX_EXPERIMENT_TAG_CHARS: Final = 20_000

_KEY: Final = re.compile(r"[/\w.\- :]*")
_ALPHABET: Final = (
    "Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), colon(:) and "
    "slashes (/)."
)


@lru_cache(maxsize=16_384)
def key_problem(key: str) -> str | None:
    """What is wrong with the key's form, or None. Cached: a training loop logs the same few keys for ever."""
    if not _KEY.fullmatch(key):
        return _ALPHABET
    shortest = posixpath.normpath(key)
    if shortest != key or key == "." or key.startswith(("..", "/")):
        return (
            "Names may be treated as files in certain cases, and must not resolve to other names when treated as "
            f"such. This name would resolve to '{shortest}'"
        )
    return None


def bad_key(key: str, parameter: str, problem: str) -> MlflowError:
    """The sentence about a key's form, with the key as JSON."""
    return refused(f"Invalid value {json.dumps(key[:1000])} for parameter '{parameter}' supplied: {problem}")


def check_key(key: str, parameter: str, what: str) -> None:
    """Refuse a key.

    Args:
        parameter: Where it stands, such as `metrics[3].name`. what: How the sentence on its length calls it.
    """
    if (problem := key_problem(key)) is not None:
        raise bad_key(key, parameter, problem)
    if len(key) > MAX_KEY_CHARS:
        raise too_long(what, MAX_KEY_CHARS)


def check_length(what: str, text: str, limit: int) -> None:
    """Refuse a text of more than `limit` characters."""
    if len(text) > limit:
        raise too_long(what, limit)


def too_long(what: str, limit: int) -> MlflowError:
    """The sentence about a text's length."""
    return refused(f"'{what}' exceeds the maximum length of {limit} characters")


def check_param(key: str, value: str, path: str = "") -> None:
    """Refuse a param. path: such as `params[2].`; empty in a single call."""
    check_key(key, f"{path}key", "Param key")
    _check_stored_text("Param value", value)


def check_tag(key: str, value: str, path: str = "") -> None:
    """Refuse a tag of a run. path: such as `tags[2].`; empty in a single call."""
    check_key(key, f"{path}key", f"{path}key")
    _check_stored_text(f"{path}value", value)


def check_experiment_tag(key: str, value: str) -> None:
    """Refuse a tag of an experiment."""
    check_key(key, "key", "key")
    check_length("value", value, MAX_EXPERIMENT_TAG_CHARS)


def check_run_name(name: str) -> None:
    """A run's name is a tag's value: there is no other limit."""
    _check_stored_text("run_name", name)


def check_model_text(what: str, text: str) -> None:
    """Refuse a value of a param or tag of a model, which has a run's limits."""
    _check_stored_text(what, text)


def _check_stored_text(what: str, text: str) -> None:
    if len(text) > MAX_TEXT_BYTES // 4 and len(text.encode()) > MAX_TEXT_BYTES:
        raise refused(f"'{what}' exceeds the maximum length of {MAX_TEXT_BYTES} bytes; log it as an artifact")
