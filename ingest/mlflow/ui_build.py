"""Finds MLflow's own user interface: the static build that an installed `mlflow` package brings. Imports nothing of it.

Its page names files and endpoints relative to where it stands, and keeps its own addresses behind `#`. With a `<base>` it can stand
anywhere, and asks for `/static-files/…`, `/ajax-api/…` and `/graphql` as it does on MLflow's own server.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Final

__all__ = ["UiBuild", "UiMissing", "find_ui_build"]

_BUILD: Final = Path("server", "js", "build")
_INSTALL: Final = "install it beside the service (pip install mlflow; mlflow-skinny has no user interface), or leave --mlflow-ui out"


class UiMissing(Exception):
    """There is no build of MLflow's user interface here; the message says what was looked for and what to do."""


@dataclass(frozen=True, slots=True)
class UiBuild:
    """The build of one installed version.

    Attributes:
        version: MLflow's.
        page: index.html, with a base.
        files: By path below /static-files/.
    """

    version: str
    page: bytes
    files: dict[str, Path]


@cache
def find_ui_build() -> UiBuild:
    """The build of the mlflow package that this interpreter would import.

    Raises:
        UiMissing: No such package, or one without a build.
    """
    found = find_spec("mlflow")
    if found is None or not found.submodule_search_locations:
        raise UiMissing(f"MLflow's user interface was asked for, and mlflow is not installed: {_INSTALL}")
    directory = Path(next(iter(found.submodule_search_locations))) / _BUILD
    return read_ui_build(directory, version=_version())


def read_ui_build(directory: Path, *, version: str) -> UiBuild:
    """The build that lies in this directory.

    Raises:
        UiMissing: It has no index.html with a head.
    """
    try:
        page = (directory / "index.html").read_bytes()
    except OSError as error:
        raise UiMissing(
            f"MLflow {version} is installed without its user interface ({directory}: {error.strerror}): {_INSTALL}"
        ) from error
    head = page.find(b"<head>")
    if head < 0:
        raise UiMissing(
            f"{directory / 'index.html'} has no <head>: MLflow {version} is not known to this release"
        )
    at = head + len(b"<head>")
    files = {path.relative_to(directory).as_posix(): path for path in directory.rglob("*") if path.is_file()}
    return UiBuild(version, page[:at] + b'<base href="/">' + page[at:], files)


def _version() -> str:
    for name in ("mlflow", "mlflow-skinny"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "(unknown)"
