"""A running MLflow server, by its REST API (`mlflow_rest`). Histories come in the server's order, which is that of its database.

It tells nothing of deleted logged models, deleted versions and prompts; of a logged model's metrics what the server's store tells:
all points of a database, the last ones of an `mlruns` directory.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Final, Self

from ingest.mlflow.logged_models import status_of
from ingest.service.datasets import Dataset
from ingest.transfer.files_in import File
from ingest.transfer.mlflow_places import is_local, local_files
from ingest.transfer.mlflow_rest import RestServer
from ingest.transfer.mlflow_source import (
    Inputs,
    Point,
    SourceExperiment,
    SourceModel,
    SourceModelPoint,
    SourceRegistered,
    SourceRun,
    SourceVersion,
)

__all__ = ["RestStore"]

_PAGE: Final = 1_000
_MODELS: Final = 100
"""Logged models of one page, each with its metrics."""
_POINTS: Final = 25_000
"""Points of one page: the most that MLflow's server gives."""


class RestStore(AbstractAsyncContextManager["RestStore"]):
    """A server at an address; connected for as long as the `async with` block."""

    def __init__(self, url: str) -> None:
        self._server = RestServer(url)
        self._run: Mapping[str, Any] = {}
        self._model: Mapping[str, Any] = {}

    async def __aenter__(self) -> Self:
        await self._server.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._server.__aexit__(kind, error, trace)

    async def experiments(self) -> AsyncIterator[SourceExperiment]:
        """All, deleted ones too."""
        question = {"max_results": _PAGE, "view_type": "ALL"}
        async for found in self._server.pages("POST", "mlflow/experiments/search", question, "experiments"):
            yield SourceExperiment(
                source_id=str(found["experiment_id"]),
                name=found["name"],
                is_deleted=found.get("lifecycle_stage") == "deleted",
                tags=_texts(found),
            )

    async def runs(self, experiment: SourceExperiment) -> AsyncIterator[SourceRun]:
        """All runs of one, deleted ones too."""
        question = {
            "experiment_ids": [experiment.source_id],
            "max_results": _PAGE,
            "run_view_type": "ALL",
            "order_by": ["attributes.start_time ASC"],
        }
        async for found in self._server.pages("POST", "mlflow/runs/search", question, "runs"):
            self._run = found
            info, data = found["info"], found.get("data", {})
            yield SourceRun(
                run_id=info["run_id"],
                name=info.get("run_name") or None,
                user=info.get("user_id") or None,
                status=info["status"],
                start_time_ms=_whole(info.get("start_time")),
                end_time_ms=_whole(info.get("end_time")),
                is_deleted=info.get("lifecycle_stage") == "deleted",
                artifact_uri=info.get("artifact_uri"),
                params=_texts(data, "params"),
                tags=_texts(data),
            )

    async def points(self, run: SourceRun) -> AsyncIterator[Point]:
        """All points of the run that `runs` gave last, metric after metric."""
        metrics = self._run.get("data", {}).get("metrics", [])
        for key in sorted(metric["key"] for metric in metrics):
            question = {"run_id": run.run_id, "metric_key": key, "max_results": str(_POINTS)}
            async for found in self._server.pages("GET", "mlflow/metrics/get-history", question, "metrics"):
                yield key, int(found.get("step", 0)), int(found["timestamp"]), float(found["value"])

    async def inputs(self, run: SourceRun) -> Inputs:
        """What a run read and made. MLflow's search of runs does not tell which models one read, so it is asked for alone."""
        answer = await self._server.ask("GET", "mlflow/runs/get", {"run_id": run.run_id})
        read, made = answer["run"].get("inputs", {}), answer["run"].get("outputs", {})
        return Inputs(
            datasets=[_dataset(found) for found in read.get("dataset_inputs", [])],
            models=[found["model_id"] for found in read.get("model_inputs", [])],
            made=[(found["model_id"], int(found.get("step", 0))) for found in made.get("model_outputs", [])],
        )

    def has_files(self, uri: str) -> bool:
        """Whether they lie on this machine, or the server hands them out."""
        return is_local(uri) or self._server.hands_out(uri)

    def files(self, uri: str) -> AsyncIterator[File]:
        """The files at an artifact URI."""
        return self._server.files(uri) if self._server.hands_out(uri) else local_files(uri)

    async def models(self, experiment: SourceExperiment) -> AsyncIterator[SourceModel]:
        """The logged models of one; servers before MLflow 3 have none."""
        question = {"experiment_ids": [experiment.source_id], "max_results": _MODELS}
        async for found in self._server.pages(
            "POST", "mlflow/logged-models/search", question, "models", may_lack=True
        ):
            self._model = found
            info, data = found["info"], found.get("data", {})
            yield SourceModel(
                model_id=info["model_id"],
                name=info["name"],
                model_type=info.get("model_type") or None,
                source_run_id=info.get("source_run_id") or None,
                status=status_of(info["status"]),
                status_message=info.get("status_message"),
                is_deleted=False,
                created_at_ms=int(info["creation_timestamp_ms"]),
                updated_at_ms=int(info["last_updated_timestamp_ms"]),
                artifact_uri=info.get("artifact_uri"),
                params=_texts(data, "params"),
                tags=_texts(info),
            )

    async def model_points(self, model: SourceModel) -> AsyncIterator[SourceModelPoint]:
        """What the server tells of the metrics of the model that `models` gave last."""
        del model
        for found in self._model.get("data", {}).get("metrics", []):
            yield SourceModelPoint(
                key=found["key"],
                step=int(found.get("step", 0)),
                time_ms=int(found["timestamp"]),
                value=float(found["value"]),
                run_id=found["run_id"],
                dataset_name=found.get("dataset_name"),
                dataset_digest=found.get("dataset_digest"),
            )

    async def registered(self) -> AsyncIterator[SourceRegistered]:
        """All names of the registry."""
        question = {"max_results": _PAGE}
        async for found in self._server.pages(
            "GET", "mlflow/registered-models/search", question, "registered_models", may_lack=True
        ):
            yield SourceRegistered(
                name=found["name"],
                description=found.get("description") or None,
                created_at_ms=int(found["creation_timestamp"]),
                updated_at_ms=int(found["last_updated_timestamp"]),
                tags=_texts(found),
                aliases={one["alias"]: int(one["version"]) for one in found.get("aliases", [])},
            )

    async def versions(self) -> AsyncIterator[SourceVersion]:
        """All versions of all names."""
        question = {"max_results": _PAGE}
        async for found in self._server.pages(
            "GET", "mlflow/model-versions/search", question, "model_versions", may_lack=True
        ):
            name, version, source = found["name"], found["version"], found.get("source", "")
            location = source
            if source.startswith("models:"):  # where the files are, the server alone knows
                asked = {"name": name, "version": version}
                answer = await self._server.ask("GET", "mlflow/model-versions/get-download-uri", asked)
                location = answer["artifact_uri"]
            yield SourceVersion(
                name=name,
                version=int(version),
                description=found.get("description") or None,
                user=found.get("user_id"),
                source=source,
                location=location,
                run_id=found.get("run_id") or None,
                run_link=found.get("run_link") or None,
                model_id=found.get("model_id") or None,
                stage=found.get("current_stage", "None"),
                is_deleted=False,
                created_at_ms=int(found["creation_timestamp"]),
                updated_at_ms=int(found["last_updated_timestamp"]),
                tags=_texts(found),
            )


def _dataset(found: Mapping[str, Any]) -> Dataset:
    dataset = found["dataset"]
    return Dataset(
        name=dataset["name"],
        digest=dataset["digest"],
        source_type=dataset.get("source_type", ""),
        source=dataset.get("source", ""),
        schema=dataset.get("schema"),
        profile=dataset.get("profile"),
        tags=_texts(found),
    )


def _texts(found: Mapping[str, Any], name: str = "tags") -> dict[str, str]:
    pairs: Sequence[Mapping[str, str]] = found.get(name, [])
    return {pair["key"]: pair.get("value", "") for pair in pairs}


def _whole(value: Any) -> int | None:
    return None if value in {None, "", 0, "0"} else int(value)
