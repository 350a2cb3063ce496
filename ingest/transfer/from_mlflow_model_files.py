"""The logged models and the registry in MLflow's file store.

    mlruns/<experiment>/models/<model>/{meta.yaml,metrics/…,params/…,tags/…,artifacts/…}
    mlruns/models/<name>/{meta.yaml,tags/…,aliases/…,version-<number>/{meta.yaml,tags/…}}

A metric of a model is a file of lines `time_ms value step run [dataset digest]`. A deleted version keeps its directory.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ingest.transfer.mlflow_source import (
    DELETED_STAGE,
    SourceModel,
    SourceModelPoint,
    SourceRegistered,
    SourceVersion,
    model_status,
)
from ingest.transfer.mlruns import children, leaves, lines, texts
from ingest.transfer.source_errors import BadSource

__all__ = ["models", "points", "registered", "versions"]


def models(experiment: Path) -> Iterator[SourceModel]:
    """The logged models of an experiment's directory."""
    for path, found in children(experiment / "models"):
        local = path / "artifacts"
        yield SourceModel(
            model_id=found["model_id"],
            name=str(found["name"]),
            model_type=found.get("model_type"),
            source_run_id=found.get("source_run_id"),
            status=model_status(found["status"]),
            status_message=found.get("status_message"),
            is_deleted=found.get("lifecycle_stage") == "deleted",
            created_at_ms=found["creation_timestamp"],
            updated_at_ms=found["last_updated_timestamp"],
            # A directory that was moved still names its old place.
            artifact_uri=str(local.resolve()) if local.is_dir() else found.get("artifact_location"),
            params=texts(path / "params"),
            tags=texts(path / "tags"),
        )


def points(experiment: Path, model_id: str) -> Iterator[SourceModelPoint]:
    """The points of a model of an experiment's directory; none if it is not there."""
    for key, path in leaves(experiment / "models" / model_id / "metrics"):
        for number, line in lines(path):
            try:
                time_ms, value, step, run_id, *dataset = line.rstrip("\n").split(" ")
                yield SourceModelPoint(
                    key=key,
                    step=int(step),
                    time_ms=int(time_ms),
                    value=float(value),
                    run_id=run_id,
                    dataset_name=" ".join(dataset[:-1]),  # only a digest has no spaces
                    dataset_digest="".join(dataset[-1:]),
                )
            except ValueError as error:
                raise BadSource(
                    f"{path}, line {number}: {line.strip()[:80]!r} is no point of a model ({error})"
                ) from error


def registered(root: Path) -> Iterator[SourceRegistered]:
    """The names of the registry."""
    for path, found in children(root / "models"):
        yield SourceRegistered(
            name=str(found["name"]),
            description=found.get("description"),
            created_at_ms=found["creation_timestamp"],
            updated_at_ms=found["last_updated_timestamp"],
            tags=texts(path / "tags"),
            aliases={alias: int(version) for alias, version in texts(path / "aliases").items()},
        )


def versions(root: Path) -> Iterator[SourceVersion]:
    """The versions of all names."""
    for name, _ in children(root / "models"):
        for path, found in children(name):
            yield SourceVersion(
                name=str(found["name"]),
                version=int(found["version"]),
                description=found.get("description"),
                user=found.get("user_id"),
                source=found.get("source") or "",
                location=found.get("storage_location"),
                run_id=found.get("run_id"),
                run_link=found.get("run_link"),
                model_id=found.get("model_id"),
                stage=found["current_stage"],
                is_deleted=found["current_stage"] == DELETED_STAGE,
                created_at_ms=found["creation_timestamp"],
                updated_at_ms=found["last_updated_timestamp"],
                tags=texts(path / "tags"),
            )
