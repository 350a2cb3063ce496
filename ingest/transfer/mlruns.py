"""What a directory `mlruns` of MLflow's is made of: `meta.yaml` for facts, a file for each param, tag and metric.

Keys with slashes are paths. Used by `from_mlflow_files` and `from_mlflow_model_files`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ingest.transfer.source_errors import BadSource

__all__ = ["Facts", "children", "leaves", "lines", "meta", "texts"]


class Facts(dict[str, Any]):
    """What a meta.yaml says. Asked for what it lacks by `facts[name]`, it says so."""

    def __init__(self, path: Path, found: Mapping[str, Any]) -> None:
        super().__init__(found)
        self._path = path

    def __missing__(self, name: str) -> Any:
        raise BadSource(f"{self._path} says no {name}; MLflow can't read it either")


def meta(folder: Path) -> Facts | None:
    """The meta.yaml of a directory; None if it has none."""
    try:
        import yaml
    except ImportError as error:
        raise BadSource("meta.yaml of MLflow needs PyYAML: pip install 'metric-ingest[importers]'") from error
    try:
        found = yaml.safe_load((folder / "meta.yaml").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except yaml.YAMLError as error:
        raise BadSource(f"{folder / 'meta.yaml'} is no YAML: {error}") from error
    return Facts(folder / "meta.yaml", found) if isinstance(found, dict) else None


def children(folder: Path) -> Iterator[tuple[Path, Facts]]:
    """The directories in a directory that have a meta.yaml, with what it says."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        found = meta(path) if path.is_dir() else None
        if found is not None:
            yield path, found


def texts(folder: Path) -> dict[str, str]:
    """A directory of params or tags."""
    return {key: path.read_text(encoding="utf-8") for key, path in leaves(folder)}


def leaves(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files below a directory with their keys."""
    if folder.is_dir():
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                yield path.relative_to(folder).as_posix(), path


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """The whole lines of a file with their numbers: one that is still being written, or was cut off, has no end yet."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith("\n"):
                return
            yield number, line
