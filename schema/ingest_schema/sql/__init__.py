"""The SQL of `ingest`: named queries by subject, and the migrations. Files in, text out; nothing is run here.

A file `queries/<subject>.sql` holds queries, each begun by `-- name: <name>` and a comment that says what it is for and
what its parameters are. Python never builds SQL out of values.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple

__all__ = ["Migration", "load_queries", "migrations"]

_NAME_LINE: Final = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_MIGRATION_FILE: Final = re.compile(r"^(\d{4})_(pre|post)_(\w+)\.sql$")


class Migration(NamedTuple):
    """One migration file, such as 0001_pre_first_release.sql: version 1, phase `pre`, and its text."""

    version: int
    phase: str
    name: str
    sql: str


@cache
def load_queries(subject: str) -> dict[str, str]:
    """The queries of `queries/<subject>.sql` by name, each without its final semicolon.

    Raises:
        FileNotFoundError: There is no such subject.
        ValueError: Two queries of the file have the same name.
    """
    text = files(__name__).joinpath("queries", f"{subject}.sql").read_text(encoding="utf-8")
    _, *parts = _NAME_LINE.split(text)
    names, bodies = parts[0::2], parts[1::2]
    if len(set(names)) != len(names):
        raise ValueError(f"queries/{subject}.sql has a name twice")
    return {name: body.strip().removesuffix(";") for name, body in zip(names, bodies, strict=True)}


@cache
def migrations() -> tuple[Migration, ...]:
    """All migrations in the order in which they are applied.

    Raises:
        ValueError: A file's name is not `NNNN_pre_name.sql` or `NNNN_post_name.sql`, or a number is taken twice.
    """
    found = []
    for entry in files(__name__).joinpath("migrations").iterdir():
        if not entry.name.endswith(".sql"):
            continue
        match = _MIGRATION_FILE.match(entry.name)
        if match is None:
            raise ValueError(
                f"{entry.name} is no migration's name: NNNN_pre_name.sql or NNNN_post_name.sql is"
            )
        sql = entry.read_text(encoding="utf-8")
        found.append(Migration(int(match[1]), match[2], match[3], sql))
    found.sort()
    if len({migration.version for migration in found}) != len(found):
        raise ValueError("two migrations have the same number")
    return tuple(found)
