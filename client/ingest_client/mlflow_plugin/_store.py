"""MLflow's tracking store: what runs log goes through the spool, everything else to the service's REST."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mlflow.entities import LifecycleStage, Param, RunData, RunInfo, RunStatus, RunTag
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.store.tracking.rest_store import RestStore
from mlflow.tracking._tracking_service.utils import get_default_host_creds
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME, MLFLOW_USER
from mlflow.utils.name_utils import _generate_random_name
from mlflow.utils.rest_utils import MlflowHostCreds

from ingest_client._run import Run
from ingest_client.mlflow_plugin._addresses import OF_SERVICE, as_http, outgoing, root_of, show_addresses
from ingest_client.mlflow_plugin._runs import ParamChanged, shared_runs
from ingest_schema.errors import SchemaError

__all__ = ["IngestStore", "credentials"]

ENDS = {RunStatus.FINISHED: "FINISHED", RunStatus.FAILED: "FAILED", RunStatus.KILLED: "KILLED"}


def credentials(uri: str) -> MlflowHostCreds:
    """Those of MLflow's variables for the service's address; INGEST_TOKEN where MLFLOW_TRACKING_TOKEN is not set."""
    given = get_default_host_creds(as_http(uri))
    if given.token is None and given.username is None:
        given.token = shared_runs(uri).settings.token
    return given


class IngestStore(RestStore):  # type: ignore[misc]  # mlflow is not there when this is checked
    """One for each service."""

    def __init__(self, store_uri: str) -> None:
        super().__init__(functools.partial(credentials, store_uri))
        self._root = root_of(store_uri)
        self._runs = shared_runs(store_uri)
        self._locations: dict[str, str] = {}

    # --- what is spooled ------------------------------------------------------------------------------------------------

    def create_run(
        self, experiment_id: str, user_id: str, start_time: int, tags: Sequence[RunTag], run_name: str | None
    ) -> MlflowRun:
        """Start a run; nothing is waited for but, once for each experiment, the place of its artifacts."""
        texts = {tag.key: tag.value for tag in tags}
        name = run_name or texts.pop(MLFLOW_RUN_NAME, None) or _generate_random_name()
        texts.pop(MLFLOW_RUN_NAME, None)
        with as_mlflow_errors():
            run = self._runs.create(int(experiment_id), name, start_time, texts.get(MLFLOW_PARENT_RUN_ID))
            self._runs.tell(run, texts)
        shown = [*(RunTag(key, value) for key, value in texts.items()), RunTag(MLFLOW_RUN_NAME, name)]
        return MlflowRun(self._info(run, str(experiment_id), user_id), RunData([], [], shown))

    def update_run_info(
        self, run_id: str, run_status: int | None, end_time: int | None, run_name: str | None
    ) -> RunInfo:
        """End a run of this process, by the spool; resume one of the service; or, by REST, anything else."""
        run = self._runs.find(run_id)
        if run is not None and run_status in ENDS and not run_name:
            run.end(ENDS[run_status], end_time)
            return self._info(run, str(run.info.experiment), "")
        info = super().update_run_info(run_id, run_status, end_time, run_name)
        if run is None and run_status == RunStatus.RUNNING:
            self._runs.resume(run_id, int(info.experiment_id))
        return info

    def log_metric(self, run_id: str, metric: Any) -> None:
        run = self._runs.find(run_id)
        if run is None or getattr(metric, "model_id", None):
            super().log_metric(run_id, metric)
            return
        with as_mlflow_errors():
            run.log_metric(metric.key, metric.value, metric.step or 0, metric.timestamp)

    def log_param(self, run_id: str, param: Param) -> None:
        run = self._runs.find(run_id)
        if run is None:
            super().log_param(run_id, param)
            return
        with as_mlflow_errors():
            self._runs.log_params(run, {param.key: str(param.value)})

    def set_tag(self, run_id: str, tag: RunTag) -> None:
        run = self._runs.find(run_id)
        if run is None or tag.key == MLFLOW_RUN_NAME:
            super().set_tag(run_id, tag)
            return
        with as_mlflow_errors():
            self._runs.tell(run, {tag.key: tag.value})

    def log_batch(
        self, run_id: str, metrics: Sequence[Any], params: Sequence[Param], tags: Sequence[RunTag]
    ) -> None:
        run = self._runs.find(run_id)
        by_rest = any(getattr(m, "model_id", None) for m in metrics) or any(
            t.key == MLFLOW_RUN_NAME for t in tags
        )
        if run is None or by_rest:
            super().log_batch(run_id, metrics, params, tags)
            return
        with as_mlflow_errors():
            if params:  # first: a param that was changed refuses the call whole
                self._runs.log_params(run, {param.key: str(param.value) for param in params})
            if tags:
                self._runs.tell(run, {tag.key: tag.value for tag in tags})
            for (step, timestamp), values in _by_moment(metrics):
                run.log_metrics(values, step, timestamp)

    def get_run(self, run_id: str) -> MlflowRun:
        """A run as the service has it; one of this process as far as it is known here, while nobody listens."""
        run = self._runs.known(run_id)
        if run is None or self._runs.flush():
            return super().get_run(run_id)
        params, tags = self._runs.seen(run)
        shown = [
            RunTag(key, value) for key, value in {**tags, MLFLOW_RUN_NAME: run.info.run_name or ""}.items()
        ]
        data = RunData([], [Param(key, value) for key, value in params.items()], shown)
        return MlflowRun(self._info(run, str(run.info.experiment), tags.get(MLFLOW_USER, "")), data)

    # --- what is not ----------------------------------------------------------------------------------------------------

    def _call_endpoint(self, api: Any, json_body: str | None = None, *arguments: Any, **named: Any) -> Any:
        """Every request of MLflow's own store: after what was logged, and with our addresses."""
        self._runs.flush()
        answer = super()._call_endpoint(api, outgoing(json_body, self._root), *arguments, **named)
        return show_addresses(answer, self._root)

    def _info(self, run: Run, experiment_id: str, user: str) -> RunInfo:
        info = run.info
        named: dict[str, Any] = {
            "run_id": info.run_id,
            "run_name": info.run_name,
            "experiment_id": experiment_id,
            "user_id": user,
            "status": info.status,
            "start_time": info.start_time,
            "end_time": info.end_time,
            "lifecycle_stage": LifecycleStage.ACTIVE,
            "artifact_uri": f"{self._location(experiment_id)}/{info.run_id}/artifacts",
        }
        try:
            return RunInfo(**named)
        except TypeError:  # MLflow 2 asks for the old name as well
            return RunInfo(run_uuid=info.run_id, **named)

    def _location(self, experiment_id: str) -> str:
        """Where artifacts of an experiment are; the service's usual place while it can't be asked."""
        if experiment_id not in self._locations:
            usual = f"{self._root}{experiment_id}"
            try:
                self._locations[experiment_id] = self._ask_location(experiment_id)
            except Exception:  # noqa: BLE001 - no service, an experiment still to come: the run goes on
                return usual
        return self._locations[experiment_id]

    def _ask_location(self, experiment_id: str) -> str:
        """One short question, without MLflow's retries of minutes."""
        from ingest_client._transport import Transport

        settings = self._runs.settings
        transport = Transport(settings.tracking_uri, token=settings.token, ca_file=settings.ca_file)
        try:
            _, _, body = transport.request(
                "GET", f"/api/2.0/mlflow/experiments/get?experiment_id={experiment_id}"
            )
            text = str(json.loads(body)["experiment"]["artifact_location"])
        finally:
            transport.close()
        return self._root + text.removeprefix(OF_SERVICE) if text.startswith(OF_SERVICE) else text


def _by_moment(metrics: Sequence[Any]) -> Iterator[tuple[tuple[int, int], dict[str, float]]]:
    """Metrics that are neighbours with one step and time go into one record; a key that repeats begins the next."""
    values: dict[str, float] = {}
    moment = (0, 0)
    for metric in metrics:
        here = (metric.step or 0, metric.timestamp)
        if values and (here != moment or metric.key in values):
            yield moment, values
            values = {}
        moment = here
        values[metric.key] = metric.value
    if values:
        yield moment, values


@contextmanager
def as_mlflow_errors() -> Iterator[None]:
    """What can't be stored, as the error that MLflow's callers expect."""
    try:
        yield
    except (SchemaError, ParamChanged, ValueError) as error:
        raise MlflowException(str(error), INVALID_PARAMETER_VALUE) from error
