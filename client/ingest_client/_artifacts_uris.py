"""Where an address of an artifact or a model leads: to a run's artifacts, to MLflow's proxy, or to a local path.

    runs:/<run_id>/<path>              a run's artifact, or what MLflow 3 has logged as a model of that name in the run
    models:/<name>/<version>           a version in the registry;  models:/<name>@<alias>,  models:/<name>/latest
    models:/m-<id>                     a logged model of MLflow 3
    mlflow-artifacts:/<path>           what MLflow calls the places of the service
    file:///… or a path                on this machine

Nothing here writes. The registry speaks MLflow's REST.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote, urlencode, urlsplit
from uuid import UUID

from ingest_client._artifacts_paths import checked_path, quoted
from ingest_client._artifacts_read import ArtifactReader, parse_runs_uri
from ingest_client.errors import ArtifactNotFound

__all__ = ["Local", "OfRun", "Place", "Proxied", "download", "find_model_version", "resolve"]

_REST: Final = "/api/2.0/mlflow"
_PROXY: Final = "/api/2.0/mlflow-artifacts/artifacts"
MAX_HOPS: Final = 4
"""From an alias to a version, to a logged model, to its place."""


@dataclass(frozen=True, slots=True)
class OfRun:
    """An artifact of a run."""

    run_id: UUID
    path: str


@dataclass(frozen=True, slots=True)
class Proxied:
    """A path below the artifact root, as MLflow's proxy names it."""

    path: str


@dataclass(frozen=True, slots=True)
class Local:
    """On this machine."""

    path: Path


Place = OfRun | Proxied | Local


def resolve(uri: str, reader: ArtifactReader, hops: int = MAX_HOPS) -> Place:
    """Where the address leads.

    Raises:
        ValueError: It is no address of these kinds.
        ArtifactNotFound: The model, version or alias is not there.
        ArtifactError: The service can't be asked.
    """
    parts = urlsplit(uri)
    if hops == 0:
        raise ValueError(f"{uri!r} leads from one address to the next without end")
    if parts.scheme == "runs":
        return OfRun(*parse_runs_uri(uri))
    if parts.scheme == "mlflow-artifacts":
        return Proxied(checked_path(unquote(parts.path).strip("/")))
    if parts.scheme == "models":
        return resolve(_model_source(uri, parts.path.strip("/"), reader), reader, hops - 1)
    if parts.scheme in {"", "file"}:
        return Local(Path(unquote(parts.path) if parts.scheme else uri))
    raise ValueError(
        f"{uri!r} is of no kind that can be read here; these can: runs:/RUN/PATH, models:/NAME/VERSION, models:/NAME@ALIAS, a path"
    )


def _model_source(uri: str, name: str, reader: ArtifactReader) -> str:
    """What a models:/ address stands for."""
    if name.startswith("m-") and "/" not in name:
        model = _ask(reader, f"logged-models/{quote(name, safe='')}").get("model", {})
        return str(model.get("info", {}).get("artifact_uri", ""))
    version = find_model_version(uri, reader)
    query = urlencode({"name": version["name"], "version": version["version"]})
    return str(_ask(reader, f"model-versions/get-download-uri?{query}").get("artifact_uri", ""))


def find_model_version(uri: str, reader: ArtifactReader) -> dict[str, Any]:
    """The version that models:/<name>/<version>, models:/<name>@<alias> or models:/<name>/latest means.

    Raises:
        ValueError: It is no such address.
        ArtifactNotFound, ArtifactError: See `resolve`.
    """
    text = unquote(urlsplit(uri).path.strip("/"))
    name, at, alias = text.rpartition("@")
    if at and name and "/" not in alias:
        query = urlencode({"name": name, "alias": alias})
        return _version_of(_ask(reader, f"registered-models/alias?{query}"), uri)
    name, slash, version = text.rpartition("/")
    if not slash or not name or not version:
        raise ValueError(f"{uri!r} is not of the form models:/<name>/<version> or models:/<name>@<alias>")
    if version.isdecimal():
        return _version_of(
            _ask(reader, f"model-versions/get?{urlencode({'name': name, 'version': version})}"), uri
        )
    latest = _ask(reader, f"registered-models/get?{urlencode({'name': name})}").get("registered_model", {})
    wanted = None if version.lower() == "latest" else version.lower()
    found = [
        v
        for v in latest.get("latest_versions", [])
        if wanted is None or str(v.get("current_stage", "")).lower() == wanted
    ]
    if not found:
        raise ArtifactNotFound(f"model {name!r} has no version {version!r}")
    return max(found, key=lambda v: int(v["version"]))


def _version_of(answer: dict[str, Any], uri: str) -> dict[str, Any]:
    version = answer.get("model_version")
    if not isinstance(version, dict) or not version.get("version"):
        raise ArtifactNotFound(f"{uri} is no version of a model")
    return version


def download(place: Place, reader: ArtifactReader, target: Path) -> Path:
    """What lies there, as a path on this machine: below `target`, or where it is if it is local.

    Raises:
        ArtifactNotFound: There is nothing.
        ArtifactError: The service can't be asked, or sent something else than it holds.
    """
    if isinstance(place, Local):
        if not place.path.exists():
            raise ArtifactNotFound(f"there is no {place.path}")
        return place.path
    if isinstance(place, Proxied):
        return _download_proxied(place.path, reader, target)
    try:
        return reader.download(place.run_id, place.path, target)
    except ArtifactNotFound:
        source = _logged_model_of(place, reader) if place.path else None
        if source is None:
            raise
    return download(resolve(source, reader), reader, target)


def _logged_model_of(place: OfRun, reader: ArtifactReader) -> str | None:
    """MLflow 3 keeps what `log_model` wrote beside the run: the address of the run's newest model of that name."""
    try:
        run = _ask(reader, f"runs/get?{urlencode({'run_id': place.run_id.hex})}")["run"]["info"]
        question = {
            "experiment_ids": [run["experiment_id"]],
            "filter": f"name = '{place.path}' AND source_run_id = '{place.run_id.hex}'",
            "order_by": [{"field_name": "creation_timestamp", "ascending": False}],
            "max_results": 1,
        }
        body = json.dumps(question).encode()
        models = reader.ask("POST", f"{_REST}/logged-models/search", body).get("models", [])
        return str(models[0]["info"]["artifact_uri"]) if models else None
    except (ArtifactNotFound, KeyError):
        return None


def _download_proxied(path: str, reader: ArtifactReader, target: Path) -> Path:
    listed = reader.ask("GET", f"{_PROXY}?{urlencode({'path': path}, quote_via=quote)}").get("files", [])
    local = target / path.rpartition("/")[2]
    if not listed:
        target.mkdir(parents=True, exist_ok=True)
        return reader.fetch(f"{_PROXY}/{quoted(path)}", local)
    local.mkdir(parents=True, exist_ok=True)
    for item in listed:
        name = checked_path(str(item["path"]).rstrip("/").rpartition("/")[2])
        if not item.get("is_dir") and len(listed) == 1 and path.endswith(f"/{name}"):
            return reader.fetch(f"{_PROXY}/{quoted(path)}", local / name)
        if item.get("is_dir"):
            _download_proxied(f"{path}/{name}", reader, local)
        else:
            reader.fetch(f"{_PROXY}/{quoted(f'{path}/{name}')}", local / name)
    return local


def _ask(reader: ArtifactReader, what: str) -> dict[str, Any]:
    return reader.ask("GET", f"{_REST}/{what}")
