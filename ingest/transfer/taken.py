"""What an import of another tool's runs did, for whoever started it; and which texts it may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ingest_schema.errors import SchemaError
from ingest_schema.values import check_key, check_text

__all__ = ["Taken", "storable"]

_MOST_NOTES: Final = 1_000


@dataclass(slots=True)
class Taken:
    """What an import did."""

    runs: int = 0
    """That are here now and were not, or not whole."""
    points: int = 0
    artifacts: int = 0
    models: int = 0
    """Logged models, as `runs`."""
    model_versions: int = 0
    """Of the registry, that were not here."""
    changed: int = 0
    """Names, tags, stages, aliases of what was here that the source has changed since, and that are changed here now."""
    same: int = 0
    """Runs that were here already, with all that the source has."""
    same_models: int = 0
    same_versions: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    """What was left out, by kind."""
    notes: list[str] = field(default_factory=list)
    """What somebody should know, one line each."""

    def skip(self, kind: str, number: int = 1) -> None:
        """Count what is left out."""
        self.skipped[kind] = self.skipped.get(kind, 0) + number

    def note(self, text: str) -> None:
        """Say something, up to a bound."""
        if len(self.notes) < _MOST_NOTES:
            self.notes.append(text)


def storable(texts: Mapping[str, str], what: str, whose: str, taken: Taken) -> dict[str, str]:
    """Those that can be stored; a note tells of the others."""
    kept: dict[str, str] = {}
    for key, value in texts.items():
        try:
            check_key(key, what)
            check_text(key, value, what)
            kept[key] = value
        except SchemaError as error:
            taken.skip(f"{what}s that can't be stored")
            taken.note(f"{whose}: {error}")
    return kept
