"""What a version of a registered model may be made of: the source that a client names, taken apart.

A source decides what `get-download-uri` answers, and clients read from there with whatever rights they have. So a source
must lie where the run or the model that it names keeps its files; what the service does not store itself (`s3://…`) is the
client's own business. MLflow contract, section 10.6.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

from ingest.mlflow.errors import MlflowError, refused

__all__ = ["Source", "check_source", "lies_below", "not_contained", "parse_source"]

Kind = Literal["run", "model", "version", "alias", "proxied", "local", "elsewhere"]

MAX_DECODINGS: Final = 10
_PROXY_PATH: Final = re.compile(r".*?/mlflow-artifacts/artifacts/")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+:")


@dataclass(frozen=True, slots=True)
class Source:
    """A source by its kind.

    run         runs:/R/…             name: R
    model       models:/m-…           name: the model's id
    version     models:/NAME/1        name, version
    alias       models:/NAME@ALIAS    name, version: the alias
    proxied     mlflow-artifacts:/…   name: the path behind the root, as in `mlflow-artifacts:/PATH`
    local       a path                name: the path
    elsewhere   anything else         name: all of it
    """

    kind: Kind
    name: str
    version: str = ""


def parse_source(source: str) -> Source:
    """What the source is."""
    if not _SCHEME.match(source):
        return Source("local", source)
    parts = urlsplit(source)
    path = parts.path.strip("/")
    match parts.scheme:
        case "runs":
            return Source("run", path.split("/", 1)[0])
        case "models":
            return _model_source(path)
        case "mlflow-artifacts":
            return Source("proxied", path)
        case "http" | "https" if _PROXY_PATH.match(parts.path):
            return Source("proxied", _PROXY_PATH.sub("", parts.path).strip("/"))
        case "file":
            return Source("local", parts.path)
        case _:
            return Source("elsewhere", source)


def _model_source(path: str) -> Source:
    if "@" in path:
        name, _, alias = path.rpartition("@")
        return Source("alias", name, alias)
    name, slash, version = path.partition("/")
    return Source("version", name, version) if slash else Source("model", name)


def check_source(source: str) -> None:
    """Refuse a source that leads out of where it seems to lie, as it is or with its percent escapes undone."""
    text = source
    for _ in range(MAX_DECODINGS):
        if "\0" in text or ".." in re.split(r"[/\\]", urlsplit_path(text)):
            raise refused(
                f"Invalid model version source: '{source[:500]}'. If supplying a source as an http, https, local file path, "
                "ftp, objectstore, or mlflow-artifacts uri, an absolute path must be provided without relative path "
                "references present. Please provide an absolute path."
            )
        decoded = unquote(text)
        if decoded == text:
            return
        text = decoded
    raise refused(
        f"Invalid model version source: '{source[:500]}'. Its percent escapes are nested too deeply."
    )


def urlsplit_path(text: str) -> str:
    """All that could be walked along: everything behind the scheme."""
    return _SCHEME.sub("", text, count=1)


def lies_below(source: Source, root: str) -> bool:
    """Whether a source that the service stores is in, or below, the root of a run's or model's files.

    root: such as `mlflow-artifacts:/1/RUN/artifacts`.
    """
    wanted = parse_source(root)
    return source.kind == wanted.kind and f"{source.name}/".startswith(f"{wanted.name}/")


def not_contained(source: str, kind: Kind) -> MlflowError:
    """The answer about a source that does not lie where it should."""
    if kind == "local":
        return refused(
            f"Invalid model version source: '{source[:500]}'. To use a local path as a model version source, the run_id "
            "request parameter has to be specified and the local path has to be contained within the artifact directory "
            "of the run specified by the run_id."
        )
    return refused(
        f"Invalid model version source: '{source[:500]}'. The run_id request parameter must identify the resource that "
        "contains the source."
    )
